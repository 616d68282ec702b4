//! Complete answers: read from an upstream, written for a client.

use serde_json::{Value, json};

use super::chunk::MessageFields;
use super::message::MessageReader;
use super::usage::{usage, usage_json};
use super::{citation_json, finish_reason};
use crate::error_report::parse_error_value;
use crate::event::Event;
use crate::failure::Failure;
use crate::json::{Cursor, CursorError, CursorResult, RawJson, walk};
use crate::request::{Part, text_of};
use crate::{Answer, EventSink, PayloadInfo, emit, tools};

#[derive(Default)]
struct AnswerBody<'a> {
    first: Option<AnswerChoice<'a>>,
    usage: Option<RawJson<'a>>,
    error: Option<RawJson<'a>>,
}

#[derive(Default)]
struct AnswerChoice<'a> {
    message: Option<MessageFields<'a>>,
    finish_reason: Option<RawJson<'a>>,
}

impl<'a> AnswerBody<'a> {
    fn parse(cursor: &mut Cursor<'a>) -> CursorResult<Self> {
        let (mut body, mut chosen) = (Self::default(), false);
        cursor.object(|name, cursor| match name {
            b"choices" if std::mem::replace(&mut chosen, true) => Err(CursorError::DuplicateField),
            b"choices" if cursor.null()? => Ok(()),
            b"choices" => cursor.list(|cursor| {
                let choice = AnswerChoice::parse(cursor)?;
                body.first.get_or_insert(choice);
                Ok(())
            }),
            b"usage" => cursor.field_once(&mut body.usage),
            b"error" => cursor.field_once(&mut body.error),
            _ => cursor.skip(),
        })?;
        Ok(body)
    }
}

impl<'a> AnswerChoice<'a> {
    fn parse(cursor: &mut Cursor<'a>) -> CursorResult<Self> {
        let (mut choice, mut told) = (Self::default(), false);
        cursor.object(|name, cursor| match name {
            b"message" if std::mem::replace(&mut told, true) => Err(CursorError::DuplicateField),
            b"message" if cursor.null()? => Ok(()),
            b"message" => choice
                .message
                .insert(MessageFields::default())
                .parse(cursor),
            b"finish_reason" => cursor.field_once(&mut choice.finish_reason),
            _ => cursor.skip(),
        })?;
        Ok(choice)
    }
}

/// Parses an upstream's answer: its usage, an error in it, and, with a sink, its content as events.
pub(super) fn parse_answer(body: &[u8], mut sink: EventSink<'_>) -> Result<PayloadInfo, Failure> {
    let body = walk(body, AnswerBody::parse)
        .map_err(|e| Failure::bad_payload("a Chat Completions answer", e.into()))?;
    if let Some(failure) = body.error.and_then(|raw| parse_error_value(raw.get())) {
        return Err(failure);
    }
    let mut seen = PayloadInfo {
        is_end: true,
        usage: body.usage.and_then(|raw| usage(raw.get())),
        ..PayloadInfo::default()
    };
    if sink.is_some() {
        let Some(choice) = body.first else {
            return Err(Failure::upstream_truncated("it has no choices"));
        };
        let mut reading = MessageReader::default();
        if let Some(message) = &choice.message {
            reading.read_message(message, &mut seen, &mut sink);
        }
        let reason = choice.finish_reason.and_then(RawJson::text);
        reading.finish(reason.as_deref().unwrap_or("stop"), &mut seen, &mut sink);
        if let Some(failure) = seen.error.take() {
            return Err(failure);
        }
        if let Some(usage) = seen.usage {
            emit(&mut sink, Event::Usage(usage));
        }
    }
    Ok(seen)
}

/// Encodes an answer for a client.
#[must_use]
pub(super) fn encode_answer(answer: &Answer, id: &str, created: u64, model: &str) -> Value {
    let mut calls = Vec::new();
    let (mut reasoning, mut refusal) = (String::new(), String::new());
    let mut details = Vec::new();
    for part in &answer.parts {
        match part {
            Part::ToolCall { id, name, arguments } => calls.push(json!({
                "id": id, "type": "function", "function": { "name": name, "arguments": tools::text(arguments) },
            })),
            Part::Reasoning { text, state } => {
                reasoning.push_str(text);
                let index = details.len();
                if !text.is_empty() {
                    details.push(json!({ "type": "reasoning.text", "index": index, "text": text }));
                }
                match (state, text.is_empty()) {
                    (None, _) => {}
                    (Some(state), false) => details[index]["signature"] = state.encode().into(),
                    (Some(state), true) => {
                        details.push(json!({ "type": "reasoning.encrypted", "index": index, "data": state.encode() }));
                    }
                }
            }
            Part::Refusal(text) => refusal.push_str(text),
            _ => {}
        }
    }
    let text = text_of(&answer.parts);
    let text = (!text.is_empty() || (calls.is_empty() && refusal.is_empty())).then_some(text);
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
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    if !answer.citations.is_empty() {
        message["annotations"] = (0..)
            .zip(&answer.citations)
            .map(|(at, cited)| citation_json(at, cited))
            .collect();
    }
    let mut body = json!({
        "id": id, "object": "chat.completion", "created": created, "model": model,
        "choices": [{
            "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(answer.finish()),
        }],
    });
    if let Some(usage) = &answer.usage {
        body["usage"] = usage_json(usage);
    }
    body
}
