//! An attempt: one exchange with one target. Dropping it cancels it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::HeaderMap;
use tokio::time::{Instant, Sleep};

use dialect::failure::Failure;

use super::relay::{ClientWriter, Relay};
use crate::provider::{OpenFuture, Opened, StreamSource, UpstreamRequest};
use crate::routing::Target;

/// One exchange with one target, from the request to the end of the stream.
#[expect(
    clippy::large_enum_variant,
    reason = "one a generation, which is itself on the heap"
)]
pub(super) enum Attempt {
    /// No target can be asked before that time.
    Waiting(Pin<Box<Sleep>>),
    /// The request is on its way, or waits for its first poll.
    Opening(OpenFuture<StreamSource>),
    /// The upstream has accepted the request.
    Open(Relay),
    /// The stream has ended, or the attempt has failed.
    Ended,
}

impl Attempt {
    /// Prepares an exchange. Nothing is sent until it is polled.
    pub(super) fn new(target: &Target, request: UpstreamRequest) -> Self {
        Self::Opening(target.provider.open_stream(request))
    }

    /// Prepares a wait for a target.
    pub(super) fn wait_until(time: Instant) -> Self {
        Self::Waiting(Box::pin(tokio::time::sleep_until(time)))
    }

    /// Prepares a failure without any exchange.
    pub(super) fn failed(failure: Failure) -> Self {
        Self::Opening(Box::pin(std::future::ready(Err(failure))))
    }

    /// Returns true until the upstream has accepted the request, or the attempt has failed.
    pub(super) fn is_pending(&self) -> bool {
        matches!(self, Self::Waiting(_) | Self::Opening(_))
    }

    /// Polls until the upstream has accepted the request, and returns the headers of its response.
    /// A failure ends the attempt. An attempt that is open or has ended is ready, with no headers.
    pub(super) fn poll_open(
        &mut self,
        client: &ClientWriter,
        cx: &mut Context<'_>,
    ) -> Poll<Result<HeaderMap, Failure>> {
        let Self::Opening(opening) = self else {
            return Poll::Ready(Ok(HeaderMap::new()));
        };
        match ready!(opening.as_mut().poll(cx)) {
            Ok(Opened { headers, source }) => {
                *self = Self::Open(Relay::new(source, client));
                Poll::Ready(Ok(headers))
            }
            Err(failure) => {
                *self = Self::Ended;
                Poll::Ready(Err(failure))
            }
        }
    }

    /// Ends the attempt, and cancels it if it has not ended by itself.
    pub(super) fn cancel(&mut self) {
        *self = Self::Ended;
    }

    /// Ends the attempt of a complete answer, whose connection is kept for the next request.
    pub(super) fn complete(&mut self) {
        if let Self::Open(relay) = std::mem::replace(self, Self::Ended) {
            relay.close();
        }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting(_) => f.write_str("Waiting"),
            Self::Opening(_) => f.write_str("Opening"),
            Self::Open(relay) => relay.fmt(f),
            Self::Ended => f.write_str("Ended"),
        }
    }
}
