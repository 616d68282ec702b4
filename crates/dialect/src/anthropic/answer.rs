//! Complete answers: read from an upstream, written for a client.

use serde_json::{Value, json};

use super::{
    UsageCounts, citation, citation_json, finish_reason, signature, stop_reason,
    unsigned_signature, usage_json,
};
use crate::event::{Event, FinishReason, ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::request::Part;
use crate::{Answer, EventSink, PayloadInfo, emit, error_report, tools};

/// Parses an upstream's answer: its usage, an error in it, and, with a sink, its content as events.
pub(super) fn parse_answer(body: &[u8], mut sink: EventSink<'_>) -> Result<PayloadInfo, Failure> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|e| Failure::bad_payload("a Messages answer", e.into()))?;
    if let Some(failure) = error_report::parse_error_value(&body["error"].to_string()) {
        return Err(failure);
    }
    if body["usage"].is_null() {
        let source = "it has no `usage`".into();
        return Err(Failure::bad_payload("a Messages answer", source));
    }
    let mut counts = UsageCounts::default();
    counts.update(&body["usage"]);
    let usage = counts.usage();
    let mut calls = 0;
    for block in body["content"].as_array().into_iter().flatten() {
        emit_block(block, &mut calls, &mut sink);
    }
    emit(&mut sink, Event::Usage(usage));
    let reason = body["stop_reason"].as_str().unwrap_or("end_turn");
    emit(&mut sink, Event::Finish(finish_reason(reason, calls > 0)));
    Ok(PayloadInfo {
        is_end: true,
        usage: Some(usage),
        ..PayloadInfo::default()
    })
}

/// Emits the events of a complete block.
fn emit_block(block: &Value, calls: &mut u32, sink: &mut EventSink<'_>) {
    let text = |name: &str| block[name].as_str().unwrap_or_default();
    match block["type"].as_str() {
        Some("text") => {
            emit(sink, Event::Text(text("text").into()));
            let citations = block["citations"].as_array().into_iter().flatten();
            for cited in citations.filter_map(citation) {
                emit(sink, Event::Citation(cited));
            }
        }
        Some("thinking") => {
            emit(sink, Event::Reasoning(text("thinking").into()));
            let signature = text("signature");
            if !signature.is_empty() {
                let state = ReasoningState::decode(signature, StateOrigin::Anthropic);
                emit(sink, Event::State(state));
            }
        }
        Some("redacted_thinking") => {
            let state = ReasoningState {
                origin: StateOrigin::AnthropicRedacted,
                value: text("data").into(),
            };
            emit(sink, Event::State(state));
        }
        Some("tool_use") => {
            let index = *calls;
            *calls += 1;
            let (id, name) = (text("id").into(), text("name").into());
            emit(sink, Event::ToolCall { index, id, name });
            let fragment = block["input"].to_string().into();
            emit(sink, Event::ToolArguments { index, fragment });
            emit(sink, Event::ToolEnd { index });
        }
        _ => {}
    }
}

/// Encodes an answer for a client.
pub(super) fn encode_answer(answer: &Answer, id: &str, model: &str) -> Value {
    let mut refused = false;
    let mut content: Vec<Value> = Vec::new();
    for part in &answer.parts {
        content.push(match part {
            Part::Text(text) => json!({ "type": "text", "text": text, "citations": null }),
            Part::Refusal(text) => {
                refused = true;
                json!({ "type": "text", "text": text, "citations": null })
            }
            Part::Reasoning { state: Some(ReasoningState { origin: StateOrigin::AnthropicRedacted, value }), text }
                if text.is_empty() =>
            {
                json!({ "type": "redacted_thinking", "data": value })
            }
            Part::Reasoning { text, state } => {
                let signature = state.as_ref().map_or_else(unsigned_signature, signature);
                json!({ "type": "thinking", "thinking": text, "signature": signature })
            }
            // A call that was cut off by the token limit must not be run.
            Part::ToolCall { arguments, .. }
                if answer.finish() == FinishReason::Length && tools::whole_object(arguments).is_none() =>
            {
                continue;
            }
            Part::ToolCall { id, name, arguments } => json!({
                "type": "tool_use", "id": tools::fit_id(id, 64), "name": name, "input": tools::object(arguments),
            }),
            Part::Image(_) | Part::ToolResult { .. } => continue,
        });
    }
    if !answer.citations.is_empty()
        && let Some(text) = content
            .iter_mut()
            .rev()
            .find(|block| block["type"] == "text")
    {
        text["citations"] = answer.citations.iter().map(citation_json).collect();
    }
    let reason = match answer.finish() {
        FinishReason::Stop if refused => FinishReason::ContentFilter,
        reason => reason,
    };
    json!({
        "id": id, "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": stop_reason(reason), "stop_sequence": null, "usage": usage_json(answer.usage),
    })
}
