//! Streams in Redis: all replicas of this server read, append to, cancel and delete the same ones.
//!
//! What is published over HTTP lives there alone, and every change is compared and swapped. A
//! generation writes its own log and never waits for Redis: a [mirror](self::mirror) copies that.
//! Readers of what another replica writes read one [copy](self::follow) per process.
//!
//! Not here: what a change may be. That is decided by functions on the [`Head`], the same as in
//! memory.

mod commands;
mod entry;
mod follow;
mod link;
mod mirror;
mod view;
mod wake;

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::commands::{Commit, StoreError, StreamKeys, StreamView, ViewQuery};
use self::follow::{BATCH, Replicas};
use self::link::RedisLink;
use self::mirror::Mirror;
use self::view::{page_after, stream_error};
use self::wake::Wakes;
use super::{
    Head, IdempotencyKey, IdempotentCreate, Log, Memory, Offset, Owner, ReadPage, Reader,
    RecordBatch, StreamError, StreamId,
};
use base::id::random_hex;
use store::redis::RedisAddress;

/// The timeout of a caller's request.
const CALL: Duration = Duration::from_secs(1);
/// The timeout of the first connection.
const FIRST: Duration = Duration::from_secs(5);
/// The time allowed at shutdown for copying what is not copied yet.
const LAST: Duration = Duration::from_secs(2);
/// The most attempts at a change that conflicts with others.
const ATTEMPTS: usize = 64;
/// Changes of one stream take turns here, so that those of one process don't get into each other's
/// way.
const TURNS: usize = 256;
/// The time for which an idempotency key is reserved until its stream exists.
const NAMED: Duration = Duration::from_secs(5);
/// The time for which a stream's alias is kept. One that outlives its stream does no harm.
const OTHER_NAME: Duration = Duration::from_secs(24 * 60 * 60);

/// Streams in Redis.
#[derive(Debug, Clone)]
pub struct Redis(Arc<RedisInner>);

#[derive(Debug)]
struct RedisInner {
    link: Arc<RedisLink>,
    wakes: Arc<Wakes>,
    followed: Replicas,
    memory: Memory,
    prefix: String,
    /// The channel on which this process is told of cancels.
    inbox: String,
    max_bytes: usize,
    turns: Vec<Semaphore>,
    /// The tracker of all tasks, and the token that ends them.
    runtime: OnceLock<Handle>,
    tasks: TaskTracker,
    /// Nothing new: what is to be copied is copied, then the tasks end.
    closing: CancellationToken,
    end: CancellationToken,
}

/// Redis can't be reached.
#[derive(Debug, thiserror::Error)]
#[error("can't reach {address} (streams.store): {why}")]
pub struct StoreUnreachable {
    address: String,
    why: String,
}

impl Redis {
    /// Streams there, and in that memory what this process writes itself. [`Redis::connect`] comes
    /// next.
    #[must_use]
    pub(super) fn new(address: RedisAddress, memory: Memory, max_bytes: usize) -> Self {
        let prefix = address.key_prefix.clone();
        let inbox = format!("{prefix}{{{}}}:inbox", random_hex());
        let wakes = Arc::new(Wakes::new(inbox.clone()));
        Self(Arc::new(RedisInner {
            link: RedisLink::new(address, wakes.clone()),
            wakes,
            followed: Replicas::default(),
            memory,
            prefix,
            inbox,
            max_bytes,
            turns: (0..TURNS).map(|_| Semaphore::new(1)).collect(),
            runtime: OnceLock::new(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            end: CancellationToken::new(),
        }))
    }

    /// Connects; whatever runs for these streams runs on the caller's runtime, until
    /// [`Redis::close`].
    #[expect(
        clippy::disallowed_methods,
        reason = "keeps the link; ended by Redis::close"
    )]
    pub(super) async fn connect(&self) -> Result<(), StoreUnreachable> {
        let runtime = Handle::current();
        if self.0.runtime.set(runtime.clone()).is_ok() {
            self.0
                .tasks
                .spawn_on(self.0.link.clone().keep(self.0.end.clone()), &runtime);
        }
        let address = self.0.link.address().to_string();
        timeout(FIRST, self.0.link.up())
            .await
            .map_err(|_| StoreUnreachable {
                address,
                why: self.0.link.why(),
            })
    }

    /// Ends all tasks; what is not yet copied is, within a bound.
    pub(super) async fn close(&self) {
        self.0.closing.cancel();
        self.0.tasks.close();
        let copied = async {
            while self.0.wakes.writes() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let _late = timeout(LAST, copied).await;
        self.0.end.cancel();
        self.0.tasks.wait().await;
    }

    /// Makes a stream.
    pub(super) async fn create(
        &self,
        id: &StreamId,
        mut head: Head,
        first: Option<RecordBatch>,
    ) -> Result<(), StreamError> {
        let bytes = first.as_ref().map_or(0, RecordBatch::weight);
        if bytes > self.0.max_bytes {
            return Err(StreamError::Full);
        }
        head.next = first.as_ref().map_or(0, RecordBatch::count);
        let records: Vec<_> = first.map(|run| (0, run)).into_iter().collect();
        let (name, nonce) = (random_hex(), random_hex());
        let commit = Commit {
            version: 0,
            name: &name,
            nonce: &nonce,
            head: &head,
            writer: "",
            first: 0,
            bytes,
            records: &records,
        };
        self.commit(id, &commit).await.map_err(stream_error)
    }

    /// Returns the head of a stream.
    pub(super) async fn head(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
    ) -> Result<Head, StreamError> {
        self.look(id, caller, ViewQuery::default())
            .await
            .map(|(_, head)| head)
    }

    /// Changes a stream, and appends to it.
    pub(super) async fn update<T, E: From<StreamError>>(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
        mut change: impl FnMut(&mut Head) -> Result<(Option<RecordBatch>, T), E>,
    ) -> Result<T, E> {
        let _turn = self.turn(id).await;
        for _ in 0..ATTEMPTS {
            let (look, before) = self.look(id, caller, ViewQuery::default()).await?;
            let mut head = before.clone();
            let (run, value) = change(&mut head)?;
            let bytes = look.bytes + run.as_ref().map_or(0, RecordBatch::weight);
            if run.is_some() && bytes > self.0.max_bytes {
                return Err(StreamError::Full.into());
            }
            let records: Vec<_> = run.map(|run| (before.next, run)).into_iter().collect();
            head.next = before.next + records.iter().map(|(_, run)| run.count()).sum::<u64>();
            let name = random_hex();
            let commit = Commit {
                version: look.version,
                name: &name,
                nonce: &look.nonce,
                head: &head,
                writer: &look.writer,
                first: look.first,
                bytes,
                records: &records,
            };
            match self.commit(id, &commit).await {
                Ok(()) => return Ok(value),
                Err(StoreError::Conflict) => {}
                Err(trouble) => return Err(stream_error(trouble).into()),
            }
        }
        Err(StreamError::Unavailable.into())
    }

    /// Records from that place on.
    pub(super) async fn read(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
        from: Offset,
        most: usize,
    ) -> Result<ReadPage, StreamError> {
        let looking = ViewQuery {
            records: Some((from.position, most)),
            touch: true,
            ..ViewQuery::default()
        };
        let (look, head) = self.look(id, caller, looking).await?;
        page_after(
            StreamView {
                head: Some(head),
                ..look
            },
            from,
        )
    }

    /// Attaches a reader.
    pub(super) async fn attach(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
        from: Option<Offset>,
    ) -> Result<Reader, StreamError> {
        let records = Some((from.map_or(0, |from| from.position), BATCH));
        let looking = ViewQuery {
            records,
            touch: true,
            ..ViewQuery::default()
        };
        let (look, head) = self.look(id, caller, looking).await?;
        let position = head.check_offset(look.first, from.unwrap_or(head.at(0)))?;
        self.follow(id, look, head, position)
    }

    /// Ends the generation that writes a stream, wherever it runs.
    pub(super) async fn cancel(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
    ) -> Result<(), StreamError> {
        let (look, _) = self.look(id, caller, ViewQuery::default()).await?;
        let inbox = self
            .link()
            .cancel(&self.keys(id), &look.nonce, CALL)
            .await
            .map_err(stream_error)?;
        self.tell(&inbox, id).await;
        Ok(())
    }

    /// Forgets a stream.
    pub(super) async fn delete(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
    ) -> Result<(), StreamError> {
        let (look, _) = self.look(id, caller, ViewQuery::default()).await?;
        let inbox = self
            .link()
            .delete(&self.keys(id), &look.nonce, CALL)
            .await
            .map_err(stream_error)?;
        self.tell(&inbox, id).await;
        Ok(())
    }

    /// Copies a log that a generation here writes.
    pub(super) fn mirror(&self, log: Arc<Log>) {
        let mirror = Mirror::new(self.clone(), log, None);
        self.start(mirror.run());
    }

    /// Makes a stream that a generation here writes, unless its key has made one, anywhere.
    pub(super) async fn write_once(
        &self,
        id: &StreamId,
        head: Head,
        key: IdempotencyKey,
    ) -> Result<IdempotentCreate, StreamError> {
        let name = format!("{}once:{}", self.0.prefix, key.key);
        let ours = format!("{id} {}", key.asked);
        let deadline = Instant::now() + CALL;
        loop {
            let Some(theirs) = self
                .link()
                .take(&name, &ours, NAMED, CALL)
                .await
                .map_err(stream_error)?
            else {
                break;
            };
            let Some((made, asked)) = theirs.split_once(' ') else {
                return Err(StreamError::Unavailable);
            };
            if asked != key.asked {
                return Ok(IdempotentCreate::Conflict);
            }
            let made = StreamId::from_client(made).ok_or(StreamError::Unavailable)?;
            // Whoever has the name may not have made the stream yet; if it gives up, the name is
            // free again.
            match self
                .link()
                .look(&self.keys(&made), ViewQuery::default(), CALL)
                .await
            {
                Ok(_) | Err(StoreError::Deleted | StoreError::Expired) => {
                    return Ok(IdempotentCreate::Duplicate(made));
                }
                Err(StoreError::Missing) if Instant::now() < deadline => {
                    sleep(Duration::from_millis(25)).await
                }
                Err(_) => return Err(StreamError::Unavailable),
            }
        }
        let writer = self.memory().write(id.clone(), head)?;
        let mut mirror = Mirror::new(self.clone(), writer.log().clone(), Some(name));
        let made = mirror.make().await;
        self.start(mirror.run());
        made.map_err(stream_error)?;
        Ok(IdempotentCreate::Created(writer))
    }

    /// Gives a stream another name, soon: whoever writes it does not wait for that.
    pub(super) fn alias(&self, id: &StreamId, owner: Option<&Owner>, name: &str) {
        let (redis, key, id) = (self.clone(), self.other_name(name, owner), id.to_string());
        self.start(async move {
            if redis.link().put(&key, &id, OTHER_NAME, CALL).await.is_err() {
                tracing::warn!(
                    stream = id,
                    "other replicas don't know this stream by its other name"
                );
            }
        });
    }

    /// The stream of that other name.
    pub(super) async fn named(
        &self,
        name: &str,
        caller: Option<&Owner>,
    ) -> Result<StreamId, StreamError> {
        // One without an owner is open to all who know its name.
        for owner in [caller, None] {
            let found = self
                .link()
                .get(&self.other_name(name, owner), CALL)
                .await
                .map_err(stream_error)?;
            if let Some(id) = found.as_deref().and_then(StreamId::from_client) {
                return Ok(id);
            }
        }
        Err(StreamError::Unknown)
    }

    /// Returns the number of other replicas' streams that are followed here.
    #[must_use]
    pub fn followed_count(&self) -> usize {
        self.0.followed.count()
    }

    async fn look(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
        looking: ViewQuery,
    ) -> Result<(StreamView, Head), StreamError> {
        let mut look = self
            .link()
            .look(&self.keys(id), looking, CALL)
            .await
            .map_err(stream_error)?;
        let head = look.head.take().ok_or(StreamError::Unavailable)?;
        match &head.owner {
            Some(owner) if Some(owner) != caller => Err(StreamError::Unknown),
            _ => Ok((look, head)),
        }
    }

    /// Asks for a change, once more if the answer doesn't come: it is made once.
    async fn commit(&self, id: &StreamId, commit: &Commit<'_>) -> Result<(), StoreError> {
        let keys = self.keys(id);
        match self.link().commit(&keys, commit, CALL).await {
            Err(StoreError::Unavailable) if self.link().is_up() => {
                self.link().commit(&keys, commit, CALL).await
            }
            other => other,
        }
        .map(drop)
    }

    async fn tell(&self, inbox: &str, id: &StreamId) {
        if !inbox.is_empty() {
            self.link().tell(inbox, id, CALL).await;
        }
    }

    async fn turn(&self, id: &StreamId) -> Option<tokio::sync::SemaphorePermit<'_>> {
        let number = id.as_str().bytes().fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(usize::from(byte))
        });
        self.0.turns.get(number % TURNS)?.acquire().await.ok()
    }

    /// Runs to its end, or until these streams are closed.
    #[expect(
        clippy::disallowed_methods,
        reason = "runs no longer than these streams: ended by Redis::close"
    )]
    fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = self.0.runtime.get() {
            let end = self.0.end.clone();
            self.0.tasks.spawn_on(
                async move { end.run_until_cancelled(task).await.unwrap_or_default() },
                runtime,
            );
        }
    }

    fn other_name(&self, name: &str, owner: Option<&Owner>) -> String {
        format!(
            "{}name:{}:{name}",
            self.0.prefix,
            owner.map_or("", Owner::as_str)
        )
    }

    fn keys(&self, id: &StreamId) -> StreamKeys {
        StreamKeys::new(&self.0.prefix, id)
    }

    fn link(&self) -> &RedisLink {
        &self.0.link
    }

    fn wakes(&self) -> &Wakes {
        &self.0.wakes
    }

    fn memory(&self) -> &Memory {
        &self.0.memory
    }

    fn followed(&self) -> &Replicas {
        &self.0.followed
    }

    fn inbox(&self) -> &str {
        &self.0.inbox
    }
}
