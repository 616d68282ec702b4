//! Complete answers: read from an upstream, written for a client.

use serde_json::{Value, json};

use super::chunk::{ChatChunk, ChunkChoice};
use super::message::MessageReader;
use super::reader::native_reason;
use super::sources::Sources;
use super::usage::usage_json;
use super::{citation_json, finish_reason, image_json};
use crate::error_report::{parse_error_value, read_payload_error};
use crate::event::{Event, FinishReason};
use crate::failure::Failure;
use crate::finish;
use crate::json::walk;
use crate::request::{Part, ToolKind, text_of};
use crate::{Answer, EventSink, FinishRule, PayloadInfo, ResponseMeta, emit, logprobs, tools};

/// Returns the finish reason. Some providers have none in a whole answer; one that is `null` says
/// that the answer has no end.
fn finish(
    choice: &ChunkChoice<'_>,
    called: bool,
    rule: FinishRule,
) -> Result<FinishReason, Failure> {
    if let Some(failure) = choice.error.and_then(|raw| parse_error_value(raw.get())) {
        return Err(failure);
    }
    let reason = match choice.finish_reason {
        None => Some("stop".into()),
        Some(raw) => raw.text(),
    };
    if let Some(reason) = native_reason(choice) {
        return Ok(reason);
    }
    let reason = match reason {
        Some(reason) => finish::CHAT.read(&reason, called, "")?,
        None => None,
    };
    match reason {
        Some(FinishReason::Stop) if choice.met_stop() => Ok(FinishReason::StopSequence),
        Some(reason) => Ok(reason),
        None if rule == FinishRule::Optional => Ok(FinishReason::Stop),
        None => Err(Failure::upstream_truncated("it has no finish_reason")),
    }
}

/// Parses an upstream's answer: its usage, an error in it, and, with a sink, its content as events.
pub(super) fn parse_answer(
    data: &[u8],
    rule: FinishRule,
    mut sink: EventSink<'_>,
) -> Result<PayloadInfo, Failure> {
    // An answer has the fields of a chunk.
    let mut body = ChatChunk::default();
    walk(data, |cursor| body.parse(cursor))
        .map_err(|e| Failure::bad_payload("a Chat Completions answer", e.into()))?;
    if let Some(failure) = body.own_error(data) {
        return Err(failure);
    }
    let Some(choice) = &body.choices.first else {
        let reported = read_payload_error(data);
        return Err(reported.unwrap_or_else(|| Failure::upstream_truncated("it has no choices")));
    };
    let mut seen = PayloadInfo {
        is_end: true,
        usage: body.usage(),
        ..PayloadInfo::default()
    };
    for other in &body.choices.others {
        finish(other, false, rule)?;
    }
    let mut reading = MessageReader::default();
    if sink.is_some() {
        reading.read_choice(choice, &mut seen, &mut sink);
        if let Some(failure) = seen.error.take() {
            return Err(failure);
        }
        let mut sources = Sources::default();
        sources.remember(&body);
        sources.emit(&mut sink);
    }
    let reason = finish(choice, reading.has_calls(), rule)?;
    if sink.is_some() {
        reading.finish(reason, &mut sink);
        reading.close(&mut sink)?;
        if let Some(usage) = seen.usage {
            emit(&mut sink, Event::Usage(usage));
        }
    }
    Ok(seen)
}

/// Encodes an answer for a client.
#[must_use]
pub(super) fn encode_answer(answer: &Answer, id: &str, meta: &ResponseMeta) -> Value {
    let (mut calls, mut legacy) = (Vec::new(), None);
    let (mut reasoning, mut refusal) = (String::new(), String::new());
    let (mut details, mut images) = (Vec::new(), Vec::new());
    for part in &answer.parts {
        match part {
            Part::ToolCall {
                id,
                name,
                arguments,
            } => {
                let form = meta.request.tool_forms.get(name);
                let name = form.map_or(name, |form| &form.name);
                match form.map(|form| form.kind) {
                    Some(ToolKind::Custom) => calls.push(json!({ "id": id, "type": "custom",
                        "custom": { "name": name, "input": tools::custom_input(arguments) } })),
                    // There is a place for one.
                    Some(ToolKind::LegacyFunction) if legacy.is_none() => {
                        legacy = Some(json!({
                        "name": name, "arguments": tools::text(arguments) }))
                    }
                    _ => calls.push(json!({ "id": id, "type": "function",
                        "function": { "name": name, "arguments": tools::text(arguments) } })),
                }
            }
            Part::Reasoning { text, state } => {
                reasoning.push_str(text);
                let number = details.len();
                // Calls are counted, too: the place among them must come back.
                let index = number + calls.len() + usize::from(legacy.is_some());
                if !text.is_empty() {
                    details.push(json!({ "type": "reasoning.text", "index": index, "text": text }));
                }
                match (state, text.is_empty()) {
                    (None, _) => {}
                    (Some(state), false) => details[number]["signature"] = state.encode().into(),
                    (Some(state), true) => {
                        details.push(json!({ "type": "reasoning.encrypted", "index": index, "data": state.encode() }));
                    }
                }
            }
            Part::Refusal(text) => refusal.push_str(text),
            Part::Image(image, _) => images.push(image_json(image)),
            Part::Text(_) | Part::ToolResult { .. } | Part::File(_) | Part::CacheBreakpoint(_) => {}
        }
    }
    let text = text_of(&answer.parts);
    let has_calls = !calls.is_empty() || legacy.is_some();
    let text = (!text.is_empty() || (!has_calls && refusal.is_empty())).then_some(text);
    let mut message = json!({ "role": "assistant", "content": text, "refusal": null });
    if !refusal.is_empty() {
        message["refusal"] = refusal.into();
    }
    if !reasoning.is_empty() {
        message["reasoning_content"] = reasoning.into();
    }
    if !details.is_empty() {
        message["reasoning_details"] = details.into();
    }
    if !images.is_empty() {
        message["images"] = images.into();
    }
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    if !answer.citations.is_empty() {
        message["annotations"] = (0..)
            .zip(&answer.citations)
            .map(|(at, cited)| citation_json(at, cited))
            .collect();
    }
    let reason = finish_reason(answer.finish(), legacy.is_some());
    if let Some(call) = legacy {
        message["function_call"] = call;
    }
    let logprobs = match answer.logprobs.is_empty() || meta.request.logprobs.is_none() {
        true => Value::Null,
        false => json!({ "content": logprobs::tree(&answer.logprobs), "refusal": null }),
    };
    let mut body = json!({
        "id": id, "object": "chat.completion", "created": meta.created, "model": meta.model,
        "choices": [{
            "index": 0, "message": message, "logprobs": logprobs, "finish_reason": reason,
        }],
    });
    if let Some(usage) = &answer.usage {
        body["usage"] = usage_json(usage);
    }
    body
}
