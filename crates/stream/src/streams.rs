//! All streams, wherever they are kept.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    Head, IdempotencyKey, IdempotentCreate, Lifetime, Lineage, Log, Memory, Offset, Owner,
    ReadPage, Reader, RecordBatch, Redis, StoreLimits, StoreUnreachable, StreamError, StreamId,
    StreamRejection, Writer,
};
use store::redis::RedisAddress;

/// The time for which a deleted stream's name is kept for its forks.
const DELETED_NAME_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// All streams. What is not in this process may be far away, so whatever looks for a stream is
/// asynchronous.
#[derive(Debug, Clone)]
pub struct Streams {
    /// All of them, or what generations of this process write.
    memory: Memory,
    /// The store that all replicas share.
    redis: Option<Redis>,
}

/// The place where a stream is to be looked for.
enum Place<'a> {
    /// This process holds it.
    Here(Arc<Log>),
    /// If it exists, the shared store holds it; with the reason why it isn't here.
    There(&'a Redis, StreamError),
}

impl Streams {
    /// No streams yet, in this process alone.
    #[must_use]
    pub fn new(options: StoreLimits) -> Self {
        Self {
            memory: Memory::new(options),
            redis: None,
        }
    }

    /// Those that are there. They are to be had after [`Streams::connect`].
    #[must_use]
    pub fn shared(options: StoreLimits, address: RedisAddress) -> Self {
        let memory = Memory::new(options);
        let redis = Redis::new(address, memory.clone(), options.max_bytes);
        Self {
            memory,
            redis: Some(redis),
        }
    }

    /// Returns whether other replicas share these streams.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.redis.is_some()
    }

    /// Connects to the store, if it is elsewhere. What goes on behind these streams runs on the
    /// caller's runtime, until [`Streams::close`].
    ///
    /// # Errors
    ///
    /// When it can't be reached.
    pub async fn connect(&self) -> Result<(), StoreUnreachable> {
        match &self.redis {
            Some(redis) => redis.connect().await,
            None => Ok(()),
        }
    }

    /// Ends what goes on behind them. What others have not been told is told, within a bound.
    pub async fn close(&self) {
        if let Some(redis) = &self.redis {
            redis.close().await;
        }
    }

    /// Makes a stream that is appended to with [`Streams::update`]. Whoever finds it finds `first`
    /// in it: there is no moment between.
    ///
    /// # Errors
    ///
    /// [`StreamError::Exists`], or what [`Streams::update`] says of a stream without room.
    pub async fn create(
        &self,
        id: &StreamId,
        head: Head,
        first: Option<RecordBatch>,
    ) -> Result<(), StreamError> {
        if let Some(redis) = &self.redis {
            // A generation's stream may not have been copied yet.
            if self.memory.find(id, head.owner.as_ref()).is_ok() {
                return Err(StreamError::Exists);
            }
            return redis.create(id, head, first).await;
        }
        self.memory.create(id.clone(), head, first).map(drop)
    }

    /// Makes a stream that a generation writes, in this process.
    ///
    /// # Errors
    ///
    /// [`StreamError::Exists`], [`StreamError::StoreFull`].
    pub fn write(&self, id: &StreamId, head: Head) -> Result<Writer, StreamError> {
        let writer = self.memory.write(id.clone(), head)?;
        if let Some(redis) = &self.redis {
            redis.mirror(writer.log().clone());
        }
        Ok(writer)
    }

    /// Makes a stream that a generation writes, in this process, unless its key has made one
    /// already, anywhere.
    ///
    /// # Errors
    ///
    /// As [`Streams::write`]; [`StreamError::Unavailable`] when it can't be known whether it has.
    pub async fn write_once(
        &self,
        id: &StreamId,
        head: Head,
        key: IdempotencyKey,
    ) -> Result<IdempotentCreate, StreamError> {
        match &self.redis {
            Some(redis) => redis.write_once(id, head, key).await,
            None => self.memory.write_once(id.clone(), head, key),
        }
    }

    /// Waits until other replicas can find a stream that a generation writes here, so that its id
    /// can be given to a client. Not for long, and not at all while the store is away.
    pub async fn announce(&self, id: &StreamId) {
        if let Some(redis) = &self.redis {
            redis.announce(id).await;
        }
    }

    /// Gives a stream another name besides its id, at most one, which is forgotten with it: an
    /// upstream's id of the answer that it holds. The name is its owner's. Other replicas know it a
    /// moment later.
    ///
    /// # Errors
    ///
    /// [`StreamError::Unknown`] when it is not there.
    pub fn alias(&self, id: &StreamId, name: &str) -> Result<(), StreamError> {
        let owner = self.memory.alias(id, name)?;
        if let Some(redis) = &self.redis {
            redis.alias(id, owner.as_ref(), name);
        }
        Ok(())
    }

    /// The stream to which [`Streams::alias`] gave that name, for that caller.
    ///
    /// # Errors
    ///
    /// [`StreamError::Unknown`], also for another caller's.
    pub async fn named(&self, name: &str, caller: Option<&Owner>) -> Result<StreamId, StreamError> {
        match (self.memory.named(name, caller), &self.redis) {
            (Err(_), Some(redis)) => redis.named(name, caller).await,
            (found, _) => found,
        }
    }

    /// Returns the head of a stream. This does not count as a read: its lifetime is not extended.
    ///
    /// # Errors
    ///
    /// [`StreamError::Unknown`], also for another caller's; [`StreamError::Gone`];
    /// [`StreamError::Unavailable`].
    pub async fn head(&self, id: &StreamId, caller: Option<&Owner>) -> Result<Head, StreamError> {
        match self.locate(id, caller)? {
            Place::Here(log) => Ok(log.head()),
            Place::There(redis, here) => {
                let head = redis.head(id, caller).await;
                head.map_err(|there| more_specific(here, there))
            }
        }
    }

    /// Returns a stream's head like [`Streams::head`], but tells a deleted stream that still has
    /// forks from an unknown one.
    ///
    /// # Errors
    ///
    /// [`StreamRejection::Deleted`]; as [`Streams::head`].
    pub async fn status(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
    ) -> Result<Head, StreamRejection> {
        let head = self.head(id, caller).await?;
        if !head.lineage.deleted {
            return Ok(head);
        }
        if self.has_fork(id, &head.lineage, caller).await {
            return Err(StreamRejection::Deleted);
        }
        self.bury(Some(id.clone()), caller).await?;
        Err(StreamError::Unknown.into())
    }

    /// Forgets a stream, as [`Streams::delete`]; if it has forks, its name stays taken.
    ///
    /// # Errors
    ///
    /// As [`Streams::status`].
    pub async fn remove(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
    ) -> Result<(), StreamRejection> {
        let head = self.status(id, caller).await?;
        let has_fork = self.has_fork(id, &head.lineage, caller).await;
        self.delete(id, caller).await?;
        if !has_fork {
            return self
                .bury(head.lineage.from.map(|fork| fork.source), caller)
                .await;
        }
        let mut name = Head::new(head.content_type, Lifetime::Idle(DELETED_NAME_LIFETIME));
        name.owner = head.owner;
        name.lineage = Lineage {
            deleted: true,
            ..head.lineage
        };
        match self.create(id, name, None).await {
            // Somebody made it anew meanwhile: so it was free.
            Ok(()) | Err(StreamError::Exists) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes what a stream is and appends to it, in one step that nobody sees half of. `change`
    /// may be asked again, of a newer head; what it refuses changes nothing.
    ///
    /// # Errors
    ///
    /// Whatever `change` says; as [`Streams::head`]; [`StreamError::Full`],
    /// [`StreamError::StoreFull`].
    pub async fn update<T, E: From<StreamError>>(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
        change: impl FnMut(&mut Head) -> Result<(Option<RecordBatch>, T), E>,
    ) -> Result<T, E> {
        match self.locate(id, caller)? {
            Place::Here(log) => {
                self.memory.make_room()?;
                log.update(change)
            }
            Place::There(redis, _) => redis.update(id, caller, change).await,
        }
    }

    /// Records from that place on, at most about so many bytes of them. An idle lifetime begins
    /// anew.
    ///
    /// # Errors
    ///
    /// As [`Streams::head`]; [`StreamError::Gone`] or [`StreamError::NotYetWritten`] for the
    /// offset.
    pub async fn read(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
        from: Offset,
        most: usize,
    ) -> Result<ReadPage, StreamError> {
        match self.locate(id, caller)? {
            Place::Here(log) => log.read(from, most),
            Place::There(redis, here) => {
                let page = redis.read(id, caller, from, most).await;
                page.map_err(|there| more_specific(here, there))
            }
        }
    }

    /// Says that someone who reads page by page with [`Streams::read`] has come to that place: they
    /// are a reader, too.
    pub fn paged(&self, id: &StreamId, caller: Option<&Owner>, to: Offset) {
        if let Ok(log) = self.memory.find(id, caller) {
            log.paged(to);
        }
    }

    /// Attaches a reader at that place, or at the start.
    ///
    /// # Errors
    ///
    /// As [`Streams::read`]; [`StreamError::TooManyReaders`].
    pub async fn attach(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
        from: Option<Offset>,
    ) -> Result<Reader, StreamError> {
        match self.locate(id, caller)? {
            Place::Here(log) => {
                let start = log.head().at(0);
                Reader::attach(log, from.unwrap_or(start))
            }
            Place::There(redis, here) => {
                let reader = redis.attach(id, caller, from).await;
                reader.map_err(|there| more_specific(here, there))
            }
        }
    }

    /// Ends the generation that writes a stream, soon; what it said stays. Nothing happens to one
    /// that has ended.
    ///
    /// # Errors
    ///
    /// As [`Streams::head`].
    pub async fn cancel(&self, id: &StreamId, caller: Option<&Owner>) -> Result<(), StreamError> {
        match self.locate(id, caller)? {
            Place::Here(log) => {
                log.cancel();
                Ok(())
            }
            Place::There(redis, here) => {
                let cancelled = redis.cancel(id, caller).await;
                cancelled.map_err(|there| more_specific(here, there))
            }
        }
    }

    /// Waits until a stream has ended, or until the deadline, and returns its head. Takes no
    /// reader's place.
    ///
    /// # Errors
    ///
    /// As [`Streams::head`].
    pub async fn wait_for_end(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
        deadline: Instant,
    ) -> Result<Head, StreamError> {
        match self.locate(id, caller)? {
            Place::Here(log) => {
                let _ = timeout_at(deadline, log.wait_until_over()).await;
                let head = log.head();
                if head.end.is_some() {
                    return Ok(head);
                }
                // It may have been deleted.
                self.head(id, caller).await
            }
            Place::There(redis, here) => {
                let head = redis.wait_for_end(id, caller, deadline).await;
                head.map_err(|there| more_specific(here, there))
            }
        }
    }

    /// Forgets a stream; a generation that writes it ends.
    ///
    /// # Errors
    ///
    /// As [`Streams::head`]. A store that is away forgets nothing, and neither is anything
    /// forgotten here.
    pub async fn delete(&self, id: &StreamId, caller: Option<&Owner>) -> Result<(), StreamError> {
        let here = self.memory.find(id, caller).map(drop);
        match (&here, &self.redis) {
            (_, Some(redis)) => match redis.delete(id, caller).await {
                // Not copied yet, or no more.
                Err(StreamError::Unknown | StreamError::Gone(_)) if here.is_ok() => {}
                Err(there) => {
                    return Err(here
                        .err()
                        .map_or(there.clone(), |here| more_specific(here, there)));
                }
                Ok(()) => {}
            },
            (_, None) => here?,
        }
        self.memory.remove(id);
        Ok(())
    }

    /// Decides where a stream is: what this process holds is newer than its copy in the store.
    fn locate(&self, id: &StreamId, caller: Option<&Owner>) -> Result<Place<'_>, StreamError> {
        match (self.memory.find(id, caller), &self.redis) {
            (Ok(log), _) => Ok(Place::Here(log)),
            (Err(here), Some(redis)) => Ok(Place::There(redis, here)),
            (Err(here), None) => Err(here),
        }
    }

    /// Forgets those whose lifetime is over, until cancelled.
    pub async fn sweep(self, end: CancellationToken) {
        self.memory.sweep(end).await;
    }
}

/// Picks the more specific of the local and the remote error ("gone" over "unknown").
fn more_specific(here: StreamError, there: StreamError) -> StreamError {
    if there == StreamError::Unknown {
        here
    } else {
        there
    }
}
