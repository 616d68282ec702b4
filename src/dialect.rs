//! Dialects: the wire formats of LLM APIs, as codecs and nothing else.
//!
//! A dialect converts four things: it reads a client's request and writes an upstream's, reads an upstream's events and
//! writes a client's. Bytes in, bytes out, no I/O, so any dialect stands in front of any other, and every one is tested
//! without a network. They meet only in [`crate::request`] and [`crate::event`].
//!
//! **Add a dialect**: a folder beside the others with `request.rs` and `events.rs`; a variant in [`Dialect`], and in
//! [`EventReader`] if upstreams speak it, in [`EventWriter`] if clients do. The compiler names every place left.

pub mod json;
pub mod openai_chat;
pub mod plain;

use bytes::Bytes;

use crate::event::{Event, FinishReason, Usage};
use crate::failure::Failure;
use crate::request::Request;

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Ours: each frame's data is the token's text. Spoken by clients only.
    Plain,
    /// OpenAI Chat Completions.
    OpenAiChat,
}

/// Receives one frame that a writer made: its event name, if it has one, and its data.
pub type Out<'a> = &'a mut dyn FnMut(Option<&'static str>, &[u8]);

impl Dialect {
    /// The error body of this dialect, and what a mid-stream error frame holds.
    #[must_use]
    pub fn error_body(self, failure: &Failure, request_id: &str) -> Vec<u8> {
        match self {
            Dialect::Plain => plain::error_body(failure, request_id),
            Dialect::OpenAiChat => openai_chat::error_body(failure),
        }
    }

    /// The body of a request to an upstream of this dialect, asking for `model` there.
    ///
    /// # Errors
    ///
    /// When the request asks for what this dialect can't say.
    pub fn write_request(self, request: &Request, from: Dialect, model: &str) -> Result<Bytes, Failure> {
        match (self, from) {
            (Dialect::OpenAiChat, Dialect::OpenAiChat) => openai_chat::request::with_model(request, model),
            (Dialect::OpenAiChat, Dialect::Plain) => Ok(openai_chat::request::write(request, model)),
            (Dialect::Plain, _) => Err(Failure::Internal("no upstream speaks the plain dialect".into())),
        }
    }

    /// The message in an upstream's error body, however its provider spells that.
    #[must_use]
    pub fn error_message(self, body: &[u8]) -> Option<String> {
        match self {
            Dialect::Plain | Dialect::OpenAiChat => openai_chat::error_message(body),
        }
    }

    /// The path under a provider's base URL where requests of this dialect go.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Dialect::Plain => "/stream",
            Dialect::OpenAiChat => "/chat/completions",
        }
    }
}

/// What one payload meant for the course of the stream.
#[derive(Debug, Default)]
pub struct Seen {
    /// Something that a reader would see: a token.
    pub said: bool,
    /// The usage so far.
    pub usage: Option<Usage>,
    /// The upstream's own end mark: nothing that follows counts.
    pub done: bool,
    /// The upstream reported an error.
    pub error: Option<Failure>,
    /// Clients of this dialect know this payload for an error.
    pub told: bool,
}

/// Whether to make events of what is read, or only to know what it means.
pub type Sink<'s> = Option<&'s mut dyn FnMut(Event<'_>)>;

/// Reads an upstream's stream.
#[derive(Debug)]
pub enum EventReader {
    /// OpenAI Chat Completions.
    OpenAiChat(openai_chat::EventReader),
}

impl EventReader {
    /// Reads one payload; with a sink, as events too.
    ///
    /// # Errors
    ///
    /// [`Failure::BadPayload`] when it can't be read.
    pub fn read(&mut self, data: &[u8], sink: Sink<'_>) -> Result<Seen, Failure> {
        match self {
            EventReader::OpenAiChat(reader) => reader.read(data, sink),
        }
    }

    /// Reads an error that came outside of a payload: in an `error:` field, or under an event's name.
    #[must_use]
    pub fn error(&self, data: &[u8]) -> Option<Failure> {
        match self {
            EventReader::OpenAiChat(_) => openai_chat::read_error(data),
        }
    }

    /// The stream ended: was it whole?
    ///
    /// # Errors
    ///
    /// [`Failure::UpstreamTruncated`] when it was not.
    pub fn end(&self) -> Result<(), Failure> {
        match self {
            EventReader::OpenAiChat(reader) => reader.end(),
        }
    }
}

/// Writes a client's stream.
#[derive(Debug)]
pub enum EventWriter {
    /// Text as it is.
    Plain(plain::EventWriter),
    /// OpenAI Chat Completions.
    OpenAiChat(openai_chat::EventWriter),
}

impl EventWriter {
    /// The dialect that it writes.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self {
            EventWriter::Plain(_) => Dialect::Plain,
            EventWriter::OpenAiChat(_) => Dialect::OpenAiChat,
        }
    }

    /// Writes one event.
    pub fn write(&mut self, event: &Event<'_>, out: Out<'_>) {
        match self {
            EventWriter::Plain(writer) => writer.write(event, out),
            EventWriter::OpenAiChat(writer) => writer.write(event, out),
        }
    }

    /// Writes the end of a whole answer. Never called for a broken one.
    pub fn done(&mut self, out: Out<'_>) {
        match self {
            EventWriter::Plain(_) => out(None, DONE),
            EventWriter::OpenAiChat(writer) => writer.done(out),
        }
    }

    /// Writes the end of a broken answer.
    pub fn error(&mut self, failure: &Failure, request_id: &str, out: Out<'_>) {
        let body = self.dialect().error_body(failure, request_id);
        match self {
            EventWriter::Plain(_) => out(Some("error"), &body),
            EventWriter::OpenAiChat(_) => out(None, &body),
        }
    }
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

/// A whole answer, for a client that did not ask for a stream.
#[derive(Debug, Default)]
pub struct Answer {
    /// All its text.
    pub text: String,
    /// All its reasoning.
    pub reasoning: String,
    /// All its refusal.
    pub refusal: String,
    /// Its tool calls: id, name, arguments.
    pub tool_calls: Vec<(String, String, String)>,
    /// What it cost.
    pub usage: Option<Usage>,
    /// Why it ended.
    pub finish: Option<FinishReason>,
}

impl Answer {
    /// Adds the next event.
    pub fn add(&mut self, event: &Event<'_>) {
        match event {
            Event::Text(text) => self.text.push_str(text),
            Event::Reasoning(text) => self.reasoning.push_str(text),
            Event::Refusal(text) => self.refusal.push_str(text),
            Event::ToolCall { id, name, .. } => {
                self.tool_calls.push((id.as_ref().into(), name.as_ref().into(), String::new()));
            }
            Event::ToolArguments { index, fragment } => {
                if let Some(call) = self.tool_calls.get_mut(*index as usize) {
                    call.2.push_str(fragment);
                }
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Finish(reason) => self.finish = Some(*reason),
        }
    }
}
