//! Encodes a neutral request as a Chat Completions request.

use serde_json::{Value, json};

use crate::event::{ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::payload_builder::PayloadBuilder;
use crate::request::{Format, Part, Reasoning, Request, Role, Tool, ToolChoice, text_of, texts_of};
use crate::{UpstreamPayload, tools};

/// Encodes a request of another dialect, and asks for the usage.
pub(in crate::openai_chat) fn encode_request(
    request: &Request,
    model: &str,
) -> Result<UpstreamPayload, Failure> {
    let mut dropped = Vec::new();
    let messages = messages_json(request, &mut dropped);
    let mut payload = PayloadBuilder::new(
        json!({ "model": model, "messages": messages, "stream": request.stream }),
        dropped,
    );
    let options = request.stream.then(|| json!({ "include_usage": true }));
    payload.set("stream_options", options);
    set_sampling(&mut payload, request, is_newer(model));
    payload.set("user", request.user.as_deref());
    payload.set("n", (request.n > 1).then_some(request.n));
    payload.drop_present(&[("top_k", request.sampling.top_k.is_some())]);
    set_reasoning(&mut payload, request.reasoning);
    if !request.tools.is_empty() {
        let tools: Vec<Value> = request.tools.iter().map(tool_json).collect();
        payload.set("tools", Some(tools));
        payload.set("parallel_tool_calls", request.parallel_tool_calls);
        payload.set("tool_choice", request.tool_choice.as_ref().map(choice_json));
    }
    payload.set("response_format", request.format.as_ref().map(format_json));
    Ok(payload.finish())
}

fn messages_json(request: &Request, dropped: &mut Vec<String>) -> Vec<Value> {
    let mut messages = Vec::new();
    // Upstreams want their reasoning back only within the current turn.
    let turn = request.current_turn();
    let mut images = Vec::new();
    for (at, message) in request.messages.iter().enumerate() {
        let parts = &message.parts;
        if message.role != Role::Tool {
            results_images(&mut images, &mut messages);
        }
        match message.role {
            Role::System => {
                messages.push(json!({ "role": "system", "content": texts_of(parts, "\n\n") }));
            }
            Role::User => {
                messages.push(json!({ "role": "user", "content": content_json(parts) }));
            }
            Role::Assistant => messages.extend(assistant(parts, at > turn)),
            Role::Tool => tool_results(parts, &mut messages, &mut images, dropped),
        }
    }
    results_images(&mut images, &mut messages);
    messages
}

/// Sets the token limit, the sampling parameters and the stop sequences.
fn set_sampling(payload: &mut PayloadBuilder, request: &Request, is_newer: bool) {
    let limit = if is_newer {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    payload.set(limit, request.max_tokens);
    let sampling = &request.sampling;
    payload.set("seed", sampling.seed);
    let stop = (!request.stop.is_empty())
        .then(|| json!(&request.stop[..request.stop.len().min(MAX_STOP_SEQUENCES)]));
    if request.stop.len() > MAX_STOP_SEQUENCES {
        payload.drop_param(format!("stop (more than {MAX_STOP_SEQUENCES})"));
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
            Some(_) if is_newer => payload.drop_param(name),
            value => payload.set(name, value),
        }
    }
}

fn set_reasoning(payload: &mut PayloadBuilder, reasoning: Option<Reasoning>) {
    let Some(Reasoning { effort, budget, .. }) = reasoning else {
        return;
    };
    match budget {
        // Few models know the effort `none`, so it is sent only if the client used that word.
        Some(0) => return payload.drop_param("the thinking budget of 0"),
        Some(_) => payload.drop_param("the thinking budget (sent as reasoning_effort)"),
        None => {}
    }
    payload.set("reasoning_effort", Some(effort.word()));
}

fn choice_json(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({ "type": "function", "function": { "name": name } }),
    }
}

fn format_json(format: &Format) -> Value {
    match format {
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
    }
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
            Part::Reasoning {
                text,
                state: Some(state),
            } if current => add_reasoning(&mut message, &mut details, text, state),
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
    // More than the role and the content.
    let has_fields = message.as_object().is_some_and(|fields| fields.len() > 2);
    (has_fields || !text.is_empty()).then_some(message)
}

/// Adds reasoning to a message. That of other kinds of upstreams can't be sent back here.
fn add_reasoning(
    message: &mut Value,
    details: &mut Vec<Value>,
    text: &str,
    state: &ReasoningState<'_>,
) {
    if state.origin != StateOrigin::OpenAiChat {
        return;
    }
    match (&*state.value, serde_json::from_str::<Value>(&state.value)) {
        // Only back to the field that it came from: other upstreams reject unknown fields.
        (field @ ("reasoning_content" | "reasoning"), _) => {
            let before = message[field].as_str().unwrap_or_default();
            message[field] = format!("{before}{text}").into();
        }
        (_, Ok(mut detail)) if detail.is_object() => {
            if detail["type"] == "reasoning.text" {
                detail["text"] = text.into();
            }
            details.push(detail);
        }
        _ => {}
    }
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
