//! An accepted request: the stream or the body with which an upstream answers it.
//!
//! Any provider across HTTP answers with [`UpstreamFrames`]; a concrete type, since it is polled
//! for every token. Not for: sending requests, which is the provider's.

mod body;
mod frames;
mod read_ahead;
mod socket;

pub(super) use body::UpstreamBody;
pub use frames::UpstreamFrames;
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
use dialect::{Dialect, EventReader};

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
}

/// A whole body, and the permit for the memory that it takes; none if it was made here.
#[derive(Debug)]
pub struct WholeBody {
    /// The bytes.
    pub bytes: Bytes,
    /// The permit.
    pub permit: Option<MemoryPermit>,
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
