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
            "`background` requires `store`: the response is kept until it is retrieved",
        ));
    }
    if let Some(text) = body.take::<String>("instructions", "a string")? {
        request.messages.push(Message::text(Role::System, text));
    }
    parse_input(&mut request, &body.value("input"))?;
    let user = [body.value("user"), body.value("safety_identifier")];
    request.user = user.iter().find_map(Value::as_str).map(str::to_owned);
    let tools: Vec<Value> = body.take("tools", "a list of tools")?.unwrap_or_default();
    for (at, tool) in tools.iter().enumerate() {
        parse_tool(&mut request, at, tool);
    }
    let choice = body.value("tool_choice");
    request.tool_choice = parse_tool_choice(&choice);
    if request.tool_choice.is_none() && !choice.is_null() {
        request.require("tool_choice");
    }
    parse_text_options(&mut request, &body.value("text"));
    request.reasoning = parse_reasoning(&body.value("reasoning"));
    body.record_rest(&mut request, INERT_FIELDS, ESSENTIAL_FIELDS);
    request.body = bytes;
    Ok(request)
}

fn parse_tool(request: &mut Request, at: usize, tool: &Value) {
    match (tool["type"].as_str(), tool["name"].as_str()) {
        (Some("function"), Some(name)) => request.tools.push(Tool {
            name: name.to_owned(),
            description: tool["description"].as_str().map(str::to_owned),
            parameters: tool["parameters"].clone().into(),
            strict: tool["strict"].as_bool(),
        }),
        // A tool that OpenAI runs itself, or a custom tool whose arguments are not JSON.
        _ => request.require(format!("tools[{at}]")),
    }
}

fn parse_tool_choice(choice: &Value) -> Option<ToolChoice> {
    match (choice.as_str(), choice["type"].as_str()) {
        (Some("auto"), _) => Some(ToolChoice::Auto),
        (Some("none"), _) => Some(ToolChoice::None),
        (Some("required"), _) => Some(ToolChoice::Required),
        (_, Some("function")) => choice["name"]
            .as_str()
            .map(|name| ToolChoice::Named(name.to_owned())),
        _ => None,
    }
}

/// Parses the reasoning options; a summary alone asks for medium effort.
fn parse_reasoning(reasoning: &Value) -> Option<Reasoning> {
    let shown = (!reasoning["summary"].is_null()).then_some(true);
    let effort = reasoning["effort"].as_str().and_then(Effort::from_word);
    let effort = effort.or(shown.map(|_| Effort::Medium))?;
    Some(Reasoning {
        effort,
        budget: None,
        shown,
    })
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

fn parse_text_options(request: &mut Request, text: &Value) {
    let format = &text["format"];
    match format["type"].as_str() {
        None | Some("text") => {}
        Some("json_object") => request.format = Some(Format::Json),
        Some("json_schema") => {
            request.format = Some(Format::Schema {
                name: format["name"].as_str().unwrap_or("answer").to_owned(),
                schema: format["schema"].clone().into(),
                strict: format["strict"].as_bool(),
            });
        }
        Some(_) => request.require("text.format"),
    }
    if !matches!(text["verbosity"].as_str(), None | Some("medium")) {
        request.ignore("text.verbosity");
    }
}

fn parse_input(request: &mut Request, input: &Value) -> Result<(), Failure> {
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
        _ => return Err(Failure::invalid("input", WANTED_INPUT)),
    };
    for (at, item) in list.iter().enumerate() {
        let Some((role, parts)) = parse_item(request, format!("input[{at}]"), item)? else {
            continue;
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

const WANTED_INPUT: &str = "`input` should be a string, or a list of items, as in \
                            [{\"role\": \"user\", \"content\": \"Hello\"}]";

/// Parses one input item; an unknown one is recorded as unsupported.
fn parse_item(
    request: &mut Request,
    name: String,
    item: &Value,
) -> Result<Option<(Role, Vec<Part>)>, Failure> {
    let text = |field: &str| item[field].as_str().unwrap_or_default().to_owned();
    Ok(Some(match item["type"].as_str() {
        None | Some("message") => {
            let role = parse_role(&name, &item["role"])?;
            let parts = parse_content(request, &format!("{name}.content"), &item["content"]);
            (role, parts)
        }
        Some("reasoning") => (Role::Assistant, vec![answer::reasoning(item)]),
        Some("function_call") => {
            let call = Part::ToolCall {
                id: text("call_id"),
                name: text("name"),
                arguments: text("arguments"),
            };
            (Role::Assistant, vec![call])
        }
        Some("function_call_output") => {
            let result = Part::ToolResult {
                id: text("call_id"),
                content: parse_content(request, &format!("{name}.output"), &item["output"]),
                error: item["status"] == "incomplete",
            };
            (Role::Tool, vec![result])
        }
        Some(_) => {
            request.require(name);
            return Ok(None);
        }
    }))
}

fn parse_role(name: &str, role: &Value) -> Result<Role, Failure> {
    match role.as_str() {
        Some("system" | "developer") => Ok(Role::System),
        Some("assistant") => Ok(Role::Assistant),
        Some("user") => Ok(Role::User),
        Some(_) => {
            let name = format!("{name}.role");
            let message = format!("`{name}` should be user, assistant, system or developer");
            Err(Failure::invalid(&name, message))
        }
        None => Err(Failure::invalid(
            name,
            format!("`{name}` has no role and no type. {WANTED_INPUT}"),
        )),
    }
}

fn parse_content(request: &mut Request, name: &str, content: &Value) -> Vec<Part> {
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
