//! Dialects: the wire formats of LLM APIs, as codecs and nothing else.
//!
//! A dialect converts four things: it reads a client's request and writes an upstream's, reads an upstream's events and
//! writes a client's. Bytes in, bytes out, no I/O, so any dialect stands in front of any other, and every one is tested
//! without a network. They meet only in [`crate::request`] and [`crate::event`].
//!
//! **Add a dialect**: a file beside the others that has a [`Dialect`], and its line in [`DIALECTS`]. Routes, configuration,
//! error shapes and tests of every pair go through that list.

pub mod event;
pub mod failure;
pub mod request;
pub mod sse;

mod answer;
pub mod anthropic;
pub mod gemini;
pub mod json;
pub mod openai_chat;
pub mod openai_responses;
pub mod plain;
mod tools;

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;

pub use answer::Answer;

use crate::event::{Event, Usage};
use crate::failure::Failure;
use crate::request::{Operation, Request};
use base::id::random_hex;

/// Every dialect there is.
pub static DIALECTS: &[&Dialect] = &[
    &plain::DIALECT,
    &openai_chat::DIALECT,
    &openai_responses::DIALECT,
    &anthropic::DIALECT,
    &gemini::DIALECT,
];

/// A wire format.
#[derive(Debug)]
pub struct Dialect {
    /// Its name in the configuration.
    pub name: &'static str,
    /// How clients speak it.
    pub client: &'static dyn ClientSide,
    /// How upstreams speak it, if any do.
    pub upstream: Option<&'static dyn UpstreamSide>,
    /// Routes on which clients speak it, as axum spells them; empty if it has handlers of its own.
    pub endpoints: &'static [&'static str],
    /// Clients may ask for an answer again by its id, so the id of a streamed answer names its
    /// stream.
    pub retrieves_by_id: bool,
    /// Every frame carries an `event:` field that repeats its payload's `type`; clients read either.
    pub names_events: bool,
    /// A complete stream simply ends, without an end mark.
    pub ends_without_mark: bool,
    /// Bytes that keep a silent connection open: a whole frame or a comment that clients skip. Sent
    /// only between events.
    pub heartbeat: &'static [u8],
}

/// A heartbeat that any client written to the SSE standard skips.
pub(crate) const COMMENT_HEARTBEAT: &[u8] = b": heartbeat\n\n";

impl PartialEq for Dialect {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Dialect {}

impl Dialect {
    /// The dialect of that name, if upstreams speak it.
    #[must_use]
    pub fn with_upstream(name: &str) -> Option<(&'static Dialect, &'static dyn UpstreamSide)> {
        let dialect = DIALECTS.iter().find(|dialect| dialect.name == name)?;
        Some((dialect, dialect.upstream?))
    }

    /// The dialect of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Dialect> {
        DIALECTS
            .iter()
            .find(|dialect| dialect.name == name)
            .copied()
    }

    /// The names of all dialects that upstreams speak.
    pub fn upstream_names() -> impl Iterator<Item = &'static str> {
        DIALECTS
            .iter()
            .filter(|dialect| dialect.upstream.is_some())
            .map(|dialect| dialect.name)
    }
}

/// Returns the dialect in which a client at that path expects its errors.
#[must_use]
pub fn dialect_for_path(path: &str) -> &'static Dialect {
    const PREFIXES: &[(&str, &Dialect)] = &[
        ("/v1/chat/completions", &openai_chat::DIALECT),
        ("/v1/responses", &openai_responses::DIALECT),
        ("/v1/messages", &anthropic::DIALECT),
        ("/v1beta/", &gemini::DIALECT),
    ];
    if let Some((_, dialect)) = PREFIXES.iter().find(|(prefix, _)| path.starts_with(prefix)) {
        return dialect;
    }
    match path.rsplit_once(':').map(|(_, method)| method) {
        Some(method) if method.ends_with("Content") || method == "countTokens" => &gemini::DIALECT,
        // A stream belongs to no model API.
        _ if path.starts_with("/v1/stream/") || !path.starts_with("/v1/") => &plain::DIALECT,
        _ => &openai_chat::DIALECT,
    }
}

/// Writes a request that came in another dialect than its upstream's.
///
/// # Errors
///
/// A 400 that names what this dialect can't say.
pub fn translate(
    to: &Dialect,
    upstream: &dyn UpstreamSide,
    request: &Request,
    model: &str,
) -> Result<UpstreamPayload, Failure> {
    let cant = |param: &str, what: &str| {
        let message = format!(
            "{what} can't be said in {}, the dialect of this model's provider",
            to.name
        );
        Err(Failure::invalid(param, message))
    };
    if let Some(unsupported) = request
        .unsupported
        .iter()
        .find(|unsupported| unsupported.essential)
    {
        return cant(&unsupported.param, &format!("`{}`", unsupported.param));
    }
    if request.n > 1 {
        return cant("n", &format!("`n` = {}: more than one answer", request.n));
    }
    let mut written = upstream.encode_request(request, model)?;
    written.dropped.extend(
        request
            .unsupported
            .iter()
            .map(|unsupported| unsupported.param.clone()),
    );
    Ok(written)
}

/// How clients speak a dialect.
pub trait ClientSide: Debug + Sync {
    /// Reads a request that came to that path.
    ///
    /// # Errors
    ///
    /// A 400 that names the field.
    fn parse_request(&self, body: Bytes, path: &str) -> Result<Request, Failure>;

    /// Writes a stream.
    fn event_writer(&self, meta: ResponseMeta) -> Box<dyn EventWriter>;

    /// Writes a whole answer.
    fn encode_answer(&self, answer: &Answer, meta: &ResponseMeta) -> Vec<u8>;

    /// Writes an answer of which nothing is there yet, for a client that will ask for it later.
    fn encode_queued(&self, _answering: &ResponseMeta) -> Vec<u8> {
        Vec::new()
    }

    /// Writes how many tokens a request has, where clients ask for that.
    fn encode_token_count(&self, _tokens: u64) -> Option<Vec<u8>> {
        None
    }

    /// The body of an error that came before any answer, and is told with that HTTP status.
    fn error_body(&self, failure: &Failure, status: u16, request_id: &str) -> Vec<u8>;
}

/// How upstreams speak a dialect.
pub trait UpstreamSide: Debug + Sync {
    /// What follows a provider's base URL in the address of a request; none for a task that these upstreams don't know.
    fn request_path(&self, task: Operation, model: &str, stream: bool) -> Option<String>;

    /// The header that holds a key: its name, in lower case, and its value.
    fn key_header(&self, key: &str) -> (&'static str, String);

    /// Headers of a client of the same dialect that go on as they are.
    fn forwarded_headers(&self) -> &'static [&'static str];

    /// Headers that are sent when the client has sent no others.
    fn default_headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// The body of a client of the same dialect: its own, with the model's name changed.
    ///
    /// # Errors
    ///
    /// Never for a request that this dialect read.
    fn pass_through_body(&self, request: &Request, model: &str) -> Result<Bytes, Failure> {
        json::with_model(request, model)
    }

    /// Writes a request that came in another dialect.
    ///
    /// # Errors
    ///
    /// A 400 when it asks for what this dialect can't say.
    fn encode_request(&self, request: &Request, model: &str) -> Result<UpstreamPayload, Failure>;

    /// Reads a stream.
    fn event_reader(&self, rule: FinishRule) -> Box<dyn EventReader>;

    /// Reads a whole answer; with a sink, as the events that it would have been.
    ///
    /// # Errors
    ///
    /// [`Failure::bad_payload`] for what is none, [`Failure::upstream_error`] for an error told with a status 200.
    fn parse_answer(&self, body: &[u8], sink: EventSink<'_>) -> Result<PayloadInfo, Failure>;

    /// The message in an error body, however its provider spells that.
    fn error_message(&self, body: &[u8]) -> Option<String> {
        openai_chat::error_message(body)
    }
}

/// A request in an upstream's dialect.
#[derive(Debug)]
pub struct UpstreamPayload {
    /// The body.
    pub body: Bytes,
    /// What this dialect has no place for, and does without.
    pub dropped: Vec<String>,
}

/// What a client's answer bears besides what the model says.
#[derive(Debug, Clone)]
pub struct ResponseMeta {
    /// Random, without a prefix.
    pub id: String,
    /// In Unix seconds.
    pub created: u64,
    /// The name that the client asked for.
    pub model: String,
    /// What it asked.
    pub request: Arc<Request>,
    /// How plain text goes into `data:`.
    pub encoding: plain::TextEncoding,
}

impl ResponseMeta {
    /// For a writer that has but an error to tell, of an answer that is not known here.
    #[must_use]
    pub fn for_error() -> Self {
        let request = Arc::default();
        Self {
            id: random_hex(),
            created: 0,
            model: String::new(),
            request,
            encoding: plain::TextEncoding::default(),
        }
    }
}

/// What one payload meant for the course of the stream.
#[derive(Debug, Default)]
pub struct PayloadInfo {
    /// Something that a reader would see: a token.
    pub has_content: bool,
    /// The usage so far.
    pub usage: Option<Usage>,
    /// The upstream's own end mark: nothing that follows counts.
    pub is_end: bool,
    /// The upstream reported an error.
    pub error: Option<Failure>,
    /// Clients of this dialect know this payload for an error.
    pub error_is_native: bool,
    /// The payload says itself what it is, whatever its `event:` says.
    pub is_typed: bool,
}

/// Receives one frame that a writer made: its event name, if it has one, and its data.
pub type FrameSink<'a> = &'a mut dyn FnMut(Option<&str>, &[u8]);

/// Whether to make events of what is read, or only to know what it means.
pub type EventSink<'s> = Option<&'s mut dyn FnMut(Event<'_>)>;

/// Gives an event to a sink, if there is one.
pub(crate) fn emit(sink: &mut EventSink<'_>, event: Event<'_>) {
    if let Some(sink) = sink {
        sink(event);
    }
}

/// Reads an upstream's stream.
pub trait EventReader: Debug + Send {
    /// Reads one payload; with a sink, as events too.
    ///
    /// # Errors
    ///
    /// [`Failure::bad_payload`] when it can't be read.
    fn read_payload(&mut self, data: &[u8], sink: EventSink<'_>) -> Result<PayloadInfo, Failure>;

    /// Reads an error that came outside of a payload: in an `error:` field, under an event's name, or as bare lines.
    fn read_error(&self, data: &[u8]) -> Option<Failure> {
        openai_chat::read_error(data)
    }

    /// The stream ended: was it whole? What was held back until now goes to the sink.
    ///
    /// # Errors
    ///
    /// [`Failure::upstream_truncated`] when it was not.
    fn finish_stream(&mut self, sink: EventSink<'_>) -> Result<(), Failure>;

    /// Where the stream is: what a frame of ours must go on from, when an upstream's own frames were passed on.
    fn position(&self) -> PassThroughPosition<'_> {
        PassThroughPosition::default()
    }
}

/// Where a stream of passed-on frames is.
#[derive(Debug, Default, Clone, Copy)]
pub struct PassThroughPosition<'a> {
    /// The upstream's id of the answer.
    pub response_id: &'a str,
    /// The number of the next frame.
    pub next_number: u64,
}

/// Writes a client's stream.
pub trait EventWriter: Debug + Send {
    /// Writes one event.
    ///
    /// # Errors
    ///
    /// [`Failure::response_too_large`] when what must be kept of the answer outgrows [`MAX_HELD_BYTES`].
    fn write_event(&mut self, event: &Event<'_>, out: FrameSink<'_>) -> Result<(), Failure>;

    /// Writes the end of a whole answer. Never called for a broken one.
    fn write_end(&mut self, out: FrameSink<'_>);

    /// Writes the end of a broken answer.
    fn write_error(&mut self, failure: &Failure, request_id: &str, out: FrameSink<'_>);

    /// The frames so far were the upstream's own, and this is where they left off.
    fn resume_after_pass_through(&mut self, _position: PassThroughPosition<'_>) {}
}

/// The most of an answer that a writer keeps, in bytes, where its dialect says it once more at the end.
pub const MAX_HELD_BYTES: usize = 8 << 20;

/// The most tool calls, items or blocks of one answer: more than any model says, and few enough to be looked through.
pub(crate) const MAX_CALLS: usize = 1000;

/// What ends a stream that says more of them.
pub(crate) fn too_many_error(what: &str) -> Failure {
    Failure::upstream_error(format!("the upstream said more than {MAX_CALLS} {what}"))
}

/// The data of the frame that says: this answer is complete.
pub const DONE: &[u8] = b"[DONE]";

/// How a finish reason and a failure to reach one are told apart: see [`EventReader::end`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FinishRule {
    /// A stream without a finish reason is broken off, even if it says `[DONE]`: gateways are known to add one to a
    /// stream that was cut. (OpenRouter and Snowflake sometimes leave the reason out, but then count the usage before
    /// `[DONE]`; no gateway makes that up.)
    #[default]
    Required,
    /// `[DONE]` suffices, for upstreams that never send a finish reason.
    Optional,
}
