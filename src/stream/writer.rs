//! The writing end of a generation's log.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::log::State;
use super::{End, Log, Offset, Run};

/// The one writer of a generation's stream. Dropped before its end, it leaves a stream that says so.
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

    /// Ready when more may be appended. At the cap, what the fastest reader has read is given up; if that is nothing, the
    /// writer waits: nobody can get ahead of the fastest, and nothing is dropped that no one has read.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.log.lock();
        let fastest = state.readers.iter().map(|(_, reader)| reader.position).max().unwrap_or(0);
        let full = |state: &State| state.weight >= self.log.most || !self.log.budget.fits(0);
        while full(&state)
            && let Some((first, run)) = state.runs.front()
            && first + run.count() <= fastest
        {
            let weight = run.weight();
            state.weight -= weight;
            self.log.budget.give_back(weight);
            state.runs.pop_front();
        }
        if full(&state) {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Appends records, whether there is room or not.
    pub fn append(&self, run: Run) {
        let mut state = self.log.lock();
        state.touched = Instant::now();
        self.log.push(&mut state, run);
        Log::wake(state);
    }

    /// The place after the last record.
    #[must_use]
    pub fn tail(&self) -> Offset {
        self.log.lock().head.tail()
    }

    /// Since when the stream has had no reader; none if it has one. Whoever asks is woken when that changes.
    pub fn unattended(&self, cx: &mut Context<'_>) -> Option<Duration> {
        let mut state = self.log.lock();
        state.writer = Some(cx.waker().clone());
        state.readers.is_empty().then(|| state.unattended.elapsed())
    }

    /// Whether it was told to end. Whoever asks is woken when that changes.
    pub fn is_cancelled(&self, cx: &mut Context<'_>) -> bool {
        let mut state = self.log.lock();
        state.writer = Some(cx.waker().clone());
        state.cancelled || state.gone
    }

    /// Nothing more will come.
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
    }
}
