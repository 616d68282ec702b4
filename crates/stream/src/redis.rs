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
mod mirror;
mod names;
mod subscription;
mod view;
mod wake;

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::commands::{Commit, StoreError, StreamCommands, StreamKeys, StreamView, ViewQuery};
use self::follow::{BATCH, Replicas};
use self::mirror::Mirror;
use self::subscription::Subscription;
use self::view::{page_after, stream_error};
use self::wake::Wakes;
use super::{
    End, Head, Log, Memory, Offset, Owner, ReadPage, Reader, RecordBatch, StreamError, StreamId,
};
use base::id::random_hex;
use store::redis::{RedisAddress, RedisLink};

/// The timeout of a caller's request.
const CALL: Duration = Duration::from_secs(1);
/// The timeout of the first connection.
const FIRST: Duration = Duration::from_secs(5);
/// The time allowed at shutdown for copying what is not copied yet.
const LAST: Duration = Duration::from_secs(2);
/// The interval at which a stream is looked at from which nothing is heard: word may get lost.
const LOOK: Duration = Duration::from_secs(1);
/// The time that whoever has written a new stream's id somewhere waits for its first copy.
const ANNOUNCE: Duration = Duration::from_millis(250);
/// The time for which a generation's stream that isn't there is looked for: it may be on its way,
/// or Redis was emptied, which its writer sees when it next keeps its lease.
const ARRIVAL: Duration = Duration::from_millis(1500);
/// The same after the connection was made: writers put back what was lost, and what they could not
/// copy while Redis was away, within that time.
const RESTORE: Duration = Duration::from_secs(3);
/// The interval at which it is looked for: at first, and at most.
const ARRIVAL_INTERVAL: (Duration, Duration) =
    (Duration::from_millis(50), Duration::from_millis(400));
/// The most attempts at a change that conflicts with others.
const ATTEMPTS: usize = 64;
/// Changes of one stream take turns here, so that those of one process don't get into each other's
/// way.
const TURNS: usize = 256;

/// Streams in Redis.
#[derive(Debug, Clone)]
pub struct Redis(Arc<RedisInner>);

#[derive(Debug)]
struct RedisInner {
    link: Arc<RedisLink>,
    commands: StreamCommands,
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
        let link = RedisLink::new(address, wakes.clone());
        Self(Arc::new(RedisInner {
            commands: StreamCommands::new(link.clone()),
            link,
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
        let position = head.check_copy_offset(look.first, from.unwrap_or(head.at(0)))?;
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
            .commands()
            .cancel(&self.keys(id), &look.nonce, CALL)
            .await
            .map_err(stream_error)?;
        self.tell(&inbox, id).await;
        Ok(())
    }

    /// Waits until a stream has ended, or until the deadline; returns its head.
    pub(super) async fn wait_for_end(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
        deadline: Instant,
    ) -> Result<Head, StreamError> {
        let mut subscription = Subscription::new(self, &self.keys(id).wake).await;
        loop {
            let head = self.head(id, caller).await?;
            let now = Instant::now();
            if head.end.is_some() || now >= deadline {
                return Ok(head);
            }
            let _ = timeout_at(deadline.min(now + LOOK), subscription.changed()).await;
        }
    }

    /// Forgets a stream.
    pub(super) async fn delete(
        &self,
        id: &StreamId,
        caller: Option<&Owner>,
    ) -> Result<(), StreamError> {
        let (look, _) = self.look(id, caller, ViewQuery::default()).await?;
        let inbox = self
            .commands()
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

    /// Waits until other replicas can find a stream that is written here; not while Redis is away,
    /// and not for long.
    pub(super) async fn announce(&self, id: &StreamId) {
        if self.link().is_up()
            && let Some(mirror) = self.wakes().find_mirror(id)
        {
            let _late = timeout(ANNOUNCE, mirror.first_try()).await;
        }
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
        looking: ViewQuery<'_>,
    ) -> Result<(StreamView, Head), StreamError> {
        let keys = self.keys(id);
        let began = Instant::now();
        let mut pause = ARRIVAL_INTERVAL.0;
        let found = loop {
            let found = self.commands().look(&keys, looking, CALL).await;
            if !matches!(found, Err(StoreError::Missing)) || !self.may_arrive(id, began) {
                break found;
            }
            sleep(pause).await;
            pause = (pause * 2).min(ARRIVAL_INTERVAL.1);
        };
        let mut look = found.map_err(stream_error)?;
        let mut head = look.head.take().ok_or(StreamError::Unavailable)?;
        if head.owner.is_some() && head.owner.as_ref() != caller {
            return Err(StreamError::Unknown);
        }
        if look.lost && self.bury(id, &look, &head).await {
            head.end = Some(End::Lost);
        }
        Ok((look, head))
    }

    /// Returns whether a generation's stream that isn't there may be on its way.
    fn may_arrive(&self, id: &StreamId, asked: Instant) -> bool {
        let connected = self.wakes().connected();
        id.is_ours()
            && (asked.elapsed() < ARRIVAL || connected.is_some_and(|at| at.elapsed() < RESTORE))
    }

    /// Asks for a change, once more if the answer doesn't come: it is made once.
    async fn commit(&self, id: &StreamId, commit: &Commit<'_>) -> Result<(), StoreError> {
        let keys = self.keys(id);
        match self.commands().commit(&keys, commit, CALL).await {
            Err(StoreError::Unavailable) if self.link().is_up() => {
                self.commands().commit(&keys, commit, CALL).await
            }
            other => other,
        }
        .map(drop)
    }

    async fn tell(&self, inbox: &str, id: &StreamId) {
        if !inbox.is_empty() {
            self.commands().tell(inbox, id, CALL).await;
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

    fn keys(&self, id: &StreamId) -> StreamKeys {
        StreamKeys::new(&self.0.prefix, id)
    }

    fn link(&self) -> &RedisLink {
        &self.0.link
    }

    fn commands(&self) -> &StreamCommands {
        &self.0.commands
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
