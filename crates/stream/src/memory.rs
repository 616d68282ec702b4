//! The streams of this process, by id.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::removal::{RemovalEntry, RemovalQueue};
use super::state::LogLimits;
use super::{
    Head, IdempotencyKey, IdempotentCreate, Log, Owner, RecordBatch, StreamError, StreamId, Writer,
};

/// The interval at which expired streams are removed. Expiry is also noticed when one is asked for.
const SWEEP: Duration = Duration::from_secs(1);
/// The most streams that are looked at for removal at once.
const MAX_LOOKS: usize = 256;
/// The most ids of deleted streams that are remembered, so that a returning reader gets "gone".
const GRAVES: usize = 16 * 1024;

/// The bounds of a store of streams.
#[derive(Debug, Clone, Copy)]
pub struct StoreLimits {
    /// In bytes, per stream.
    pub max_bytes: usize,
    /// In bytes, all together.
    pub max_total_bytes: usize,
    /// Per stream.
    pub max_readers: usize,
}

/// All streams.
#[derive(Debug, Clone)]
pub struct Memory(Arc<MemoryInner>);

#[derive(Debug)]
struct MemoryInner {
    options: StoreLimits,
    budget: Arc<Budget>,
    removal: Arc<RemovalQueue>,
    state: Mutex<MemoryState>,
}

#[derive(Debug, Default)]
struct MemoryState {
    /// In a tree: it grows in small steps, where a table stops to move all that it holds.
    logs: BTreeMap<StreamId, Arc<Log>>,
    /// Ids of deleted streams, oldest first.
    tombstones: VecDeque<StreamId>,
    /// The same, with their owners: another caller is not told that they have been there.
    gone: HashMap<StreamId, Option<Owner>>,
    /// The idempotency key that created each stream, with the digest of the request.
    once: HashMap<String, (StreamId, String)>,
    /// The other way round.
    keys: HashMap<StreamId, String>,
    /// Other names of streams, at most one of each. A name is its owner's: what one caller's
    /// upstream says names no other's stream.
    names: HashMap<Name, StreamId>,
    /// The other way round.
    named: HashMap<StreamId, Name>,
}

type Name = (Option<Owner>, String);

impl Memory {
    /// No streams yet.
    #[must_use]
    pub fn new(options: StoreLimits) -> Self {
        let budget = Arc::new(Budget::new(options.max_total_bytes));
        Self(Arc::new(MemoryInner {
            options,
            budget,
            removal: Arc::default(),
            state: Mutex::default(),
        }))
    }

    /// Makes a stream that holds these records from the first moment on.
    ///
    /// # Errors
    ///
    /// [`StreamError::Exists`], [`StreamError::Full`] or [`StreamError::StoreFull`].
    pub fn create(
        &self,
        id: StreamId,
        head: Head,
        first: Option<RecordBatch>,
    ) -> Result<Arc<Log>, StreamError> {
        self.make_room()?;
        self.put(&mut self.lock(), id, head, first)
    }

    fn put(
        &self,
        state: &mut MemoryState,
        id: StreamId,
        head: Head,
        first: Option<RecordBatch>,
    ) -> Result<Arc<Log>, StreamError> {
        if state
            .logs
            .get(&id)
            .is_some_and(|log| log.is_expired(Instant::now()))
        {
            state.remove(&id);
        }
        if state.logs.contains_key(&id) {
            return Err(StreamError::Exists);
        }
        let StoreLimits {
            max_bytes,
            max_readers,
            ..
        } = self.0.options;
        let limits = LogLimits {
            max_bytes,
            max_readers,
        };
        let removal = RemovalEntry::new(self.0.removal.clone(), id.clone());
        let budget = self.0.budget.clone();
        let log = Log::new(id.clone(), head, first, limits, budget, Some(removal))?;
        if state.gone.remove(&id).is_some() {
            state.tombstones.retain(|grave| *grave != id);
        }
        state.logs.insert(id, log.clone());
        Ok(log)
    }

    /// Makes a stream that a generation writes.
    ///
    /// # Errors
    ///
    /// As [`Memory::create`].
    pub fn write(&self, id: StreamId, head: Head) -> Result<Writer, StreamError> {
        self.create(id, head, None).map(Writer::new)
    }

    /// Makes a stream that a generation writes, unless its key has made one already.
    ///
    /// # Errors
    ///
    /// As [`Memory::create`].
    pub fn write_once(
        &self,
        id: StreamId,
        head: Head,
        key: IdempotencyKey,
    ) -> Result<IdempotentCreate, StreamError> {
        let room = self.make_room();
        // One lock from the look to the stream: of two that come at once, the second finds the
        // first one's.
        let mut state = self.lock();
        if let Some((made, asked)) = state.once.get(&key.key)
            // One that was refused before it said anything was none.
            && state.logs.get(made).is_some_and(|log| !log.is_empty_abandoned())
        {
            return Ok(if *asked == key.asked {
                IdempotentCreate::Duplicate(made.clone())
            } else {
                IdempotentCreate::Conflict
            });
        }
        room?;
        let log = self.put(&mut state, id.clone(), head, None)?;
        state.keys.insert(id.clone(), key.key.clone());
        state.once.insert(key.key, (id, key.asked));
        Ok(IdempotentCreate::Created(Writer::new(log)))
    }

    /// The stream of that id, for that caller.
    ///
    /// # Errors
    ///
    /// [`StreamError::Unknown`], also for another caller's; [`StreamError::Gone`] for one that has
    /// been there.
    pub fn find(&self, id: &StreamId, caller: Option<&Owner>) -> Result<Arc<Log>, StreamError> {
        let mut state = self.lock();
        if state
            .logs
            .get(id)
            .is_some_and(|log| log.is_expired(Instant::now()))
        {
            state.remove(id);
        }
        match state.logs.get(id) {
            Some(log) => match log.head().owner {
                Some(owner) if Some(&owner) != caller => Err(StreamError::Unknown),
                _ => Ok(log.clone()),
            },
            None => match state.gone.get(id) {
                Some(None) => Err(StreamError::Gone("this stream is no longer here")),
                Some(Some(owner)) if Some(owner) == caller => {
                    Err(StreamError::Gone("this stream is no longer here"))
                }
                _ => Err(StreamError::Unknown),
            },
        }
    }

    /// Gives a stream another name, for as long as it is here; of two streams of one name the later
    /// has it. Says whose it is.
    ///
    /// # Errors
    ///
    /// [`StreamError::Unknown`] when it is not here.
    pub fn alias(&self, id: &StreamId, name: &str) -> Result<Option<Owner>, StreamError> {
        let mut state = self.lock();
        let owner = state.logs.get(id).ok_or(StreamError::Unknown)?.head().owner;
        state.forget_name(id);
        let name = (owner.clone(), name.to_owned());
        state.names.insert(name.clone(), id.clone());
        state.named.insert(id.clone(), name);
        Ok(owner)
    }

    /// The stream of that other name, for that caller.
    ///
    /// # Errors
    ///
    /// [`StreamError::Unknown`].
    pub fn named(&self, name: &str, caller: Option<&Owner>) -> Result<StreamId, StreamError> {
        let state = self.lock();
        let of =
            |owner: Option<&Owner>| state.names.get(&(owner.cloned(), name.to_owned())).cloned();
        // One without an owner is open to all who know its name.
        of(caller).or_else(|| of(None)).ok_or(StreamError::Unknown)
    }

    /// A log that is a copy of another's, and not to be found here by its id. It holds nothing yet.
    pub(super) fn copy(&self, id: &StreamId, head: Head) -> Result<Arc<Log>, StreamError> {
        let StoreLimits {
            max_bytes,
            max_readers,
            ..
        } = self.0.options;
        let limits = LogLimits {
            max_bytes,
            max_readers,
        };
        let budget = self.0.budget.clone();
        Log::new(id.clone(), head, None, limits, budget, None)
    }

    /// Lets go of a stream that another store has whole, and only there is to be found from now on.
    /// Readers here go on.
    pub(super) fn release(&self, id: &StreamId) {
        let mut state = self.lock();
        state.logs.remove(id);
        state.forget_key(id);
        state.forget_name(id);
    }

    /// Forgets a stream.
    pub fn remove(&self, id: &StreamId) {
        self.lock().remove(id);
    }

    /// Frees what ended streams hold that nobody reads, the longest unread first, if little room is
    /// left: before a new stream or an append is refused for them, and before one that runs gives
    /// up what its readers may come back for.
    ///
    /// # Errors
    ///
    /// [`StreamError::StoreFull`] if that does not suffice.
    pub fn make_room(&self) -> Result<(), StreamError> {
        let StoreLimits {
            max_bytes,
            max_total_bytes,
            ..
        } = self.0.options;
        let spare = (max_total_bytes / 16).max(max_bytes.min(max_total_bytes / 4));
        if self.0.budget.fits(spare) {
            return Ok(());
        }
        let mut looks = 0;
        // More than a few at once only when little of the spare room is left.
        while looks < MAX_LOOKS || !self.0.budget.fits(spare / 2) {
            if self.0.budget.fits(spare) || !self.remove_unread() {
                break;
            }
            looks += 1;
        }
        if self.0.budget.fits(0) {
            Ok(())
        } else {
            Err(StreamError::StoreFull)
        }
    }

    /// Looks at the stream that may have been unread for longest, and removes it if it is; returns
    /// whether there was one.
    fn remove_unread(&self) -> bool {
        let mut state = self.lock();
        let Some((entered, id)) = self.0.removal.take_unread() else {
            return false;
        };
        if let Some(log) = state.logs.get(&id).cloned() {
            if log.left_since().is_some_and(|since| since <= entered) {
                state.remove(&id);
            } else {
                log.reschedule_removal();
            }
        }
        true
    }

    /// Forgets some of those whose lifetime is over; returns whether there may be more.
    fn remove_expired(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let due = self.0.removal.take_due(now, MAX_LOOKS);
        for id in &due {
            let Some(log) = state.logs.get(id).cloned() else {
                continue;
            };
            if log.is_expired(now) {
                state.remove(id);
            } else {
                log.reschedule_removal();
            }
        }
        due.len() == MAX_LOOKS
    }

    /// Returns the bytes held by all streams together.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.budget.used()
    }

    /// Forgets those whose lifetime is over, until cancelled.
    pub async fn sweep(self, end: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP);
        while end.run_until_cancelled(ticks.tick()).await.is_some() {
            let now = Instant::now();
            while self.remove_expired(now) {
                tokio::task::yield_now().await;
            }
            // Writers that found no room look again by themselves; whether there is any now, they
            // will see.
            let _ = self.make_room();
        }
    }

    fn lock(&self) -> MutexGuard<'_, MemoryState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryState {
    fn forget_key(&mut self, id: &StreamId) {
        if let Some(key) = self.keys.remove(id)
            && self.once.get(&key).is_some_and(|(made, _)| made == id)
        {
            self.once.remove(&key);
        }
    }

    fn forget_name(&mut self, id: &StreamId) {
        if let Some(name) = self.named.remove(id)
            && self.names.get(&name) == Some(id)
        {
            self.names.remove(&name);
        }
    }

    fn remove(&mut self, id: &StreamId) {
        let Some(log) = self.logs.remove(id) else {
            return;
        };
        self.forget_key(id);
        self.forget_name(id);
        log.forget();
        // A generation's id never comes back. The name of any other stream is free again, as if it
        // had never been.
        let head = log.head();
        if head.dialect.is_none() {
            return;
        }
        if self.gone.insert(id.clone(), head.owner).is_none() {
            self.tombstones.push_back(id.clone());
        }
        while self.tombstones.len() > GRAVES {
            if let Some(grave) = self.tombstones.pop_front() {
                self.gone.remove(&grave);
            }
        }
    }
}
