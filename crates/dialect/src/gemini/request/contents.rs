//! Parses the contents of a Gemini request.

use std::collections::{HashMap, VecDeque};

use super::super::decode_signature;
use super::camel_case::field;
use super::one_or_more;
use crate::event::ReasoningState;
use crate::failure::Failure;
use crate::json::Json;
use crate::request::{File, Message, Part, Request, Role, take_results};
use crate::tools;

/// Ids of the calls that have no result yet, by function name.
pub(super) type UnansweredCalls = HashMap<String, VecDeque<String>>;

pub(super) fn parse_contents(request: &mut Request, contents: Json<'_>) -> Result<(), Failure> {
    const WANT: &str = "`contents` is missing or empty; it should be a list, as in [{\"role\": \"user\", \"parts\": \
                        [{\"text\": \"Hello\"}]}]";
    // Results name the function, not the call: each answers the first unanswered call of that name.
    let mut calls = UnansweredCalls::new();
    for (at, content) in one_or_more(contents).enumerate() {
        if !content.is_object() {
            return Err(Failure::invalid("contents", WANT));
        }
        let role = if field(content, "role").is("model") {
            Role::Assistant
        } else {
            Role::User
        };
        let name = || format!("contents[{at}].parts");
        let mut parts = parse_parts(request, &name, field(content, "parts"), &mut calls);
        let results = take_results(&mut parts);
        let has_results = !results.is_empty();
        if has_results {
            request.messages.push(Message {
                role: Role::Tool,
                parts: results,
            });
        }
        // A message that says nothing separates turns; a second one separates nothing more.
        let last_is_empty = request
            .messages
            .last()
            .is_some_and(|last| last.role == role && last.parts.is_empty());
        if !parts.is_empty() || !(has_results || last_is_empty) {
            request.messages.push(Message { role, parts });
        }
    }
    match one_or_more(contents).next() {
        None => Err(Failure::invalid("contents", WANT)),
        Some(_) => Ok(()),
    }
}

/// Parses a list of parts; `name` makes the name of the list for errors.
pub(super) fn parse_parts(
    request: &mut Request,
    name: &dyn Fn() -> String,
    list: Json<'_>,
    calls: &mut UnansweredCalls,
) -> Vec<Part> {
    if !(list.is_null() || list.is_list() || list.is_object()) {
        request.require(name());
    }
    let mut parts = Vec::with_capacity(one_or_more(list).count());
    for (at, part) in one_or_more(list).enumerate() {
        let text = field(part, "text").text();
        let state = field(part, "thoughtSignature")
            .text()
            .filter(|signature| !signature.is_empty())
            .map(|signature| decode_signature(&signature));
        if field(part, "thought").as_bool() == Some(true) {
            parts.push(Part::Reasoning {
                text: text.unwrap_or_default().into(),
                state: state.map(|(state, _)| state),
            });
            continue;
        }
        if let Some((state, thought)) = state {
            sign_thoughts(&mut parts, state, thought);
        }
        // Google's own client sends back the last part, which is empty.
        if text.as_deref() != Some("") {
            let name = || format!("{}[{at}]", name());
            parts.extend(content_part(request, &name, part, calls));
        }
    }
    parts
}

/// Joins the preceding thoughts, which come back in pieces or not at all, under their state.
fn sign_thoughts(parts: &mut Vec<Part>, state: ReasoningState<'static>, thought: String) {
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
    let shown: String = text.collect();
    parts.push(Part::Reasoning {
        text: if thought.is_empty() { shown } else { thought },
        state: Some(state),
    });
}

/// Parses a part that is no thought; an unknown one is recorded as unsupported.
fn content_part(
    request: &mut Request,
    name: &dyn Fn() -> String,
    part: Json<'_>,
    calls: &mut UnansweredCalls,
) -> Option<Part> {
    if let Some(text) = field(part, "text").text() {
        return Some(Part::Text(text.into()));
    }
    if let Some(part) = file(name, part) {
        return Some(part);
    }
    let call = field(part, "functionCall");
    if let Some(function) = call.get("name").text() {
        return Some(tool_call(name, &function, call, calls));
    }
    let result = field(part, "functionResponse");
    if let Some(function) = result.get("name").text() {
        return Some(tool_result(request, name, &function, result, calls));
    }
    request.require(name());
    None
}

fn tool_call(
    name: &dyn Fn() -> String,
    function: &str,
    call: Json<'_>,
    calls: &mut UnansweredCalls,
) -> Part {
    let id = call.get("id").text();
    // One that is made up says where the call is: call_contents0parts1.
    let id = id.unwrap_or_else(|| {
        let mut place = format!("call_{}", name());
        place.retain(|char| char.is_ascii_alphanumeric() || char == '_');
        place.into()
    });
    let id = tools::fit_id(&id, 64).into_owned();
    calls
        .entry(function.to_owned())
        .or_default()
        .push_back(id.clone());
    let arguments = tools::given(call.get("args"));
    Part::ToolCall {
        id,
        name: function.to_owned(),
        arguments,
    }
}

/// Parses a file, inline or by its address.
fn file(name: &dyn Fn() -> String, part: Json<'_>) -> Option<Part> {
    let title = |file| field(file, "displayName").text().map(String::from);
    let media_type = |file| field(file, "mimeType").text().map(String::from);
    let inline = field(part, "inlineData");
    if let Some(data) = field(inline, "data").text() {
        return Some(File::inline(
            name(),
            title(inline),
            media_type(inline),
            &data,
        ));
    }
    let linked = field(part, "fileData");
    let uri = field(linked, "fileUri").text()?;
    Some(File::linked(
        name(),
        title(linked),
        media_type(linked),
        &uri,
    ))
}

fn tool_result(
    request: &mut Request,
    name: &dyn Fn() -> String,
    function: &str,
    result: Json<'_>,
    calls: &mut UnansweredCalls,
) -> Part {
    let called = calls.get_mut(function).and_then(VecDeque::pop_front);
    let id = result
        .get("id")
        .text()
        .map(|id| tools::fit_id(&id, 64).into_owned())
        .or(called);
    let response = result.get("response");
    let (mut count, mut error, mut said) = (0, false, response);
    response.each_field(|key, value| {
        count += 1;
        if matches!(key, b"output" | b"result" | b"error") {
            (error, said) = (key == b"error", value);
        }
    });
    if count != 1 {
        (error, said) = (false, response);
    }
    let text = said
        .text()
        .map_or_else(|| said.compact(), std::borrow::Cow::into_owned);
    let mut content = vec![Part::Text(text)];
    for (at, part) in one_or_more(field(result, "parts")).enumerate() {
        let name = || format!("{}.functionResponse.parts[{at}]", name());
        match file(&name, part) {
            Some(part) => content.push(part),
            None => request.require(name()),
        }
    }
    Part::ToolResult {
        id: id.unwrap_or_else(|| function.to_owned()),
        content,
        error,
    }
}
