//! A Chat Completions request: parsed from a client, encoded for an upstream.
//!
//! An upstream of the same dialect gets the client's own bytes with another model name. Parsed here
//! are the fields that routing, the mock and other dialects need; all others are recorded.

mod write;

pub(super) use write::encode_request;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::event::{ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::json;
use crate::request::{
    Effort, Format, Image, Message, Part, Reasoning, Request, Role, Sampling, Tool, ToolChoice,
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
    let options: Option<serde_json::Map<String, Value>> =
        body.take("stream_options", "an object")?;
    let mut request = Request {
        model: body.model()?,
        stream: body.take("stream", "true or false")?.unwrap_or(false),
        include_usage: options
            .as_ref()
            .is_some_and(|o| o.get("include_usage") == Some(&Value::Bool(true))),
        parallel_tool_calls: body.value("parallel_tool_calls").as_bool(),
        max_tokens: limit.or(older_limit),
        sampling: Sampling {
            temperature: json::temperature(body.raw("temperature"))?,
            top_p: body.value("top_p").as_f64(),
            top_k: body.value("top_k").as_u64(),
            seed: body.value("seed").as_i64(),
            presence_penalty: body.value("presence_penalty").as_f64(),
            frequency_penalty: body.value("frequency_penalty").as_f64(),
        },
        stop: json::strings(&body.value("stop")),
        n,
        ..Request::default()
    };
    parse_messages(&mut request, body.raw("messages"))?;
    parse_tools(&mut request, body.raw("tools"))?;
    let user = [body.value("user"), body.value("safety_identifier")];
    request.user = user.iter().find_map(Value::as_str).map(str::to_owned);
    let choice = body.value("tool_choice");
    request.tool_choice = parse_tool_choice(&choice);
    if request.tool_choice.is_none() && !choice.is_null() {
        request.require("tool_choice");
    }
    parse_format(&mut request, &body.value("response_format"));
    let efforts = [
        body.value("reasoning_effort"),
        body.value("reasoning")["effort"].clone(),
    ];
    request.reasoning = parse_effort(&efforts);
    if body
        .value("modalities")
        .as_array()
        .is_some_and(|list| list.iter().any(|mode| mode != "text"))
    {
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
fn parse_effort(efforts: &[Value]) -> Option<Reasoning> {
    let effort = efforts
        .iter()
        .find_map(|value| Effort::from_word(value.as_str()?))?;
    Some(Reasoning {
        effort,
        budget: None,
        shown: None,
    })
}

fn parse_messages(request: &mut Request, raw: Option<&RawValue>) -> Result<(), Failure> {
    const WANT: &str = "a list of messages, as in [{\"role\": \"user\", \"content\": \"Hello\"}]";
    let list: Vec<Value> = json::parse_field("messages", raw, WANT)?.unwrap_or_default();
    if list.is_empty() {
        return Err(Failure::invalid(
            "messages",
            format!("`messages` is missing or empty; it should be {WANT}"),
        ));
    }
    for (at, message) in list.iter().enumerate() {
        let message = parse_message(request, format!("messages[{at}]"), message)?;
        request.messages.push(message);
    }
    Ok(())
}

fn parse_message(request: &mut Request, name: String, message: &Value) -> Result<Message, Failure> {
    let Some(role) = message["role"].as_str() else {
        let name = format!("{name}.role");
        let message = format!("`{name}` should be a string such as \"user\"");
        return Err(Failure::invalid(&name, message));
    };
    let mut parts = Vec::new();
    let role = match role {
        "system" | "developer" => Role::System,
        "assistant" => {
            parse_reasoning(message, &mut parts);
            Role::Assistant
        }
        "tool" => Role::Tool,
        "function" => {
            request.require(format!("{name}.role"));
            Role::Tool
        }
        _ => Role::User,
    };
    parse_content(request, &name, &message["content"], &mut parts);
    if let Some(text) = message["refusal"].as_str() {
        parts.push(Part::Refusal(text.to_owned()));
    }
    parse_tool_calls(request, &name, &message["tool_calls"], &mut parts);
    if ["function_call", "audio"]
        .iter()
        .any(|field| !message[*field].is_null())
    {
        request.require(name);
    }
    if role == Role::Tool {
        let id = message["tool_call_id"].as_str().unwrap_or_default();
        parts = vec![Part::ToolResult {
            id: id.to_owned(),
            content: parts,
            error: false,
        }];
    }
    Ok(Message { role, parts })
}

fn parse_tool_calls(request: &mut Request, name: &str, calls: &Value, parts: &mut Vec<Part>) {
    for (at, call) in calls.as_array().into_iter().flatten().enumerate() {
        let function = &call["function"];
        match (call["id"].as_str(), function["name"].as_str()) {
            (Some(id), Some(name)) => parts.push(Part::ToolCall {
                id: id.to_owned(),
                name: name.to_owned(),
                arguments: function["arguments"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            }),
            _ => request.require(format!("{name}.tool_calls[{at}]")),
        }
    }
}

fn parse_content(request: &mut Request, name: &str, content: &Value, parts: &mut Vec<Part>) {
    match content {
        Value::Null => {}
        Value::String(text) => parts.push(Part::Text(text.clone())),
        Value::Array(list) => {
            for (at, part) in list.iter().enumerate() {
                match (
                    part["type"].as_str(),
                    part["text"].as_str(),
                    part["image_url"]["url"].as_str(),
                ) {
                    (Some("image_url"), _, Some(url)) => {
                        parts.push(Part::Image(Image::from_url(url)))
                    }
                    (Some("refusal"), ..) => {
                        parts.push(Part::Refusal(
                            part["refusal"].as_str().unwrap_or_default().to_owned(),
                        ));
                    }
                    (_, Some(text), _) => parts.push(Part::Text(text.to_owned())),
                    _ => request.require(format!("{name}.content[{at}]")),
                }
            }
        }
        _ => request.require(format!("{name}.content")),
    }
}

/// Parses an assistant message's reasoning: detail by detail, or as one text.
fn parse_reasoning(message: &Value, parts: &mut Vec<Part>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for detail in message["reasoning_details"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let signature = [&detail["signature"], &detail["data"]]
            .into_iter()
            .find_map(Value::as_str);
        let state = signature
            .filter(|signature| !signature.is_empty())
            .map(|signature| {
                let state = ReasoningState::decode(signature, StateOrigin::OpenAiChat);
                let value = if state.origin == StateOrigin::OpenAiChat
                    && !state.value.starts_with('{')
                    && !state.value.is_empty()
                {
                    let mut detail = detail.clone();
                    if let Some(fields) = detail.as_object_mut() {
                        fields.remove("text");
                    }
                    detail.to_string()
                } else {
                    state.value.into_owned()
                };
                ReasoningState {
                    origin: state.origin,
                    value: value.into(),
                }
            });
        parts.push(Part::Reasoning {
            text: text(&detail["text"]),
            state,
        });
    }
    if parts.is_empty() {
        let shown = [&message["reasoning_content"], &message["reasoning"]]
            .into_iter()
            .find_map(Value::as_str);
        if let Some(shown) = shown.filter(|text| !text.is_empty()) {
            parts.push(Part::Reasoning {
                text: shown.to_owned(),
                state: None,
            });
        }
    }
}

fn parse_tools(request: &mut Request, raw: Option<&RawValue>) -> Result<(), Failure> {
    let list: Vec<Value> = json::parse_field("tools", raw, "a list of tools")?.unwrap_or_default();
    for (at, tool) in list.iter().enumerate() {
        let function = &tool["function"];
        match function["name"].as_str() {
            Some(name) => request.tools.push(Tool {
                name: name.to_owned(),
                description: function["description"].as_str().map(str::to_owned),
                parameters: function["parameters"].clone(),
                strict: function["strict"].as_bool(),
            }),
            None => request.require(format!("tools[{at}]")),
        }
    }
    Ok(())
}

fn parse_tool_choice(value: &Value) -> Option<ToolChoice> {
    match value.as_str() {
        Some("auto") => Some(ToolChoice::Auto),
        Some("none") => Some(ToolChoice::None),
        Some("required" | "any") => Some(ToolChoice::Required),
        _ => value["function"]["name"]
            .as_str()
            .map(|name| ToolChoice::Named(name.to_owned())),
    }
}

fn parse_format(request: &mut Request, value: &Value) {
    match value["type"].as_str() {
        None | Some("text") => {}
        Some("json_object") => request.format = Some(Format::Json),
        Some("json_schema") => {
            let inner = &value["json_schema"];
            request.format = Some(Format::Schema {
                name: inner["name"].as_str().unwrap_or("answer").to_owned(),
                schema: inner["schema"].clone(),
                strict: inner["strict"].as_bool(),
            });
        }
        Some(_) => request.require("response_format"),
    }
}
