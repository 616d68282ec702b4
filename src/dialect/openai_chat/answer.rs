//! A whole answer, for clients that did not ask for a stream.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::reader::{error, usage};
use super::{finish_reason, usage_json};
use crate::dialect::Answer;
use crate::event::{FinishReason, Usage};
use crate::failure::Failure;

/// Checks that an upstream's answer is whole JSON and no error, and reads what it cost.
///
/// # Errors
///
/// [`Failure::BadPayload`] for what is no JSON object, [`Failure::UpstreamError`] for an error told with a status 200.
pub fn read_answer(body: &[u8]) -> Result<Option<Usage>, Failure> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        usage: Option<&'a RawValue>,
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    let body: Body<'_> = serde_json::from_slice(body)
        .map_err(|e| Failure::BadPayload { expected: "a Chat Completions answer", source: e.into() })?;
    match body.error.and_then(|raw| error(raw.get())) {
        Some(failure) => Err(failure),
        None => Ok(body.usage.and_then(usage)),
    }
}

/// Writes an answer.
#[must_use]
pub fn write_answer(answer: &Answer, id: &str, created: u64, model: &str) -> Value {
    let calls: Vec<Value> = answer
        .tool_calls
        .iter()
        .map(|(id, name, arguments)| {
            let arguments = if arguments.is_empty() { "{}" } else { arguments };
            json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
        })
        .collect();
    let text = (!answer.text.is_empty() || calls.is_empty()).then_some(&answer.text);
    let mut message = json!({ "role": "assistant", "content": text, "refusal": null });
    if !answer.refusal.is_empty() {
        message["refusal"] = json!(answer.refusal);
    }
    if !answer.reasoning.is_empty() {
        message["reasoning_content"] = json!(answer.reasoning);
    }
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    let finish = finish_reason(answer.finish.unwrap_or(FinishReason::Stop));
    let mut body = json!({
        "id": id, "object": "chat.completion", "created": created, "model": model,
        "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish }],
    });
    if let Some(usage) = &answer.usage {
        body["usage"] = usage_json(usage);
    }
    body
}
