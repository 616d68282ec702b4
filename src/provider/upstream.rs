//! An accepted request: the stream or the body with which an upstream answers it.
//!
//! Any provider across HTTP answers with [`UpstreamFrames`]; a concrete type, since it is polled
//! for every token. Not for: sending requests, which is the provider's.

mod aws_events;
mod body;
mod decoded;
mod event_form;
mod frames;
mod inflate;
mod json_events;
mod read_ahead;
mod resumable;
mod socket;

pub(super) use body::{RecognizedBody, UpstreamBody, read_failure};
pub use frames::UpstreamFrames;
pub(super) use inflate::Coding;
pub(super) use json_events::JsonEvents;
pub(super) use resumable::{Cancellation, ResumableStream, Resumption};
pub(super) use socket::UpstreamSocket;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;

use crate::memory::MemoryPermit;
use dialect::event::Event;
use dialect::failure::Failure;
use dialect::{Dialect, EventReader, FinishRule, ToolNames};

/// An accepted request, and the source of its answer: a [`StreamSource`] or a [`CompleteSource`],
/// as it was asked for.
#[derive(Debug)]
pub struct Opened<S> {
    /// Headers of the upstream's response that the client may see.
    pub headers: HeaderMap,
    /// The stream or body that follows.
    pub source: S,
}

/// Events from a model in this process.
pub type Events = Pin<Box<dyn Stream<Item = Result<Event<'static>, Failure>> + Send>>;

/// The source of a streamed answer.
#[expect(
    clippy::large_enum_variant,
    reason = "moved twice a request, and otherwise part of a generation on the heap"
)]
pub enum StreamSource {
    /// Neutral events.
    Events(Events),
    /// Runs of whole SSE events in the upstream's dialect, and the reader for them.
    Frames(UpstreamFrames, &'static Dialect, Box<dyn EventReader>),
}

/// The source of an answer that was not asked for as a stream.
pub enum CompleteSource {
    /// Neutral events.
    Events(Events),
    /// The whole body in the upstream's dialect.
    Body(WholeBody, &'static Dialect),
    /// A stream, where an answer in one piece was asked for.
    Frames(StreamedAnswer),
}

/// A stream that is to be put together.
#[derive(Debug)]
pub struct StreamedAnswer {
    /// Runs of whole SSE events in the upstream's dialect.
    pub frames: UpstreamFrames,
    /// The reader for them.
    pub reader: Box<dyn EventReader>,
    /// Their dialect.
    pub dialect: &'static Dialect,
    /// Longest answer, in bytes.
    pub max_bytes: usize,
    /// The permit for the memory of the answer.
    pub permit: MemoryPermit,
}

/// A whole body, and the permit for the memory that it takes; none if it was made here.
#[derive(Debug)]
pub struct WholeBody {
    /// The bytes.
    pub bytes: Bytes,
    /// The permit.
    pub permit: Option<MemoryPermit>,
    /// The client's names of tools that the upstream knows by others.
    pub names: ToolNames,
    /// The rule by which an answer without a finish reason is judged.
    pub finish_rule: FinishRule,
}

impl fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Events(_) => "Events",
            Self::Frames(..) => "Frames",
        })
    }
}

impl fmt::Debug for CompleteSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Events(_) => "Events",
            Self::Body(..) => "Body",
            Self::Frames(_) => "Frames",
        })
    }
}

/// Polls for the next event.
pub fn poll_event(
    events: &mut Events,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Event<'static>, Failure>>> {
    events.as_mut().poll_next(cx)
}
