//! [OpenAI Chat Completions](https://platform.openai.com/docs/api-reference/chat), as OpenAI and some thirty others
//! speak it.

mod answer;
mod chunk;
mod error;
mod reader;
mod request;
mod usage;
mod writer;

pub use reader::EventReader;
pub use writer::EventWriter;

pub(super) use error::{
    ErrorReport, error_body, error_message, error_type, error_value, read_error,
};
use usage::usage_json;

use bytes::Bytes;
use serde_json::json;

use super::{
    Answer, Answering, ClientSide, Dialect, FinishRule, Seen, Sink, UpstreamSide, Written,
};
use crate::event::{Citation, FinishReason};
use crate::failure::Failure;
use crate::request::{Request, Task};

/// OpenAI Chat Completions.
pub static DIALECT: Dialect = Dialect {
    name: "openai-chat",
    client: &Chat,
    upstream: Some(&Chat),
};

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
        Box::new(EventWriter::new(
            &answer_id(&answering),
            answering.created,
            &answering.model,
            include_usage,
        ))
    }

    fn write_answer(&self, answer: &Answer, answering: &Answering) -> Vec<u8> {
        answer::write(
            answer,
            &answer_id(answering),
            answering.created,
            &answering.model,
        )
        .to_string()
        .into_bytes()
    }

    fn error_body(&self, failure: &Failure, _status: u16, _request_id: &str) -> Vec<u8> {
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
pub(super) const FORWARDED: &[&str] = &[
    "openai-organization",
    "openai-project",
    "openai-beta",
    "http-referer",
    "x-title",
];

fn answer_id(answering: &Answering) -> String {
    format!("chatcmpl-{}", answering.id)
}

fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
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
        span: inner["start_index"]
            .as_u64()
            .zip(inner["end_index"].as_u64())
            .filter(|span| *span != (0, 0)),
    })
}

#[cfg(test)]
mod tests;
