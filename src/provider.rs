//! Providers: what opens an upstream.
//!
//! A provider is an address, a key and a dialect ([`remote`]), or the model in this very process ([`mock`]). It opens, and
//! hands on what comes; routing, timeouts and translation are `generation`'s. Dropping what it returned, at any moment,
//! *is* cancellation: HTTP/1 closes the connection, HTTP/2 resets the stream.
//!
//! **Add a provider**: implement [`Provider`]; name it in `app`.

pub mod mock;
pub mod remote;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::HeaderMap;
use bytes::Bytes;
use futures_util::Stream;

use dialect::event::Event;
use dialect::failure::Failure;
use dialect::request::Request;
use dialect::{Dialect, EventReader};

/// One request, ready to be sent upstream.
#[derive(Debug, Clone)]
pub struct UpstreamRequest {
    /// What the client asks for.
    pub request: Arc<Request>,
    /// The dialect that it asked in.
    pub dialect: &'static Dialect,
    /// What the model is called upstream.
    pub model: String,
    /// The request's id, for what is logged of it.
    pub id: String,
    /// The client's headers, all of them: a provider picks those that an upstream may see.
    pub headers: HeaderMap,
}

/// Opens upstreams.
pub trait Provider: fmt::Debug + Send + Sync {
    /// Its name in the configuration and the log.
    fn name(&self) -> &str;

    /// Sends the request. Resolves when the upstream has accepted it: before that, a refusal can still be told with its
    /// own status.
    fn open(&self, call: UpstreamRequest) -> OpenFuture;
}

/// A request on its way upstream.
pub type OpenFuture = Pin<Box<dyn Future<Output = Result<Opened, Failure>> + Send>>;

/// An accepted request.
#[derive(Debug)]
pub struct Opened {
    /// Headers of the upstream's answer that the client may see.
    pub headers: HeaderMap,
    /// What comes.
    pub upstream: Upstream,
}

/// Events from a model in this process.
pub type Events = Pin<Box<dyn Stream<Item = Result<Event<'static>, Failure>> + Send>>;

/// What an accepted request yields.
pub enum Upstream {
    /// Neutral events.
    Events(Events),
    /// Runs of whole SSE events in the upstream's dialect, and what reads them.
    Frames(
        remote::UpstreamFrames,
        &'static Dialect,
        Box<dyn EventReader>,
    ),
    /// A whole answer in the upstream's dialect; none was to be streamed.
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

/// Polls events as they come.
pub fn poll_event(
    events: &mut Events,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Event<'static>, Failure>>> {
    events.as_mut().poll_next(cx)
}
