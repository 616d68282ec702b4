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
mod calls;
mod chunk;
mod fold;
mod hosts;
mod message;
mod parts;
mod reader;
mod replay;
mod request;
mod sources;
mod thoughts;
mod unasked_usage;
mod usage;
mod writer;

pub use reader::ChatEventReader;
pub use writer::ChatEventWriter;

use hosts::ChatHost;
use hosts::table::{HOSTS, OPENAI};
use usage::usage_json;

use bytes::Bytes;
use serde_json::json;

use super::{
    Answer, AnswerFolder, COMMENT_HEARTBEAT, ClientSide, Continuation, Dialect, EventSink,
    FinishRule, FrameSink, JsonShape, PayloadInfo, ResponseMeta, UnaskedUsage, UpstreamPayload,
    UpstreamSide,
};
use crate::event::{Citation, FinishReason};
use crate::failure::Failure;
use crate::families::Family;
use crate::openai;
use crate::request::{File, Image, Operation, Request};

/// The OpenAI Chat Completions dialect.
pub static DIALECT: Dialect = Dialect {
    name: "openai-chat",
    client: &Chat,
    upstream: Some(&OPENAI),
    endpoints: &["/v1/chat/completions"],
    retrieves_by_id: false,
    names_events: false,
    ends_without_mark: false,
    repeats_errors_bare: false,
    heartbeat: COMMENT_HEARTBEAT,
};

#[derive(Debug)]
struct Chat;

impl ClientSide for Chat {
    fn parse_request(&self, body: Bytes, _path: &str) -> Result<Request, Failure> {
        request::parse_request(body)
    }

    fn event_writer(&self, meta: ResponseMeta) -> Box<dyn super::EventWriter> {
        Box::new(ChatEventWriter::new(&answer_id(&meta), meta))
    }

    fn encode_answer(&self, answer: &Answer, meta: &ResponseMeta) -> Vec<u8> {
        answer::encode_answer(answer, &answer_id(meta), meta)
            .to_string()
            .into_bytes()
    }

    fn has_place_for(&self, _image: &Image) -> bool {
        true
    }

    fn error_body(&self, failure: &Failure, _status: u16, _request_id: &str) -> Vec<u8> {
        openai::error_body(failure)
    }
}

/// Returns the upstream side for a host that differs from OpenAI in its requests.
pub(crate) fn hosted(flavor: &str) -> Option<&'static dyn UpstreamSide> {
    let host = HOSTS.iter().find(|host| host.name == flavor)?;
    Some(host)
}

impl UpstreamSide for ChatHost {
    fn request_path(&self, task: Operation, _model: &str, _stream: bool) -> Option<String> {
        (task == Operation::Generate).then(|| "/chat/completions".to_owned())
    }

    fn key_header(&self, key: &str) -> (&'static str, String) {
        ("authorization", format!("Bearer {key}"))
    }

    fn forwarded_headers(&self) -> &'static [&'static str] {
        openai::FORWARDED_HEADERS
    }

    fn takes_file(&self, file: &File) -> bool {
        let is_known = file.is_pdf() || request::audio_format(file).is_some();
        file.is_inline() && is_known || file.is_stored() && self.takes_stored_files()
    }

    fn takes_logprobs(&self) -> bool {
        true
    }

    fn encode_request(
        &self,
        request: &Request,
        model: &str,
        rules: &Family,
    ) -> Result<UpstreamPayload, Failure> {
        let payload = request::encode_request(request, model, (self, rules))?;
        self.fit_payload(request, rules, payload)
    }

    fn pass_through_body(&self, request: &Request, model: &str) -> Result<Bytes, Failure> {
        let body = crate::json::with_model(request, model)?;
        let wants_usage = request.counts_usage && request.stream && !request.include_usage;
        self.fit_body(match wants_usage {
            true => unasked_usage::with_usage(&body)?,
            false => body,
        })
    }

    fn unasked_usage(&self, data: &[u8]) -> UnaskedUsage {
        unasked_usage::find_usage(data)
    }

    fn continued_body(&self, body: &Bytes, continuation: &Continuation) -> Result<Bytes, Failure> {
        self.continue_body(body, continuation)
    }

    fn takes_prefill(&self, _model: &str, rules: &Family) -> bool {
        rules.prefill.unwrap_or(self.takes_prefill_by_itself())
    }

    fn event_reader(&self, rule: FinishRule) -> Box<dyn super::EventReader> {
        Box::new(ChatEventReader::new(rule))
    }

    fn parse_answer(
        &self,
        body: &[u8],
        rule: FinishRule,
        sink: EventSink<'_>,
    ) -> Result<PayloadInfo, Failure> {
        answer::parse_answer(body, rule, sink)
    }

    fn json_shape(&self, value: &serde_json::Value) -> JsonShape {
        replay::json_shape(value)
    }

    fn answer_folder(&self) -> Option<Box<dyn AnswerFolder>> {
        Some(Box::new(fold::ChatFolder::default()))
    }

    fn replay_answer(&self, answer: serde_json::Value, out: FrameSink<'_>) {
        replay::replay_answer(answer, out);
    }
}

fn answer_id(meta: &ResponseMeta) -> String {
    format!("chatcmpl-{}", meta.id)
}

/// Returns the word for a reason. `is_legacy` says that the call is one from before tools.
fn finish_reason(reason: FinishReason, is_legacy: bool) -> &'static str {
    match reason {
        FinishReason::ToolCalls if is_legacy => "function_call",
        FinishReason::Stop | FinishReason::StopSequence => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
}

/// Encodes an image as OpenRouter does: this API has no place of its own.
fn image_json(image: &Image) -> serde_json::Value {
    json!({ "type": "image_url", "image_url": { "url": image.to_url() } })
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
