//! The reading end of a log.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::views::{ReadPage, ReaderEvent};
use super::{Log, Offset, RecordBatch, StreamError};

/// One attached reader. It keeps nothing waiting but the writer of a full stream, and only if it is
/// the fastest.
#[derive(Debug)]
pub struct Reader {
    log: Arc<Log>,
    slot: usize,
    /// The source of records that this log, a copy, doesn't hold.
    source: Option<Box<FetchSource>>,
}

/// Records that are on their way.
pub(super) type FetchFuture = Pin<Box<dyn Future<Output = Result<ReadPage, StreamError>> + Send>>;

/// The stream that a log is a copy of.
struct FetchSource {
    fetch: Box<dyn Fn(Offset) -> FetchFuture + Send>,
    fetching: Option<FetchFuture>,
    fetched: VecDeque<RecordBatch>,
}

impl FetchSource {
    fn is_busy(&self) -> bool {
        self.fetching.is_some() || !self.fetched.is_empty()
    }
}

impl fmt::Debug for FetchSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchSource")
            .field("fetched", &self.fetched.len())
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Attaches a reader at that place.
    ///
    /// # Errors
    ///
    /// As [`Log::read`]; [`StreamError::TooManyReaders`] when there are too many.
    pub fn attach(log: Arc<Log>, from: Offset) -> Result<Self, StreamError> {
        let position = log.check(from)?;
        Self::enter(log, position, None)
    }

    /// Attaches a reader to a copy at that place, which must be one of the stream itself; `fetched`
    /// is what follows there. What the copy doesn't hold then is fetched from there, by this reader
    /// alone.
    pub(super) fn attach_copy(
        log: Arc<Log>,
        position: u64,
        fetched: Vec<RecordBatch>,
        fetch: impl Fn(Offset) -> FetchFuture + Send + 'static,
    ) -> Result<Self, StreamError> {
        let source = FetchSource {
            fetch: Box::new(fetch),
            fetching: None,
            fetched: fetched.into(),
        };
        Self::enter(log, position, Some(Box::new(source)))
    }

    fn enter(
        log: Arc<Log>,
        position: u64,
        source: Option<Box<FetchSource>>,
    ) -> Result<Self, StreamError> {
        let slot = log.attach_reader(position)?;
        Ok(Self { log, slot, source })
    }

    /// The stream that it reads.
    #[must_use]
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Returns whether existing records are still being fetched, so that [`Reader::poll_next`] is
    /// pending before the end.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.source
            .as_ref()
            .is_some_and(|source| source.fetching.is_some())
    }

    /// Polls for the next records; pending at the tail of a stream that has not ended.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<ReaderEvent> {
        // What was fetched comes before what the copy holds.
        if !self.source.as_ref().is_some_and(|source| source.is_busy()) {
            match self.log.poll_reader(self.slot, cx) {
                // Behind what the copy holds.
                Poll::Ready(ReaderEvent::Gone) if self.source.is_some() && !self.log.is_gone() => {}
                other => return other,
            }
        }
        self.poll_source(cx)
    }

    /// Polls for records that the copy doesn't hold.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<ReaderEvent> {
        let Some(source) = &mut self.source else {
            return Poll::Ready(ReaderEvent::Gone);
        };
        let Offset { epoch, position } = self.log.reader_offset(self.slot);
        if source.fetched.is_empty() {
            let fetching = source
                .fetching
                .get_or_insert_with(|| (source.fetch)(Offset { epoch, position }));
            let batch = std::task::ready!(fetching.as_mut().poll(cx));
            source.fetching = None;
            match batch {
                Ok(batch) => source.fetched = batch.runs.into(),
                Err(_) => return Poll::Ready(ReaderEvent::Gone),
            }
        }
        // A copy is never ahead of what it is a copy of: if nothing is there, it has been given up.
        let Some(run) = source.fetched.pop_front() else {
            return Poll::Ready(ReaderEvent::Gone);
        };
        let position = position + run.count();
        self.log.move_reader(self.slot, position);
        Poll::Ready(ReaderEvent::Records(run, Offset { epoch, position }))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.log.detach_reader(self.slot);
    }
}
