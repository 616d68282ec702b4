//! One stream in memory: its records, its readers, and who waits for whom.
//!
//! Records are kept as they were appended, in runs; a reader takes a run, or the rest of one,
//! without a copy. The lock is held for a few instructions and never across an await.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::budget::Budget;
use super::removal::RemovalEntry;
use super::state::{LogLimits, LogState};
use super::views::{LogSnapshot, ReadPage, ReaderEvent, WriterStatus};
use super::wakers::Wakers;
use super::{End, Head, Offset, RecordBatch, StreamError, StreamId};

/// An append-only log in memory.
#[derive(Debug)]
pub struct Log {
    id: StreamId,
    state: Mutex<LogState>,
    /// Notified when the stream has ended or was deleted.
    over: Notify,
}

impl Log {
    /// A log that holds these records: whoever finds it finds them. A copy is not removed by
    /// itself and has no entry for that.
    pub(super) fn new(
        id: StreamId,
        head: Head,
        first: Option<RecordBatch>,
        limits: LogLimits,
        budget: Arc<Budget>,
        removal: Option<RemovalEntry>,
    ) -> Result<Arc<Self>, StreamError> {
        let state = LogState::new(head, first, limits, budget, removal)?;
        Ok(Arc::new(Self {
            id,
            state: Mutex::new(state),
            over: Notify::new(),
        }))
    }

    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> &StreamId {
        &self.id
    }

    /// Returns the current head.
    #[must_use]
    pub fn head(&self) -> Head {
        self.lock().head().clone()
    }

    /// Returns the number of attached readers.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.lock().reader_count()
    }

    /// Notes a read or write, which restarts an idle lifetime.
    pub fn touch(&self) {
        self.lock().touch();
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
        self.change(|state| {
            if state.is_gone() {
                return (Wakers::default(), Err(StreamError::Unknown.into()));
            }
            let mut head = state.head().clone();
            let changed = change(&mut head).and_then(|(run, value)| {
                let wakers = state.replace_head(head, run)?;
                Ok((wakers, value))
            });
            match changed {
                Ok((wakers, value)) => (wakers, Ok(value)),
                Err(error) => (Wakers::default(), Err(error)),
            }
        })
    }

    /// Records from that place on, at most about so many bytes of them.
    ///
    /// # Errors
    ///
    /// [`StreamError::Gone`] for a place that was trimmed or lies in a stream of the same name that
    /// is no more, [`StreamError::NotYetWritten`] for one that is not there yet.
    pub fn read(&self, from: Offset, most: usize) -> Result<ReadPage, StreamError> {
        self.lock().read(from, most)
    }

    /// Says that someone reads page by page and has come to that place. They read it as much as who
    /// stays: a generation is not for nobody then, and is not to wait for anyone else.
    pub fn paged(&self, to: Offset) {
        self.lock().note_paged(to);
    }

    /// Ends the generation that writes this stream; what it said stays.
    pub fn cancel(&self) {
        self.change(|state| (state.cancel(), ()));
    }

    /// Waits until the stream has ended or was deleted. Takes no reader's place.
    pub async fn wait_until_over(&self) {
        // Created before the check: an end between the two is not missed.
        let over = self.over.notified();
        if !self.is_over() {
            over.await;
        }
    }

    /// Returns whether the stream has ended or was deleted.
    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over()
    }

    /// Returns whether the id no longer leads here.
    pub fn is_gone(&self) -> bool {
        self.lock().is_gone()
    }

    /// No longer to be found: readers are told.
    pub(super) fn forget(&self) {
        self.change(|state| (state.forget(), ()));
    }

    /// Returns whether its lifetime is over. A stream that is being read, or written by a
    /// generation, lives on.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.lock().is_expired(now)
    }

    /// Returns whether its writer left without writing anything: the request was refused, or its
    /// client left early.
    pub(super) fn is_empty_abandoned(&self) -> bool {
        self.lock().is_empty_abandoned()
    }

    /// Returns the time since which nobody has had anything to do with an ended generation's
    /// stream, if it is one.
    pub(super) fn left_since(&self) -> Option<Instant> {
        self.lock().left_since()
    }

    /// Enters it anew among those that are to be removed.
    pub(super) fn reschedule_removal(&self) {
        self.lock().schedule_removal();
    }

    fn lock(&self) -> MutexGuard<'_, LogState> {
        // Nothing in here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then wakes those who wait for that, outside of the lock.
    fn change<T>(&self, change: impl FnOnce(&mut LogState) -> (Wakers, T)) -> T {
        let mut state = self.lock();
        let (wakers, value) = change(&mut state);
        let is_over = state.is_over();
        drop(state);
        wakers.wake();
        if is_over {
            self.over.notify_waiters();
        }
        value
    }
}

/// The writer's end.
impl Log {
    pub(super) fn append(&self, run: RecordBatch) {
        self.change(|state| (state.append(run), ()));
    }

    /// The place after the last record.
    pub(super) fn tail(&self) -> Offset {
        self.lock().head().tail()
    }

    pub(super) fn poll_writer(&self, cx: &mut Context<'_>) -> WriterStatus {
        self.lock().poll_writer(cx)
    }

    /// Appends the last records and ends the stream, in one step.
    pub(super) fn end(&self, last: Option<RecordBatch>, end: End) {
        self.change(|state| (state.end(last, end), ()));
    }

    /// Lets an abandoned stream without records expire at once.
    pub(super) fn expire_if_abandoned(&self) {
        self.lock().expire_if_abandoned();
    }
}

/// The readers' end.
impl Log {
    /// Checks an offset, and returns its position.
    pub(super) fn check(&self, offset: Offset) -> Result<u64, StreamError> {
        self.lock().check(offset)
    }

    /// Attaches a reader at that position; returns its slot.
    pub(super) fn attach_reader(&self, position: u64) -> Result<usize, StreamError> {
        self.lock().attach(position)
    }

    pub(super) fn detach_reader(&self, slot: usize) {
        self.change(|state| (state.detach(slot), ()));
    }

    pub(super) fn poll_reader(&self, slot: usize, cx: &mut Context<'_>) -> Poll<ReaderEvent> {
        let (event, writer) = self.lock().poll_reader(slot, cx);
        if let Some(writer) = writer {
            writer.wake();
        }
        event
    }

    /// Returns the offset that a reader has reached.
    pub(super) fn reader_offset(&self, slot: usize) -> Offset {
        self.lock().reader_offset(slot)
    }

    /// Notes the position that a reader has reached.
    pub(super) fn move_reader(&self, slot: usize, position: u64) {
        self.lock().move_reader(slot, position);
    }
}

/// The end of what lies in another store as well: the source of a copy, or a copy.
impl Log {
    /// Returns the records from that position on, at most about so many bytes. What was there
    /// before and is no longer is left out.
    pub(super) fn snapshot(&self, from: u64, most: usize) -> LogSnapshot {
        self.lock().snapshot(from, most)
    }

    /// Ready when there is something that a copy which holds all before that place doesn't hold.
    pub(super) fn poll_mirror(&self, from: u64, cx: &mut Context<'_>) -> Poll<()> {
        self.lock().poll_mirror(from, cx)
    }

    /// Notes readers of a copy elsewhere: how long they count, and the furthest's position.
    pub(super) fn set_remote_readers(&self, seen: Option<(Duration, u64)>) {
        self.change(|state| (state.set_remote_readers(seen), ()));
    }

    /// Takes records into a copy, which keeps about so many bytes. `end` is what follows them.
    pub(super) fn receive(
        &self,
        records: Vec<(u64, RecordBatch)>,
        end: Option<End>,
        window: usize,
    ) {
        self.change(|state| (state.receive(records, end, window), ()));
    }

    /// Returns the position of the furthest local reader.
    pub(super) fn furthest_reader(&self) -> Option<u64> {
        self.lock().furthest_local()
    }
}
