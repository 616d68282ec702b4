//! A log as the source, or the target, of a copy: what lies in another store as well.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::state::RemoteReaders;
use super::{End, Head, Log, RecordBatch};

/// The content of a log from one position on.
#[derive(Debug)]
pub(super) struct LogSnapshot {
    /// The head of the stream.
    pub(super) head: Head,
    /// The first record that is kept.
    pub(super) first: u64,
    /// The weight of the records.
    pub(super) weight: usize,
    /// Runs, with the place of each one's first record.
    pub(super) records: Vec<(u64, RecordBatch)>,
    /// Set if the stream was deleted.
    pub(super) gone: bool,
}

impl LogSnapshot {
    /// The place after the last of these records.
    pub(super) fn next(&self, from: u64) -> u64 {
        self.records
            .last()
            .map_or(from, |(first, run)| first + run.count())
    }
}

impl Log {
    /// Returns the records from that position on, at most about so many bytes. What was there
    /// before and is no longer is left out.
    pub(super) fn held(&self, from: u64, most: usize) -> LogSnapshot {
        let state = self.lock();
        let (mut position, mut bytes, mut records) = (from.max(state.first()), 0, Vec::new());
        while bytes < most
            && let Some(run) = state.run_at(position)
        {
            bytes += run.bytes_len();
            let count = run.count();
            records.push((position, run));
            position += count;
        }
        LogSnapshot {
            head: state.head.clone(),
            first: state.first(),
            weight: state.weight,
            records,
            gone: state.gone,
        }
    }

    /// Ready when there is something that a copy which holds all before that place doesn't hold.
    pub(super) fn poll_more(&self, from: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.head.next > from || state.head.end.is_some() || state.gone {
            return Poll::Ready(());
        }
        if !state
            .mirror
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            state.mirror = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Readers of a copy count for so long, and the furthest of them is there.
    pub(super) fn set_remote_readers(&self, seen: Option<(Duration, u64)>) {
        let mut state = self.lock();
        let now = Instant::now();
        match seen {
            Some((rest, position)) => {
                state.remote = Some(RemoteReaders {
                    until: now + rest,
                    position,
                })
            }
            None => {
                if let Some(remote) = &mut state.remote {
                    remote.until = remote.until.min(now);
                }
            }
        }
        // Their coming and going are the writer's business.
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// Takes records into a copy, which keeps about so many bytes: whoever is behind finds the rest
    /// where they came from. `end` is what follows them.
    pub(super) fn receive(
        &self,
        records: Vec<(u64, RecordBatch)>,
        end: Option<End>,
        window: usize,
    ) {
        let mut state = self.lock();
        for (first, run) in records {
            let next = state.head.next;
            if first > next {
                // What lies between is no more. Whoever would have got it next is told so there.
                self.drop_before(&mut state, u64::MAX);
                state.head.next = first;
            }
            let skip = state.head.next - first;
            if skip < run.count() {
                self.push(&mut state, run.after(skip));
            }
        }
        while state.weight > window
            && let Some((first, run)) = state.runs.front()
        {
            let end = first + run.count();
            self.drop_before(&mut state, end);
        }
        if end.is_some() {
            state.head.end = end;
        }
        state.touched = Instant::now();
        Self::wake(state);
    }

    /// Returns the position of the furthest local reader.
    pub(super) fn furthest_reader(&self) -> Option<u64> {
        self.lock()
            .readers
            .iter()
            .map(|(_, reader)| reader.position)
            .max()
    }

    /// Returns whether the stream has ended or was deleted.
    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.head.end.is_some() || state.gone
    }

    /// Nothing more comes from where it is copied.
    pub(super) fn cut(self: &Arc<Self>) {
        self.forget();
    }
}
