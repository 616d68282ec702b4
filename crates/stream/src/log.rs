//! One stream in memory: its records, its readers, and who waits for whom.
//!
//! Records are kept as they were appended, in runs; a reader takes a run, or the rest of one,
//! without a copy. The lock is held for a few instructions and never across an await.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use slab::Slab;

use super::budget::Budget;
use super::state::LogState;
use super::{End, Head, Lifetime, Offset, RecordBatch, StreamError, StreamId};

/// The memory that an empty stream takes, in bytes.
const WEIGHT: usize = 1024;

/// An append-only log in memory.
#[derive(Debug)]
pub struct Log {
    id: StreamId,
    pub(super) budget: Arc<Budget>,
    pub(super) most: usize,
    pub(super) most_readers: usize,
    state: Mutex<LogState>,
}

/// The bounds of one log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// In bytes.
    pub(super) most: usize,
    pub(super) most_readers: usize,
}

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

impl Log {
    /// A log that holds these records: whoever finds it finds them.
    pub(super) fn new(
        id: StreamId,
        head: Head,
        first: Option<RecordBatch>,
        limits: Limits,
        budget: Arc<Budget>,
    ) -> Result<Arc<Self>, StreamError> {
        let Limits { most, most_readers } = limits;
        let weight = first.as_ref().map_or(0, RecordBatch::weight);
        if weight > most {
            return Err(StreamError::Full);
        }
        if !budget.fits(WEIGHT + weight) {
            return Err(StreamError::StoreFull);
        }
        let head_weight = head.weight();
        budget.take(WEIGHT + head_weight);
        let now = Instant::now();
        let state = LogState {
            head,
            head_weight,
            runs: VecDeque::new(),
            weight: head_weight,
            readers: Slab::new(),
            unattended: now,
            paged: 0,
            touched: now,
            writer: None,
            mirror: None,
            remote: None,
            cancelled: false,
            gone: false,
        };
        let log = Arc::new(Self {
            id,
            budget,
            most,
            most_readers,
            state: Mutex::new(state),
        });
        if let Some(first) = first {
            log.push(&mut log.lock(), first);
        }
        Ok(log)
    }

    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> &StreamId {
        &self.id
    }

    /// Returns the current head.
    #[must_use]
    pub fn head(&self) -> Head {
        self.lock().head.clone()
    }

    /// Returns the number of attached readers.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.lock().readers.len()
    }

    /// Notes a read or write, which restarts an idle lifetime.
    pub fn touch(&self) {
        self.lock().touched = Instant::now();
    }

    /// Changes what it is and appends, in one step that nobody sees half of. What `change` refuses
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// Whatever `change` says; [`StreamError::Full`] or [`StreamError::StoreFull`] when what it
    /// appends doesn't fit.
    pub fn update<T, E: From<StreamError>>(
        &self,
        change: impl FnOnce(&mut Head) -> Result<(Option<RecordBatch>, T), E>,
    ) -> Result<T, E> {
        let mut state = self.lock();
        if state.gone {
            return Err(StreamError::Unknown.into());
        }
        let mut head = state.head.clone();
        let (run, value) = change(&mut head)?;
        if let Some(run) = &run {
            if state.weight + run.weight() > self.most {
                return Err(StreamError::Full.into());
            }
            if !self.budget.fits(run.weight()) {
                return Err(StreamError::StoreFull.into());
            }
        }
        self.budget.give_back(state.head_weight);
        state.weight -= state.head_weight;
        state.head_weight = head.weight();
        self.budget.take(state.head_weight);
        state.weight += state.head_weight;
        state.head = head;
        state.touched = Instant::now();
        if let Some(run) = run {
            self.push(&mut state, run);
        }
        Self::wake(state);
        Ok(value)
    }

    /// Records from that place on, at most about so many bytes of them.
    ///
    /// # Errors
    ///
    /// [`StreamError::Gone`] for a place that was trimmed or lies in a stream of the same name that
    /// is no more, [`StreamError::NotYetWritten`] for one that is not there yet.
    pub fn read(&self, from: Offset, most: usize) -> Result<ReadPage, StreamError> {
        let mut state = self.lock();
        state.touched = Instant::now();
        let mut position = state.check(from)?;
        let (mut runs, mut bytes) = (Vec::new(), 0);
        while bytes < most
            && let Some(run) = state.run_at(position)
        {
            bytes += run.bytes_len();
            position += run.count();
            runs.push(run);
        }
        Ok(ReadPage {
            runs,
            next: state.head.at(position),
            head: state.head.clone(),
        })
    }

    /// Says that someone reads page by page and has come to that place. They read it as much as who
    /// stays: a generation is not for nobody then, and is not to wait for anyone else.
    pub fn paged(&self, to: Offset) {
        let mut state = self.lock();
        if let Ok(position) = state.check(to) {
            state.unattended = Instant::now();
            state.paged = state.paged.max(position);
        }
    }

    /// Ends the generation that writes this stream; what it said stays.
    pub fn cancel(&self) {
        let mut state = self.lock();
        state.cancelled = true;
        Self::wake(state);
    }

    /// No longer to be found: readers are told.
    pub(super) fn forget(&self) {
        let mut state = self.lock();
        state.gone = true;
        self.budget.give_back(state.weight);
        state.weight = 0;
        state.head_weight = 0;
        state.runs.clear();
        Self::wake(state);
    }

    /// Returns whether its lifetime is over. A stream that is being read, or written by a
    /// generation, lives on.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        let state = self.lock();
        match state.head.lifetime {
            Lifetime::Unlimited => false,
            Lifetime::Until(time) => time <= std::time::SystemTime::now(),
            Lifetime::Idle(idle) => {
                state.is_idle() && now.saturating_duration_since(state.touched) >= idle
            }
        }
    }

    /// Returns whether its writer left without writing anything: the request was refused, or its
    /// client left early.
    pub(super) fn is_empty_abandoned(&self) -> bool {
        let state = self.lock();
        state.head.end == Some(End::Lost) && state.head.next == 0
    }

    /// Since when nobody has had anything to do with an ended generation's stream, if it is one.
    /// Others were put here to stay.
    pub(super) fn left_since(&self) -> Option<Instant> {
        let state = self.lock();
        let is_left = state.is_idle() && state.head.end.is_some() && state.head.dialect.is_some();
        is_left.then_some(state.touched)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, LogState> {
        // Nothing in here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the records before that position.
    pub(super) fn drop_before(&self, state: &mut LogState, place: u64) {
        while let Some((first, run)) = state.runs.front()
            && first.saturating_add(run.count()) <= place
        {
            let weight = run.weight();
            state.weight -= weight;
            self.budget.give_back(weight);
            state.runs.pop_front();
        }
    }

    pub(super) fn push(&self, state: &mut LogState, run: RecordBatch) {
        let (weight, first) = (run.weight(), state.head.next);
        self.budget.take(weight);
        state.weight += weight;
        state.head.next += run.count();
        state.runs.push_back((first, run));
    }

    /// Wakes everyone who waits for a change, outside of the lock.
    pub(super) fn wake(mut state: MutexGuard<'_, LogState>) {
        let writer = state.writer.take();
        Self::wake_readers(state);
        writer.into_iter().for_each(Waker::wake);
    }

    /// Wakes everyone but the writer: what it appends itself is no news to it.
    pub(super) fn wake_readers(mut state: MutexGuard<'_, LogState>) {
        let mirror = state.mirror.take();
        let mut wakers = state
            .readers
            .iter_mut()
            .filter_map(|(_, reader)| reader.waker.take());
        // Mostly there is one, which needs no list.
        let (first, more): (Option<Waker>, Vec<Waker>) = (wakers.next(), wakers.collect());
        drop(state);
        mirror
            .into_iter()
            .chain(first)
            .chain(more)
            .for_each(Waker::wake);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.budget.give_back(WEIGHT + self.lock().weight);
    }
}
