//! [OpenAI Chat Completions](https://platform.openai.com/docs/api-reference/chat), as OpenAI and some thirty others
//! speak it.

mod answer;
mod reader;
mod request;
mod writer;

pub use reader::EventReader;
pub use writer::EventWriter;

use bytes::Bytes;
use serde_json::json;

use super::{Answer, Answering, ClientSide, Dialect, FinishRule, Seen, Sink, UpstreamSide, Written};
use crate::event::{Citation, FinishReason, Usage};
use crate::failure::{Failure, Kind};
use crate::request::{Request, Task};

/// OpenAI Chat Completions.
pub static DIALECT: Dialect = Dialect { name: "openai-chat", client: &Chat, upstream: Some(&Chat) };

#[derive(Debug)]
struct Chat;

impl ClientSide for Chat {
    fn endpoints(&self) -> &'static [&'static str] {
        &["/v1/chat/completions"]
    }

    fn read(&self, body: Bytes, _path: &str) -> Result<Request, Failure> {
        request::read(body)
    }

    fn writer(&self, answering: Answering) -> Box<dyn super::EventWriter> {
        let include_usage = answering.request.include_usage;
        Box::new(EventWriter::new(&answer_id(&answering), answering.created, &answering.model, include_usage))
    }

    fn write_answer(&self, answer: &Answer, answering: &Answering) -> Vec<u8> {
        answer::write(answer, &answer_id(answering), answering.created, &answering.model).to_string().into_bytes()
    }

    fn error_body(&self, failure: &Failure, _request_id: &str) -> Vec<u8> {
        error_body(failure)
    }
}

impl UpstreamSide for Chat {
    fn path(&self, task: Task, _model: &str, _stream: bool) -> Option<String> {
        (task == Task::Generate).then(|| "/chat/completions".to_owned())
    }

    fn key(&self, key: &str) -> (&'static str, String) {
        ("authorization", format!("Bearer {key}"))
    }

    fn forwarded(&self) -> &'static [&'static str] {
        FORWARDED
    }

    fn write(&self, request: &Request, model: &str) -> Result<Written, Failure> {
        request::write(request, model)
    }

    fn reader(&self, rule: FinishRule) -> Box<dyn super::EventReader> {
        Box::new(EventReader::new(rule))
    }

    fn read_answer(&self, body: &[u8], sink: Sink<'_>) -> Result<Seen, Failure> {
        answer::read(body, sink)
    }
}

/// Headers of OpenAI's clients that its servers, and those like it, know.
pub(super) const FORWARDED: &[&str] =
    &["openai-organization", "openai-project", "openai-beta", "http-referer", "x-title"];

fn answer_id(answering: &Answering) -> String {
    format!("chatcmpl-{}", answering.id)
}

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
    match failure.kind() {
        Kind::InvalidRequest | Kind::NotFound | Kind::TooLarge | Kind::Authentication => "invalid_request_error",
        Kind::RateLimit => "rate_limit_exceeded",
        Kind::Billing => "insufficient_quota",
        Kind::Permission => "permission_error",
        Kind::Overloaded | Kind::Timeout | Kind::Server => "server_error",
    }
}

/// Reads an error that came outside of a chunk.
pub(super) fn read_error(data: &[u8]) -> Option<Failure> {
    reader::error(&String::from_utf8_lossy(data))
}

/// Reads the value of an `error` field.
pub(super) fn error_value(json: &str) -> Option<Failure> {
    reader::error(json)
}

/// The message in an error body: `{"error": …}`, `{"message"}`, `{"detail"}`, or an error that is but a string.
pub(super) fn error_message(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    // Gemini wraps its own in a list.
    let value = if value.is_array() { &value[0] } else { &value };
    let error = [&value["error"], &value["detail"]].into_iter().find(|v| !v.is_null()).unwrap_or(value);
    [&error["message"], error, &value["message"]].into_iter().find_map(|v| v.as_str()).map(str::to_owned)
}

fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence => "stop",
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
    if let Some(written) = usage.cache_written {
        value["prompt_tokens_details"]["cache_write_tokens"] = written.into();
    }
    if let Some(reasoning) = usage.reasoning {
        value["completion_tokens_details"] = json!({ "reasoning_tokens": reasoning });
    }
    value
}

/// OpenAI's own SDK merges what bears the same index, and wants one.
fn citation_json(index: usize, citation: &Citation) -> serde_json::Value {
    let (start, end) = citation.span.unwrap_or_default();
    json!({ "index": index, "type": "url_citation", "url_citation": {
        "url": citation.url, "title": citation.title, "start_index": start, "end_index": end,
    }})
}

fn citation(value: &serde_json::Value) -> Option<Citation> {
    let inner = &value["url_citation"];
    Some(Citation {
        url: inner["url"].as_str()?.to_owned(),
        title: inner["title"].as_str().unwrap_or_default().to_owned(),
        quote: inner["content"].as_str().unwrap_or_default().to_owned(),
        span: inner["start_index"].as_u64().zip(inner["end_index"].as_u64()).filter(|span| *span != (0, 0)),
    })
}

#[cfg(test)]
mod tests;
