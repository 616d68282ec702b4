//! The writing end of a generation's log.

use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use super::state::LogState;
use super::{End, Lifetime, Log, Offset, RecordBatch, StreamId};

/// The state of a stream as its writer must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterStatus {
    /// It was told to end.
    pub cancelled: bool,
    /// The time for which the stream has had no reader; `None` if it has one.
    pub unattended: Option<Duration>,
    /// Set if more may be appended.
    pub room: bool,
}

/// The key by which a request that arrives twice creates one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The key that its client gave it; whose key it is must be part of it.
    pub key: String,
    /// A digest of what was asked for.
    pub asked: String,
}

/// The result of creating a stream under an idempotency key.
#[derive(Debug)]
pub enum IdempotentCreate {
    /// It is the first.
    Created(Writer),
    /// It has made that stream before.
    Duplicate(StreamId),
    /// Its key has made a stream for something else.
    Conflict,
}

/// The one writer of a generation's stream. Dropped before its end, it leaves a stream that says
/// so.
#[derive(Debug)]
pub struct Writer {
    log: Arc<Log>,
}

impl Writer {
    pub(super) fn new(log: Arc<Log>) -> Self {
        Self { log }
    }

    /// The stream that it writes.
    #[must_use]
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Polls for the stream's state. The task is woken when any of it changes.
    ///
    /// At the cap, what the fastest reader has read is given up; if that is nothing, there is no
    /// room: nobody can get ahead of the fastest, and nothing is dropped that no one has read.
    /// Where all streams together are at theirs, one whose fastest has read all of it goes on: what
    /// it says next is held no longer than until it is read.
    pub fn poll(&self, cx: &mut Context<'_>) -> WriterStatus {
        let mut state = self.log.lock();
        let fastest = state.furthest();
        let full = |state: &LogState| state.weight >= self.log.most || !self.log.budget.fits(0);
        while full(&state)
            && let Some((first, run)) = state.runs.front()
            && first + run.count() <= fastest
        {
            let end = first + run.count();
            self.log.drop_before(&mut state, end);
        }
        if !state
            .writer
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            state.writer = Some(cx.waker().clone());
        }
        WriterStatus {
            cancelled: state.cancelled || state.gone,
            unattended: state.unattended(),
            room: !full(&state) || (state.weight < self.log.most && state.head.next <= fastest),
        }
    }

    /// Appends records, whether there is room or not.
    pub fn append(&self, run: RecordBatch) {
        let mut state = self.log.lock();
        state.touched = Instant::now();
        self.log.push(&mut state, run);
        Log::wake_readers(state);
    }

    /// The place after the last record.
    #[must_use]
    pub fn tail(&self) -> Offset {
        self.log.lock().head.tail()
    }

    /// Ends the stream.
    pub fn end(self, end: End) {
        self.close(end);
    }

    fn close(&self, end: End) {
        let mut state = self.log.lock();
        if state.head.end.is_none() {
            state.head.end = Some(end);
            state.touched = Instant::now();
            Log::wake(state);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close(End::Lost);
        let mut state = self.log.lock();
        if state.head.next == 0 && state.head.end == Some(End::Lost) {
            // Nobody has heard of it: nobody will come for it.
            state.head.lifetime = Lifetime::Idle(Duration::ZERO);
        }
    }
}
