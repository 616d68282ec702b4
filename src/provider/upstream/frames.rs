//! A response body as runs of whole SSE events, within a bound.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use dialect::failure::Failure;
use dialect::sse;
use tokio_util::task::TaskTracker;

use super::body::{UpstreamBody, read_failure};
use super::resumable::ResumableStream;
use crate::provider::credentials::Credentials;

/// Time that an upstream has to end its body after the end mark, before its connection is closed
/// rather than kept.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// An upstream's stream, as runs of whole SSE events.
pub struct UpstreamFrames {
    body: UpstreamBody,
    reader: sse::FrameSplitter,
    max_event: usize,
    /// Cut out of each run: no client sees them.
    credentials: Arc<Credentials>,
    ended: bool,
    /// Set if the next event is over the cap.
    is_too_large: bool,
    /// Set if the upstream can be asked again for the rest.
    resumable: Option<Box<ResumableStream>>,
    tasks: TaskTracker,
}

impl fmt::Debug for UpstreamFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamFrames")
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}

impl UpstreamFrames {
    /// Reads events of at most `max_event` bytes from a body.
    pub(in crate::provider) fn new(
        body: UpstreamBody,
        max_event: usize,
        credentials: Arc<Credentials>,
        tasks: &TaskTracker,
    ) -> Self {
        Self {
            body,
            reader: sse::FrameSplitter::new(max_event),
            max_event,
            credentials,
            ended: false,
            is_too_large: false,
            resumable: None,
            tasks: tasks.clone(),
        }
    }

    /// Makes the stream one of which the upstream can be asked again for the rest.
    pub(in crate::provider) fn resumable(self, resumable: ResumableStream) -> Self {
        Self {
            resumable: Some(Box::new(resumable)),
            ..self
        }
    }

    /// Polls for the next run of whole events; `None` once the body has ended cleanly.
    #[inline]
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        if self.is_too_large {
            return Poll::Ready(Some(Err(Failure::event_too_large(self.max_event))));
        }
        while !self.ended {
            let run = match ready!(self.body.poll_bytes(cx)) {
                Some(Ok(chunk)) => match self.reader.push(chunk) {
                    Ok(run) => run,
                    Err(error) => {
                        return Poll::Ready(Some(Err(Failure::event_too_large(error.limit))));
                    }
                },
                Some(Err(error)) => {
                    return Poll::Ready(Some(Err(read_failure(error))));
                }
                None => {
                    self.ended = true;
                    match &mut self.resumable {
                        None => self.reader.finish(),
                        // An event that is not whole can be asked for again.
                        Some(resumable) => {
                            resumable.on_end();
                            Bytes::new()
                        }
                    }
                }
            };
            let run = match self.first_too_large(&run) {
                None => run,
                Some(0) => {
                    return Poll::Ready(Some(Err(Failure::event_too_large(self.max_event))));
                }
                // The events before it are given out first.
                Some(start) => {
                    self.is_too_large = true;
                    run.slice(..start)
                }
            };
            let run = match &mut self.resumable {
                Some(resumable) if !run.is_empty() => match resumable.note(run) {
                    Ok(run) => run,
                    Err(failure) => return Poll::Ready(Some(Err(failure))),
                },
                _ => run,
            };
            if !run.is_empty() {
                return Poll::Ready(Some(Ok(self.credentials.redact(run))));
            }
        }
        Poll::Ready(None)
    }

    /// Returns the place of the first event that is over the cap.
    #[inline]
    fn first_too_large(&self, run: &Bytes) -> Option<usize> {
        if run.len() <= self.max_event {
            return None;
        }
        let mut frames = sse::frames(run).map(|frame| frame.range);
        let large = frames.find(|range| range.len() > self.max_event);
        large.map(|range| range.start)
    }

    /// Asks the upstream again for what follows the events that were read. Returns false if it
    /// can't be asked. Polling goes on with the rest, or with the failure to get it.
    pub fn reopen(&mut self) -> bool {
        let resumable = self.resumable.as_mut();
        let Some(rest) = resumable.and_then(|resumable| resumable.reopen()) else {
            return false;
        };
        self.body = UpstreamBody::awaited(rest);
        self.reader = sse::FrameSplitter::new(self.max_event);
        self.ended = false;
        true
    }

    /// Returns whether the upstream can be asked again for the rest.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        let resumable = self.resumable.as_ref();
        resumable.is_some_and(|resumable| !resumable.is_exhausted())
    }

    /// Returns whether the upstream was asked again, and nothing has come since.
    #[must_use]
    pub fn is_reopening(&self) -> bool {
        let resumable = self.resumable.as_ref();
        resumable.is_some_and(|resumable| resumable.is_reopening())
    }

    /// Tells if the body has ended: the last run may then hold an event without its end.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Gives the connection up after the stream's end mark. If the upstream ends its body at once
    /// or within a moment, the connection is kept for the next request; otherwise it is closed.
    pub fn close(mut self) {
        if let Some(resumable) = &mut self.resumable {
            resumable.settle();
        }
        if self.ended
            || self
                .body
                .poll_bytes(&mut Context::from_waker(Waker::noop()))
                .is_ready()
        {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "ends after CLOSE_TIMEOUT")]
        self.tasks.spawn(async move {
            // In any case the body is dropped afterwards, and the connection with it.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.body.next_bytes()).await;
        });
    }
}
