//! A whole answer, for clients that did not ask for a stream.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error::error_value;
use super::reader::{Message, Reading};
use super::usage::{usage, usage_json};
use super::{citation_json, finish_reason};
use crate::dialect::{Answer, Seen, Sink, emit, json, tools};
use crate::event::Event;
use crate::failure::Failure;
use crate::request::{Part, text_of};

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

/// Reads an upstream's answer: what it cost, that it is no error, and, with a sink, what it says.
pub(super) fn read(body: &[u8], mut sink: Sink<'_>) -> Result<Seen, Failure> {
    let body: Body<'_> = serde_json::from_slice(body)
        .map_err(|e| Failure::BadPayload { expected: "a Chat Completions answer", source: e.into() })?;
    if let Some(failure) = body.error.and_then(|raw| error_value(raw.get())) {
        return Err(failure);
    }
    let mut seen = Seen { done: true, usage: body.usage.and_then(usage), ..Seen::default() };
    if sink.is_some() {
        let Some(choice) = body.choices.into_iter().flatten().next() else {
            return Err(Failure::UpstreamTruncated { missing: "it has no choices" });
        };
        let mut reading = Reading::default();
        if let Some(message) = &choice.message {
            reading.message(message, &mut seen, &mut sink);
        }
        let reason = choice.finish_reason.and_then(json::text);
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

/// Writes an answer.
#[must_use]
pub(super) fn write(answer: &Answer, id: &str, created: u64, model: &str) -> Value {
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
                    (Some(state), false) => details[index]["signature"] = state.packed().into(),
                    (Some(state), true) => {
                        details.push(json!({ "type": "reasoning.encrypted", "index": index, "data": state.packed() }));
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
        message["annotations"] = (0..).zip(&answer.citations).map(|(at, cited)| citation_json(at, cited)).collect();
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
