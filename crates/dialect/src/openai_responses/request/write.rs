//! Encodes a neutral request as a Responses request.

use serde_json::{Value, json};

use super::super::{format_json, tool_choice_json, tool_json};
use crate::event::{ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::payload_builder::{PayloadBuilder, has_effect};
use crate::request::{Message, Part, Reasoning, Request, Role, texts_of};
use crate::{UpstreamPayload, tools};

/// Encodes a request of another dialect.
pub(in crate::openai_responses) fn encode_request(
    request: &Request,
    model: &str,
) -> Result<UpstreamPayload, Failure> {
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
    let mut payload = PayloadBuilder::of_tree(
        json!({ "model": model, "input": items, "stream": request.stream, "store": false }),
        dropped,
    );
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
        let tools: Vec<Value> = request.tools.iter().map(tool_json).collect();
        payload.set("tools", Some(tools));
        payload.set("parallel_tool_calls", request.parallel_tool_calls);
        payload.set(
            "tool_choice",
            request.tool_choice.as_ref().map(tool_choice_json),
        );
    }
    let format = request.format.as_ref();
    let text = format.map(|format| json!({ "format": format_json(Some(format)) }));
    payload.set("text", text);
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
                let (id, encrypted) = value.split_once(' ').unwrap_or(("", value));
                reasoning_item(id, text, encrypted)
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
