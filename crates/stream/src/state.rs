//! The state of one log: its records, its readers, and the wakers of those that wait for it.
//!
//! Not here: the lock around it, its bounds and who is woken (`log`).

use std::collections::VecDeque;
use std::task::Waker;
use std::time::{Duration, Instant};

use slab::Slab;

use super::{Head, Offset, RecordBatch, StreamError};

/// The state of one log.
#[derive(Debug)]
pub(super) struct LogState {
    pub(super) head: Head,
    /// With the position of each run's first record.
    pub(super) runs: VecDeque<(u64, RecordBatch)>,
    /// The weight of the head and the records, in bytes.
    pub(super) weight: usize,
    /// The part of the weight that is the head's.
    pub(super) head_weight: usize,
    pub(super) readers: Slab<AttachedReader>,
    /// The time since which there has been no reader.
    pub(super) unattended: Instant,
    /// The position reached by clients that read page by page: everything before it has been read.
    pub(super) paged: u64,
    /// The last read or write.
    pub(super) touched: Instant,
    pub(super) writer: Option<Waker>,
    /// The waker of the task that mirrors it to another store.
    pub(super) mirror: Option<Waker>,
    /// The readers of copies on other replicas.
    pub(super) remote: Option<RemoteReaders>,
    pub(super) cancelled: bool,
    /// Set once the id no longer leads here.
    pub(super) gone: bool,
}

/// One attached reader.
#[derive(Debug)]
pub(super) struct AttachedReader {
    pub(super) position: u64,
    pub(super) waker: Option<Waker>,
}

/// Readers of a copy, elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct RemoteReaders {
    /// They count until then.
    pub(super) until: Instant,
    /// The position of the furthest reader.
    pub(super) position: u64,
}

impl LogState {
    pub(super) fn is_idle(&self) -> bool {
        self.readers.is_empty() && (self.head.end.is_some() || self.head.dialect.is_none())
    }

    /// Checks an offset, and returns its position.
    pub(super) fn check(&self, offset: Offset) -> Result<u64, StreamError> {
        if self.gone {
            return Err(StreamError::Gone("this stream is no longer here"));
        }
        self.head.check_offset(self.first(), offset)
    }

    pub(super) fn first(&self) -> u64 {
        self.runs
            .front()
            .map_or(self.head.next, |(first, _)| *first)
    }

    /// Returns the records from that position to the end of their batch.
    pub(super) fn run_at(&self, position: u64) -> Option<RecordBatch> {
        let index = self
            .runs
            .partition_point(|(first, _)| *first <= position)
            .checked_sub(1)?;
        let (first, run) = self.runs.get(index)?;
        let skip = position - first;
        (skip < run.count()).then(|| run.after(skip))
    }

    /// Returns the position of the furthest reader, on any replica.
    pub(super) fn furthest(&self) -> u64 {
        let here = self.readers.iter().map(|(_, reader)| reader.position);
        here.chain(self.remote_now().map(|remote| remote.position))
            .max()
            .unwrap_or(self.paged)
    }

    /// Returns how long there has been no reader anywhere.
    pub(super) fn unattended(&self) -> Option<Duration> {
        if !self.readers.is_empty() || self.remote_now().is_some() {
            return None;
        }
        let since = self
            .remote
            .map_or(self.unattended, |remote| self.unattended.max(remote.until));
        Some(since.elapsed())
    }

    pub(super) fn remote_now(&self) -> Option<RemoteReaders> {
        self.remote.filter(|remote| remote.until > Instant::now())
    }
}
