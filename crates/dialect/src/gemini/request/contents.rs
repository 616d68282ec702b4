//! Parses the contents of a Gemini request.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use super::super::decode_signature;
use super::one_or_more;
use crate::event::ReasoningState;
use crate::failure::Failure;
use crate::request::{Image, Message, Part, Request, Role};
use crate::tools;

/// Ids of the calls that have no result yet, by function name.
pub(super) type UnansweredCalls = HashMap<String, VecDeque<String>>;

pub(super) fn parse_contents(request: &mut Request, contents: &Value) -> Result<(), Failure> {
    const WANT: &str = "`contents` is missing or empty; it should be a list, as in [{\"role\": \"user\", \"parts\": \
                        [{\"text\": \"Hello\"}]}]";
    let list = one_or_more(contents);
    if list.is_empty() || !list.iter().all(|content| content.is_object()) {
        return Err(Failure::invalid("contents", WANT));
    }
    // Results name the function, not the call: each answers the first unanswered call of that name.
    let mut calls = UnansweredCalls::new();
    for (at, content) in list.iter().enumerate() {
        let role = if content["role"] == "model" {
            Role::Assistant
        } else {
            Role::User
        };
        let parts = parse_parts(
            request,
            &format!("contents[{at}].parts"),
            &content["parts"],
            &mut calls,
        );
        let (results, parts): (Vec<Part>, Vec<Part>) = parts
            .into_iter()
            .partition(|part| matches!(part, Part::ToolResult { .. }));
        let was_results = !results.is_empty();
        if was_results {
            request.messages.push(Message {
                role: Role::Tool,
                parts: results,
            });
        }
        if !(was_results && parts.is_empty()) {
            request.messages.push(Message { role, parts });
        }
    }
    Ok(())
}

pub(super) fn parse_parts(
    request: &mut Request,
    name: &str,
    list: &Value,
    calls: &mut UnansweredCalls,
) -> Vec<Part> {
    let mut parts = Vec::new();
    if !matches!(list, Value::Null | Value::Array(_) | Value::Object(_)) {
        request.require(name);
    }
    for (at, part) in one_or_more(list).iter().enumerate() {
        let text = part["text"].as_str();
        let state = part["thoughtSignature"]
            .as_str()
            .filter(|signature| !signature.is_empty())
            .map(decode_signature);
        if part["thought"] == true {
            parts.push(Part::Reasoning {
                text: text.unwrap_or_default().to_owned(),
                state,
            });
            continue;
        }
        if let Some(state) = state {
            sign_thoughts(&mut parts, state);
        }
        // Google's own client sends back the last part, which is empty.
        if text != Some("") {
            parts.extend(content_part(request, name, at, part, calls));
        }
    }
    parts
}

/// Joins the preceding thoughts, which come back in pieces, under their state.
fn sign_thoughts(parts: &mut Vec<Part>, state: ReasoningState<'static>) {
    let thoughts = parts
        .iter()
        .rev()
        .take_while(|part| matches!(part, Part::Reasoning { state: None, .. }))
        .count();
    let thoughts = parts.drain(parts.len() - thoughts..);
    let text = thoughts.filter_map(|part| match part {
        Part::Reasoning { text, .. } => Some(text),
        _ => None,
    });
    let text = text.collect();
    parts.push(Part::Reasoning {
        text,
        state: Some(state),
    });
}

/// Parses a part that is no thought; an unknown one is recorded as unsupported.
fn content_part(
    request: &mut Request,
    name: &str,
    at: usize,
    part: &Value,
    calls: &mut UnansweredCalls,
) -> Option<Part> {
    let (inline, file) = (&part["inlineData"], &part["fileData"]);
    let is_image = file["mimeType"]
        .as_str()
        .is_some_and(|mime| mime.starts_with("image/"));
    let (call, result) = (&part["functionCall"], &part["functionResponse"]);
    if let Some(text) = part["text"].as_str() {
        Some(Part::Text(text.to_owned()))
    } else if let Some(image) = image(inline) {
        Some(Part::Image(image))
    } else if let (true, Some(uri)) = (is_image, file["fileUri"].as_str()) {
        Some(Part::Image(Image::Url(uri.to_owned())))
    } else if let Some(function) = call["name"].as_str() {
        let id = call["id"]
            .as_str()
            .map_or_else(|| format!("call_{name}_{at}"), str::to_owned);
        let id = tools::fit_id(&id, 64).into_owned();
        calls
            .entry(function.to_owned())
            .or_default()
            .push_back(id.clone());
        let arguments = if call["args"].is_null() {
            "{}".to_owned()
        } else {
            call["args"].to_string()
        };
        Some(Part::ToolCall {
            id,
            name: function.to_owned(),
            arguments,
        })
    } else if let Some(function) = result["name"].as_str() {
        let name = format!("{name}[{at}]");
        Some(tool_result(request, &name, function, result, calls))
    } else {
        request.require(format!("{name}[{at}]"));
        None
    }
}

/// Parses an inline image.
pub(super) fn image(inline: &Value) -> Option<Image> {
    let media_type = inline["mimeType"]
        .as_str()
        .filter(|mime| mime.starts_with("image/"))?
        .to_owned();
    Some(Image::Data {
        media_type,
        base64: inline["data"].as_str()?.to_owned(),
    })
}

pub(super) fn tool_result(
    request: &mut Request,
    name: &str,
    function: &str,
    result: &Value,
    calls: &mut UnansweredCalls,
) -> Part {
    let called = calls.get_mut(function).and_then(VecDeque::pop_front);
    let id = result["id"]
        .as_str()
        .map(|id| tools::fit_id(id, 64).into_owned())
        .or(called);
    let response = &result["response"];
    let only = response.as_object().filter(|fields| fields.len() == 1);
    let (error, said) = match only.and_then(|fields| fields.iter().next()) {
        Some((key, value)) if matches!(key.as_str(), "output" | "result" | "error") => {
            (key == "error", value)
        }
        _ => (false, response),
    };
    let text = said
        .as_str()
        .map_or_else(|| said.to_string(), str::to_owned);
    let mut content = vec![Part::Text(text)];
    for (at, part) in one_or_more(&result["parts"]).iter().enumerate() {
        match image(&part["inlineData"]) {
            Some(image) => content.push(Part::Image(image)),
            None => request.require(format!("{name}.functionResponse.parts[{at}]")),
        }
    }
    Part::ToolResult {
        id: id.unwrap_or_else(|| function.to_owned()),
        content,
        error,
    }
}
