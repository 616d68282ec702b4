//! The writing end of a generation's log.

use std::sync::Arc;
use std::task::Context;

use super::views::WriterStatus;
use super::{End, Log, Offset, RecordBatch, StreamId};

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
        self.log.poll_writer(cx)
    }

    /// Appends records, whether there is room or not.
    pub fn append(&self, run: RecordBatch) {
        self.log.append(run);
    }

    /// The place after the last record.
    #[must_use]
    pub fn tail(&self) -> Offset {
        self.log.tail()
    }

    /// Ends the stream.
    pub fn end(self, end: End) {
        self.log.end(None, end);
    }

    /// Appends the last records and ends the stream, in one step: nobody sees the one without the
    /// other.
    pub fn finish(self, last: Option<RecordBatch>, end: End) {
        self.log.end(last, end);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.log.end(None, End::Lost);
        self.log.expire_if_abandoned();
    }
}
