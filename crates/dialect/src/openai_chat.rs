//! [OpenAI Chat Completions](https://platform.openai.com/docs/api-reference/chat), as OpenAI and
//! some thirty other providers speak it.
//!
//! ```
//! use bytes::Bytes;
//!
//! let body = r#"{"model": "gpt-5", "stream": true,
//!     "messages": [{"role": "user", "content": "Hello"}]}"#;
//! let client = dialect::openai_chat::DIALECT.client;
//! let request = client.parse_request(Bytes::from(body), "/v1/chat/completions")?;
//! assert!(request.stream);
//! assert_eq!(request.last_user_text(), "Hello");
//! # Ok::<(), dialect::failure::Failure>(())
//! ```

mod answer;
mod chunk;
mod message;
mod reader;
mod request;
mod usage;
mod writer;

pub use reader::ChatEventReader;
pub use writer::ChatEventWriter;

use usage::usage_json;

use bytes::Bytes;
use serde_json::json;

use super::{
    Answer, COMMENT_HEARTBEAT, ClientSide, Dialect, EventSink, FinishRule, PayloadInfo,
    ResponseMeta, UpstreamPayload, UpstreamSide,
};
use crate::event::{Citation, FinishReason};
use crate::failure::Failure;
use crate::openai;
use crate::request::{Operation, Request};

/// The OpenAI Chat Completions dialect.
pub static DIALECT: Dialect = Dialect {
    name: "openai-chat",
    client: &Chat,
    upstream: Some(&Chat),
    endpoints: &["/v1/chat/completions"],
    retrieves_by_id: false,
    names_events: false,
    ends_without_mark: false,
    heartbeat: COMMENT_HEARTBEAT,
};

#[derive(Debug)]
struct Chat;

impl ClientSide for Chat {
    fn parse_request(&self, body: Bytes, _path: &str) -> Result<Request, Failure> {
        request::parse_request(body)
    }

    fn event_writer(&self, meta: ResponseMeta) -> Box<dyn super::EventWriter> {
        let include_usage = meta.request.include_usage;
        Box::new(ChatEventWriter::new(
            &answer_id(&meta),
            meta.created,
            &meta.model,
            include_usage,
        ))
    }

    fn encode_answer(&self, answer: &Answer, meta: &ResponseMeta) -> Vec<u8> {
        answer::encode_answer(answer, &answer_id(meta), meta.created, &meta.model)
            .to_string()
            .into_bytes()
    }

    fn error_body(&self, failure: &Failure, _status: u16, _request_id: &str) -> Vec<u8> {
        openai::error_body(failure)
    }
}

impl UpstreamSide for Chat {
    fn request_path(&self, task: Operation, _model: &str, _stream: bool) -> Option<String> {
        (task == Operation::Generate).then(|| "/chat/completions".to_owned())
    }

    fn key_header(&self, key: &str) -> (&'static str, String) {
        ("authorization", format!("Bearer {key}"))
    }

    fn forwarded_headers(&self) -> &'static [&'static str] {
        openai::FORWARDED_HEADERS
    }

    fn encode_request(&self, request: &Request, model: &str) -> Result<UpstreamPayload, Failure> {
        request::encode_request(request, model)
    }

    fn event_reader(&self, rule: FinishRule) -> Box<dyn super::EventReader> {
        Box::new(ChatEventReader::new(rule))
    }

    fn parse_answer(&self, body: &[u8], sink: EventSink<'_>) -> Result<PayloadInfo, Failure> {
        answer::parse_answer(body, sink)
    }
}

fn answer_id(meta: &ResponseMeta) -> String {
    format!("chatcmpl-{}", meta.id)
}

fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
}

/// Encodes a citation. OpenAI's SDK merges entries of the same index, and requires one.
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
