//! Generations: one request being answered, from the accepted request to its one terminal event.
//!
//! A [`Generation`] is polled by whoever writes the answer. It drives an attempt at its target,
//! relays what comes into the client's dialect, watches the deadlines, and leaves an outcome. It
//! runs in no task of its own: a client that reads slowly slows the upstream's reading, and
//! dropping the generation drops the attempt, which cancels it. Whatever must hold to the end
//! (timers, counts, the outcome) lives in here, not in a middleware, whose future ends with the
//! head.
//!
//! Not here: HTTP, and the way frames reach a client.
//!
//! ```
//! # use std::{future::poll_fn, sync::Arc, time::Duration};
//! # use dialect::{ResponseMeta, openai_chat, request::Request};
//! # use tokenrill::generation::{Generation, GenerationParams, GenerationTimeouts};
//! # use tokenrill::provider::mock::Mock;
//! # use tokenrill::routing::{Plan, Target};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), dialect::failure::Failure> {
//! # let limit = Duration::from_secs(9);
//! let provider = Arc::new(Mock::new(0, Default::default()));
//! let upstream_model = "mock-echo".to_owned();
//! let mut generation = Generation::start(GenerationParams {
//!     request_id: base::id::RequestId::random(),
//!     route: "/v1/chat/completions",
//!     request: Arc::new(Request::prompt("Hello")),
//!     permit: None,
//!     compute: Default::default(),
//!     plan: Plan::of(Target { provider, upstream_model }),
//!     dialect: &openai_chat::DIALECT,
//!     meta: ResponseMeta::for_error(),
//!     headers: http::HeaderMap::new(),
//!     comments: true,
//!     timeouts: GenerationTimeouts { first_token: limit, between_tokens: limit, total: limit },
//!     abort: Default::default(),
//!     disconnect: Default::default(),
//!     observers: Default::default(),
//! });
//! // A refusal can still be told with a status.
//! generation.opened().await?;
//! generation.set_status(200);
//! let mut last = bytes::Bytes::new();
//! while let Some(frames) = poll_fn(|cx| generation.poll_frames(cx)).await {
//!     last = frames;
//! }
//! assert!(last.ends_with(b"data: [DONE]\n\n"));
//! # Ok(())
//! # }
//! ```

mod attempt;
mod complete;
mod deadline;
mod detached;
mod linger;
mod meter;
mod params;
mod relay;

#[cfg(test)]
mod tests;

pub use crate::config::GenerationTimeouts;
pub use complete::{CompleteAnswer, CompleteGeneration};
pub use detached::DetachedGeneration;
pub use linger::{Linger, ParseLingerError};
pub use meter::RefusedGeneration;
pub use params::GenerationParams;

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;

use attempt::Attempt;
use deadline::Deadlines;
use dialect::failure::Failure;
use meter::Meter;
use relay::{ClientWriter, RelayStep, StreamEnd};

/// A generation that streams its answer.
#[derive(Debug)]
pub struct Generation {
    attempt: Attempt,
    client: ClientWriter,
    deadlines: Deadlines,
    meter: Meter,
    /// The upstream's headers that the client may see; empty until it has accepted the request.
    headers: HeaderMap,
    /// The response id of an upstream that has ended, if nobody has taken it yet.
    upstream_id: Option<String>,
}

impl Generation {
    /// Prepares the first attempt. Nothing is sent until the generation is polled.
    #[must_use]
    pub fn start(mut params: GenerationParams) -> Self {
        let mut meter = params.start_meter();
        let deadlines = Deadlines::start(params.timeouts, true, params.abort.clone());
        let request = params.first_request();
        let target = params.plan.first();
        meter.on_attempt(target);
        let attempt = Attempt::new(target, request);
        Self {
            attempt,
            client: ClientWriter::new(params.dialect, params.meta, params.comments),
            deadlines,
            meter,
            headers: HeaderMap::new(),
            upstream_id: None,
        }
    }

    /// Waits until the upstream has accepted the request. May be dropped and called again.
    ///
    /// # Errors
    ///
    /// The failure that kept it from being accepted: the client can still be told with a status.
    pub async fn opened(&mut self) -> Result<HeaderMap, Failure> {
        poll_fn(|cx| self.poll_opened(cx)).await?;
        Ok(self.headers.clone())
    }

    /// Records the HTTP status of the response.
    pub fn set_status(&mut self, status: u16) {
        self.meter.set_status(status);
    }

    /// Polls for the next run of whole frames in the client's dialect, as SSE bytes. The last is
    /// the end mark or, of an answer that broke, an error; then `None`.
    pub fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Attempt::Opening(_) = self.attempt
                && let Err(failure) = ready!(self.poll_opened(cx))
            {
                let frame = self.client.error_frame(&failure, self.meter.request_id());
                self.meter.on_failure(&failure);
                return Poll::Ready(Some(frame));
            }
            let Attempt::Open(relay) = &mut self.attempt else {
                return Poll::Ready(None);
            };
            // A transcript will be the tap.
            let mut step = match relay.poll_step(&mut self.client, &mut self.meter, None, cx) {
                Poll::Ready(step) => step,
                Poll::Pending => {
                    let has_content = self.meter.has_content();
                    let failure = ready!(self.deadlines.poll_expired(has_content, cx));
                    RelayStep::ended(StreamEnd::failed(failure))
                }
            };
            if step.has_payload
                && let Some(failure) = self.deadlines.on_payload()
                && step.end.is_none()
            {
                step.end = Some(StreamEnd::failed(failure));
            }
            let bytes = match step.end {
                None => step.bytes,
                Some(end) => self.finish(step.bytes, end),
            };
            if !bytes.is_empty() {
                return Poll::Ready(Some(bytes));
            }
        }
    }

    /// Returns the response id chosen by the upstream, once. Where its frames are passed through,
    /// clients see that one.
    pub fn take_upstream_id(&mut self) -> Option<String> {
        match &mut self.attempt {
            Attempt::Open(relay) => relay.take_upstream_id(),
            Attempt::Opening(_) | Attempt::Ended => self.upstream_id.take(),
        }
    }

    /// Ends the generation with a failure, and returns its last frame. The upstream is cancelled.
    #[must_use]
    pub fn stop(&mut self, failure: Failure) -> Bytes {
        match &self.attempt {
            Attempt::Ended => Bytes::new(),
            Attempt::Opening(_) => {
                self.attempt.cancel();
                self.meter.on_failure(&failure);
                self.client.error_frame(&failure, self.meter.request_id())
            }
            Attempt::Open(_) => self.finish(Bytes::new(), StreamEnd::failed(failure)),
        }
    }

    /// Returns whether the server must end now, and this generation with it.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.deadlines.is_aborted()
    }

    /// Returns whether the answer ended with all of its tokens and the end mark.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.meter.is_complete()
    }

    /// Returns whether the last frame has been given out.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.attempt, Attempt::Ended)
    }

    fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let opened = match self.attempt.poll_open(&self.client, cx) {
            Poll::Ready(opened) => opened,
            Poll::Pending => {
                let failure = ready!(self.deadlines.poll_expired(false, cx));
                self.attempt.cancel();
                Err(failure)
            }
        };
        Poll::Ready(opened.map(|headers| {
            if !headers.is_empty() {
                self.headers = headers;
            }
        }))
    }

    /// Ends the stream: returns `bytes` and the frames that end it.
    fn finish(&mut self, bytes: Bytes, end: StreamEnd) -> Bytes {
        let request_id = self.meter.request_id();
        let bytes = match &mut self.attempt {
            Attempt::Open(relay) => {
                self.upstream_id = relay.take_upstream_id();
                relay.append_end(&mut self.client, bytes, &end, request_id)
            }
            Attempt::Opening(_) | Attempt::Ended => bytes,
        };
        match end {
            StreamEnd::Complete { .. } => {
                self.attempt.complete();
                self.meter.on_complete();
            }
            StreamEnd::Failed { failure, .. } => {
                self.attempt.cancel();
                self.meter.on_failure(&failure);
            }
        }
        bytes
    }
}

impl From<Generation> for RefusedGeneration {
    fn from(generation: Generation) -> Self {
        Self(generation.meter)
    }
}
