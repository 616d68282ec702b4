//! Streams that are written elsewhere and read here: one copy each, however many read it.
//!
//! The copy begins where the stream stood when its first reader came, and keeps a window; a reader
//! that is behind fetches what it lacks by itself. A task follows the stream for as long as someone
//! reads it, says there that someone does, and finds out if its writer is lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::commands::{Commit, StoreError, StreamKeys, StreamView, ViewQuery};
use super::subscription::Subscription;
use super::{CALL, LOOK, Redis};
use crate::reader::FetchFuture;
use crate::{End, Head, Lifetime, Log, Offset, ReadPage, Reader, StreamError, StreamId};
use base::id::random_hex;

/// The timeout of a request.
const WITHIN: Duration = Duration::from_millis(500);
/// The bytes that a copy keeps.
const WINDOW: usize = 256 * 1024;
/// The most that is taken at once, in bytes.
pub(super) const BATCH: usize = 256 * 1024;
/// A running generation's stream that Redis has lost comes back within that time, if its writer
/// lives.
const MISSING: Duration = Duration::from_secs(8);

/// The copies here.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    logs: Mutex<HashMap<StreamId, Replica>>,
}

#[derive(Debug, Clone)]
struct Replica {
    log: Arc<Log>,
    nonce: Arc<str>,
}

impl Replicas {
    fn lock(&self) -> MutexGuard<'_, HashMap<StreamId, Replica>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns their number.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }
}

impl Redis {
    /// Attaches a reader to a stream that looks so, at a place that is one of it.
    pub(super) fn follow(
        &self,
        id: &StreamId,
        mut look: StreamView,
        head: Head,
        position: u64,
    ) -> Result<Reader, StreamError> {
        let (nonce, records) = (look.nonce.clone(), std::mem::take(&mut look.records));
        let commit = std::mem::take(&mut look.commit);
        let there = StreamView {
            head: Some(head.clone()),
            nonce,
            records,
            writer: String::new(),
            ..look
        };
        let fetched = super::view::page_after(there, head.at(position))?.runs;
        let fetch = {
            let (redis, id, nonce) = (
                self.clone(),
                id.clone(),
                Arc::<str>::from(look.nonce.as_str()),
            );
            move |from: Offset| -> FetchFuture {
                let (redis, id, nonce) = (redis.clone(), id.clone(), nonce.clone());
                Box::pin(async move { redis.fetch(&id, &nonce, from).await })
            }
        };
        if head.end.is_some() {
            let log = self.memory().copy(id, head)?;
            return Reader::attach_copy(log, position, fetched, fetch);
        }
        let mut logs = self.followed().lock();
        // Under the lock: a copy whose last reader has just left is given up under it, too.
        let known = logs
            .get(id)
            .filter(|copied| *copied.nonce == *look.nonce && !copied.log.is_over());
        if let Some(copied) = known {
            return Reader::attach_copy(copied.log.clone(), position, fetched, fetch);
        }
        let log = self.memory().copy(id, head.clone())?;
        let reader = Reader::attach_copy(log.clone(), position, fetched, fetch)?;
        let copied = Replica {
            log,
            nonce: look.nonce.as_str().into(),
        };
        logs.insert(id.clone(), copied.clone());
        drop(logs);
        let follower = Follower {
            redis: self.clone(),
            keys: self.keys(id),
            known: commit,
            head,
            copied,
            id: id.clone(),
        };
        self.start(follower.run());
        Ok(reader)
    }

    /// Records for a reader that is behind the copy; it waits for as long as Redis is away.
    async fn fetch(
        &self,
        id: &StreamId,
        nonce: &str,
        from: Offset,
    ) -> Result<ReadPage, StreamError> {
        loop {
            let looking = ViewQuery {
                records: Some((from.position, BATCH)),
                touch: true,
                ..ViewQuery::default()
            };
            match self.commands().look(&self.keys(id), looking, CALL).await {
                Ok(look) if look.nonce != nonce => return Err(StreamError::Unknown),
                Ok(look) => return super::view::page_after(look, from),
                Err(StoreError::Unavailable | StoreError::Full) => self.pause().await,
                Err(trouble) => return Err(super::view::stream_error(trouble)),
            }
        }
    }

    /// Ends a stream whose writer is lost, so that everyone sees the same end, the writer too
    /// should it come back. Returns whether that was done.
    pub(super) async fn bury(&self, id: &StreamId, look: &StreamView, head: &Head) -> bool {
        let head = Head {
            end: Some(End::Lost),
            ..head.clone()
        };
        let commit = Commit {
            version: look.version,
            name: &random_hex(),
            nonce: &look.nonce,
            head: &head,
            writer: &look.writer,
            first: look.first,
            bytes: look.bytes,
            records: &[],
        };
        let keys = self.keys(id);
        let buried = self.commands().commit(&keys, &commit, WITHIN).await;
        if buried.is_ok() {
            tracing::warn!(stream = %id, "the writer of this stream is lost: it is ended");
        }
        buried.is_ok()
    }

    /// Until there is hope, or for a while.
    async fn pause(&self) {
        sleep(Duration::from_millis(100)).await;
        let _ = timeout(LOOK, self.link().up()).await;
    }
}

/// Follows one stream.
struct Follower {
    redis: Redis,
    id: StreamId,
    keys: StreamKeys,
    copied: Replica,
    /// The name of the commit that is known.
    known: String,
    head: Head,
}

impl Follower {
    async fn run(mut self) {
        let mut subscription = Subscription::new(&self.redis, &self.keys.wake).await;
        let mut missing: Option<Instant> = None;
        let mut said = None;
        while !self.is_over() {
            // Saying that someone reads is a write there: not more often than need be.
            let pause = match self.head.lifetime {
                Lifetime::Idle(idle) => (idle / 3).clamp(Duration::from_millis(20), LOOK),
                _ => LOOK,
            };
            let due = said.is_none_or(|said: Instant| said.elapsed() >= pause);
            let from = self.copied.log.head().next;
            // One that waits for more than is copied counts as having read what is.
            let furthest = self
                .copied
                .log
                .furthest_reader()
                .filter(|_| due && self.head.dialect.is_some())
                .map(|furthest| furthest.min(from));
            let records = Some((from, BATCH));
            let looking = ViewQuery {
                known: &self.known,
                records,
                touch: due,
                furthest,
            };
            match self
                .redis
                .commands()
                .look(&self.keys, looking, WITHIN)
                .await
            {
                Ok(look) => {
                    missing = None;
                    if due {
                        said = Some(Instant::now());
                    }
                    if self.take(look).await {
                        continue;
                    }
                }
                Err(StoreError::Unavailable | StoreError::Full) => {
                    // Meanwhile its writer can't bring it back.
                    missing = None;
                    self.redis.pause().await;
                    continue;
                }
                Err(StoreError::Missing | StoreError::Expired)
                    if self.head.dialect.is_some()
                        && missing.get_or_insert_with(Instant::now).elapsed() < MISSING => {}
                Err(_) => self.copied.log.forget(),
            }
            let _ = timeout(pause, subscription.changed()).await;
        }
    }

    /// Returns whether there is nothing left to do; then the copy is withdrawn.
    fn is_over(&self) -> bool {
        let mut logs = self.redis.followed().lock();
        let over = self.copied.log.is_over() || self.copied.log.readers() == 0;
        if over
            && logs
                .get(&self.id)
                .is_some_and(|copied| Arc::ptr_eq(&copied.log, &self.copied.log))
        {
            logs.remove(&self.id);
        }
        over
    }

    /// Takes what was found; says whether there may be more at once.
    async fn take(&mut self, mut look: StreamView) -> bool {
        let log = &self.copied.log;
        if *look.nonce != *self.copied.nonce {
            log.forget();
            return true;
        }
        if let Some(head) = look.head.take() {
            self.head = head;
        }
        self.known = look.commit.clone();
        let before = log.head().next;
        let reached = look
            .records
            .last()
            .map_or(before, |(first, run)| first + run.count())
            .max(before);
        // All that was there is trimmed, or nothing was.
        let reached = if look.records.is_empty() {
            reached.max(look.first)
        } else {
            reached
        };
        let end = self.head.end.filter(|_| reached >= self.head.next);
        let records = std::mem::take(&mut look.records);
        log.receive(records, end, WINDOW);
        if end.is_some() {
            return true;
        }
        if look.lost {
            return self.redis.bury(&self.id, &look, &self.head).await;
        }
        reached < self.head.next && reached > before
    }
}
