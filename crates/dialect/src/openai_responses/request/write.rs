//! Encodes a neutral request as a Responses request.

use serde_json::{Value, json};

use super::super::{tool_choice_json, write_format, write_tool};
use crate::event::{ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::json::ListWriter;
use crate::payload_builder::{PayloadBuilder, has_effect};
use crate::request::{Message, Part, Reasoning, Request, Role, texts_of};
use crate::{UpstreamPayload, tools};

/// Encodes a request of another dialect.
pub(in crate::openai_responses) fn encode_request(
    request: &Request,
    model: &str,
) -> Result<UpstreamPayload, Failure> {
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
    let mut payload = PayloadBuilder::new(request);
    payload.set("model", Some(model));
    payload.list("input", |items, dropped| {
        for message in rest {
            write_items(message, items, dropped);
        }
    });
    payload.set("stream", Some(request.stream));
    payload.set("store", Some(false));
    let system: Vec<String> = system
        .iter()
        .map(|message| texts_of(&message.parts, "\n\n"))
        .collect();
    payload.set(
        "instructions",
        (!system.is_empty()).then(|| system.join("\n\n")),
    );
    set_sampling(&mut payload, request);
    payload.set("user", request.user.as_deref());
    if !request.tools.is_empty() {
        payload.list("tools", |list, _| {
            for tool in &request.tools {
                list.object(|object| write_tool(tool, object));
            }
        });
        payload.set("parallel_tool_calls", request.parallel_tool_calls);
        payload.set(
            "tool_choice",
            request.tool_choice.as_ref().map(tool_choice_json),
        );
    }
    if let Some(format) = &request.format {
        payload.object("text", |text| {
            text.object("format", |object| write_format(format, object));
        });
    }
    set_reasoning(&mut payload, request.reasoning);
    Ok(payload.finish())
}

/// Sets the token limit and the two sampling parameters that this API has.
fn set_sampling(payload: &mut PayloadBuilder, request: &Request) {
    if let Some(limit) = request
        .max_tokens
        .filter(|limit| *limit < MIN_OUTPUT_TOKENS)
    {
        payload.drop_param(format!(
            "max_tokens {limit} (sent as {MIN_OUTPUT_TOKENS}, the minimum)"
        ));
    }
    let limit = request.max_tokens.map(|limit| limit.max(MIN_OUTPUT_TOKENS));
    payload.set("max_output_tokens", limit);
    let sampling = &request.sampling;
    payload.set("temperature", sampling.temperature);
    payload.set("top_p", sampling.top_p);
    payload.drop_present(&[
        ("top_k", sampling.top_k.is_some()),
        ("seed", sampling.seed.is_some()),
        ("presence_penalty", has_effect(sampling.presence_penalty)),
        ("frequency_penalty", has_effect(sampling.frequency_penalty)),
        ("stop", !request.stop.is_empty()),
    ]);
}

fn set_reasoning(payload: &mut PayloadBuilder, reasoning: Option<Reasoning>) {
    let Some(Reasoning {
        effort,
        budget,
        shown,
    }) = reasoning
    else {
        return;
    };
    if budget == Some(0) {
        return payload.drop_param("the thinking budget of 0");
    }
    // Summaries require a verified account, so they are requested only if the client did.
    let summary = (shown == Some(true)).then_some("auto");
    let reasoning = json!({ "effort": effort.word(), "summary": summary });
    payload.set("reasoning", Some(reasoning));
    if budget.is_some() {
        payload.drop_param("the thinking budget (sent as reasoning.effort)");
    }
    // Nothing is stored, so the reasoning must be returned to be sent back.
    payload.set("include", Some(json!(["reasoning.encrypted_content"])));
}

/// Smallest accepted token limit.
const MIN_OUTPUT_TOKENS: u32 = 16;

/// Writes the items of a message: what it says, between its calls, results and reasoning.
fn write_items(message: &Message, items: &mut ListWriter, dropped: &mut Vec<String>) {
    let mut said: Vec<&Part> = Vec::with_capacity(message.parts.len());
    for part in &message.parts {
        if is_said(part) {
            said.push(part);
        } else if is_sent(part) {
            write_said(message.role, &said, items);
            said.clear();
            write_item(part, items, dropped);
        }
    }
    write_said(message.role, &said, items);
}

/// Returns true for the content of a message; other parts are items of their own.
fn is_said(part: &Part) -> bool {
    match part {
        Part::Text(text) => !text.is_empty(),
        Part::Image(_) | Part::Refusal(_) => true,
        _ => false,
    }
}

/// Returns true for a part that is an item of its own. Reasoning of other upstreams can't be sent
/// back here.
fn is_sent(part: &Part) -> bool {
    match part {
        Part::Reasoning { state, .. } => state
            .as_ref()
            .is_some_and(|state| state.origin == StateOrigin::OpenAiResponses),
        Part::ToolCall { .. } | Part::ToolResult { .. } => true,
        Part::Text(_) | Part::Image(_) | Part::Refusal(_) => false,
    }
}

fn write_item(part: &Part, items: &mut ListWriter, dropped: &mut Vec<String>) {
    match part {
        Part::Reasoning {
            text,
            state: Some(ReasoningState { value, .. }),
        } => {
            let (id, encrypted) = value.split_once(' ').unwrap_or(("", value));
            items.value(reasoning_item(id, text, encrypted));
        }
        Part::ToolCall {
            id,
            name,
            arguments,
        } => items.value(json!({
            "type": "function_call", "call_id": tools::fit_id(id, 64), "name": name,
            "arguments": tools::text(arguments),
        })),
        Part::ToolResult { id, content, error } => {
            if *error && !dropped.iter().any(|known| known == DROPPED_ERROR) {
                dropped.push(DROPPED_ERROR.to_owned());
            }
            items.object(|item| {
                item.field("type", "function_call_output");
                item.field("call_id", tools::fit_id(id, 64));
                if content.iter().all(|part| matches!(part, Part::Text(_))) {
                    return item.field("output", texts_of(content, "\n"));
                }
                item.list("output", |output| {
                    for part in content {
                        write_part(part, "input_text", output);
                    }
                });
            });
        }
        _ => {}
    }
}

const DROPPED_ERROR: &str = "is_error of a tool result";

fn write_said(role: Role, said: &[&Part], items: &mut ListWriter) {
    let (role, kind) = match role {
        Role::System => ("system", "input_text"),
        Role::User | Role::Tool => ("user", "input_text"),
        Role::Assistant => ("assistant", "output_text"),
    };
    match said {
        [] => {}
        [Part::Text(text)] => items.value(json!({ "role": role, "content": text })),
        parts => items.object(|item| {
            item.field("role", role);
            item.list("content", |content| {
                for part in parts {
                    write_part(part, kind, content);
                }
            });
        }),
    }
}

fn write_part(part: &Part, kind: &str, content: &mut ListWriter) {
    match part {
        Part::Text(text) => content.value(json!({ "type": kind, "text": text })),
        Part::Image(image) => content
            .value(json!({ "type": "input_image", "image_url": image.to_url(), "detail": "auto" })),
        Part::Refusal(text) => content.value(json!({ "type": "refusal", "refusal": text })),
        _ => {}
    }
}

fn reasoning_item(id: &str, text: &str, encrypted: &str) -> Value {
    let summary = if text.is_empty() {
        json!([])
    } else {
        json!([{ "type": "summary_text", "text": text }])
    };
    let mut item =
        json!({ "type": "reasoning", "summary": summary, "encrypted_content": encrypted });
    if !id.is_empty() {
        item["id"] = id.into();
    }
    item
}
