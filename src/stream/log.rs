//! One stream in memory: its records, its readers, and who waits for whom.
//!
//! Records are kept as they were appended, in runs of whole records that share one piece of memory. A reader takes a run,
//! or the rest of one, without a copy. The lock is held for a few instructions and never across an await.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use slab::Slab;

use super::budget::Budget;
use super::{End, Head, Lifetime, Offset, StreamError, StreamId};

/// Whole records that were appended at once.
#[derive(Debug, Clone)]
pub struct Run {
    /// The records, one after the other.
    bytes: Bytes,
    /// Where each record ends; empty if there is only one.
    ends: Box<[u32]>,
}

impl Run {
    /// One record.
    #[must_use]
    pub fn one(record: Bytes) -> Self {
        Self { bytes: record, ends: Box::default() }
    }

    /// Records that lie one after the other; `ends` says where each ends.
    #[must_use]
    pub fn many(bytes: Bytes, ends: Vec<u32>) -> Self {
        debug_assert_eq!(ends.last().map(|&end| end as usize), Some(bytes.len()));
        Self { bytes, ends: if ends.len() == 1 { Box::default() } else { ends.into() } }
    }

    /// How many records.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ends.len().max(1) as u64
    }

    /// The records one by one.
    pub fn records(&self) -> impl Iterator<Item = Bytes> {
        let only = if self.ends.is_empty() { self.bytes.len() as u32 } else { 0 };
        let ends = self.ends.iter().copied().chain((only > 0 || self.ends.is_empty()).then_some(only));
        ends.scan(0, |from, end| {
            let record = self.bytes.slice(*from as usize..end as usize);
            *from = end;
            Some(record)
        })
    }

    /// All but the first so many records.
    fn after(&self, records: u64) -> Run {
        let Some(&from) = usize::try_from(records).ok().and_then(|n| n.checked_sub(1)).and_then(|n| self.ends.get(n))
        else {
            return self.clone();
        };
        let ends = self.ends.iter().filter(|&&end| end > from).map(|end| end - from).collect();
        Run::many(self.bytes.slice(from as usize..), ends)
    }

    /// What it costs to keep.
    fn weight(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.ends) + size_of::<Self>()
    }

    /// The bytes of all its records.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

/// What an empty stream costs to keep.
const WEIGHT: usize = 1024;

/// A stream in memory.
#[derive(Debug)]
pub struct Log {
    id: StreamId,
    budget: Arc<Budget>,
    most: usize,
    most_readers: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    head: Head,
    /// With the position of each run's first record.
    runs: VecDeque<(u64, Run)>,
    /// What the runs weigh.
    weight: usize,
    readers: Slab<Attached>,
    /// Since when there has been no reader.
    unattended: Instant,
    /// The last read or write.
    touched: Instant,
    writer: Option<Waker>,
    cancelled: bool,
    /// No longer to be found by its id.
    gone: bool,
}

#[derive(Debug)]
struct Attached {
    position: u64,
    waker: Option<Waker>,
}

/// Records from one place on.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The records.
    pub runs: Vec<Run>,
    /// What the stream was at that moment.
    pub head: Head,
    /// The place after the last of them.
    pub next: Offset,
}

impl Batch {
    /// Whether there was nothing more to read.
    #[must_use]
    pub fn is_up_to_date(&self) -> bool {
        self.next.position == self.head.next
    }

    /// Whether there never will be.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.is_up_to_date() && self.head.end.is_some()
    }
}

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

impl Log {
    pub(super) fn new(id: StreamId, head: Head, most: usize, most_readers: usize, budget: Arc<Budget>) -> Arc<Self> {
        budget.take(WEIGHT);
        let now = Instant::now();
        let state = State {
            head,
            runs: VecDeque::new(),
            weight: 0,
            readers: Slab::new(),
            unattended: now,
            touched: now,
            writer: None,
            cancelled: false,
            gone: false,
        };
        Arc::new(Self { id, budget, most, most_readers, state: Mutex::new(state) })
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &StreamId {
        &self.id
    }

    /// What it is, now.
    #[must_use]
    pub fn head(&self) -> Head {
        self.lock().head.clone()
    }

    /// How many readers are attached.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.lock().readers.len()
    }

    /// Says that someone reads or writes it: its lifetime, if it is one of idleness, begins anew.
    pub fn touch(&self) {
        self.lock().touched = Instant::now();
    }

    /// Changes what it is and appends, in one step that nobody sees half of. What `change` refuses changes nothing.
    ///
    /// # Errors
    ///
    /// Whatever `change` says; [`StreamError::Full`] or [`StreamError::AllFull`] when what it appends doesn't fit.
    pub fn update<T, E: From<StreamError>>(
        &self,
        change: impl FnOnce(&mut Head) -> Result<(Option<Run>, T), E>,
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
                return Err(StreamError::AllFull.into());
            }
        }
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
    /// [`StreamError::Gone`] for a place that was trimmed or lies in a stream of the same name that is no more,
    /// [`StreamError::Future`] for one that is not there yet.
    pub fn read(&self, from: Offset, most: usize) -> Result<Batch, StreamError> {
        let mut state = self.lock();
        state.touched = Instant::now();
        let mut position = state.check(from)?;
        let (mut runs, mut bytes) = (Vec::new(), 0);
        while bytes < most
            && let Some(run) = state.run_at(position)
        {
            bytes += run.bytes.len();
            position += run.count();
            runs.push(run);
        }
        Ok(Batch { runs, next: state.head.at(position), head: state.head.clone() })
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
        state.runs.clear();
        Self::wake(state);
    }

    /// Whether its lifetime is over. A stream that is being read or written by a generation lives on.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        let state = self.lock();
        match state.head.lifetime {
            Lifetime::Unlimited => false,
            Lifetime::Until(time) => time <= std::time::SystemTime::now(),
            Lifetime::Idle(idle) => state.is_idle() && now.saturating_duration_since(state.touched) >= idle,
        }
    }

    /// Since when nobody has had anything to do with an ended stream, if it is one.
    pub(super) fn left_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.is_idle() && state.head.end.is_some()).then_some(state.touched)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, state: &mut State, run: Run) {
        let (weight, first) = (run.weight(), state.head.next);
        self.budget.take(weight);
        state.weight += weight;
        state.head.next += run.count();
        state.runs.push_back((first, run));
    }

    /// Wakes everyone who waits for a change, outside of the lock.
    fn wake(mut state: MutexGuard<'_, State>) {
        let writer = state.writer.take();
        let readers: Vec<Waker> = state.readers.iter_mut().filter_map(|(_, reader)| reader.waker.take()).collect();
        drop(state);
        writer.into_iter().chain(readers).for_each(Waker::wake);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.budget.give_back(WEIGHT + self.lock().weight);
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.readers.is_empty() && (self.head.end.is_some() || self.head.dialect.is_none())
    }

    fn check(&self, offset: Offset) -> Result<u64, StreamError> {
        if self.gone {
            return Err(StreamError::Gone("this stream is no longer here"));
        }
        if offset.epoch != self.head.epoch {
            return Err(StreamError::Gone("this offset is one of an earlier stream of the same name"));
        }
        if offset.position > self.head.next {
            return Err(StreamError::Future);
        }
        if offset.position < self.first() {
            return Err(StreamError::Gone("what followed this offset is no longer kept"));
        }
        Ok(offset.position)
    }

    fn first(&self) -> u64 {
        self.runs.front().map_or(self.head.next, |(first, _)| *first)
    }

    /// What follows that position within one run.
    fn run_at(&self, position: u64) -> Option<Run> {
        let index = self.runs.partition_point(|(first, _)| *first <= position).checked_sub(1)?;
        let (first, run) = self.runs.get(index)?;
        let skip = position - first;
        (skip < run.count()).then(|| run.after(skip))
    }
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
            let full = state.weight >= self.log.most;
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
