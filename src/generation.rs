//! One request being answered: from the accepted request to its one terminal event.
//!
//! A [`Generation`] is polled by whoever writes the answer: it opens the upstream, reads it, relays it into the client's
//! dialect, watches the clock, and says in the end how it ended. It runs in no task of its own: a client that reads slowly
//! slows the upstream's reading, and dropping the generation drops the upstream, which cancels it. Whatever must hold to
//! the end (timers, counts, the log line) lives in here, not in a middleware, whose future ends with the head.
//!
//! Not here: HTTP, and how frames reach a client (`transport`).

mod deadline;
mod detached;
mod linger;
mod meter;
mod relay;

pub use deadline::GenerationTimeouts;
pub use detached::DetachedGeneration;
pub use linger::{Linger, ParseLingerError};

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;

use crate::disconnect::Disconnect;
use crate::outcome::Observers;
use crate::provider::{OpenFuture, Opened, Upstream, UpstreamRequest, poll_event};
use crate::routing::Plan;
use crate::shutdown::AbortSignal;
use base::id::RequestId;
use deadline::Deadlines;
use dialect::failure::Failure;
use dialect::request::{Request, Task};
use dialect::{Answer, Answering, Dialect, UpstreamSide};
use meter::Meter;
use relay::{Relay, StreamEnd};

/// The parameters of a generation.
#[derive(Debug)]
pub struct GenerationParams {
    /// The id of the client's request.
    pub request_id: RequestId,
    /// The route of the client's request, for the outcome.
    pub route: &'static str,
    /// The client's request.
    pub request: Arc<Request>,
    /// The targets that may serve it.
    pub plan: Plan,
    /// The client's dialect.
    pub dialect: &'static Dialect,
    /// The id, the time and the model that the answer bears.
    pub answering: Answering,
    /// The client's headers.
    pub headers: HeaderMap,
    /// Whether an upstream's comments are passed on.
    pub comments: bool,
    /// The time limits.
    pub timeouts: GenerationTimeouts,
    /// The signal on which every generation ends with an error.
    pub abort: AbortSignal,
    /// The reason for which the client is gone, if it is.
    pub disconnect: Disconnect,
    /// The observers of the outcome.
    pub observers: Observers,
}

/// One request being answered.
#[derive(Debug)]
pub struct Generation {
    dialect: &'static Dialect,
    task: Task,
    phase: Phase,
    relay: Relay,
    deadlines: Deadlines,
    meter: Meter,
    /// The upstream's headers that the client may see; there once it has accepted.
    headers: HeaderMap,
    upstream_id: UpstreamId,
}

/// The response id chosen by the upstream, when its frames are passed through.
#[derive(Debug)]
enum UpstreamId {
    Unknown,
    Heard(String),
    Taken,
}

enum Phase {
    Opening(OpenFuture),
    Open(Upstream),
    Ended,
}

impl std::fmt::Debug for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Phase::Opening(_) => "Opening",
            Phase::Open(_) => "Open",
            Phase::Ended => "Ended",
        })
    }
}

impl Generation {
    /// Sends the request on its way; nothing happens until the generation is polled.
    #[must_use]
    pub fn start(params: GenerationParams) -> Self {
        let GenerationParams {
            request_id,
            route,
            request,
            plan,
            dialect,
            answering,
            headers,
            comments,
            timeouts,
            abort,
            disconnect,
            observers,
        } = params;
        let (id, task) = (request_id.as_str().to_owned(), request.task);
        let model = answering.model.clone();
        let mut meter = Meter::start(request_id, route, model, disconnect, observers);
        let relay = Relay::new(dialect, answering, comments);
        let deadlines = Deadlines::start(timeouts, request.stream, abort);
        let target = plan.first();
        meter.on_attempt(target);
        let call = UpstreamRequest {
            dialect,
            request,
            model: target.upstream_model.clone(),
            id,
            headers,
        };
        let opening = target.provider.open(call);
        Self {
            dialect,
            task,
            phase: Phase::Opening(opening),
            relay,
            deadlines,
            meter,
            headers: HeaderMap::new(),
            upstream_id: UpstreamId::Unknown,
        }
    }

    /// Waits until the upstream has accepted the request. May be dropped and called again.
    ///
    /// # Errors
    ///
    /// Whatever kept it from being accepted: the client can still be told with a status.
    pub async fn opened(&mut self) -> Result<HeaderMap, Failure> {
        poll_fn(|cx| self.poll_opened(cx)).await?;
        Ok(self.headers.clone())
    }

    /// The upstream's headers that the client may see.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Says which HTTP status the client was answered with.
    pub fn answered(&mut self, status: u16) {
        self.meter.set_status(status);
    }

    /// The next run of frames in the client's dialect, whole events as SSE bytes. The last is the end mark, or, of an answer that
    /// broke, an error; then `None`.
    pub fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Phase::Opening(_) = self.phase
                && let Err(failure) = ready!(self.poll_opened(cx))
            {
                let error = self.relay.error(&failure, self.meter.request_id());
                self.end(Some(&failure));
                return Poll::Ready(Some(error));
            }
            let Phase::Open(upstream) = &mut self.phase else {
                return Poll::Ready(None);
            };
            let step = match self.relay.poll(upstream, &mut self.meter, cx) {
                Poll::Ready(step) => step,
                Poll::Pending => match self.deadlines.poll_expired(self.meter.has_content(), cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(failure) => relay::RelayStep::ended(StreamEnd::Failed {
                        failure,
                        already_sent: false,
                    }),
                },
            };
            if let (UpstreamId::Unknown, Upstream::Frames(_, dialect, reader)) =
                (&self.upstream_id, &*upstream)
                && *dialect == self.dialect
                && !reader.position().id.is_empty()
            {
                self.upstream_id = UpstreamId::Heard(reader.position().id.to_owned());
            }
            let mut bytes = step.bytes;
            let mut end = step.end;
            if step.heard {
                let over = self.deadlines.on_payload();
                end = end.or(over.map(|failure| {
                    Box::new(StreamEnd::Failed {
                        failure,
                        already_sent: false,
                    })
                }));
            }
            if let Some(end) = end {
                bytes = self
                    .relay
                    .append_end(bytes, &end, upstream, self.meter.request_id());
                match *end {
                    StreamEnd::Complete { .. } => self.end(None),
                    StreamEnd::Failed { failure, .. } => self.end(Some(&failure)),
                }
            }
            if !bytes.is_empty() {
                return Poll::Ready(Some(bytes));
            }
        }
    }

    /// The upstream's own id of the answer, told once: where its frames are passed on, that is the one that clients see.
    pub fn take_upstream_id(&mut self) -> Option<String> {
        match std::mem::replace(&mut self.upstream_id, UpstreamId::Taken) {
            UpstreamId::Heard(name) => Some(name),
            other => {
                self.upstream_id = other;
                None
            }
        }
    }

    /// Ends it now, for that reason. The upstream is cancelled; what comes back is the last frame.
    #[must_use]
    pub fn stop(&mut self, failure: Failure) -> Bytes {
        let error = match &self.phase {
            Phase::Ended => return Bytes::new(),
            Phase::Opening(_) => self.relay.error(&failure, self.meter.request_id()),
            Phase::Open(upstream) => {
                let end = StreamEnd::Failed {
                    failure,
                    already_sent: false,
                };
                let error =
                    self.relay
                        .append_end(Bytes::new(), &end, upstream, self.meter.request_id());
                let StreamEnd::Failed { failure, .. } = end else {
                    return error;
                };
                self.end(Some(&failure));
                return error;
            }
        };
        self.end(Some(&failure));
        error
    }

    /// Whether the server must end now, and this generation with it.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.deadlines.is_aborted()
    }

    /// How it ended, once it has: with all that it had to say, or not.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.meter.is_complete()
    }

    /// The whole answer at once, as a body in the client's dialect.
    ///
    /// # Errors
    ///
    /// Whatever kept it from being whole.
    pub async fn whole(&mut self, answering: &Answering) -> Result<Bytes, Failure> {
        let mut answer = Answer::default();
        let result = poll_fn(|cx| {
            ready!(self.poll_opened(cx))?;
            self.poll_whole(&mut answer, cx)
        })
        .await;
        let body = match result {
            Ok(Some(body)) => body,
            Ok(None) => self.dialect.client.write_answer(&answer, answering).into(),
            Err(failure) => {
                self.phase = Phase::Ended;
                return Err(failure);
            }
        };
        self.end(None);
        Ok(body)
    }

    /// Says that the client was told of this failure by a status, and which.
    pub fn refused(mut self, failure: &Failure, status: u16) {
        self.phase = Phase::Ended;
        self.meter.set_status(status);
        self.meter.on_failure(failure);
    }

    /// Whether the last frame has been given out.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Phase::Opening(opening) = &mut self.phase else {
            return Poll::Ready(Ok(()));
        };
        let opened = match opening.as_mut().poll(cx) {
            Poll::Ready(opened) => opened,
            Poll::Pending => Err(ready!(self.deadlines.poll_expired(false, cx))),
        };
        match opened {
            Ok(Opened { headers, upstream }) => {
                self.headers = headers;
                self.phase = Phase::Open(upstream);
                Poll::Ready(Ok(()))
            }
            Err(failure) => {
                // Dropping the opening cancels it.
                self.phase = Phase::Ended;
                Poll::Ready(Err(failure))
            }
        }
    }

    /// The upstream's own body, or, once its events have ended, none: then they are in `answer`.
    fn poll_whole(
        &mut self,
        answer: &mut Answer,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Failure>> {
        loop {
            match &mut self.phase {
                Phase::Open(Upstream::Whole(body, dialect)) => {
                    let body = std::mem::take(body);
                    let (same, side) = (*dialect == self.dialect, dialect.upstream);
                    return Poll::Ready(self.read_whole(body, same, side, answer));
                }
                Phase::Open(Upstream::Events(events)) => match poll_event(events, cx) {
                    Poll::Ready(Some(Ok(event))) => {
                        self.meter.on_event(&event);
                        answer.add(&event);
                    }
                    Poll::Ready(Some(Err(failure))) => return Poll::Ready(Err(failure)),
                    Poll::Ready(None) => return Poll::Ready(Ok(None)),
                    Poll::Pending => {
                        return Poll::Ready(Err(ready!(self.deadlines.poll_expired(false, cx))));
                    }
                },
                Phase::Open(Upstream::Frames(..)) | Phase::Opening(_) | Phase::Ended => {
                    return Poll::Ready(Err(Failure::internal(
                        "a stream came where none was asked for".into(),
                    )));
                }
            }
        }
    }

    /// A whole answer of an upstream: passed on as it is, or read into `answer`.
    fn read_whole(
        &mut self,
        body: Bytes,
        same: bool,
        side: Option<&'static dyn UpstreamSide>,
        answer: &mut Answer,
    ) -> Result<Option<Bytes>, Failure> {
        // A mere count is no answer, and none of its dialects' clients gets another's.
        let (Some(side), Task::Generate) = (side, self.task) else {
            return Ok(Some(body));
        };
        if same {
            self.meter.on_usage(side.read_answer(&body, None)?.usage);
            return Ok(Some(body));
        }
        let meter = &mut self.meter;
        side.read_answer(
            &body,
            Some(&mut |event| {
                meter.on_event(&event);
                answer.add(&event);
            }),
        )?;
        Ok(None)
    }

    fn end(&mut self, failure: Option<&Failure>) {
        // Dropping the upstream of a broken answer cancels it; that of a whole one is kept for the next request.
        if let Phase::Open(Upstream::Frames(frames, ..)) =
            std::mem::replace(&mut self.phase, Phase::Ended)
            && failure.is_none()
        {
            frames.close();
        }
        match failure {
            None => self.meter.on_complete(),
            Some(failure) => self.meter.on_failure(failure),
        }
    }
}
