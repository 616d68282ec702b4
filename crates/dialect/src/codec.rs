//! The two sides of a dialect: traits for requests, streams and complete answers, and their types.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use base::id::random_hex;

use crate::error_report::{self, ErrorReport};
use crate::event::{Event, Usage};
use crate::failure::Failure;
use crate::families::Family;
use crate::replay::JsonShape;
use crate::request::{File, Image, Operation, Request};
use crate::tool_names::{ToolNameRule, ToolNames};
use crate::{Answer, Continuation, ContinuedNote, json};

/// The codec for clients of a dialect: parses their requests, encodes their responses.
pub trait ClientSide: Debug + Sync {
    /// Parses a request that was sent to that path.
    ///
    /// # Errors
    ///
    /// A 400 that names the field.
    fn parse_request(&self, body: Bytes, path: &str) -> Result<Request, Failure>;

    /// Returns a writer for a streamed answer.
    fn event_writer(&self, meta: ResponseMeta) -> Box<dyn EventWriter>;

    /// Encodes a complete answer.
    fn encode_answer(&self, answer: &Answer, meta: &ResponseMeta) -> Vec<u8>;

    /// Returns true if an answer has a place for that image.
    fn has_place_for(&self, _image: &Image) -> bool {
        false
    }

    /// Encodes an answer that has not begun, for a client that will retrieve it later.
    fn encode_queued(&self, _answering: &ResponseMeta) -> Vec<u8> {
        Vec::new()
    }

    /// Encodes the token count of a request, if the dialect has such an operation.
    fn encode_token_count(&self, _tokens: u64) -> Option<Vec<u8>> {
        None
    }

    /// Encodes an error that occurred before the answer began; `status` is the HTTP status.
    fn error_body(&self, failure: &Failure, status: u16, request_id: &str) -> Vec<u8>;
}

/// The codec for upstreams of a dialect: encodes requests, parses responses.
pub trait UpstreamSide: Debug + Sync {
    /// Returns the path after a provider's base URL; `None` for an operation that these upstreams
    /// lack.
    fn request_path(&self, task: Operation, model: &str, stream: bool) -> Option<String>;

    /// Returns the header for an API key: its lower-case name and its value.
    fn key_header(&self, key: &str) -> (&'static str, String);

    /// Returns the names of the client's headers that are forwarded if the client speaks the same
    /// dialect.
    fn forwarded_headers(&self) -> &'static [&'static str];

    /// Returns headers that are sent unless the client sent its own.
    fn default_headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Returns the body for an upstream of the client's own dialect: the client's body with another
    /// model name.
    ///
    /// # Errors
    ///
    /// Never for a request that this dialect parsed.
    fn pass_through_body(&self, request: &Request, model: &str) -> Result<Bytes, Failure> {
        json::with_model(request, model)
    }

    /// Returns the client's own body, changed to ask to go on with an answer that has begun.
    ///
    /// # Errors
    ///
    /// When the body has no list of messages.
    fn continued_body(
        &self,
        _body: &Bytes,
        _continuation: &Continuation,
    ) -> Result<Bytes, Failure> {
        Err(Failure::internal("no client speaks this dialect".into()))
    }

    /// Returns whether a model goes on with an answer that its request begins; `rules` are those
    /// of its family.
    fn takes_prefill(&self, _model: &str, rules: &Family) -> bool {
        rules.prefill == Some(true)
    }

    /// Returns true if these upstreams take that file.
    fn takes_file(&self, _file: &File) -> bool {
        false
    }

    /// Returns true if these upstreams give the log probabilities of tokens.
    fn takes_logprobs(&self) -> bool {
        false
    }

    /// Returns the names that tools may have.
    fn tool_name_rule(&self) -> ToolNameRule {
        ToolNameRule {
            max_length: 64,
            more_chars: "",
            begins_with_letter: false,
        }
    }

    /// Encodes a request of another dialect, by the rules for the model.
    ///
    /// # Errors
    ///
    /// A 400 for a feature that this dialect lacks.
    fn encode_request(
        &self,
        request: &Request,
        model: &str,
        rules: &Family,
    ) -> Result<UpstreamPayload, Failure>;

    /// Returns the body that asks for the tokens of a request, out of one that asks for an answer.
    ///
    /// # Errors
    ///
    /// Never for a body that was encoded here.
    fn count_body(&self, body: Bytes, _model: &str) -> Result<Bytes, Failure> {
        Ok(body)
    }

    /// Returns what a payload has only because this server asked for the usage.
    fn unasked_usage(&self, _data: &[u8]) -> UnaskedUsage {
        UnaskedUsage::None
    }

    /// Returns a reader for a streamed answer.
    fn event_reader(&self, rule: FinishRule) -> Box<dyn EventReader>;

    /// Parses a complete answer; with a sink, as the events that it would have been.
    ///
    /// # Errors
    ///
    /// [`Failure::bad_payload`] for another shape, [`Failure::upstream_error`] for an error sent
    /// with status 200.
    fn parse_answer(
        &self,
        body: &[u8],
        rule: FinishRule,
        sink: EventSink<'_>,
    ) -> Result<PayloadInfo, Failure>;

    /// Returns the shape of an object that is no error.
    fn json_shape(&self, value: &Value) -> JsonShape;

    /// Writes an object of shape [`JsonShape::Answer`] as the stream that it would have been.
    fn replay_answer(&self, answer: Value, out: FrameSink<'_>);

    /// Returns a collector of what only this dialect has of a streamed answer.
    fn answer_folder(&self) -> Option<Box<dyn AnswerFolder>> {
        None
    }

    /// Parses an error body, in any provider's spelling.
    fn error_report(&self, body: &[u8]) -> Option<ErrorReport> {
        ErrorReport::parse_body(body)
    }
}

/// The parts that a payload has only because this server asked for the usage: its client did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnaskedUsage {
    /// Nothing.
    None,
    /// These bytes.
    Field(Range<usize>),
    /// All of it.
    Whole,
}

/// A request body in an upstream's dialect.
#[derive(Debug)]
pub struct UpstreamPayload {
    /// The encoded body.
    pub body: Bytes,
    /// Parameters of the request that this dialect lacks and does without.
    pub dropped: Vec<String>,
    /// The client's names of tools that were sent under fitted ones.
    pub names: ToolNames,
}

/// Metadata of a response: all that it carries besides the model's output.
#[derive(Debug, Clone)]
pub struct ResponseMeta {
    /// Random id, without a dialect's prefix.
    pub id: String,
    /// Unix time of the request, in seconds.
    pub created: u64,
    /// The model name that the client asked for.
    pub model: String,
    /// The request that is answered.
    pub request: Arc<Request>,
    /// Encoding of text in `data:` fields (plain dialect).
    pub encoding: TextEncoding,
}

impl ResponseMeta {
    /// Returns metadata for a writer that only writes an error, of a response that is not known
    /// here.
    #[must_use]
    pub fn for_error() -> Self {
        let request = Arc::default();
        Self {
            id: random_hex(),
            created: 0,
            model: String::new(),
            request,
            encoding: TextEncoding::default(),
        }
    }
}

/// The meaning of one payload for the course of a stream.
#[derive(Debug, Default)]
pub struct PayloadInfo {
    /// The payload has visible content: it counts as a token.
    pub has_content: bool,
    /// Tokens spent so far.
    pub usage: Option<Usage>,
    /// The payload is the upstream's end mark: anything after it is ignored.
    pub is_end: bool,
    /// The error that the upstream reported.
    pub error: Option<Failure>,
    /// Clients of this dialect recognize the payload as an error themselves.
    pub error_is_native: bool,
    /// The payload names its own type, which overrides its `event:` field.
    pub is_typed: bool,
}

/// A receiver of frames: called with a frame's event name, if any, and its data.
pub type FrameSink<'a> = &'a mut dyn FnMut(Option<&str>, &[u8]);

/// A receiver of events; `None` if the caller only needs to know a payload's meaning.
pub type EventSink<'s> = Option<&'s mut dyn FnMut(Event<'_>)>;

/// Passes an event to the sink, if there is one.
pub(crate) fn emit(sink: &mut EventSink<'_>, event: Event<'_>) {
    if let Some(sink) = sink {
        sink(event);
    }
}

/// A reader of one upstream stream.
pub trait EventReader: Debug + Send {
    /// Reads one payload; with a sink, emits its events.
    ///
    /// # Errors
    ///
    /// [`Failure::bad_payload`] when it is malformed.
    fn read_payload(&mut self, data: &[u8], sink: EventSink<'_>) -> Result<PayloadInfo, Failure>;

    /// Reads an error from outside a payload: in an `error:` field, under an event's name, or as
    /// bare lines.
    fn read_error(&self, data: &[u8]) -> Option<Failure> {
        error_report::read_error(data)
    }

    /// Checks that the stream was complete when it ended, and emits held-back events.
    ///
    /// # Errors
    ///
    /// [`Failure::upstream_truncated`] when it was not.
    fn finish_stream(&mut self, sink: EventSink<'_>) -> Result<(), Failure>;

    /// Returns the position from which frames of our own must continue after an upstream's own
    /// frames.
    fn position(&self) -> PassThroughPosition<'_> {
        PassThroughPosition::default()
    }
}

/// A collector of what the events of a stream don't have, for a client of the same dialect that
/// gets the answer whole.
pub trait AnswerFolder: Debug + Send {
    /// Adds the next payload.
    fn add_payload(&mut self, data: &[u8]);

    /// Returns the approximate size of what is held, in bytes.
    fn size(&self) -> usize;

    /// Returns the whole answer; `encoded` is what the events make of it.
    fn complete(self: Box<Self>, encoded: Vec<u8>) -> Bytes;
}

/// A position in a stream whose frames were passed through.
#[derive(Debug, Default, Clone, Copy)]
pub struct PassThroughPosition<'a> {
    /// Id that the upstream gave the response.
    pub response_id: &'a str,
    /// Sequence number of the next frame.
    pub next_number: u64,
    /// An error is in the frames, and the end of the broken answer is not.
    pub has_error: bool,
}

/// A writer of one client stream.
pub trait EventWriter: Debug + Send {
    /// Writes one event.
    ///
    /// # Errors
    ///
    /// [`Failure::response_too_large`] when the writer would hold more than [`MAX_HELD_BYTES`].
    fn write_event(&mut self, event: &Event<'_>, out: FrameSink<'_>) -> Result<(), Failure>;

    /// Writes the end of a complete answer. Never called for a broken one.
    fn write_end(&mut self, out: FrameSink<'_>);

    /// Writes the end of a broken answer.
    fn write_error(&mut self, failure: &Failure, request_id: &str, out: FrameSink<'_>);

    /// Takes the id that the upstream gave the response, where clients ask by it. It must come
    /// before the first event.
    fn set_response_id(&mut self, _id: &str) {}

    /// Takes note that the answer was continued, before its end is written.
    fn note_continued(&mut self, _note: ContinuedNote) {}

    /// Continues after frames that the upstream wrote itself, up to that position.
    fn resume_after_pass_through(&mut self, _position: PassThroughPosition<'_>) {}
}

/// Maximum size, in bytes, of the output that a reader or writer holds, for dialects that repeat it
/// at the end.
pub const MAX_HELD_BYTES: usize = 8 << 20;

/// Maximum number of tool calls, items or blocks of one answer: more than any model makes, and few
/// enough for a linear search.
pub(crate) const MAX_CALLS: usize = 1000;

/// Returns the error for an answer with more of them.
pub(crate) fn too_many_error(what: &str) -> Failure {
    Failure::upstream_error(format!("the upstream sent more than {MAX_CALLS} {what}"))
}

/// Data of the frame that marks the end of a complete answer.
pub const DONE: &[u8] = b"[DONE]";

/// The rule by which a stream without a finish reason is judged; see
/// [`EventReader::finish_stream`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FinishRule {
    /// A stream without a finish reason was cut off, even if it says `[DONE]`: some gateways add
    /// that to a stream that broke. (OpenRouter and Snowflake sometimes omit the reason, but then
    /// report the usage before `[DONE]`, which no gateway invents.)
    #[default]
    Required,
    /// `[DONE]` suffices, for upstreams that never send a finish reason.
    Optional,
}

/// The encoding of text in `data:` fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TextEncoding {
    /// The text as it is.
    #[default]
    Text,
    /// A JSON string, which keeps every line end as it was.
    Json,
}
