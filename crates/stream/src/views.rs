//! The views of a log that its readers, its writer and its mirror get.

use std::time::Duration;

use super::{End, Head, Offset, RecordBatch};

/// Records from one place on.
#[derive(Debug, Clone)]
pub struct ReadPage {
    /// The records.
    pub runs: Vec<RecordBatch>,
    /// The head of the stream at the time of the read.
    pub head: Head,
    /// The place after the last of them.
    pub next: Offset,
}

impl ReadPage {
    /// Returns whether there was nothing more to read.
    #[must_use]
    pub fn is_up_to_date(&self) -> bool {
        self.next.position == self.head.next
    }

    /// Returns whether there will never be more to read.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.is_up_to_date() && self.head.end.is_some()
    }
}

/// The next thing that a reader gets.
#[derive(Debug, Clone)]
pub enum ReaderEvent {
    /// Records, and the place after them.
    Records(RecordBatch, Offset),
    /// There are no more and never will be.
    End(End),
    /// The next record has been dropped: this reader lags too far behind.
    Gone,
}

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
