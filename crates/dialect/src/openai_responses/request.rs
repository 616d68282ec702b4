//! A Responses request: parsed from a client, encoded for an upstream.

mod write;

pub(super) use write::encode_request;

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde_json::Value;

use super::answer;
use crate::failure::Failure;
use crate::json;
use crate::request::{
    Effort, Format, Image, Message, Part, Reasoning, Request, Role, Sampling, Tool, ToolChoice,
};

/// Fields whose loss would change the answer: refused when the target dialect lacks them.
const ESSENTIAL_FIELDS: &[&str] = &[
    "previous_response_id",
    "conversation",
    "prompt",
    "top_logprobs",
    "context_management",
];
/// Fields without meaning for another dialect.
const INERT_FIELDS: &[&str] = &[
    "include",
    "store",
    "stream_options",
    "prompt_cache_key",
    "truncation",
];

/// Parses a client's request.
pub(super) fn parse_request(bytes: Bytes) -> Result<Request, Failure> {
    let mut body = json::RequestFields::parse(&bytes)?;
    let mut request = Request {
        model: body.model()?,
        stream: body.take("stream", "true or false")?.unwrap_or(false),
        include_usage: true,
        parallel_tool_calls: body.value("parallel_tool_calls").as_bool(),
        max_tokens: json::max_tokens("max_output_tokens", body.raw("max_output_tokens"))?,
        sampling: Sampling {
            temperature: json::temperature(body.raw("temperature"))?,
            top_p: body.value("top_p").as_f64(),
            ..Sampling::default()
        },
        n: 1,
        ..Request::default()
    };
    request.background = body.take("background", "true or false")?.unwrap_or(false);
    if request.background && body.value("store") == false {
        return Err(Failure::invalid(
            "store",
            "`background` needs `store`: the response is kept until it is asked for",
        ));
    }
    if let Some(text) = body.take::<String>("instructions", "a string")? {
        request.messages.push(Message::text(Role::System, text));
    }
    input(&mut request, &body.value("input"))?;
    let user = [body.value("user"), body.value("safety_identifier")];
    request.user = user.iter().find_map(Value::as_str).map(str::to_owned);
    let tools: Vec<Value> = body.take("tools", "a list of tools")?.unwrap_or_default();
    for (at, tool) in tools.iter().enumerate() {
        match (tool["type"].as_str(), tool["name"].as_str()) {
            (Some("function"), Some(name)) => request.tools.push(Tool {
                name: name.to_owned(),
                description: tool["description"].as_str().map(str::to_owned),
                parameters: tool["parameters"].clone(),
                strict: tool["strict"].as_bool(),
            }),
            // A tool that OpenAI runs itself, or a custom tool whose arguments are not JSON.
            _ => request.require(format!("tools[{at}]")),
        }
    }
    let choice = body.value("tool_choice");
    request.tool_choice = match (
        choice.as_str(),
        choice["type"].as_str(),
        choice["name"].as_str(),
    ) {
        (Some("auto"), ..) => Some(ToolChoice::Auto),
        (Some("none"), ..) => Some(ToolChoice::None),
        (Some("required"), ..) => Some(ToolChoice::Required),
        (_, Some("function"), Some(name)) => Some(ToolChoice::Named(name.to_owned())),
        _ => None,
    };
    if request.tool_choice.is_none() && !choice.is_null() {
        request.require("tool_choice");
    }
    text(&mut request, &body.value("text"));
    let reasoning = body.value("reasoning");
    request.reasoning = reasoning["effort"]
        .as_str()
        .and_then(Effort::from_word)
        .map(|effort| Reasoning {
            effort,
            budget: None,
            shown: (!reasoning["summary"].is_null()).then_some(true),
        });
    if request.reasoning.is_none() && !reasoning["summary"].is_null() {
        request.reasoning = Some(Reasoning {
            effort: Effort::Medium,
            budget: None,
            shown: Some(true),
        });
    }
    body.record_rest(&mut request, INERT_FIELDS, ESSENTIAL_FIELDS);
    request.body = bytes;
    Ok(request)
}

/// Returns the id of the response that a request continues.
#[must_use]
pub fn previous_response_id(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Asked {
        previous_response_id: String,
    }
    memmem::find(body, b"\"previous_response_id\"")?;
    // A malformed body is rejected when the whole of it is parsed.
    serde_json::from_slice::<Asked>(body)
        .ok()
        .map(|asked| asked.previous_response_id)
}

/// Returns the body with another `previous_response_id`.
///
/// # Errors
///
/// Never for a body that has a [`previous_response_id`].
pub fn with_previous_response_id(body: &Bytes, id: &str) -> Result<Bytes, Failure> {
    json::with_fields(
        body,
        &[("previous_response_id", Some(&Value::from(id).to_string()))],
    )
}

fn text(request: &mut Request, text: &Value) {
    let format = &text["format"];
    match format["type"].as_str() {
        None | Some("text") => {}
        Some("json_object") => request.format = Some(Format::Json),
        Some("json_schema") => {
            request.format = Some(Format::Schema {
                name: format["name"].as_str().unwrap_or("answer").to_owned(),
                schema: format["schema"].clone(),
                strict: format["strict"].as_bool(),
            });
        }
        Some(_) => request.require("text.format"),
    }
    if !matches!(text["verbosity"].as_str(), None | Some("medium")) {
        request.ignore("text.verbosity");
    }
}

fn input(request: &mut Request, input: &Value) -> Result<(), Failure> {
    const WANT: &str = "`input` should be a string, or a list of items, as in [{\"role\": \"user\", \"content\": \
                        \"Hello\"}]";
    let list = match input {
        Value::String(text) => {
            request.messages.push(Message::text(Role::User, text));
            return Ok(());
        }
        Value::Array(list) => list,
        // A stored prompt or conversation may be the only input; only its upstream knows it.
        Value::Null => {
            request.require("input");
            return Ok(());
        }
        _ => return Err(Failure::invalid("input", WANT)),
    };
    for (at, item) in list.iter().enumerate() {
        let name = format!("input[{at}]");
        let text = |field: &str| item[field].as_str().unwrap_or_default().to_owned();
        let (role, parts) = match item["type"].as_str() {
            None | Some("message") => {
                let role = match item["role"].as_str() {
                    Some("system" | "developer") => Role::System,
                    Some("assistant") => Role::Assistant,
                    Some("user") => Role::User,
                    Some(_) => {
                        let name = format!("{name}.role");
                        let message =
                            format!("`{name}` should be user, assistant, system or developer");
                        return Err(Failure::invalid(&name, message));
                    }
                    None => {
                        return Err(Failure::invalid(
                            &name,
                            format!("`{name}` has no role and no type. {WANT}"),
                        ));
                    }
                };
                (
                    role,
                    content(request, &format!("{name}.content"), &item["content"]),
                )
            }
            Some("reasoning") => (Role::Assistant, vec![answer::reasoning(item)]),
            Some("function_call") => {
                let (id, name) = (text("call_id"), text("name"));
                (
                    Role::Assistant,
                    vec![Part::ToolCall {
                        id,
                        name,
                        arguments: text("arguments"),
                    }],
                )
            }
            Some("function_call_output") => {
                let content = content(request, &format!("{name}.output"), &item["output"]);
                let error = item["status"] == "incomplete";
                (
                    Role::Tool,
                    vec![Part::ToolResult {
                        id: text("call_id"),
                        content,
                        error,
                    }],
                )
            }
            Some(_) => {
                request.require(name);
                continue;
            }
        };
        // Items of the assistant, or of tools, form one message elsewhere; a user's stay separate.
        match request.messages.last_mut() {
            Some(last) if last.role == role && matches!(role, Role::Assistant | Role::Tool) => {
                last.parts.extend(parts)
            }
            _ => request.messages.push(Message { role, parts }),
        }
    }
    Ok(())
}

fn content(request: &mut Request, name: &str, content: &Value) -> Vec<Part> {
    let list = match content {
        Value::String(text) => return vec![Part::Text(text.clone())],
        Value::Array(list) => list,
        Value::Null => return Vec::new(),
        _ => {
            request.require(name);
            return Vec::new();
        }
    };
    let mut parts = Vec::new();
    for (at, part) in list.iter().enumerate() {
        match (
            part["type"].as_str(),
            part["text"].as_str(),
            part["image_url"].as_str(),
        ) {
            (Some("input_image"), _, Some(url)) => parts.push(Part::Image(Image::from_url(url))),
            (Some("refusal"), ..) => {
                parts.push(Part::Refusal(
                    part["refusal"].as_str().unwrap_or_default().to_owned(),
                ));
            }
            (_, Some(text), _) => parts.push(Part::Text(text.to_owned())),
            _ => request.require(format!("{name}[{at}]")),
        }
    }
    parts
}
