//! A Responses request: parsed from a client, encoded for an upstream.

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{answer, format_json, tool_choice_json, tool_json};
use crate::event::{ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::request::{
    Effort, Format, Image, Message, Part, Reasoning, Request, Role, Sampling, Tool, ToolChoice,
    texts_of,
};
use crate::{UpstreamPayload, json, tools};

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

/// Smallest accepted token limit.
const MIN_OUTPUT_TOKENS: u32 = 16;

/// Encodes a request of another dialect.
pub(super) fn encode_request(request: &Request, model: &str) -> Result<UpstreamPayload, Failure> {
    let mut dropped = Vec::new();
    let mut leading = request
        .messages
        .iter()
        .take_while(|message| message.role == Role::System)
        .count();
    if leading == request.messages.len() {
        // The API requires input, so a request of system messages alone sends them as input.
        leading = 0;
    }
    let (system, rest) = request.messages.split_at(leading);
    let mut items = Vec::new();
    for message in rest {
        items_of(message, &mut items, &mut dropped);
    }
    let mut body =
        json!({ "model": model, "input": items, "stream": request.stream, "store": false });
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body[name] = value;
        }
    };
    let system: Vec<String> = system
        .iter()
        .map(|message| texts_of(&message.parts, "\n\n"))
        .collect();
    set(
        "instructions",
        (!system.is_empty()).then(|| system.join("\n\n").into()),
    );
    if let Some(limit) = request
        .max_tokens
        .filter(|limit| *limit < MIN_OUTPUT_TOKENS)
    {
        dropped.push(format!(
            "max_tokens {limit} (sent as {MIN_OUTPUT_TOKENS}, the least there is)"
        ));
    }
    set(
        "max_output_tokens",
        request
            .max_tokens
            .map(|limit| limit.max(MIN_OUTPUT_TOKENS).into()),
    );
    let sampling = &request.sampling;
    set("temperature", sampling.temperature.map(Value::from));
    set("top_p", sampling.top_p.map(Value::from));
    for (name, there) in [
        ("top_k", sampling.top_k.is_some()),
        ("seed", sampling.seed.is_some()),
        (
            "presence_penalty",
            sampling
                .presence_penalty
                .is_some_and(|penalty| penalty != 0.0),
        ),
        (
            "frequency_penalty",
            sampling
                .frequency_penalty
                .is_some_and(|penalty| penalty != 0.0),
        ),
        ("stop", !request.stop.is_empty()),
    ] {
        if there {
            dropped.push(name.to_owned());
        }
    }
    set("user", request.user.as_deref().map(Value::from));
    if !request.tools.is_empty() {
        set("tools", Some(request.tools.iter().map(tool_json).collect()));
        set(
            "parallel_tool_calls",
            request.parallel_tool_calls.map(Value::from),
        );
        set(
            "tool_choice",
            request.tool_choice.as_ref().map(tool_choice_json),
        );
    }
    set(
        "text",
        request
            .format
            .as_ref()
            .map(|format| json!({ "format": format_json(Some(format)) })),
    );
    if request
        .reasoning
        .is_some_and(|reasoning| reasoning.budget == Some(0))
    {
        dropped.push("the thinking budget of 0".to_owned());
    } else if let Some(reasoning) = request.reasoning {
        // Summaries require a verified account, so they are requested only if the client did.
        let summary = (reasoning.shown == Some(true)).then_some("auto");
        set(
            "reasoning",
            Some(json!({ "effort": reasoning.effort.word(), "summary": summary })),
        );
        if reasoning.budget.is_some() {
            dropped.push("the thinking budget (sent as reasoning.effort)".to_owned());
        }
        // Nothing is stored, so the reasoning must be returned to be sent back.
        set("include", Some(json!(["reasoning.encrypted_content"])));
    }
    Ok(UpstreamPayload {
        body: body.to_string().into(),
        dropped,
    })
}

fn items_of(message: &Message, items: &mut Vec<Value>, dropped: &mut Vec<String>) {
    let (role, kind) = match message.role {
        Role::System => ("system", "input_text"),
        Role::User | Role::Tool => ("user", "input_text"),
        Role::Assistant => ("assistant", "output_text"),
    };
    let mut content = Vec::new();
    for part in &message.parts {
        let item = match part {
            Part::Text(text) if text.is_empty() => continue,
            Part::Text(_) | Part::Image(_) => {
                content.extend(part_json(part, kind));
                continue;
            }
            Part::Refusal(text) => {
                content.push(json!({ "type": "refusal", "refusal": text }));
                continue;
            }
            Part::Reasoning {
                text,
                state:
                    Some(ReasoningState {
                        origin: StateOrigin::OpenAiResponses,
                        value,
                    }),
            } => {
                let (id, sealed) = value.split_once(' ').unwrap_or(("", value));
                reasoning_item(id, text, sealed)
            }
            // Reasoning of other upstreams can't be sent back here.
            Part::Reasoning { .. } => continue,
            Part::ToolCall {
                id,
                name,
                arguments,
            } => json!({
                "type": "function_call", "call_id": tools::fit_id(id, 64), "name": name,
                "arguments": tools::text(arguments),
            }),
            Part::ToolResult { id, content, error } => {
                if *error {
                    dropped.push("is_error of a tool result".to_owned());
                }
                let output: Value = if content.iter().all(|part| matches!(part, Part::Text(_))) {
                    texts_of(content, "\n").into()
                } else {
                    content
                        .iter()
                        .filter_map(|part| part_json(part, "input_text"))
                        .collect()
                };
                json!({ "type": "function_call_output", "call_id": tools::fit_id(id, 64), "output": output })
            }
        };
        said(role, &mut content, items);
        items.push(item);
    }
    said(role, &mut content, items);
}

fn said(role: &str, content: &mut Vec<Value>, items: &mut Vec<Value>) {
    match std::mem::take(content).as_slice() {
        [] => {}
        [only] if only["text"].is_string() => {
            items.push(json!({ "role": role, "content": only["text"] }))
        }
        several => items.push(json!({ "role": role, "content": several })),
    }
}

fn part_json(part: &Part, kind: &str) -> Option<Value> {
    match part {
        Part::Text(text) => Some(json!({ "type": kind, "text": text })),
        Part::Image(image) => {
            Some(json!({ "type": "input_image", "image_url": image.to_url(), "detail": "auto" }))
        }
        _ => None,
    }
}

fn reasoning_item(id: &str, text: &str, sealed: &str) -> Value {
    let summary = if text.is_empty() {
        json!([])
    } else {
        json!([{ "type": "summary_text", "text": text }])
    };
    let mut item = json!({ "type": "reasoning", "summary": summary, "encrypted_content": sealed });
    if !id.is_empty() {
        item["id"] = id.into();
    }
    item
}
