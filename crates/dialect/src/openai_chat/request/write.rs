//! Encodes a neutral request as a Chat Completions request.

use serde_json::{Value, json};

use crate::event::{ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::request::{Format, Part, Request, Role, Tool, ToolChoice, text_of, texts_of};
use crate::{UpstreamPayload, tools};

/// Encodes a request of another dialect, and asks for the usage.
pub(in crate::openai_chat) fn encode_request(
    request: &Request,
    model: &str,
) -> Result<UpstreamPayload, Failure> {
    let mut dropped = Vec::new();
    let mut messages = Vec::new();
    // Upstreams want their reasoning back only within the current turn.
    let turn = request.current_turn();
    let mut images = Vec::new();
    for (at, message) in request.messages.iter().enumerate() {
        if message.role != Role::Tool {
            results_images(&mut images, &mut messages);
        }
        match message.role {
            Role::System => messages
                .push(json!({ "role": "system", "content": texts_of(&message.parts, "\n\n") })),
            Role::User => {
                messages.push(json!({ "role": "user", "content": content_json(&message.parts) }))
            }
            Role::Assistant => messages.extend(assistant(&message.parts, at > turn)),
            Role::Tool => tool_results(&message.parts, &mut messages, &mut images, &mut dropped),
        }
    }
    results_images(&mut images, &mut messages);
    let mut body = json!({ "model": model, "messages": messages, "stream": request.stream });
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body[name] = value;
        }
    };
    set(
        "stream_options",
        request.stream.then(|| json!({ "include_usage": true })),
    );
    let limit = if is_newer(model) {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    set(limit, request.max_tokens.map(Value::from));
    let sampling = &request.sampling;
    set("seed", sampling.seed.map(Value::from));
    let stop = (!request.stop.is_empty())
        .then(|| json!(&request.stop[..request.stop.len().min(MAX_STOP_SEQUENCES)]));
    if request.stop.len() > MAX_STOP_SEQUENCES {
        dropped.push(format!("stop (more than {MAX_STOP_SEQUENCES})"));
    }
    for (name, value) in [
        ("temperature", sampling.temperature.map(Value::from)),
        ("top_p", sampling.top_p.map(Value::from)),
        (
            "presence_penalty",
            sampling.presence_penalty.map(Value::from),
        ),
        (
            "frequency_penalty",
            sampling.frequency_penalty.map(Value::from),
        ),
        ("stop", stop),
    ] {
        match value {
            // These models reject them.
            Some(_) if is_newer(model) => dropped.push(name.to_owned()),
            value => set(name, value),
        }
    }
    set("user", request.user.as_deref().map(Value::from));
    set("n", (request.n > 1).then(|| request.n.into()));
    if sampling.top_k.is_some() {
        dropped.push("top_k".to_owned());
    }
    // Few models know the effort `none`, so it is sent only if the client used that word.
    let unthinking = request
        .reasoning
        .is_some_and(|reasoning| reasoning.budget == Some(0));
    if unthinking {
        dropped.push("the thinking budget of 0".to_owned());
    }
    set(
        "reasoning_effort",
        request
            .reasoning
            .filter(|_| !unthinking)
            .map(|reasoning| reasoning.effort.word().into()),
    );
    if request
        .reasoning
        .is_some_and(|reasoning| reasoning.budget.is_some_and(|tokens| tokens > 0))
    {
        dropped.push("the thinking budget (sent as reasoning_effort)".to_owned());
    }
    if !request.tools.is_empty() {
        set("tools", Some(request.tools.iter().map(tool_json).collect()));
        set(
            "parallel_tool_calls",
            request.parallel_tool_calls.map(Value::from),
        );
        set(
            "tool_choice",
            request.tool_choice.as_ref().map(|choice| match choice {
                ToolChoice::Auto => "auto".into(),
                ToolChoice::None => "none".into(),
                ToolChoice::Required => "required".into(),
                ToolChoice::Named(name) => {
                    json!({ "type": "function", "function": { "name": name } })
                }
            }),
        );
    }
    set(
        "response_format",
        request.format.as_ref().map(|format| match format {
            Format::Json => json!({ "type": "json_object" }),
            Format::Schema {
                name,
                schema,
                strict,
            } => {
                let mut inner = json!({ "name": name, "schema": schema });
                if let Some(strict) = strict {
                    inner["strict"] = (*strict).into();
                }
                json!({ "type": "json_schema", "json_schema": inner })
            }
        }),
    );
    Ok(UpstreamPayload {
        body: body.to_string().into(),
        dropped,
    })
}

/// Maximum number of stop sequences, as OpenAI has it.
const MAX_STOP_SEQUENCES: usize = 4;

/// Returns true for OpenAI's newer models, which reject `max_tokens`, the field that others
/// require, and all sampling parameters.
fn is_newer(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let digit =
        |rest: &str, from: char| rest.starts_with(|c: char| c.is_ascii_digit() && c >= from);
    name.strip_prefix('o').is_some_and(|rest| digit(rest, '1'))
        || name
            .strip_prefix("gpt-")
            .is_some_and(|rest| digit(rest, '5'))
}

fn content_json(parts: &[Part]) -> Value {
    if let [Part::Text(text)] = parts {
        return text.as_str().into();
    }
    let part = |part: &Part| match part {
        Part::Text(text) => Some(json!({ "type": "text", "text": text })),
        Part::Image(image) => {
            Some(json!({ "type": "image_url", "image_url": { "url": image.to_url() } }))
        }
        _ => None,
    };
    parts.iter().filter_map(part).collect()
}

/// Encodes an assistant's message; `None` if this upstream could use none of it.
fn assistant(parts: &[Part], current: bool) -> Option<Value> {
    let text = text_of(parts);
    let mut message = json!({ "role": "assistant", "content": text });
    let mut calls = Vec::new();
    let mut details = Vec::new();
    for part in parts {
        match part {
            Part::ToolCall {
                id,
                name,
                arguments,
            } => calls.push(json!({
                "id": tools::fit_id(id, 40), "type": "function",
                "function": { "name": name, "arguments": tools::text(arguments) },
            })),
            Part::Refusal(text) => message["refusal"] = text.as_str().into(),
            // Reasoning of other upstreams can't be sent back here.
            Part::Reasoning {
                text,
                state:
                    Some(ReasoningState {
                        origin: StateOrigin::OpenAiChat,
                        value,
                    }),
            } if current => {
                match (&**value, serde_json::from_str::<Value>(value)) {
                    // Only back to the field that it came from: other upstreams reject unknown
                    // fields.
                    (field @ ("reasoning_content" | "reasoning"), _) => {
                        let before = message[field].as_str().unwrap_or_default();
                        message[field] = format!("{before}{text}").into();
                    }
                    (_, Ok(mut detail)) if detail.is_object() => {
                        if detail["type"] == "reasoning.text" {
                            detail["text"] = text.as_str().into();
                        }
                        details.push(detail);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    if !calls.is_empty() {
        if text.is_empty() {
            message["content"] = Value::Null;
        }
        message["tool_calls"] = calls.into();
    }
    if !details.is_empty() {
        message["reasoning_details"] = details.into();
    }
    let says = |name: &str| message.get(name).is_some();
    let empty = text.is_empty()
        && ![
            "tool_calls",
            "refusal",
            "reasoning_details",
            "reasoning_content",
            "reasoning",
        ]
        .into_iter()
        .any(says);
    (!empty).then_some(message)
}

/// Appends a message for each result. Images, which tool messages can't hold, are collected for a
/// later user message.
fn tool_results(
    parts: &[Part],
    messages: &mut Vec<Value>,
    images: &mut Vec<Part>,
    dropped: &mut Vec<String>,
) {
    for part in parts {
        let Part::ToolResult { id, content, error } = part else {
            continue;
        };
        if *error {
            dropped.push("is_error of a tool result".to_owned());
        }
        let id = tools::fit_id(id, 40);
        messages.push(
            json!({ "role": "tool", "tool_call_id": id, "content": texts_of(content, "\n") }),
        );
        images.extend(
            content
                .iter()
                .filter(|part| matches!(part, Part::Image(_)))
                .cloned(),
        );
    }
}

/// Appends the images of the preceding results as a user's message.
fn results_images(images: &mut Vec<Part>, messages: &mut Vec<Value>) {
    if !images.is_empty() {
        messages.push(json!({ "role": "user", "content": content_json(images) }));
        images.clear();
    }
}

fn tool_json(tool: &Tool) -> Value {
    let mut function = json!({ "name": tool.name });
    if let Some(description) = &tool.description {
        function["description"] = description.as_str().into();
    }
    if !tool.parameters.is_null() {
        function["parameters"] = tools::schema(&tool.parameters);
    }
    if let Some(strict) = tool.strict {
        function["strict"] = strict.into();
    }
    json!({ "type": "function", "function": function })
}
