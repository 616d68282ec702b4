//! Complete answers: read from an upstream, written for a client.

use serde_json::{Value, json};

use super::{citation, citation_json, finish_reason, object, response_id, status, usage};
use crate::event::{Event, FinishReason, ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::request::Part;
use crate::{Answer, EventSink, PayloadInfo, ResponseMeta, emit, error_report, tools};

/// Parses an upstream's answer: its usage, an error in it, and, with a sink, its content as events.
pub(super) fn parse_answer(body: &[u8], mut sink: EventSink<'_>) -> Result<PayloadInfo, Failure> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|e| Failure::bad_payload("a Responses answer", e.into()))?;
    if sink.is_none() && body["status"].is_string() {
        // Clients of the same dialect read the status themselves.
        return Ok(PayloadInfo {
            is_end: true,
            usage: usage(&body["usage"]),
            ..PayloadInfo::default()
        });
    }
    if let Some(failure) = error_report::parse_error_value(&body["error"].to_string()) {
        return Err(failure);
    }
    match body["status"].as_str() {
        // Some upstreams omit it.
        Some("completed" | "incomplete") | None if body["output"].is_array() => {}
        _ if sink.is_none() => {}
        status => {
            let status = status.unwrap_or("nothing").to_owned();
            return Err(Failure::upstream_report(error_report::ErrorReport {
                message: format!("the upstream's answer is incomplete: its status is {status}"),
                kind: None,
                code: Some(status),
            }));
        }
    }
    let mut calls = 0;
    for item in body["output"].as_array().into_iter().flatten() {
        item_events(item, &mut calls, &mut sink);
    }
    let usage = usage(&body["usage"]);
    if let Some(usage) = usage {
        emit(&mut sink, Event::Usage(usage));
    }
    emit(&mut sink, Event::Finish(finish_reason(&body, calls > 0)));
    Ok(PayloadInfo {
        is_end: true,
        usage,
        ..PayloadInfo::default()
    })
}

/// Emits the events of a complete item.
pub(super) fn item_events(item: &Value, calls: &mut u32, sink: &mut EventSink<'_>) {
    match item["type"].as_str() {
        Some("message") => {
            for part in item["content"].as_array().into_iter().flatten() {
                if let Some(text) = part["text"].as_str() {
                    emit(sink, Event::Text(text.into()));
                }
                if let Some(text) = part["refusal"].as_str() {
                    emit(sink, Event::Refusal(text.into()));
                }
                for cited in part["annotations"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(citation)
                {
                    emit(sink, Event::Citation(cited));
                }
            }
        }
        Some("reasoning") => {
            emit(sink, Event::Reasoning(reasoning_text(item).into()));
            if let Some(state) = state(item) {
                emit(sink, Event::State(state));
            }
        }
        Some("function_call" | "custom_tool_call") => {
            let index = *calls;
            *calls += 1;
            let text = |name: &str| item[name].as_str().unwrap_or_default();
            emit(
                sink,
                Event::ToolCall {
                    index,
                    id: text("call_id").into(),
                    name: text("name").into(),
                },
            );
            emit(
                sink,
                Event::ToolArguments {
                    index,
                    fragment: arguments(item).into(),
                },
            );
            emit(sink, Event::ToolEnd { index });
        }
        // Output of the upstream's own tools, which is not part of the answer.
        _ => {}
    }
}

/// Returns a call's arguments; the free text of a custom tool becomes an object.
pub(super) fn arguments(item: &Value) -> String {
    match item["input"].as_str() {
        Some(input) => json!({ "input": input }).to_string(),
        None => item["arguments"].as_str().unwrap_or_default().to_owned(),
    }
}

/// Returns the visible text of a reasoning item: its summary, or the reasoning itself if there is
/// none.
fn reasoning_text(item: &Value) -> String {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(|part| part["text"].as_str())
            .map(str::to_owned)
            .collect()
    };
    let summary = texts(&item["summary"]);
    if summary.is_empty() {
        texts(&item["content"])
    } else {
        summary
    }
    .join("\n\n")
}

/// Returns the part of a reasoning item that is sent back on the next turn.
pub(super) fn state(item: &Value) -> Option<ReasoningState<'static>> {
    let encrypted = item["encrypted_content"]
        .as_str()
        .filter(|encrypted| !encrypted.is_empty())?;
    let id = item["id"].as_str().unwrap_or_default();
    Some(decode_state(encrypted, id))
}

/// Decodes the encrypted content of the reasoning item of that id.
pub(super) fn decode_state(encrypted: &str, id: &str) -> ReasoningState<'static> {
    let ReasoningState { origin, value } =
        ReasoningState::decode(encrypted, StateOrigin::OpenAiResponses);
    let value = match origin {
        // OpenAI's own value, without an origin prefix.
        StateOrigin::OpenAiResponses if value == encrypted => format!("{id} {encrypted}"),
        _ => value.into_owned(),
    };
    ReasoningState {
        origin,
        value: value.into(),
    }
}

/// Encodes an answer for a client.
pub(super) fn encode_answer(answer: &Answer, meta: &ResponseMeta) -> Value {
    let mut output = Vec::new();
    let mut citations: Vec<Value> = answer.citations.iter().map(citation_json).collect();
    for (at, part) in answer.parts.iter().enumerate() {
        let id = |prefix: &str| format!("{prefix}_{}_{at}", meta.id);
        output.push(match part {
            Part::Text(text) => {
                message_json(&id("msg"), text_part(text, std::mem::take(&mut citations)))
            }
            Part::Refusal(text) => {
                message_json(&id("msg"), json!({ "type": "refusal", "refusal": text }))
            }
            Part::Reasoning { text, state } => reasoning_json(
                &id("rs"),
                text,
                state
                    .as_ref()
                    .map_or_else(unsigned_signature, ReasoningState::encode),
            ),
            Part::ToolCall {
                id: call,
                name,
                arguments,
            } => {
                let cut = answer.finish() == FinishReason::Length
                    && tools::whole_object(arguments).is_none();
                call_json(
                    &id("fc"),
                    call,
                    name,
                    arguments,
                    if cut { "incomplete" } else { "completed" },
                )
            }
            Part::Image(_) | Part::ToolResult { .. } => continue,
        });
    }
    let (status, details) = status(answer.finish());
    let mut body = object(meta, &response_id(meta), status, output, answer.usage);
    body["incomplete_details"] = details;
    body
}

/// Returns the signature for reasoning that its upstream did not sign: it names only the origin.
pub(super) fn unsigned_signature() -> String {
    ReasoningState {
        origin: StateOrigin::OpenAiChat,
        value: "".into(),
    }
    .encode()
}

pub(super) fn text_part(text: &str, annotations: Vec<Value>) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": annotations, "logprobs": [] })
}

fn message_json(id: &str, part: Value) -> Value {
    json!({ "id": id, "type": "message", "status": "completed", "role": "assistant", "content": [part] })
}

pub(super) fn reasoning_json(id: &str, text: &str, encrypted: String) -> Value {
    let summary = if text.is_empty() {
        json!([])
    } else {
        json!([{ "type": "summary_text", "text": text }])
    };
    json!({ "id": id, "type": "reasoning", "summary": summary, "encrypted_content": encrypted })
}

pub(super) fn call_json(id: &str, call: &str, name: &str, arguments: &str, status: &str) -> Value {
    let call = tools::fit_id(call, 64);
    let arguments = if status == "completed" {
        tools::text(arguments)
    } else {
        arguments
    };
    json!({
        "id": id, "type": "function_call", "status": status, "call_id": call, "name": name, "arguments": arguments,
    })
}
