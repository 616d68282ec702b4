//! The state of one log: its records, its readers, and the wakers of those that wait for it.
//!
//! Whatever changes it returns the [`Wakers`] of those who wait for that change. Not here: the lock
//! around it (`log`), and what its readers, writer and mirror do (`parties`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use slab::Slab;

mod parties;

use super::budget::Budget;
use super::removal::RemovalEntry;
use super::views::{LogSnapshot, ReadPage};
use super::wakers::{StoredWaker, Wakers};
use super::{End, Head, Lifetime, Offset, RecordBatch, StreamError};

/// The memory that an empty stream takes, in bytes.
const EMPTY_WEIGHT: usize = 1024;

/// The longest time until an expiring stream is looked at again.
const MAX_LOOK_INTERVAL: Duration = Duration::from_secs(3600);

/// The bounds of one log.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogLimits {
    pub(super) max_bytes: usize,
    pub(super) max_readers: usize,
}

/// The state of one log.
#[derive(Debug)]
pub(super) struct LogState {
    limits: LogLimits,
    budget: Arc<Budget>,
    head: Head,
    /// With the position of each run's first record.
    runs: VecDeque<(u64, RecordBatch)>,
    /// The weight of the head and the records, in bytes.
    weight: usize,
    /// The part of the weight that is the head's.
    head_weight: usize,
    readers: Slab<AttachedReader>,
    /// The time since which there has been no reader.
    unattended: Instant,
    /// The position reached by clients that read page by page: everything before it has been read.
    paged: u64,
    /// The last read or write.
    touched: Instant,
    writer: StoredWaker,
    /// The waker of the task that mirrors it to another store.
    mirror: StoredWaker,
    /// The readers of copies on other replicas.
    remote: Option<RemoteReaders>,
    cancelled: bool,
    /// Set once the id no longer leads here.
    gone: bool,
    /// Its place among those that are to be removed.
    removal: Option<RemovalEntry>,
}

/// One attached reader.
#[derive(Debug)]
struct AttachedReader {
    position: u64,
    waker: StoredWaker,
}

/// Readers of a copy, elsewhere.
#[derive(Debug, Clone, Copy)]
struct RemoteReaders {
    /// They count until then.
    until: Instant,
    /// The position of the furthest reader.
    position: u64,
}

impl LogState {
    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    pub(super) fn reader_count(&self) -> usize {
        self.readers.len()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Returns whether the stream has ended or was deleted.
    pub(super) fn is_over(&self) -> bool {
        self.head.end.is_some() || self.gone
    }

    /// Returns whether its lifetime is over. A stream that is being read, or written by a
    /// generation, lives on.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        match self.head.lifetime {
            Lifetime::Unlimited => false,
            Lifetime::Until(time) => time <= SystemTime::now(),
            Lifetime::Idle(idle) => {
                self.is_idle() && now.saturating_duration_since(self.touched) >= idle
            }
        }
    }

    /// Returns whether its writer left without writing anything: the request was refused, or its
    /// client left early.
    pub(super) fn is_empty_abandoned(&self) -> bool {
        self.head.end == Some(End::Lost) && self.head.next == 0
    }

    /// Returns the time since which nobody has had anything to do with an ended generation's
    /// stream, if it is one. Others were put here to stay.
    pub(super) fn left_since(&self) -> Option<Instant> {
        let is_left = self.is_idle() && self.head.end.is_some() && self.head.dialect.is_some();
        is_left.then_some(self.touched)
    }

    /// Enters it among those that are to be removed: where it is next to be looked at.
    pub(super) fn schedule_removal(&mut self) {
        let now = Instant::now();
        let (idle_since, unread_since) = match self.is_idle() {
            true => (self.touched, self.left_since()),
            false => (now, None),
        };
        let next_look = match self.head.lifetime {
            Lifetime::Unlimited => None,
            Lifetime::Idle(idle) => Some(idle_since + idle.min(MAX_LOOK_INTERVAL)),
            Lifetime::Until(time) => {
                let rest = time.duration_since(SystemTime::now()).unwrap_or_default();
                Some(now + rest.min(MAX_LOOK_INTERVAL))
            }
        };
        if let Some(removal) = &mut self.removal {
            removal.set(next_look, unread_since);
        }
    }

    fn is_idle(&self) -> bool {
        self.readers.is_empty() && (self.head.end.is_some() || self.head.dialect.is_none())
    }

    /// Returns whether the log, or all of them together, are at their cap.
    fn is_full(&self) -> bool {
        self.weight >= self.limits.max_bytes || !self.budget.fits(0)
    }

    fn first(&self) -> u64 {
        self.runs
            .front()
            .map_or(self.head.next, |(first, _)| *first)
    }

    /// Checks an offset, and returns its position.
    pub(super) fn check(&self, offset: Offset) -> Result<u64, StreamError> {
        if self.gone {
            return Err(StreamError::Gone("this stream is no longer here"));
        }
        self.head.check_offset(self.first(), offset)
    }

    /// Returns the records from that position to the end of their batch.
    fn run_at(&self, position: u64) -> Option<RecordBatch> {
        let index = self
            .runs
            .partition_point(|(first, _)| *first <= position)
            .checked_sub(1)?;
        let (first, run) = self.runs.get(index)?;
        let skip = position - first;
        (skip < run.count()).then(|| run.after(skip))
    }

    /// Returns the runs from that position on, at most about so many bytes of them, with the
    /// position of each one's first record.
    fn runs_from(&self, mut position: u64, max_bytes: usize) -> Vec<(u64, RecordBatch)> {
        let (mut runs, mut bytes) = (Vec::new(), 0);
        while bytes < max_bytes
            && let Some(run) = self.run_at(position)
        {
            bytes += run.bytes_len();
            let count = run.count();
            runs.push((position, run));
            position += count;
        }
        runs
    }

    /// Returns records from that offset on, at most about so many bytes of them.
    pub(super) fn read(&mut self, from: Offset, max_bytes: usize) -> Result<ReadPage, StreamError> {
        self.touch();
        let position = self.check(from)?;
        let runs = self.runs_from(position, max_bytes);
        let next = runs
            .last()
            .map_or(position, |(first, run)| first + run.count());
        Ok(ReadPage {
            runs: runs.into_iter().map(|(_, run)| run).collect(),
            next: self.head.at(next),
            head: self.head.clone(),
        })
    }

    /// Notes that somebody who reads page by page has come to that place.
    pub(super) fn note_paged(&mut self, to: Offset) {
        if let Ok(position) = self.check(to) {
            self.unattended = Instant::now();
            self.paged = self.paged.max(position);
        }
    }

    /// Returns the position of the furthest reader here.
    pub(super) fn furthest_local(&self) -> Option<u64> {
        self.readers.iter().map(|(_, reader)| reader.position).max()
    }

    /// Returns the position of the furthest reader, on any replica.
    fn furthest(&self) -> u64 {
        let remote = self.remote_now().map(|remote| remote.position);
        self.furthest_local().max(remote).unwrap_or(self.paged)
    }

    /// Returns how long there has been no reader anywhere.
    fn unattended(&self) -> Option<Duration> {
        if !self.readers.is_empty() || self.remote_now().is_some() {
            return None;
        }
        let since = self
            .remote
            .map_or(self.unattended, |remote| self.unattended.max(remote.until));
        Some(since.elapsed())
    }

    fn remote_now(&self) -> Option<RemoteReaders> {
        self.remote.filter(|remote| remote.until > Instant::now())
    }

    /// Returns the records from that position on, at most about so many bytes. What was there
    /// before and is no longer is left out.
    pub(super) fn snapshot(&self, from: u64, max_bytes: usize) -> LogSnapshot {
        let first = self.first();
        LogSnapshot {
            head: self.head.clone(),
            first,
            weight: self.weight,
            records: self.runs_from(from.max(first), max_bytes),
            gone: self.gone,
        }
    }
}

impl LogState {
    /// Returns a log that holds these records.
    pub(super) fn new(
        head: Head,
        first: Option<RecordBatch>,
        limits: LogLimits,
        budget: Arc<Budget>,
        removal: Option<RemovalEntry>,
    ) -> Result<Self, StreamError> {
        let weight = first.as_ref().map_or(0, RecordBatch::weight);
        if weight > limits.max_bytes {
            return Err(StreamError::Full);
        }
        if !budget.fits(EMPTY_WEIGHT + weight) {
            return Err(StreamError::StoreFull);
        }
        let head_weight = head.weight();
        budget.take(EMPTY_WEIGHT + head_weight);
        let now = Instant::now();
        let mut state = Self {
            limits,
            budget,
            head,
            head_weight,
            runs: VecDeque::new(),
            weight: head_weight,
            readers: Slab::new(),
            unattended: now,
            paged: 0,
            touched: now,
            writer: StoredWaker::default(),
            mirror: StoredWaker::default(),
            remote: None,
            cancelled: false,
            gone: false,
            removal,
        };
        if let Some(first) = first {
            state.push(first);
        }
        state.schedule_removal();
        Ok(state)
    }

    /// Appends records, whether there is room or not.
    pub(super) fn append(&mut self, run: RecordBatch) -> Wakers {
        self.touch();
        self.push(run);
        // What the writer appends itself is no news to it.
        self.take_reader_wakers()
    }

    /// Replaces the head and appends records, or changes nothing if there is no room for them.
    pub(super) fn replace_head(
        &mut self,
        head: Head,
        run: Option<RecordBatch>,
    ) -> Result<Wakers, StreamError> {
        if let Some(run) = &run {
            if self.weight + run.weight() > self.limits.max_bytes {
                return Err(StreamError::Full);
            }
            if !self.budget.fits(run.weight()) {
                return Err(StreamError::StoreFull);
            }
        }
        self.budget.give_back(self.head_weight);
        self.weight -= self.head_weight;
        self.head_weight = head.weight();
        self.budget.take(self.head_weight);
        self.weight += self.head_weight;
        let is_lasting_the_same = (head.lifetime, head.end) == (self.head.lifetime, self.head.end);
        self.head = head;
        self.touch();
        if !is_lasting_the_same {
            self.schedule_removal();
        }
        if let Some(run) = run {
            self.push(run);
        }
        Ok(self.take_wakers())
    }

    /// Takes records into a copy, which keeps about so many bytes: whoever is behind finds the rest
    /// where they came from. `end` is what follows them.
    pub(super) fn receive(
        &mut self,
        records: Vec<(u64, RecordBatch)>,
        end: Option<End>,
        window: usize,
    ) -> Wakers {
        for (first, run) in records {
            if first > self.head.next {
                // What lies between is no more. Whoever would have got it next is told so there.
                self.drop_before(u64::MAX);
                self.head.next = first;
            }
            let skip = self.head.next - first;
            if skip < run.count() {
                self.push(run.after(skip));
            }
        }
        while self.weight > window && self.drop_first_before(u64::MAX) {}
        if end.is_some() {
            self.head.end = end;
        }
        self.touch();
        self.take_wakers()
    }

    /// Appends the last records and ends the stream, unless it has ended.
    pub(super) fn end(&mut self, last: Option<RecordBatch>, end: End) -> Wakers {
        if self.head.end.is_some() {
            return Wakers::default();
        }
        if let Some(last) = last {
            self.push(last);
        }
        self.head.end = Some(end);
        self.touch();
        self.schedule_removal();
        self.take_wakers()
    }

    /// Lets an abandoned stream without records expire at once: nobody has heard of it, and nobody
    /// will come for it.
    pub(super) fn expire_if_abandoned(&mut self) {
        if self.is_empty_abandoned() {
            self.head.lifetime = Lifetime::Idle(Duration::ZERO);
            self.schedule_removal();
        }
    }

    /// Tells the writer to end the stream.
    pub(super) fn cancel(&mut self) -> Wakers {
        self.cancelled = true;
        self.take_wakers()
    }

    /// Gives up the records: the id no longer leads here.
    pub(super) fn forget(&mut self) -> Wakers {
        self.gone = true;
        self.removal = None;
        self.budget.give_back(self.weight);
        self.weight = 0;
        self.head_weight = 0;
        self.runs.clear();
        self.take_wakers()
    }

    /// Notes a read or write.
    pub(super) fn touch(&mut self) {
        self.touched = Instant::now();
    }

    fn push(&mut self, run: RecordBatch) {
        let (weight, first) = (run.weight(), self.head.next);
        self.budget.take(weight);
        self.weight += weight;
        self.head.next += run.count();
        self.runs.push_back((first, run));
    }

    /// Drops the runs that end before that position.
    fn drop_before(&mut self, position: u64) {
        while self.drop_first_before(position) {}
    }

    /// Drops the first run if it ends before that position; returns whether it did.
    fn drop_first_before(&mut self, position: u64) -> bool {
        let Some((first, run)) = self.runs.front() else {
            return false;
        };
        if first.saturating_add(run.count()) > position {
            return false;
        }
        let weight = run.weight();
        self.weight -= weight;
        self.budget.give_back(weight);
        self.runs.pop_front();
        true
    }
}

impl Drop for LogState {
    fn drop(&mut self) {
        self.budget.give_back(EMPTY_WEIGHT + self.weight);
    }
}
