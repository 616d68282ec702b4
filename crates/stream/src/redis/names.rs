//! Names of streams besides their ids: idempotency keys and aliases.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::commands::{StoreError, ViewQuery};
use super::mirror::Mirror;
use super::view::stream_error;
use super::{CALL, Redis};
use crate::{Head, IdempotencyKey, IdempotentCreate, Owner, StreamError, StreamId};

/// The time for which an idempotency key is reserved until its stream exists.
const RESERVATION_LIFETIME: Duration = Duration::from_secs(5);
/// The time for which a stream's alias is kept. One that outlives its stream does no harm.
const ALIAS_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

impl Redis {
    /// Makes a stream that a generation here writes, unless its key has made one, anywhere.
    pub(crate) async fn write_once(
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
                .commands()
                .take(&name, &ours, RESERVATION_LIFETIME, CALL)
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
                .commands()
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
    pub(crate) fn alias(&self, id: &StreamId, owner: Option<&Owner>, name: &str) {
        let (redis, key, id) = (self.clone(), self.other_name(name, owner), id.to_string());
        self.start(async move {
            if redis
                .commands()
                .put(&key, &id, ALIAS_LIFETIME, CALL)
                .await
                .is_err()
            {
                tracing::warn!(
                    stream = id,
                    "other replicas don't know this stream by its other name"
                );
            }
        });
    }

    /// The stream of that other name.
    pub(crate) async fn named(
        &self,
        name: &str,
        caller: Option<&Owner>,
    ) -> Result<StreamId, StreamError> {
        // One without an owner is open to all who know its name.
        for owner in [caller, None] {
            let found = self
                .commands()
                .get(&self.other_name(name, owner), CALL)
                .await
                .map_err(stream_error)?;
            if let Some(id) = found.as_deref().and_then(StreamId::from_client) {
                return Ok(id);
            }
        }
        Err(StreamError::Unknown)
    }

    fn other_name(&self, name: &str, owner: Option<&Owner>) -> String {
        format!(
            "{}name:{}:{name}",
            self.0.prefix,
            owner.map_or("", Owner::as_str)
        )
    }
}
