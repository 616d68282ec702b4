//! The connection to Redis: one a process, shared by all, kept by one task.
//!
//! While it is away, whoever asks is told so at once. A question that gets no answer in time makes the keeper look whether
//! anyone is there; who drops a question gets nobody else's answer, and nobody gets theirs.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, RedisResult, TlsMode, Value,
};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::wake::Wakes;
use secrecy::ExposeSecret;
use store::redis::{RedisAddress, Topology};

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a sign of life may take.
const LIFE: Duration = Duration::from_millis(500);
/// How often a silent connection is asked for one.
const ASK: Duration = Duration::from_secs(5);
/// Between attempts to connect: first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Questions that wait to be sent; more wait their turn.
const WAITING: usize = 1024;
/// Unanswered questions on one connection; more wait their turn.
const UNANSWERED: usize = 4096;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkError {
    /// It can't be reached, or can't serve.
    Unavailable,
    /// It has no memory left.
    Full,
}

#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    async fn ask(&mut self, question: &Cmd) -> RedisResult<Value> {
        match self {
            Connection::One(connection) => question.query_async(connection).await,
            Connection::Cluster(connection) => question.query_async(connection).await,
        }
    }

    async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Connection::One(connection) => {
                redis::cmd("SSUBSCRIBE")
                    .arg(channel)
                    .query_async(connection)
                    .await
            }
            Connection::Cluster(connection) => connection.ssubscribe(channel).await,
        }
    }

    async fn unsubscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Connection::One(connection) => {
                redis::cmd("SUNSUBSCRIBE")
                    .arg(channel)
                    .query_async(connection)
                    .await
            }
            Connection::Cluster(connection) => connection.sunsubscribe(channel).await,
        }
    }
}

/// The connection, wherever it stands.
pub(super) struct RedisLink {
    address: RedisAddress,
    connection: watch::Sender<Option<Connection>>,
    /// Something looked broken.
    doubt: Notify,
    /// It can't be used any more, whether it answers or not.
    broken: AtomicBool,
    wakes: Arc<Wakes>,
    /// Why the last attempt to connect failed.
    why: Mutex<Option<String>>,
}

impl fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("address", &self.address.to_string())
            .finish_non_exhaustive()
    }
}

impl RedisLink {
    pub(super) fn new(address: RedisAddress, wakes: Arc<Wakes>) -> Arc<Self> {
        let connection = watch::Sender::new(None);
        let (doubt, broken, why) = (Notify::new(), AtomicBool::new(false), Mutex::new(None));
        Arc::new(Self {
            address,
            connection,
            doubt,
            broken,
            wakes,
            why,
        })
    }

    /// Asks, and waits so long for the answer.
    pub(super) async fn ask(&self, question: &Cmd, within: Duration) -> Result<Value, LinkError> {
        self.answer(within, async |mut connection| {
            connection.ask(question).await
        })
        .await
    }

    /// Asks; none if that is refused with this code.
    pub(super) async fn ask_unless(
        &self,
        question: &Cmd,
        code: &str,
        within: Duration,
    ) -> Result<Option<Value>, LinkError> {
        let asked = async |mut connection: Connection| match connection.ask(question).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.code() == Some(code) => Ok(None),
            Err(error) => Err(error),
        };
        self.answer(within, asked).await
    }

    /// Asks to be told of that channel's messages. If that fails, looking now and then has to do.
    pub(super) async fn subscribe(&self, channel: &str) {
        let _ = self
            .answer(LIFE, async |mut connection| {
                connection.subscribe(channel).await
            })
            .await;
    }

    /// No more of them.
    pub(super) async fn unsubscribe(&self, channel: &str) {
        let _ = self
            .answer(LIFE, async |mut connection| {
                connection.unsubscribe(channel).await
            })
            .await;
    }

    async fn answer<T>(
        &self,
        within: Duration,
        ask: impl AsyncFnOnce(Connection) -> RedisResult<T>,
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

    pub(super) fn address(&self) -> &RedisAddress {
        &self.address
    }

    /// Whether it is there.
    pub(super) fn is_up(&self) -> bool {
        self.connection.borrow().is_some()
    }

    /// Waits until it is there.
    pub(super) async fn up(&self) {
        let _ = self.connection.subscribe().wait_for(Option::is_some).await;
    }

    /// Why it is not.
    pub(super) fn why(&self) -> String {
        let why = self
            .why
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        why.unwrap_or_else(|| format!("no answer within {CONNECT:?}"))
    }

    /// Something looked broken.
    pub(super) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Keeps it, until cancelled.
    pub(super) async fn keep(self: Arc<Self>, end: CancellationToken) {
        let keeping = async {
            let mut pause = PAUSES.0;
            let mut was_up = false;
            loop {
                match timeout(CONNECT, self.connect()).await {
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
                        (pause, was_up) = (PAUSES.0, true);
                        continue;
                    }
                    Ok(Err(error)) => self.because(error.to_string()),
                    Err(_elapsed) => self.because(format!("no answer within {CONNECT:?}")),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        };
        end.run_until_cancelled(keeping).await;
        self.connection.send_replace(None);
    }

    fn because(&self, why: String) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Returns when the connection is of no more use.
    async fn stay(&self, mut connection: Connection) {
        loop {
            let _quiet = timeout(ASK, self.doubt.notified()).await;
            if self.broken.load(Ordering::Relaxed) {
                return;
            }
            if let Connection::One(_) = &connection {
                match timeout(LIFE, connection.ask(&redis::cmd("PING"))).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return self.because(error.to_string()),
                    Err(_elapsed) => return self.because(format!("no answer within {LIFE:?}")),
                }
            }
            // A cluster's connection mends itself, node by node.
        }
    }

    async fn resubscribe(&self) {
        for channel in self.wakes.channels() {
            self.subscribe(&channel).await;
            if !self.is_up() {
                return;
            }
        }
        self.wakes.all();
    }

    async fn connect(self: &Arc<Self>) -> RedisResult<Connection> {
        let told = Arc::downgrade(self);
        let push = move |info: PushInfo| {
            if let Some(link) = told.upgrade() {
                link.wakes.told(&info, &link);
            }
            Ok::<(), redis::aio::SendError>(())
        };
        let address = &self.address;
        let login = || {
            let mut login = RedisConnectionInfo::default()
                .set_db(address.database)
                .set_protocol(ProtocolVersion::RESP3);
            if let Some(username) = &address.username {
                login = login.set_username(username);
            }
            if let Some(password) = &address.password {
                login = login.set_password(password.expose_secret());
            }
            login
        };
        let node = |(host, port): &(String, u16)| match address.tls {
            true => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: false,
                tls_params: None,
            },
            false => ConnectionAddr::Tcp(host.clone(), *port),
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WAITING)
            .set_concurrency_limit(UNANSWERED);
        match &address.topology {
            Topology::One => {
                let first = address.nodes.first().ok_or(config_error())?;
                let info = node(first)
                    .into_connection_info()?
                    .set_redis_settings(login());
                let config = config.set_push_sender(push);
                one(Client::open(info)?.get_multiplexed_async_connection_with_config(&config)).await
            }
            Topology::Sentinel { service } => {
                let sentinels = address.nodes.iter().map(node);
                let mut builder = SentinelClientBuilder::new(
                    sentinels,
                    service.clone(),
                    SentinelServerType::Master,
                )?
                .set_client_to_redis_db(address.database)
                .set_client_to_redis_protocol(ProtocolVersion::RESP3);
                if address.tls {
                    builder = builder
                        .set_client_to_redis_tls_mode(TlsMode::Secure)
                        .set_client_to_sentinel_tls_mode(TlsMode::Secure);
                }
                if let Some(username) = &address.username {
                    builder = builder.set_client_to_redis_username(username);
                }
                if let Some(password) = &address.password {
                    builder = builder.set_client_to_redis_password(password.expose_secret());
                }
                let config = config.set_push_sender(push);
                let mut client = builder.build()?;
                one(client.get_async_connection_with_config(&config)).await
            }
            Topology::Cluster => {
                let nodes = address.nodes.iter().map(node);
                let mut builder = ClusterClientBuilder::new(nodes)
                    .use_protocol(ProtocolVersion::RESP3)
                    .connection_timeout(CONNECT)
                    .response_timeout(CONNECT)
                    .retries(3)
                    .connection_concurrency_limit(UNANSWERED)
                    .push_sender(push);
                if address.tls {
                    builder = builder.tls(TlsMode::Secure);
                }
                if let Some(username) = &address.username {
                    builder = builder.username(username);
                }
                if let Some(password) = &address.password {
                    builder = builder.password(password.expose_secret());
                }
                Ok(Connection::Cluster(
                    builder.build()?.get_async_connection().await?,
                ))
            }
        }
    }
}

async fn one(
    connecting: impl Future<Output = RedisResult<MultiplexedConnection>>,
) -> RedisResult<Connection> {
    connecting.await.map(Connection::One)
}

fn config_error() -> RedisError {
    (ErrorKind::InvalidClientConfig, "no host").into()
}
