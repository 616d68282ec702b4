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
//! let mut generation = Generation::start(GenerationParams {
//!     request_id: base::id::RequestId::random(),
//!     route: "/v1/chat/completions",
//!     request: Arc::new(Request::prompt("Hello")),
//!     permit: None,
//!     compute: Default::default(),
//!     plan: Plan::of(Target::new(provider, "mock-echo")),
//!     dialect: &openai_chat::DIALECT,
//!     meta: ResponseMeta::for_error(),
//!     headers: http::HeaderMap::new(),
//!     comments: true,
//!     timeouts: GenerationTimeouts { first_token: limit, between_tokens: limit, total: limit },
//!     client_timeout: None,
//!     abort: Default::default(),
//!     disconnect: Default::default(),
//!     observers: Default::default(),
//!     account: None,
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

mod account;
mod attempt;
mod attempts;
mod complete;
mod contender;
mod continuation;
mod continuing;
mod deadline;
mod detached;
mod first_frames;
mod forwarded;
mod hedge;
mod hold;
mod linger;
mod meter;
mod omitted;
mod params;
mod relay;
mod resume;
mod stage;
mod transcript;
mod turn_language;

#[cfg(test)]
mod tests;

pub use crate::config::GenerationTimeouts;
pub use account::Account;
pub use complete::{CompleteAnswer, CompleteGeneration};
pub use detached::DetachedGeneration;
pub use forwarded::{ForwardParams, ForwardedGeneration, RequestForTarget};
pub use linger::{Linger, ParseLingerError};
pub use meter::RefusedGeneration;
pub use params::GenerationParams;

use std::future::{Future, poll_fn};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;

use crate::routing::Next;
use attempt::Attempt;
use attempts::Attempts;
use deadline::Deadlines;
use dialect::event::Event;
use dialect::failure::{Failure, classes};
use dialect::{EventSink, SealKey};
use meter::Meter;
use omitted::log_empty;
use relay::{ClientWriter, RelayStep, StreamEnd};
use stage::AnswerStage;
use transcript::Transcript;

/// A generation that streams its answer.
#[derive(Debug)]
pub struct Generation {
    attempts: Attempts,
    attempt: Attempt,
    client: ClientWriter,
    deadlines: Deadlines,
    meter: Meter,
    /// The upstream's headers that the client may see; empty until it has accepted the request.
    headers: HeaderMap,
    /// The response id of an upstream that has ended, if nobody has taken it yet.
    upstream_id: Option<String>,
    stage: AnswerStage,
    /// The reason for which an answer broke that another attempt is to go on with.
    break_failure: Option<Failure>,
    /// The reason for which an answer broke whose upstream is asked for the rest.
    interruption: Option<Failure>,
    /// Frames that were ready before anybody asked for them.
    first_frames: Option<Bytes>,
}

impl Generation {
    /// Prepares the first attempt. Nothing is sent until the generation is polled.
    #[must_use]
    pub fn start(mut params: GenerationParams) -> Self {
        let meter = params.start_meter();
        let mut deadlines = Deadlines::start(params.timeouts, true, params.abort.clone());
        if let Some(timeout) = params.client_timeout {
            // A stream may be longer than its client waits for one piece of it.
            deadlines.begin_within(timeout);
        }
        let request = params.upstream_request();
        let latest = deadlines.latest();
        let id = params.request_id.clone();
        let mut attempts = Attempts::new(params.plan, request, id, latest);
        let next = attempts.begin();
        let stage = match attempts.plan().may_go_on() {
            true => AnswerStage::unsaid(params.meta.clone()),
            false => AnswerStage::Shown,
        };
        let mut client = ClientWriter::new(params.dialect, params.meta, params.comments);
        if attempts.is_continuable() {
            client.keep_transcript(Transcript::new(&params.request));
        }
        let mut generation = Self {
            attempts,
            attempt: Attempt::Ended,
            client,
            deadlines,
            meter,
            headers: HeaderMap::new(),
            upstream_id: None,
            stage,
            break_failure: None,
            interruption: None,
            first_frames: None,
        };
        if let Err(failure) = generation.follow(next) {
            generation.attempt = Attempt::failed(failure);
        }
        generation
    }

    /// Waits until the upstream has accepted the request or, where another target could be asked,
    /// until the answer has begun. May be dropped and called again.
    ///
    /// # Errors
    ///
    /// The failure that kept it from being accepted: the client can still be told with a status.
    pub async fn opened(&mut self) -> Result<HeaderMap, Failure> {
        poll_fn(|cx| {
            if self.stage.is_shown() {
                return self.poll_opened(cx);
            }
            let frames = ready!(self.poll_first_frames(false, cx))?;
            self.first_frames = Some(frames);
            Poll::Ready(Ok(()))
        })
        .await?;
        let mut headers = self.headers.clone();
        self.meter.add_headers(&mut headers);
        self.attempts.add_headers(&mut headers);
        Ok(headers)
    }

    /// Records the HTTP status of the response.
    pub fn set_status(&mut self, status: u16) {
        self.meter.set_status(status);
    }

    /// Polls for the next run of whole frames in the client's dialect, as SSE bytes. The last is
    /// the end mark or, of an answer that broke, an error; then `None`.
    pub fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.first_frames.is_some()
            && let Some(frames) = self.take_first_frames()
        {
            return Poll::Ready(Some(frames));
        }
        loop {
            if !self.stage.is_shown() {
                match ready!(self.poll_unshown(cx)) {
                    Ok(frames) if frames.is_empty() => continue,
                    Ok(frames) => return Poll::Ready(Some(frames)),
                    Err(failure) => return Poll::Ready(Some(self.refuse(&failure))),
                }
            }
            if self.attempt.is_pending()
                && let Err(failure) = ready!(self.poll_opened(cx))
            {
                return Poll::Ready(Some(self.refuse(&failure)));
            }
            let Some(step) = ready!(self.poll_step(cx)) else {
                return Poll::Ready(None);
            };
            let bytes = match step.end {
                None => step.bytes,
                Some(end) => self.end_attempt(step.bytes, end),
            };
            if !bytes.is_empty() {
                return Poll::Ready(Some(bytes));
            }
        }
    }

    /// Returns the frames that were ready before anybody asked for them, once.
    fn take_first_frames(&mut self) -> Option<Bytes> {
        self.first_frames.take().filter(|frames| !frames.is_empty())
    }

    /// Ends a generation of which the client has seen nothing. Returns its only frame.
    fn refuse(&mut self, failure: &Failure) -> Bytes {
        if let AnswerStage::Unsaid(answer) = std::mem::take(&mut self.stage) {
            // What was held is never shown.
            self.client = self.client.begin_anew(answer.meta);
        }
        self.attempt.cancel();
        self.attempts.release();
        let frame = self.client.error_frame(failure, self.meter.request_id());
        self.meter.on_failure(failure);
        frame
    }

    /// Polls for the next step of an open upstream; `None` once it has ended.
    #[inline]
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Option<RelayStep>> {
        let Attempt::Open(relay) = &mut self.attempt else {
            return Poll::Ready(None);
        };
        let plan = self.attempts.plan();
        let mut note = |event: Event<'_>| {
            if let Event::State(state) = event
                && let Some(seal) = SealKey::of(&state)
            {
                plan.note_seal(seal);
            }
        };
        let tap: EventSink<'_> = if plan.notes_seals() {
            Some(&mut note)
        } else {
            None
        };
        let mut step = match relay.poll_step(&mut self.client, &mut self.meter, tap, cx) {
            Poll::Ready(step) => step,
            Poll::Pending => {
                let has_content = self.meter.has_content();
                let expired = self.deadlines.poll_expired(has_content, cx);
                self.meter.on_wait(self.deadlines.waiting_since());
                let failure = ready!(expired);
                RelayStep::ended(StreamEnd::failed(failure))
            }
        };
        if step.has_payload
            && let Some(failure) = self.deadlines.on_payload()
            && step.end.is_none()
        {
            step.end = Some(StreamEnd::failed(failure));
        }
        Poll::Ready(Some(step))
    }

    /// Does what the plan says.
    ///
    /// # Errors
    ///
    /// The failure that the client is to be told.
    fn follow(&mut self, next: Next) -> Result<(), Failure> {
        // One that has waited for its only attempt: nothing is held.
        let plan = self.attempts.plan();
        let is_only = plan.attempts() == 1 && !plan.may_go_on();
        self.attempt = match next {
            Next::Ask => match self.attempts.current() {
                (target, Some(request)) => {
                    if is_only {
                        self.stage = AnswerStage::Shown;
                    }
                    self.deadlines.begin_attempt(target.first_token);
                    self.meter.on_attempt(target);
                    if let Some(continuation) = &request.continuation {
                        self.meter.on_continuation(continuation.way());
                    }
                    let attempt = Attempt::new(target, request);
                    if self.stage.is_joining() {
                        self.begin_joining();
                    }
                    attempt
                }
                (_, None) => Attempt::Ended,
            },
            Next::Wait(until) => Attempt::wait_until(until),
            Next::Fail(failure) => {
                self.attempt = Attempt::Ended;
                return Err(failure);
            }
        };
        self.schedule_hedge();
        Ok(())
    }

    /// Returns the response id chosen by the upstream, once. Where its frames are passed through,
    /// clients see that one.
    pub fn take_upstream_id(&mut self) -> Option<String> {
        match &mut self.attempt {
            Attempt::Open(relay) => {
                let id = relay.take_upstream_id()?;
                self.attempts.plan().note_response(&id);
                Some(id)
            }
            Attempt::Waiting(_) | Attempt::Opening(_) | Attempt::Ended => self.upstream_id.take(),
        }
    }

    /// Ends the generation with a failure, and returns its last frame. The upstream is cancelled.
    #[must_use]
    pub fn stop(&mut self, failure: Failure) -> Bytes {
        let first = self.take_first_frames().unwrap_or_default();
        match &self.attempt {
            Attempt::Ended => first,
            Attempt::Waiting(_) | Attempt::Opening(_) => self.refuse(&failure),
            Attempt::Open(_) if self.stage.is_unsaid() => self.refuse(&failure),
            Attempt::Open(_) => self.finish(first, StreamEnd::failed(failure)),
        }
    }

    /// Returns the failure with which this generation must end now: with its server, or since its
    /// key is no longer good.
    #[must_use]
    pub fn aborted(&self) -> Option<Failure> {
        self.deadlines.aborted()
    }

    /// Returns whether the answer ended with all of its tokens and the end mark.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.meter.is_complete()
    }

    /// Returns whether the last frame has been given out.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.attempt, Attempt::Ended) && self.first_frames.is_none()
    }

    fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            let polled = match &mut self.attempt {
                Attempt::Waiting(_) if self.attempts.poll_place(cx).is_ready() => Poll::Ready(None),
                Attempt::Waiting(sleep) => sleep.as_mut().poll(cx).map(|()| None),
                attempt => attempt.poll_open(&self.client, cx).map(Some),
            };
            let opened = match polled {
                Poll::Ready(None) => {
                    let next = self.attempts.go_on();
                    self.follow(next)?;
                    continue;
                }
                Poll::Ready(Some(opened)) => opened,
                Poll::Pending => {
                    let failure = ready!(self.deadlines.poll_expired(false, cx));
                    let is_waiting = matches!(self.attempt, Attempt::Waiting(_));
                    if is_waiting && failure.is(&classes::FIRST_TOKEN_TIMEOUT) {
                        // Nobody was asked who could be silent.
                        self.deadlines.begin_attempt(None);
                        continue;
                    }
                    self.attempt.cancel();
                    Err(failure)
                }
            };
            match opened {
                Ok(headers) => {
                    if !headers.is_empty() {
                        self.headers = headers;
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(failure) => self.retry(failure)?,
            }
        }
    }

    /// Ends the stream: returns `bytes` and the frames that end it.
    fn finish(&mut self, bytes: Bytes, end: StreamEnd) -> Bytes {
        if let Some(note) = self.meter.continued_note() {
            self.client.note_continued(note);
        }
        let request_id = self.meter.request_id();
        let bytes = match &mut self.attempt {
            Attempt::Open(relay) => {
                self.upstream_id = relay.take_upstream_id();
                if let Some(id) = &self.upstream_id {
                    self.attempts.plan().note_response(id);
                }
                relay.append_end(&mut self.client, bytes, &end, request_id)
            }
            Attempt::Waiting(_) | Attempt::Opening(_) | Attempt::Ended => bytes,
        };
        match end {
            StreamEnd::Complete { .. } => {
                self.attempts.on_complete();
                self.attempt.complete();
                if self.meter.is_empty() {
                    log_empty(self.meter.model());
                }
                self.meter.on_complete();
            }
            StreamEnd::Failed { failure, .. } => {
                self.attempt.cancel();
                self.attempts.on_broken(&failure);
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
