//! A whole answer as the stream that it would have been.

use serde_json::{Value, json};

use crate::{DONE, FrameSink, JsonShape};

/// Returns the shape of an object.
pub(super) fn json_shape(value: &Value) -> JsonShape {
    let Some(choices) = value["choices"].as_array() else {
        return JsonShape::Unknown;
    };
    let Some(choice) = choices.first() else {
        // As a stream ends, or as Azure's begins.
        return match value["object"] == "chat.completion.chunk" || value["usage"].is_object() {
            true => JsonShape::Payload,
            false => JsonShape::Unknown,
        };
    };
    let is_whole = choice["message"].is_object()
        && choice["delta"].is_null()
        && (value["object"] == "chat.completion" || choice["finish_reason"].is_string());
    if is_whole {
        JsonShape::Answer
    } else {
        JsonShape::Payload
    }
}

/// Writes an answer: its messages as deltas, and its ends with its usage.
pub(super) fn replay_answer(mut answer: Value, out: FrameSink<'_>) {
    let usage = answer["usage"].take();
    let choices = answer["choices"].take();
    if let Some(fields) = answer.as_object_mut() {
        fields.remove("usage");
        fields.insert("object".to_owned(), "chat.completion.chunk".into());
    }
    let (mut begun, mut ended) = (Vec::new(), Vec::new());
    let choices = choices.as_array().into_iter().flatten();
    for (at, choice) in choices.filter(|choice| choice.is_object()).enumerate() {
        let index = choice["index"].as_u64().unwrap_or(at as u64);
        let mut delta = match &choice["message"] {
            message @ Value::Object(_) => message.clone(),
            _ => json!({}),
        };
        let calls = delta["tool_calls"].as_array_mut().into_iter().flatten();
        for (at, call) in calls.enumerate().filter(|(_, call)| call.is_object()) {
            if call["index"].is_null() {
                call["index"] = at.into();
            }
        }
        if delta["tool_calls"].is_null()
            && let Some(delta) = delta.as_object_mut()
        {
            delta.remove("tool_calls");
        }
        let mut first = json!({ "index": index, "delta": delta, "finish_reason": null });
        if !choice["logprobs"].is_null() {
            first["logprobs"] = choice["logprobs"].clone();
        }
        let mut last = choice.clone();
        if let Some(last) = last.as_object_mut() {
            for moved in ["message", "logprobs"] {
                last.remove(moved);
            }
        }
        last["index"] = index.into();
        last["delta"] = json!({});
        begun.push(first);
        ended.push(last);
    }
    answer["choices"] = begun.into();
    out(None, answer.to_string().as_bytes());
    answer["choices"] = ended.into();
    if !usage.is_null() {
        answer["usage"] = usage;
    }
    out(None, answer.to_string().as_bytes());
    out(None, DONE);
}
