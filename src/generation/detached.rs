//! A generation that outlives its readers: it writes a stream, and they read that.
//!
//! It is driven by a task of its own, on the thread where it began, which owns it to its end. It
//! reads its upstream as long as the stream has room, and ends early when it is cancelled, or when
//! nobody has read it for its [`Linger`].

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, Sleep};

use super::{Generation, Linger};
use crate::shutdown::DrainSignal;
use dialect::failure::{Failure, classes};
use dialect::sse;
use stream::{End, Head, RecordBatch, Streams, Writer};

/// The time that a full stream waits for a reader to come back, where its linger has no limit.
const RETURN_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval at which a waiting writer looks for room that other streams gave up, and for the
/// server's end.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The longest response id of an upstream that is remembered, in bytes.
const MAX_UPSTREAM_ID_BYTES: usize = 256;
/// Steps per poll before yielding, so that an upstream that never pauses cannot starve its readers.
const MAX_STEPS_PER_POLL: usize = 16;

/// A generation that writes a stream, driven by whoever polls it.
#[derive(Debug)]
pub struct DetachedGeneration {
    generation: Generation,
    writer: Writer,
    streams: Streams,
    linger: Linger,
    draining: DrainSignal,
    event_ids: EventIds,
    timer: Pin<Box<Sleep>>,
}

/// The result of driving a detached generation.
enum DetachedStep {
    /// The upstream has chosen the response id, in these frames.
    Identified(String, Bytes),
    /// It has ended, with these frames.
    Ended(Bytes, End),
}

impl DetachedGeneration {
    /// Returns a generation that writes to `writer`, a stream of `streams`.
    #[must_use]
    pub fn new(
        generation: Generation,
        writer: Writer,
        streams: Streams,
        linger: Linger,
        draining: DrainSignal,
    ) -> Self {
        let event_ids = EventIds::new(writer.log().id(), &writer.log().head());
        let timer = Box::pin(tokio::time::sleep(linger.duration()));
        Self {
            generation,
            writer,
            streams,
            linger,
            draining,
            event_ids,
            timer,
        }
    }

    /// Drives it to its end.
    pub async fn run(mut self) {
        loop {
            match std::future::poll_fn(|cx| self.poll(cx)).await {
                DetachedStep::Identified(id, frames) => {
                    // Before anyone can read the id, and ask for it.
                    if let Err(error) = self.streams.alias(self.writer.log().id(), &id) {
                        tracing::warn!(stream = %self.writer.log().id(), %error, "an answer can't be found by its upstream's id");
                    }
                    if self.generation.is_ended() {
                        let (last, end) = (self.event_ids.assign(&frames), self.end_state());
                        return self.writer.finish(last, end);
                    }
                    self.append(&frames);
                }
                DetachedStep::Ended(last, end) => {
                    let last = self.event_ids.assign(&last);
                    return self.writer.finish(last, end);
                }
            }
        }
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<DetachedStep> {
        for _ in 0..MAX_STEPS_PER_POLL {
            let outlook = self.writer.poll(cx);
            if outlook.cancelled {
                return self.stop(Failure::cancelled());
            }
            if let Some(since) = outlook.unattended {
                if since >= self.linger.duration() {
                    return self.stop(Failure::abandoned(self.linger.duration()));
                }
                // No reader can connect any more, unless to another replica.
                if self.draining.is_begun() && !self.streams.is_shared() {
                    return self.stop(Failure::draining());
                }
                if self
                    .poll_wait((self.linger.duration() - since).min(POLL_INTERVAL), cx)
                    .is_ready()
                {
                    continue;
                }
            }
            if !outlook.room {
                // Without a limit it would wait for a reader for ever.
                if self.linger == Linger::UNLIMITED
                    && outlook
                        .unattended
                        .is_some_and(|since| since >= RETURN_TIMEOUT)
                {
                    return self.stop(Failure::unread());
                }
                // A generation that is not polled does not see the abort.
                if let Some(failure) = self.generation.aborted() {
                    return self.stop(failure);
                }
                ready!(self.poll_wait(POLL_INTERVAL, cx));
                continue;
            }
            match ready!(self.generation.poll_frames(cx)) {
                Some(frames) => match self
                    .generation
                    .take_upstream_id()
                    .filter(|id| id.len() <= MAX_UPSTREAM_ID_BYTES)
                {
                    Some(id) => return Poll::Ready(DetachedStep::Identified(id, frames)),
                    // Nobody is to see the last frame of a stream that goes on.
                    None if self.generation.is_ended() => {
                        return Poll::Ready(DetachedStep::Ended(frames, self.end_state()));
                    }
                    None => self.append(&frames),
                },
                None => return Poll::Ready(DetachedStep::Ended(Bytes::new(), self.end_state())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn stop(&mut self, failure: Failure) -> Poll<DetachedStep> {
        let end = if failure.is(&classes::CANCELLED) || failure.is(&classes::ABANDONED) {
            End::Cancelled
        } else {
            End::Failed
        };
        let last = self.generation.stop(failure);
        Poll::Ready(DetachedStep::Ended(last, end))
    }

    /// Returns the end of its stream as that of the generation, which has ended.
    fn end_state(&self) -> End {
        if self.generation.is_complete() {
            End::Completed
        } else {
            End::Failed
        }
    }

    #[inline]
    fn append(&mut self, frames: &Bytes) {
        if let Some(run) = self.event_ids.assign(frames) {
            self.writer.append(run);
        }
    }

    /// Waits for `at_most`. The timer is moved only if it would fire later.
    fn poll_wait(&mut self, at_most: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let due = Instant::now() + at_most;
        if self.timer.is_elapsed() || due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
        self.timer.as_mut().poll(cx)
    }
}

/// The event ids of a stream's frames: `<stream-id>.<offset>`, the offset after the frame.
#[derive(Debug)]
struct EventIds {
    /// The last id, of which only the offset changes.
    id: Vec<u8>,
    head: Head,
}

impl EventIds {
    fn new(id: &stream::StreamId, head: &Head) -> Self {
        Self {
            id: format!("{id}.{}", head.tail()).into_bytes(),
            head: head.clone(),
        }
    }

    /// Returns the frames as records with ids. Frames without data are left out: each reader has
    /// heartbeats of its own.
    fn assign(&mut self, frames: &Bytes) -> Option<RecordBatch> {
        let mut out = BytesMut::with_capacity(frames.len() + 2 * self.id.len());
        // All but the last: mostly there is one record, which needs no list of ends.
        let (mut ends, mut last) = (Vec::new(), 0);
        for frame in sse::frames(frames).filter(|frame| frame.data.is_some()) {
            let retry = (self.head.next == 0).then_some(sse::RETRY_INTERVAL);
            self.head.next += 1;
            if let Some(offset) = self.id.last_chunk_mut() {
                self.head.tail().write_to(offset);
            }
            sse::write_frame_with_id(&mut out, &self.id, retry, &frames[frame.range]);
            if last > 0 {
                ends.push(last);
            }
            last = u32::try_from(out.len()).unwrap_or(u32::MAX);
        }
        if ends.is_empty() {
            return (last > 0).then(|| RecordBatch::one(out.freeze()));
        }
        ends.push(last);
        Some(RecordBatch::many(out.freeze(), ends))
    }
}
