//! [Converse](https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html) of
//! Amazon Bedrock, which only upstreams speak. A stream's frames are read elsewhere: here an event
//! is an object of one field, which is named for its type.

mod reader;
mod request;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::failure::Failure;
use crate::families::Family;
use crate::request::{File, Operation, Request};
use crate::{
    Dialect, EventReader, EventSink, FinishRule, FrameSink, JsonShape, PayloadInfo,
    UpstreamPayload, UpstreamSide,
};

/// Converse.
pub static DIALECT: Dialect = Dialect::of_upstreams("bedrock-converse", &Converse);

/// Characters that stand for themselves in a model's part of a path.
const MODEL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The types of the events of a stream.
pub const EVENT_TYPES: &[&str] = &[
    "messageStart",
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockStop",
    "messageStop",
    "metadata",
];

#[derive(Debug)]
struct Converse;

impl UpstreamSide for Converse {
    fn request_path(&self, task: Operation, model: &str, stream: bool) -> Option<String> {
        let operation = if stream {
            "converse-stream"
        } else {
            "converse"
        };
        let model = utf8_percent_encode(model, MODEL);
        (task == Operation::Generate).then(|| format!("/model/{model}/{operation}"))
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

    fn takes_file(&self, file: &File) -> bool {
        request::takes_file(file)
    }

    fn event_reader(&self, _rule: FinishRule) -> Box<dyn EventReader> {
        Box::new(reader::ConverseReader::default())
    }

    fn parse_answer(
        &self,
        body: &[u8],
        _rule: FinishRule,
        sink: EventSink<'_>,
    ) -> Result<PayloadInfo, Failure> {
        reader::parse_answer(body, sink)
    }

    fn json_shape(&self, value: &Value) -> JsonShape {
        if value["output"]["message"].is_object() {
            JsonShape::Answer
        } else if EVENT_TYPES.iter().any(|name| value.get(name).is_some()) {
            JsonShape::Payload
        } else {
            JsonShape::Unknown
        }
    }

    /// A reader of events takes a whole answer for one.
    fn replay_answer(&self, answer: Value, out: FrameSink<'_>) {
        out(None, answer.to_string().as_bytes());
    }

    fn pass_through_body(&self, _request: &Request, _model: &str) -> Result<Bytes, Failure> {
        Err(Failure::internal("no client speaks this dialect".into()))
    }
}
