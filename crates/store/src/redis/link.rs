//! A connection to Redis that is kept up: one a process, shared by all, kept by one task.
//!
//! While it is away, whoever asks is told so at once. A command that gets no answer in time makes
//! the keeper look whether anyone is there; who drops a command gets nobody else's answer, and
//! nobody gets theirs.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Cmd, ErrorKind, FromRedisValue, PushInfo, PushKind, RedisError, RedisResult, Value};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{RedisAddress, RedisConnection};

/// The timeout of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The timeout of a ping.
const PING_TIMEOUT: Duration = Duration::from_millis(500);
/// The interval at which a silent connection is pinged.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Between attempts to connect: first, and at most.
const RECONNECT_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// An error of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkError {
    /// The server can't be reached, or can't serve.
    Unavailable,
    /// It has no memory left.
    Full,
}

/// The user of a link that subscribes to channels.
pub trait PushListener: fmt::Debug + Send + Sync {
    /// Returns the channels to subscribe to anew after a connection was lost.
    fn channels(&self) -> Vec<String>;

    /// Takes a message; it comes on the connection's own task, which must not be kept.
    fn on_message(&self, channel: &str, message: &str);

    /// Called after a reconnection: messages may have been missed.
    fn on_reconnect(&self);
}

/// A user without channels.
impl PushListener for () {
    fn channels(&self) -> Vec<String> {
        Vec::new()
    }

    fn on_message(&self, _channel: &str, _message: &str) {}

    fn on_reconnect(&self) {}
}

/// A connection to Redis that is opened anew when it breaks.
pub struct RedisLink {
    address: RedisAddress,
    connection: watch::Sender<Option<RedisConnection>>,
    /// Signals that something looked broken.
    doubt: Notify,
    /// It can't be used any more, whether it answers or not.
    broken: AtomicBool,
    listener: Arc<dyn PushListener>,
    /// The error of the last attempt to connect.
    why: Mutex<Option<String>>,
}

impl fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLink")
            .field("address", &self.address.to_string())
            .finish_non_exhaustive()
    }
}

impl RedisLink {
    /// Returns a link that is down until [`RedisLink::keep`] runs.
    #[must_use]
    pub fn new(address: RedisAddress, listener: Arc<dyn PushListener>) -> Arc<Self> {
        let connection = watch::Sender::new(None);
        let (doubt, broken, why) = (Notify::new(), AtomicBool::new(false), Mutex::new(None));
        Arc::new(Self {
            address,
            connection,
            doubt,
            broken,
            listener,
            why,
        })
    }

    /// Sends a command and waits for the reply, up to a timeout.
    ///
    /// # Errors
    ///
    /// [`LinkError`], at once while the link is down.
    pub async fn call(&self, command: &Cmd, within: Duration) -> Result<Value, LinkError> {
        self.within(within, async |mut connection| {
            connection.call(command).await
        })
        .await
    }

    /// Sends a command; returns `None` if it is refused with this code.
    ///
    /// # Errors
    ///
    /// As [`RedisLink::call`].
    pub async fn call_unless(
        &self,
        command: &Cmd,
        code: &str,
        within: Duration,
    ) -> Result<Option<Value>, LinkError> {
        let asked = async |mut connection: RedisConnection| match connection.call(command).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.code() == Some(code) => Ok(None),
            Err(error) => Err(error),
        };
        self.within(within, asked).await
    }

    /// Subscribes to a channel. If that fails, polling has to do.
    pub async fn subscribe(&self, channel: &str) {
        let _ = self
            .within(PING_TIMEOUT, async |mut connection| {
                connection.subscribe(channel).await
            })
            .await;
    }

    /// Unsubscribes from a channel.
    pub async fn unsubscribe(&self, channel: &str) {
        let _ = self
            .within(PING_TIMEOUT, async |mut connection| {
                connection.unsubscribe(channel).await
            })
            .await;
    }

    async fn within<T>(
        &self,
        within: Duration,
        ask: impl AsyncFnOnce(RedisConnection) -> RedisResult<T>,
    ) -> Result<T, LinkError> {
        let connection = self
            .connection
            .borrow()
            .clone()
            .ok_or(LinkError::Unavailable)?;
        match timeout(within, ask(connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.fault(&error)),
            Err(_elapsed) => {
                self.doubt.notify_one();
                Err(LinkError::Unavailable)
            }
        }
    }

    fn fault(&self, error: &RedisError) -> LinkError {
        match error.code() {
            Some("OOM") => return LinkError::Full,
            // Another is the master now.
            Some("READONLY") => self.broken.store(true, Ordering::Relaxed),
            _ if matches!(
                error.kind(),
                ErrorKind::Io | ErrorKind::ClusterConnectionNotFound
            ) => {}
            Some(
                "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "MISCONF" | "NOREPLICAS"
                | "BUSY",
            ) => {}
            // Nothing that is asked here should be refused.
            _ => tracing::error!(%error, "redis refuses"),
        }
        self.doubt.notify_one();
        LinkError::Unavailable
    }

    /// Returns the address that it leads to.
    #[must_use]
    pub fn address(&self) -> &RedisAddress {
        &self.address
    }

    /// Returns whether the link is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.connection.borrow().is_some()
    }

    /// Waits until the link is up.
    pub async fn up(&self) {
        let _ = self.connection.subscribe().wait_for(Option::is_some).await;
    }

    /// Returns the reason for which it is down.
    #[must_use]
    pub fn why(&self) -> String {
        let why = self
            .why
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        why.unwrap_or_else(|| format!("no answer within {CONNECT_TIMEOUT:?}"))
    }

    /// Keeps the link up until cancelled.
    pub async fn keep(self: Arc<Self>, end: CancellationToken) {
        let keeping = async {
            let mut pause = RECONNECT_BACKOFF.0;
            let mut was_up = false;
            loop {
                match timeout(CONNECT_TIMEOUT, self.connect()).await {
                    Ok(Ok(connection)) => {
                        if was_up {
                            tracing::info!(store = %self.address, "redis is back");
                        }
                        self.broken.store(false, Ordering::Relaxed);
                        self.connection.send_replace(Some(connection.clone()));
                        self.resubscribe().await;
                        self.stay(connection).await;
                        self.connection.send_replace(None);
                        tracing::warn!(store = %self.address, "redis is away");
                        (pause, was_up) = (RECONNECT_BACKOFF.0, true);
                        continue;
                    }
                    Ok(Err(error)) => self.because(error.to_string()),
                    Err(_elapsed) => self.because(format!("no answer within {CONNECT_TIMEOUT:?}")),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RECONNECT_BACKOFF.1);
            }
        };
        end.run_until_cancelled(keeping).await;
        self.connection.send_replace(None);
    }

    fn because(&self, why: String) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Watches a connection and returns when it is no longer usable.
    async fn stay(&self, mut connection: RedisConnection) {
        loop {
            let _quiet = timeout(PING_INTERVAL, self.doubt.notified()).await;
            if self.broken.load(Ordering::Relaxed) {
                return;
            }
            if connection.is_single() {
                match timeout(PING_TIMEOUT, connection.call(&redis::cmd("PING"))).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return self.because(error.to_string()),
                    Err(_elapsed) => {
                        return self.because(format!("no answer within {PING_TIMEOUT:?}"));
                    }
                }
            }
            // A cluster's connection mends itself, node by node.
        }
    }

    async fn resubscribe(&self) {
        for channel in self.listener.channels() {
            self.subscribe(&channel).await;
            if !self.is_up() {
                return;
            }
        }
        self.listener.on_reconnect();
    }

    fn push(&self, info: &PushInfo) {
        match info.kind {
            PushKind::SMessage => {}
            PushKind::Disconnection => return self.doubt.notify_one(),
            _ => return,
        }
        let mut texts = info
            .data
            .iter()
            .filter_map(|value| String::from_redis_value_ref(value).ok());
        if let (Some(channel), Some(message)) = (texts.next(), texts.next()) {
            self.listener.on_message(&channel, &message);
        }
    }

    async fn connect(self: &Arc<Self>) -> RedisResult<RedisConnection> {
        let link = Arc::downgrade(self);
        let on_push = move |info: PushInfo| {
            if let Some(link) = link.upgrade() {
                link.push(&info);
            }
            Ok::<(), redis::aio::SendError>(())
        };
        RedisConnection::open(&self.address, CONNECT_TIMEOUT, on_push).await
    }
}
