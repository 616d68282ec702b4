//! The reading end of a log.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::log::Attached;
use super::{End, Log, Offset, Run, StreamError};

/// What a reader gets next.
#[derive(Debug, Clone)]
pub enum Next {
    /// Records, and the place after them.
    Run(Run, Offset),
    /// There are no more and never will be.
    End(End),
    /// What it should have got next is no longer there.
    Gone,
}

/// One attached reader. It keeps nothing waiting but the writer of a full stream, and only if it is the fastest.
#[derive(Debug)]
pub struct Reader {
    log: Arc<Log>,
    slot: usize,
}

impl Reader {
    /// Attaches a reader at that place.
    ///
    /// # Errors
    ///
    /// As [`Log::read`]; [`StreamError::TooManyReaders`] when there are too many.
    pub fn attach(log: Arc<Log>, from: Offset) -> Result<Self, StreamError> {
        let mut state = log.lock();
        let position = state.check(from)?;
        if state.readers.len() >= log.most_readers {
            return Err(StreamError::TooManyReaders);
        }
        let slot = state.readers.insert(Attached { position, waker: None });
        state.touched = Instant::now();
        drop(state);
        Ok(Self { log, slot })
    }

    /// The stream that it reads.
    #[must_use]
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// What comes next; pending at the end of a stream that has not ended.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.log.lock();
        let Some(position) = state.readers.get(self.slot).map(|reader| reader.position) else {
            return Poll::Ready(Next::Gone);
        };
        if state.gone || position < state.first() {
            return Poll::Ready(Next::Gone);
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
            return Poll::Ready(Next::Run(run, offset));
        }
        if let Some(end) = state.head.end {
            return Poll::Ready(Next::End(end));
        }
        let waker = &mut state.readers[self.slot].waker;
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
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
