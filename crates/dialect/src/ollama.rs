//! [Ollama's own chat API](https://github.com/ollama/ollama/blob/main/docs/api.md), which only
//! upstreams speak: lines of JSON, the last of which has the counts.

mod reader;
mod request;

use bytes::Bytes;
use serde_json::Value;

use crate::failure::Failure;
use crate::families::Family;
use crate::request::{Operation, Request};
use crate::{
    Dialect, EventReader, EventSink, FinishRule, FrameSink, JsonShape, PayloadInfo,
    UpstreamPayload, UpstreamSide,
};

/// Ollama's own dialect.
pub static DIALECT: Dialect = Dialect::of_upstreams("ollama", &Ollama);

#[derive(Debug)]
struct Ollama;

impl UpstreamSide for Ollama {
    fn request_path(&self, task: Operation, _model: &str, _stream: bool) -> Option<String> {
        (task == Operation::Generate).then(|| "/api/chat".to_owned())
    }

    fn key_header(&self, key: &str) -> (&'static str, String) {
        ("authorization", format!("Bearer {key}"))
    }

    fn forwarded_headers(&self) -> &'static [&'static str] {
        &[]
    }

    fn encode_request(
        &self,
        request: &Request,
        model: &str,
        rules: &Family,
    ) -> Result<UpstreamPayload, Failure> {
        request::encode_request(request, model, rules)
    }

    fn takes_prefill(&self, _model: &str, rules: &Family) -> bool {
        rules.prefill.unwrap_or(true)
    }

    fn event_reader(&self, _rule: FinishRule) -> Box<dyn EventReader> {
        Box::new(reader::OllamaReader::default())
    }

    fn parse_answer(
        &self,
        body: &[u8],
        _rule: FinishRule,
        sink: EventSink<'_>,
    ) -> Result<PayloadInfo, Failure> {
        reader::parse_answer(body, sink)
    }

    /// A whole answer is a line like those of a stream.
    fn json_shape(&self, value: &Value) -> JsonShape {
        if value["message"].is_object() || value["done"].is_boolean() {
            JsonShape::Payload
        } else {
            JsonShape::Unknown
        }
    }

    fn replay_answer(&self, answer: Value, out: FrameSink<'_>) {
        out(None, answer.to_string().as_bytes());
    }

    fn pass_through_body(&self, _request: &Request, _model: &str) -> Result<Bytes, Failure> {
        Err(Failure::internal("no client speaks this dialect".into()))
    }
}
