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
pub(super) use socket::{HyperSocket, UpstreamSocket};

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;

use dialect::event::Event;
use dialect::failure::Failure;
use dialect::{Dialect, EventReader};

/// An accepted request.
#[derive(Debug)]
pub struct Opened {
    /// Headers of the upstream's response that the client may see.
    pub headers: HeaderMap,
    /// The stream or body that follows.
    pub upstream: Upstream,
}

/// Events from a model in this process.
pub type Events = Pin<Box<dyn Stream<Item = Result<Event<'static>, Failure>> + Send>>;

/// The answer to an accepted request.
pub enum Upstream {
    /// Neutral events.
    Events(Events),
    /// Runs of whole SSE events in the upstream's dialect, and the reader for them.
    Frames(UpstreamFrames, &'static Dialect, Box<dyn EventReader>),
    /// A whole answer in the upstream's dialect, for a request that asked for no stream.
    Whole(Bytes, &'static Dialect),
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Upstream::Events(_) => "Events",
            Upstream::Frames(..) => "Frames",
            Upstream::Whole(..) => "Whole",
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
