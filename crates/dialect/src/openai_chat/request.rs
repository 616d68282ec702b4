//! A Chat Completions request: parsed from a client, encoded for an upstream.
//!
//! An upstream of the same dialect gets the client's own bytes with another model name. Parsed here
//! are the fields that routing, the mock and other dialects need; all others are recorded.

mod write;

pub(super) use write::encode_request;

use bytes::Bytes;

use crate::event::{ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::json::{self, Json, ObjectWriter};
use crate::request::{
    Effort, Format, Image, MAX_STRINGS, Message, Part, Reasoning, Request, Role, Sampling, Tool,
    ToolChoice,
};

/// Maximum `n`, as OpenAI has it.
const MAX_ANSWERS: u32 = 128;
/// Fields whose loss would change the answer: refused when the target dialect lacks them.
const ESSENTIAL_FIELDS: &[&str] = &[
    "functions",
    "function_call",
    "audio",
    "web_search_options",
    "logprobs",
    "top_logprobs",
];
/// Fields without meaning for another dialect.
const INERT_FIELDS: &[&str] = &["stream_options", "store"];

/// Parses a client's request.
///
/// # Errors
///
/// A 400 that names the field.
pub(super) fn parse_request(bytes: Bytes) -> Result<Request, Failure> {
    let mut body = json::RequestFields::parse(&bytes)?;
    let n = parse_n(&mut body)?;
    let limit = json::max_tokens("max_completion_tokens", body.raw("max_completion_tokens"))?;
    let older_limit = json::max_tokens("max_tokens", body.raw("max_tokens"))?;
    let options = body.json("stream_options");
    if !options.is_object() && !options.is_null() {
        return Err(Failure::invalid(
            "stream_options",
            "`stream_options` should be an object",
        ));
    }
    let mut request = Request {
        model: body.model()?,
        stream: body.take("stream", "true or false")?.unwrap_or(false),
        include_usage: options.get("include_usage").as_bool() == Some(true),
        parallel_tool_calls: body.json("parallel_tool_calls").as_bool(),
        max_tokens: limit.or(older_limit),
        sampling: Sampling {
            temperature: json::temperature(body.raw("temperature"))?,
            top_p: body.json("top_p").number(),
            top_k: body.json("top_k").number(),
            seed: body.json("seed").number(),
            presence_penalty: body.json("presence_penalty").number(),
            frequency_penalty: body.json("frequency_penalty").number(),
        },
        stop: body.json("stop").strings(MAX_STRINGS),
        n,
        ..Request::default()
    };
    parse_messages(&mut request, body.list("messages", WANTED_MESSAGES)?)?;
    parse_tools(&mut request, body.list("tools", "a list of tools")?);
    let user = [body.json("user"), body.json("safety_identifier")];
    request.user = user.into_iter().find_map(Json::text).map(Into::into);
    let choice = body.json("tool_choice");
    request.tool_choice = parse_tool_choice(choice);
    if request.tool_choice.is_none() && !choice.is_null() {
        request.require("tool_choice");
    }
    parse_format(&mut request, body.json("response_format"));
    let efforts = [
        body.json("reasoning_effort"),
        body.json("reasoning").get("effort"),
    ];
    request.reasoning = parse_effort(efforts);
    if body.json("modalities").items().any(|mode| !mode.is("text")) {
        request.require("modalities");
    }
    body.record_rest(&mut request, INERT_FIELDS, ESSENTIAL_FIELDS);
    request.body = bytes;
    Ok(request)
}

/// Takes the number of answers.
fn parse_n(body: &mut json::RequestFields<'_>) -> Result<u32, Failure> {
    let n = body
        .take::<u32>("n", "a whole number from 1 to 128")?
        .unwrap_or(1);
    if (1..=MAX_ANSWERS).contains(&n) {
        return Ok(n);
    }
    let message = format!("`n` should be a whole number from 1 to 128, not {n}");
    Err(Failure::invalid("n", message))
}

/// Parses the first known effort.
fn parse_effort(efforts: [Json<'_>; 2]) -> Option<Reasoning> {
    let effort = efforts
        .into_iter()
        .find_map(|value| Effort::from_word(&value.text()?))?;
    Some(Reasoning {
        effort,
        budget: None,
        shown: None,
    })
}

const WANTED_MESSAGES: &str =
    "a list of messages, as in [{\"role\": \"user\", \"content\": \"Hello\"}]";

fn parse_messages(request: &mut Request, list: Json<'_>) -> Result<(), Failure> {
    request.messages.reserve_exact(list.len());
    for (at, message) in list.items().enumerate() {
        let message = parse_message(request, at, message)?;
        request.messages.push(message);
    }
    if request.messages.is_empty() {
        return Err(Failure::invalid(
            "messages",
            format!("`messages` is missing or empty; it should be {WANTED_MESSAGES}"),
        ));
    }
    Ok(())
}

fn parse_message(request: &mut Request, at: usize, message: Json<'_>) -> Result<Message, Failure> {
    let name = || format!("messages[{at}]");
    let Some(role) = message.get("role").text() else {
        let name = format!("{}.role", name());
        let message = format!("`{name}` should be a string such as \"user\"");
        return Err(Failure::invalid(&name, message));
    };
    let mut parts = Vec::new();
    let role = match &*role {
        "system" | "developer" => Role::System,
        "assistant" => {
            parse_reasoning(message, &mut parts);
            Role::Assistant
        }
        "tool" => Role::Tool,
        "function" => {
            request.require(format!("{}.role", name()));
            Role::Tool
        }
        _ => Role::User,
    };
    parse_content(request, &name, message.get("content"), &mut parts);
    if let Some(text) = message.get("refusal").text() {
        parts.push(Part::Refusal(text.into()));
    }
    parse_tool_calls(request, &name, message.get("tool_calls"), &mut parts);
    if ["function_call", "audio"]
        .iter()
        .any(|field| !message.get(field).is_null())
    {
        request.require(name());
    }
    if role == Role::Tool {
        parts = vec![Part::ToolResult {
            id: message.get("tool_call_id").string(),
            content: parts,
            error: false,
        }];
    }
    Ok(Message { role, parts })
}

fn parse_tool_calls(
    request: &mut Request,
    name: &impl Fn() -> String,
    calls: Json<'_>,
    parts: &mut Vec<Part>,
) {
    parts.reserve_exact(calls.len());
    for (at, call) in calls.items().enumerate() {
        let function = call.get("function");
        match (call.get("id").text(), function.get("name").text()) {
            (Some(id), Some(name)) => parts.push(Part::ToolCall {
                id: id.into(),
                name: name.into(),
                arguments: function.get("arguments").string(),
            }),
            _ => request.require(format!("{}.tool_calls[{at}]", name())),
        }
    }
}

fn parse_content(
    request: &mut Request,
    name: &impl Fn() -> String,
    content: Json<'_>,
    parts: &mut Vec<Part>,
) {
    if let Some(text) = content.text() {
        parts.reserve_exact(1);
        parts.push(Part::Text(text.into()));
    } else if content.is_list() {
        parts.reserve_exact(content.len());
        for (at, part) in content.items().enumerate() {
            match parse_content_part(part) {
                Some(part) => parts.push(part),
                None => request.require(format!("{}.content[{at}]", name())),
            }
        }
    } else if !content.is_null() {
        request.require(format!("{}.content", name()));
    }
}

fn parse_content_part(part: Json<'_>) -> Option<Part> {
    let kind = part.get("type").text();
    if kind.as_deref() == Some("image_url")
        && let Some(url) = part.get("image_url").get("url").text()
    {
        return Some(Part::Image(Image::from_url(&url)));
    }
    if kind.as_deref() == Some("refusal") {
        return Some(Part::Refusal(part.get("refusal").string()));
    }
    part.get("text").text().map(|text| Part::Text(text.into()))
}

/// Parses an assistant message's reasoning: detail by detail, or as one text.
fn parse_reasoning(message: Json<'_>, parts: &mut Vec<Part>) {
    let details = message.get("reasoning_details");
    parts.reserve_exact(details.len());
    for detail in details.items() {
        let signature = [detail.get("signature"), detail.get("data")]
            .into_iter()
            .find_map(Json::text);
        let state = signature
            .filter(|signature| !signature.is_empty())
            .map(|signature| {
                let state = ReasoningState::decode(&signature, StateOrigin::OpenAiChat);
                let value = if state.origin == StateOrigin::OpenAiChat
                    && !state.value.starts_with('{')
                    && !state.value.is_empty()
                {
                    without_text(detail)
                } else {
                    state.value.into_owned()
                };
                ReasoningState {
                    origin: state.origin,
                    value: value.into(),
                }
            });
        parts.push(Part::Reasoning {
            text: detail.get("text").string(),
            state,
        });
    }
    if parts.is_empty() {
        let shown = [message.get("reasoning_content"), message.get("reasoning")]
            .into_iter()
            .find_map(Json::text);
        if let Some(shown) = shown.filter(|text| !text.is_empty()) {
            parts.push(Part::Reasoning {
                text: shown.into(),
                state: None,
            });
        }
    }
}

/// Returns a reasoning detail without its text, which is kept apart.
fn without_text(detail: Json<'_>) -> String {
    let mut rest = ObjectWriter::new();
    detail.each_field(|name, value| {
        if name != b"text" {
            rest.raw(&String::from_utf8_lossy(name), &value.compact());
        }
    });
    String::from_utf8(rest.finish()).unwrap_or_default()
}

fn parse_tools(request: &mut Request, list: Json<'_>) {
    request.tools.reserve_exact(list.len());
    for (at, tool) in list.items().enumerate() {
        let function = tool.get("function");
        match function.get("name").text() {
            Some(name) => request.tools.push(Tool {
                name: name.into(),
                description: function.get("description").text().map(Into::into),
                parameters: function.get("parameters").into(),
                strict: function.get("strict").as_bool(),
            }),
            None => request.require(format!("tools[{at}]")),
        }
    }
}

fn parse_tool_choice(value: Json<'_>) -> Option<ToolChoice> {
    match value.text().as_deref() {
        Some("auto") => Some(ToolChoice::Auto),
        Some("none") => Some(ToolChoice::None),
        Some("required" | "any") => Some(ToolChoice::Required),
        _ => value
            .get("function")
            .get("name")
            .text()
            .map(|name| ToolChoice::Named(name.into())),
    }
}

fn parse_format(request: &mut Request, value: Json<'_>) {
    match value.get("type").text().as_deref() {
        None | Some("text") => {}
        Some("json_object") => request.format = Some(Format::Json),
        Some("json_schema") => {
            let inner = value.get("json_schema");
            request.format = Some(Format::Schema {
                name: inner
                    .get("name")
                    .text()
                    .map_or_else(|| "answer".to_owned(), Into::into),
                schema: inner.get("schema").into(),
                strict: inner.get("strict").as_bool(),
            });
        }
        Some(_) => request.require("response_format"),
    }
}
