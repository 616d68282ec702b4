//! The reading end of a log.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::state::AttachedReader;
use super::{End, Log, Offset, ReadPage, RecordBatch, StreamError};

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
        let position = log.lock().check(from)?;
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
        let mut state = log.lock();
        if state.readers.len() >= log.most_readers {
            return Err(StreamError::TooManyReaders);
        }
        let slot = state.readers.insert(AttachedReader {
            position,
            waker: None,
        });
        state.touched = Instant::now();
        drop(state);
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
            match self.poll_log(cx) {
                // Behind what the copy holds.
                Poll::Ready(ReaderEvent::Gone) if self.source.is_some() => {}
                other => return other,
            }
        }
        self.poll_source(cx)
    }

    fn poll_log(&mut self, cx: &mut Context<'_>) -> Poll<ReaderEvent> {
        let mut state = self.log.lock();
        let Some(position) = state.readers.get(self.slot).map(|reader| reader.position) else {
            return Poll::Ready(ReaderEvent::Gone);
        };
        if state.gone {
            self.source = None;
            return Poll::Ready(ReaderEvent::Gone);
        }
        if position < state.first() {
            return Poll::Ready(ReaderEvent::Gone);
        }
        if let Some(run) = state.run_at(position) {
            let next = position + run.count();
            state.readers[self.slot].position = next;
            let offset = state.head.at(next);
            // Only a writer that found no room waits for readers.
            let full = state.weight >= self.log.most || !self.log.budget.fits(0);
            let writer = state.writer.take_if(|_| full);
            drop(state);
            if let Some(writer) = writer {
                writer.wake();
            }
            return Poll::Ready(ReaderEvent::Records(run, offset));
        }
        // A reader of a copy may be ahead of it.
        if let Some(end) = state.head.end
            && position >= state.head.next
        {
            return Poll::Ready(ReaderEvent::End(end));
        }
        let waker = &mut state.readers[self.slot].waker;
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Polls for records that the copy doesn't hold.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<ReaderEvent> {
        let Some(source) = &mut self.source else {
            return Poll::Ready(ReaderEvent::Gone);
        };
        let (mut position, epoch) = {
            let state = self.log.lock();
            (
                state
                    .readers
                    .get(self.slot)
                    .map_or(0, |reader| reader.position),
                state.head.epoch,
            )
        };
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
        position += run.count();
        if let Some(reader) = self.log.lock().readers.get_mut(self.slot) {
            reader.position = position;
        }
        Poll::Ready(ReaderEvent::Records(run, Offset { epoch, position }))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.log.lock();
        state.readers.try_remove(self.slot);
        let now = Instant::now();
        state.touched = now;
        if state.readers.is_empty() {
            state.unattended = now;
            let writer = state.writer.take();
            drop(state);
            if let Some(writer) = writer {
                writer.wake();
            }
        }
    }
}
