//! [OpenAI Chat Completions](https://platform.openai.com/docs/api-reference/chat), as OpenAI and some thirty others
//! speak it.

mod answer;
mod reader;
pub mod request;
mod writer;

pub use answer::{read_answer, write_answer};
pub use reader::EventReader;
pub use writer::EventWriter;

use serde_json::json;

use crate::event::{FinishReason, Usage};
use crate::failure::Failure;

/// The error body: `{"error": {"message", "type", "param", "code"}}`.
pub(super) fn error_body(failure: &Failure) -> Vec<u8> {
    let body = json!({ "error": {
        "message": failure.to_string(),
        "type": error_type(failure),
        "param": failure.param(),
        "code": failure.code(),
    }});
    body.to_string().into_bytes()
}

/// OpenAI's `type` of an error.
pub(super) fn error_type(failure: &Failure) -> &'static str {
    match failure {
        Failure::InvalidRequest { .. }
        | Failure::UnknownModel { .. }
        | Failure::NotFound { .. }
        | Failure::MethodNotAllowed { .. }
        | Failure::UnsupportedMediaType { .. }
        | Failure::BodyTooLarge { .. }
        | Failure::BodyTimeout { .. }
        | Failure::BodyBroken(_)
        | Failure::HeadersTooLarge { .. } => "invalid_request_error",
        Failure::UpstreamRefused(refusal) => match refusal.status {
            429 => "rate_limit_exceeded",
            400 | 404 | 413 | 422 => "invalid_request_error",
            _ => "server_error",
        },
        _ => "server_error",
    }
}

/// Reads an error that came outside of a chunk.
pub(super) fn read_error(data: &[u8]) -> Option<Failure> {
    reader::error(&String::from_utf8_lossy(data))
}

/// The message in an error body: `{"error": …}`, `{"message"}`, `{"detail"}`, or an error that is but a string.
pub(super) fn error_message(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let error = [&value["error"], &value["detail"]].into_iter().find(|v| !v.is_null()).unwrap_or(&value);
    [&error["message"], error, &value["message"]].into_iter().find_map(|v| v.as_str()).map(str::to_owned)
}

fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
}

fn usage_json(usage: &Usage) -> serde_json::Value {
    let mut value = json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
    });
    if let Some(cached) = usage.cached {
        value["prompt_tokens_details"] = json!({ "cached_tokens": cached });
    }
    if let Some(reasoning) = usage.reasoning {
        value["completion_tokens_details"] = json!({ "reasoning_tokens": reasoning });
    }
    value
}

#[cfg(test)]
mod tests;
