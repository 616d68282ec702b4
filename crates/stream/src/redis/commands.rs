//! The commands sent to Redis and the meaning of their replies.
//!
//! Each command is one script on the keys of one stream, so that it is done whole or not at all,
//! also in a cluster.

mod names;
mod scripts;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{FromRedisValue, Value};

use self::scripts::{CANCEL, COMMIT, COMMIT_HEAD, CachedScript, DELETE, KEEP, LOOK};
use super::entry::{self, PlacedBatch};
use crate::{Head, Lifetime, StreamId};
use store::redis::{LinkError, RedisLink};

/// The silence after which a writer may be lost.
pub(super) const LEASE: Duration = Duration::from_secs(5);
/// The further silence after which that writer is lost: within 10 seconds in all.
const DOUBT: Duration = Duration::from_millis(2500);
/// Views further apart than that don't count as one silence.
const APART: Duration = Duration::from_secs(2);
/// The time for which a remote reader counts after it was last reported.
const SEEN: Duration = Duration::from_secs(5);
/// The time for which a deleted generation's stream is remembered.
const GRAVE: Duration = Duration::from_secs(600);
/// The extra lifetime of a running generation's stream, so that a pause of its writer doesn't lose
/// it.
const RUNNING: Duration = Duration::from_secs(60);

/// An error of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreError {
    /// Redis can't be reached, or can't serve.
    Unavailable,
    /// It has no memory left.
    Full,
    /// No such stream.
    Missing,
    /// It was deleted.
    Deleted,
    /// Its lifetime is over.
    Expired,
    /// There is one already.
    Exists,
    /// It is no longer as it was known.
    Conflict,
    /// The stored data is not what was stored.
    DamagedEntry,
}

impl From<LinkError> for StoreError {
    fn from(fault: LinkError) -> Self {
        match fault {
            LinkError::Unavailable => StoreError::Unavailable,
            LinkError::Full => StoreError::Full,
        }
    }
}

/// The keys of one stream, all in one slot of a cluster.
#[derive(Debug, Clone)]
pub(super) struct StreamKeys {
    pub(super) head: String,
    pub(super) log: String,
    /// A channel.
    pub(super) wake: String,
}

impl StreamKeys {
    pub(super) fn new(prefix: &str, id: &StreamId) -> Self {
        let key = |what: &str| format!("{prefix}{{{id}}}:{what}");
        Self {
            head: key("head"),
            log: key("log"),
            wake: key("wake"),
        }
    }
}

/// A change of a stream.
#[derive(Debug)]
pub(super) struct Commit<'a> {
    /// The version that it is a change of; 0 of none.
    pub(super) version: u64,
    /// Names this change, so that it can be asked for again.
    pub(super) name: &'a str,
    pub(super) nonce: &'a str,
    pub(super) head: &'a Head,
    /// The inbox of its writer, if a generation writes it.
    pub(super) writer: &'a str,
    /// The first record that is kept.
    pub(super) first: u64,
    /// The bytes that the stream holds after this commit.
    pub(super) bytes: usize,
    pub(super) records: &'a [PlacedBatch],
}

/// The state of a writer's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeaseStatus {
    pub(super) version: u64,
    pub(super) cancelled: bool,
    /// The time for which remote readers still count, and the position of the furthest.
    pub(super) seen: Option<(Duration, u64)>,
}

/// A view of a stored stream.
#[derive(Debug)]
pub(super) struct StreamView {
    pub(super) version: u64,
    /// The name of the last commit.
    pub(super) commit: String,
    /// None if the last commit is the known one.
    pub(super) head: Option<Head>,
    pub(super) nonce: String,
    pub(super) first: u64,
    pub(super) bytes: usize,
    pub(super) writer: String,
    /// Its writer is.
    pub(super) lost: bool,
    pub(super) records: Vec<PlacedBatch>,
}

/// The query for a view of a stored stream.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ViewQuery<'a> {
    /// The name of the commit that is known: its head is not needed.
    pub(super) known: &'a str,
    /// Records after that place, so many bytes of them.
    pub(super) records: Option<(u64, usize)>,
    /// Set if an idle lifetime begins anew.
    pub(super) touch: bool,
    /// The position of the furthest reader here.
    pub(super) furthest: Option<u64>,
}

/// The commands, sent over a link.
#[derive(Debug)]
pub(super) struct StreamCommands {
    link: Arc<RedisLink>,
}

impl StreamCommands {
    pub(super) fn new(link: Arc<RedisLink>) -> Self {
        Self { link }
    }

    /// Runs a script by its digest, or sends its text if the server doesn't know it.
    async fn run(
        &self,
        script: &CachedScript,
        keys: &[&str],
        args: &[&[u8]],
        within: Duration,
    ) -> Result<Vec<Value>, StoreError> {
        let question = |name: &str, script: &str| {
            let mut question = redis::cmd(name);
            question.arg(script).arg(keys.len()).arg(keys).arg(args);
            question
        };
        let answer = match self
            .link
            .call_unless(&question("EVALSHA", &script.digest), "NOSCRIPT", within)
            .await?
        {
            Some(answer) => answer,
            None => {
                self.link
                    .call(&question("EVAL", script.text), within)
                    .await?
            }
        };
        let Value::Array(answer) = answer else {
            return Err(unreadable("no list"));
        };
        match answer
            .first()
            .and_then(|status| String::from_redis_value_ref(status).ok())
            .as_deref()
        {
            Some("ok") => Ok(answer),
            Some("missing") => Err(StoreError::Missing),
            Some("deleted") => Err(StoreError::Deleted),
            Some("expired") => Err(StoreError::Expired),
            Some("exists") => Err(StoreError::Exists),
            Some("conflict") => Err(StoreError::Conflict),
            _ => Err(unreadable("no status")),
        }
    }

    /// Commits a change of a stream.
    pub(super) async fn commit(
        &self,
        keys: &StreamKeys,
        commit: &Commit<'_>,
        within: Duration,
    ) -> Result<LeaseStatus, StoreError> {
        let Commit {
            version,
            name,
            nonce,
            head,
            writer,
            first,
            bytes,
            records,
        } = commit;
        let json = serde_json::to_string(head).map_err(|_| unreadable("a head that is no JSON"))?;
        let running = is_running(head);
        let (lifetime, millis) = lifetime_args(head.lifetime, running);
        let keep = if head.dialect.is_some() {
            GRAVE.as_millis()
        } else {
            0
        };
        let lease = if running { LEASE.as_millis() } else { 0 };
        let numbers = [
            u128::from(*version),
            millis,
            keep,
            u128::from(*first),
            *bytes as u128,
            lease,
        ];
        let [version, millis, keep, first, bytes, lease] = numbers.map(|number| number.to_string());
        let mut args: Vec<&[u8]> = [
            &version, *name, &json, *nonce, *writer, lifetime, &millis, &keep, &first, &bytes,
            &lease,
        ]
        .map(str::as_bytes)
        .to_vec();
        let texts: Vec<(String, String, Vec<u8>)> = records
            .iter()
            .map(|(first, run)| {
                (
                    (first + run.count()).to_string(),
                    first.to_string(),
                    entry::ends(run),
                )
            })
            .collect();
        for ((id, first, ends), (_, run)) in texts.iter().zip(*records) {
            args.extend([id.as_bytes(), first.as_bytes(), ends, run.bytes()]);
        }
        let script = if commit.version > 0 && records.is_empty() {
            &COMMIT_HEAD
        } else {
            &COMMIT
        };
        let answer = self
            .run(script, &[&keys.head, &keys.log, &keys.wake], &args, within)
            .await?;
        standing(&answer)
    }

    /// Says that the writer of a generation lives.
    pub(super) async fn keep_lease(
        &self,
        keys: &StreamKeys,
        version: u64,
        nonce: &str,
        within: Duration,
    ) -> Result<LeaseStatus, StoreError> {
        let (version, lease) = (version.to_string(), LEASE.as_millis().to_string());
        let args = [version.as_bytes(), nonce.as_bytes(), lease.as_bytes()];
        standing(
            &self
                .run(&KEEP, &[&keys.head, &keys.log], &args, within)
                .await?,
        )
    }

    /// Looks at a stream.
    pub(super) async fn look(
        &self,
        keys: &StreamKeys,
        looking: ViewQuery<'_>,
        within: Duration,
    ) -> Result<StreamView, StoreError> {
        let (from, most) = looking.records.unwrap_or((0, 0));
        let args = [
            looking.known.to_owned(),
            from.to_string(),
            most.to_string(),
            u8::from(looking.touch).to_string(),
            looking
                .furthest
                .map(|place| place.to_string())
                .unwrap_or_default(),
            SEEN.as_millis().to_string(),
            DOUBT.as_millis().to_string(),
            APART.as_millis().to_string(),
        ];
        let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
        let answer = self
            .run(&LOOK, &[&keys.head, &keys.log], &args, within)
            .await?;
        decode_view(answer, keys)
    }

    /// Forgets a stream. The answer is where its writer listens.
    pub(super) async fn delete(
        &self,
        keys: &StreamKeys,
        nonce: &str,
        within: Duration,
    ) -> Result<String, StoreError> {
        let keys = [&*keys.head, &keys.log, &keys.wake];
        second(
            self.run(&DELETE, &keys, &[nonce.as_bytes()], within)
                .await?,
        )
    }

    /// Marks a generation as cancelled and returns its writer's inbox, empty if there is none.
    pub(super) async fn cancel(
        &self,
        keys: &StreamKeys,
        nonce: &str,
        within: Duration,
    ) -> Result<String, StoreError> {
        second(
            self.run(&CANCEL, &[&keys.head], &[nonce.as_bytes()], within)
                .await?,
        )
    }

    /// Tells the process that listens there to look at that stream.
    pub(super) async fn tell(&self, inbox: &str, id: &StreamId, within: Duration) {
        let mut publish = redis::cmd("SPUBLISH");
        publish.arg(inbox).arg(id.as_str());
        // Lost, it is found by the next look.
        let _ = self.link.call(&publish, within).await;
    }
}

/// Returns whether a generation is still writing it.
pub(super) fn is_running(head: &Head) -> bool {
    head.dialect.is_some() && head.end.is_none()
}

/// Decodes the reply of the view script.
fn decode_view(answer: Vec<Value>, keys: &StreamKeys) -> Result<StreamView, StoreError> {
    let answer: [Value; 10] = answer
        .try_into()
        .map_err(|_| unreadable("another length"))?;
    let [
        _status,
        version,
        commit,
        head,
        nonce,
        first,
        bytes,
        writer,
        lost,
        entries,
    ] = answer;
    let nonce: String = decode(nonce)?;
    let head = match decode::<String>(head)?.as_str() {
        "" => None,
        json => Some(serde_json::from_str(json).map_err(|_| unreadable("a head that is no head"))?),
    };
    let records = decode::<Vec<Value>>(entries)?
        .into_iter()
        .map(|entry| entry::decode_entry(entry, &nonce))
        .collect::<Result<Vec<PlacedBatch>, _>>()
        .map_err(|entry::DamagedEntry(why)| {
            tracing::error!(key = keys.log, why, "redis: an entry is refused");
            StoreError::DamagedEntry
        })?;
    Ok(StreamView {
        version: decode(version)?,
        commit: decode(commit)?,
        head,
        nonce,
        first: decode(first)?,
        bytes: decode(bytes)?,
        writer: decode(writer)?,
        lost: decode::<u8>(lost)? == 1,
        records,
    })
}

/// Returns a lifetime's kind and milliseconds, as the commit script takes them.
fn lifetime_args(lifetime: Lifetime, running: bool) -> (&'static str, u128) {
    let extra = if running { RUNNING } else { Duration::ZERO };
    match lifetime {
        Lifetime::Unlimited => ("unlimited", 0),
        Lifetime::Idle(idle) => ("idle", (idle + extra).as_millis()),
        Lifetime::Until(time) => ("until", unix_millis(time)),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn unix_millis(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis()
}

fn standing(answer: &[Value]) -> Result<LeaseStatus, StoreError> {
    let [_status, version, cancelled, seen, furthest] = answer else {
        return Err(unreadable("another length"));
    };
    let number =
        |value: &Value| u64::from_redis_value_ref(value).map_err(|_| unreadable("no number"));
    let seen = Some(Duration::from_millis(number(seen)?)).filter(|seen| !seen.is_zero());
    let furthest = number(furthest)?;
    Ok(LeaseStatus {
        version: number(version)?,
        cancelled: number(cancelled)? == 1,
        seen: seen.map(|seen| (seen, furthest)),
    })
}

fn second(answer: Vec<Value>) -> Result<String, StoreError> {
    answer.into_iter().nth(1).map_or(Ok(String::new()), decode)
}

fn decode<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    T::from_redis_value(value).map_err(|_| unreadable("another type"))
}

/// The error for a reply that none of our scripts gives: something else writes to our keys.
fn unreadable(why: &'static str) -> StoreError {
    tracing::error!(why, "redis: an answer is refused");
    StoreError::DamagedEntry
}
