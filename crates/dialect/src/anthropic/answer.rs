//! Complete answers: read from an upstream, written for a client.

use serde_json::{Value, json};

use super::reader::AnthropicEventReader;
use super::{
    UsageCounts, citation_json, only_stop, signature, stop_reason, unsigned_signature, usage_json,
};
use crate::event::{Event, FinishReason, ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::finish;
use crate::request::Part;
use crate::{Answer, EventSink, FinishRule, PayloadInfo, ResponseMeta, emit, error_report, tools};

/// Parses an upstream's answer: its usage, an error in it, and, with a sink, its content as events.
pub(super) fn parse_answer(
    body: &[u8],
    rule: FinishRule,
    mut sink: EventSink<'_>,
) -> Result<PayloadInfo, Failure> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|e| Failure::bad_payload("a Messages answer", e.into()))?;
    let has_content = body["content"].is_array() || body["content"].is_string();
    let error = match has_content {
        true => error_report::ErrorReport::in_field(&body),
        false => error_report::ErrorReport::in_payload(&body),
    };
    if let Some(error) = error {
        return Err(error.into());
    }
    let usage = Some(&body["usage"]).filter(|usage| usage.is_object());
    if usage.is_none() && !body["stop_reason"].is_string() {
        let source = "it has no `usage`".into();
        return Err(Failure::bad_payload("a Messages answer", source));
    }
    let usage = usage.map(|usage| {
        let mut counts = UsageCounts::default();
        counts.update(usage);
        counts.usage()
    });
    let mut reader = AnthropicEventReader::default();
    let mut seen = PayloadInfo::default();
    match &body["content"] {
        Value::Array(blocks) if sink.is_some() => blocks
            .iter()
            .for_each(|block| reader.read_block(block, &mut seen, &mut sink)),
        Value::String(text) => emit(&mut sink, Event::Text(text.into())),
        _ => {}
    }
    if let Some(usage) = usage {
        emit(&mut sink, Event::Usage(usage));
    }
    let reason = body["stop_reason"].as_str().unwrap_or_default();
    let reason = match finish::ANTHROPIC.read(reason, reader.has_calls(), "")? {
        Some(reason) => reason,
        None if rule == FinishRule::Optional => FinishReason::Stop,
        None => return Err(Failure::upstream_truncated("it has no stop_reason")),
    };
    reader.finish(reason, &mut sink);
    reader.close(seen, &mut sink)?;
    Ok(PayloadInfo {
        is_end: true,
        usage,
        ..PayloadInfo::default()
    })
}

/// Encodes an answer for a client.
pub(super) fn encode_answer(answer: &Answer, id: &str, meta: &ResponseMeta) -> Value {
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
            Part::Image(..)
            | Part::ToolResult { .. }
            | Part::File(_)
            | Part::CacheBreakpoint(_) => continue,
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
    let stop = only_stop(&meta.request).filter(|_| reason == FinishReason::StopSequence);
    json!({
        "id": id, "type": "message", "role": "assistant", "model": meta.model, "content": content,
        "stop_reason": stop_reason(reason), "stop_sequence": stop, "usage": usage_json(answer.usage),
    })
}
