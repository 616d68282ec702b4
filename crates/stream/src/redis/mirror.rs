//! The copy of a generation's log, for readers elsewhere.
//!
//! One task per log. The log doesn't wait for it: what can't be copied yet is copied later, as long
//! as the log holds it, and what it no longer holds then is given up there, too, so that nobody
//! takes what follows a gap for the whole.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Redis;
use super::commands::{Commit, LeaseStatus, StoreError, StreamKeys, StreamView, ViewQuery};
use super::entry::{PlacedBatch, joined};
use super::wake::MirrorSignals;
use crate::views::LogSnapshot;
use crate::{End, Head, Log};
use base::id::random_hex;

/// The timeout of a request.
const WITHIN: Duration = Duration::from_millis(250);
/// Between copies, while somebody waits for them elsewhere.
const READ: Duration = Duration::from_millis(20);
/// While nobody does. Then they only keep what would be lost with this process.
const UNREAD: Duration = Duration::from_millis(250);
/// A silent stream's lease is kept so often; word from elsewhere is looked for as often, if it was
/// not heard.
const TICK: Duration = Duration::from_secs(1);
/// A generation that is refused is refused within that time, mostly: then there was nothing to
/// copy.
const FIRST: Duration = Duration::from_millis(100);
/// The most that is copied at once, in bytes.
const BATCH: usize = 1 << 20;
/// Between attempts: first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The least time for which an idempotency key is kept.
const NAME: Duration = Duration::from_secs(3600);

/// One log's copy.
#[derive(Debug)]
pub(super) struct Mirror {
    redis: Redis,
    log: Arc<Log>,
    keys: StreamKeys,
    nonce: String,
    /// The name that made it, if it was to be made once.
    name: Option<String>,
    /// The version stored there; 0 if there is none.
    version: u64,
    /// All before that place is there.
    copied: u64,
    ended: bool,
    /// A change whose answer has not come. It is asked for again as it was: it may have been made.
    unanswered: Option<PendingCommit>,
    remote: bool,
    signals: Arc<MirrorSignals>,
}

/// The part of a log that is copied at once.
#[derive(Debug)]
struct PendingCommit {
    name: String,
    head: Head,
    first: u64,
    bytes: usize,
    records: Vec<PlacedBatch>,
}

impl PendingCommit {
    /// From that place on.
    fn new(held: LogSnapshot, from: u64) -> Self {
        let next = held.next(from).max(held.first);
        let end = held.head.end.filter(|_| next >= held.head.next);
        let head = Head {
            next,
            end,
            ..held.head
        };
        Self {
            name: random_hex(),
            head,
            first: held.first,
            bytes: held.weight,
            records: joined(held.records),
        }
    }
}

/// The next thing to do after a step.
enum NextStep {
    /// There may be more to copy at once.
    More,
    /// Wait for the log, or for word from elsewhere.
    Wait,
    /// Try again after a while.
    Again,
    Done,
}

impl Mirror {
    pub(super) fn new(redis: Redis, log: Arc<Log>, name: Option<String>) -> Self {
        let keys = redis.keys(log.id());
        let signals = redis.wakes().mirror(log.id());
        Self {
            redis,
            log,
            keys,
            nonce: random_hex(),
            name,
            version: 0,
            copied: 0,
            ended: false,
            unanswered: None,
            remote: false,
            signals,
        }
    }

    /// Makes the stream there, at once. Only then is its name worth anything elsewhere.
    pub(super) async fn make(&mut self) -> Result<(), StoreError> {
        let held = self.log.snapshot(0, BATCH);
        self.commit(held).await
    }

    /// Copies until all is copied, end included, or nobody wants it any more.
    pub(super) async fn run(mut self) {
        let signals = self.signals.clone();
        if self.version == 0 {
            tokio::select! {
                () = std::future::poll_fn(|cx| self.log.poll_mirror(0, cx)) => {}
                () = signals.heard.notified() => {}
                () = sleep(FIRST) => {}
            }
        }
        let mut pause = PAUSES.0;
        loop {
            let began = Instant::now();
            let next = self.step().await;
            signals.set_tried();
            match next {
                NextStep::Done => break,
                NextStep::More => pause = PAUSES.0,
                NextStep::Wait => {
                    pause = PAUSES.0;
                    tokio::select! {
                        () = std::future::poll_fn(|cx| self.log.poll_mirror(self.copied, cx)) => {
                            // What comes next waits a moment for company; the end doesn't.
                            let pace = if self.remote { READ } else { UNREAD };
                            if !self.log.is_over() {
                                tokio::select! {
                                    () = tokio::time::sleep_until(began + pace) => {}
                                    () = signals.heard.notified() => {}
                                }
                            }
                        }
                        () = signals.heard.notified() => {}
                        () = sleep(TICK) => {}
                    }
                }
                NextStep::Again => {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
        self.redis.wakes().forget_mirror(self.log.id());
    }

    async fn step(&mut self) -> NextStep {
        let held = self.log.snapshot(self.copied, BATCH);
        let stillborn = held.head.end == Some(End::Lost) && held.head.next == 0;
        if (held.gone && !self.ended) || stillborn {
            return self.give_up().await;
        }
        let news = held.next(self.copied) > self.copied || held.head.end.is_some();
        let (tail, gone) = (held.head.next, held.gone);
        let news = news || self.version == 0 || self.unanswered.is_some();
        let done = if news {
            self.commit(held).await
        } else {
            self.keep().await
        };
        match done {
            Ok(()) if self.ended => {
                self.keep_name(NAME).await;
                // From here on there is one truth: who deletes it there, or reads it, needs no
                // one's word here.
                self.redis.memory().release(self.log.id());
                NextStep::Done
            }
            Ok(()) if self.copied < tail => NextStep::More,
            Ok(()) => NextStep::Wait,
            // It was there and is no more: its server has lost it. The log still has it.
            Err(StoreError::Missing | StoreError::Expired) => {
                (self.version, self.copied, self.unanswered) = (0, 0, None);
                NextStep::More
            }
            Err(StoreError::Deleted) => {
                self.redis.memory().remove(self.log.id());
                NextStep::Done
            }
            Err(StoreError::Conflict | StoreError::Exists) => self.other().await,
            Err(
                error @ (StoreError::Unavailable | StoreError::Full | StoreError::DamagedEntry),
            ) => {
                if error == StoreError::Full && self.version > 0 {
                    // It waits for room, and its writer is not to be taken for lost meanwhile.
                    let _ = self.keep().await;
                }
                // Forgotten here as well: nobody is left who could want it copied.
                if gone {
                    NextStep::Done
                } else {
                    NextStep::Again
                }
            }
        }
    }

    /// It stands otherwise there than we left it.
    async fn other(&mut self) -> NextStep {
        match self
            .redis
            .commands()
            .look(&self.keys, ViewQuery::default(), WITHIN)
            .await
        {
            // A server that took over didn't have our last copies yet.
            Ok(StreamView {
                nonce,
                version,
                head: Some(head),
                ..
            }) if nonce == self.nonce && head.end.is_none() => {
                (self.version, self.copied, self.unanswered) = (version, head.next, None);
                NextStep::More
            }
            // Somebody has found that we are lost; what we say now nobody hears.
            Ok(_) => {
                tracing::warn!(stream = %self.log.id(), "another has ended this stream: its generation is cancelled");
                self.log.cancel();
                NextStep::Done
            }
            Err(_) => NextStep::Again,
        }
    }

    /// Copies what is held.
    async fn commit(&mut self, held: LogSnapshot) -> Result<(), StoreError> {
        let change = match self.unanswered.take() {
            Some(change) => change,
            None => PendingCommit::new(held, self.copied),
        };
        let commit = Commit {
            version: self.version,
            name: &change.name,
            nonce: &self.nonce,
            head: &change.head,
            writer: self.redis.inbox(),
            first: change.first,
            bytes: change.bytes,
            records: &change.records,
        };
        let standing = match self
            .redis
            .commands()
            .commit(&self.keys, &commit, WITHIN)
            .await
        {
            Ok(standing) => standing,
            Err(trouble) => {
                self.unanswered = Some(change);
                return Err(trouble);
            }
        };
        let is_new = self.version == 0;
        self.copied = change.head.next;
        self.ended = change.head.end.is_some();
        self.heed(standing);
        if is_new {
            self.keep_name(NAME).await;
        }
        Ok(())
    }

    async fn keep(&mut self) -> Result<(), StoreError> {
        let standing = self
            .redis
            .commands()
            .keep_lease(&self.keys, self.version, &self.nonce, WITHIN)
            .await?;
        self.heed(standing);
        Ok(())
    }

    fn heed(&mut self, standing: LeaseStatus) {
        self.version = standing.version;
        self.remote = standing.seen.is_some();
        self.log.set_remote_readers(standing.seen);
        if standing.cancelled {
            self.log.cancel();
        }
    }

    /// Withdraws the copy of a stream that was deleted or never started.
    async fn give_up(&mut self) -> NextStep {
        self.keep_name(Duration::ZERO).await;
        if self.version == 0 && self.unanswered.is_none() {
            return NextStep::Done;
        }
        match self
            .redis
            .commands()
            .delete(&self.keys, &self.nonce, WITHIN)
            .await
        {
            Err(StoreError::Unavailable) => NextStep::Again,
            _ => NextStep::Done,
        }
    }

    /// For so long, or no longer if that is nothing.
    async fn keep_name(&self, keep: Duration) {
        if let Some(name) = &self.name {
            // A name that is lost makes a second stream at worst, long after the first.
            let _ = self.redis.commands().keep_name(name, keep, WITHIN).await;
        }
    }
}
