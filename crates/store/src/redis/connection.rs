//! Connections to Redis: one server, a sentinel's master, or a cluster.
//!
//! Not here: reconnecting, and what is sent over a connection.

use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, RedisConnectionInfo, RedisError, RedisResult, TlsMode, Value,
};
use secrecy::ExposeSecret;

use super::{RedisAddress, Topology};

/// The most commands that wait to be sent; beyond it, callers wait.
const MAX_QUEUED_COMMANDS: usize = 1024;
/// The most unanswered commands on one connection; beyond it, callers wait.
const MAX_UNANSWERED_COMMANDS: usize = 4096;

/// A connection that may be shared by cloning it.
#[derive(Clone)]
pub enum RedisConnection {
    /// To one server.
    Single(MultiplexedConnection),
    /// To all servers of a cluster.
    Cluster(ClusterConnection),
}

impl std::fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RedisConnection::Single(_) => "RedisConnection::Single",
            RedisConnection::Cluster(_) => "RedisConnection::Cluster",
        })
    }
}

impl RedisConnection {
    /// Opens a connection; `on_push` gets the messages of subscribed channels.
    ///
    /// # Errors
    ///
    /// Why the server can't be reached, or refuses the credentials.
    pub async fn open(
        address: &RedisAddress,
        timeout: Duration,
        on_push: impl AsyncPushSender,
    ) -> RedisResult<Self> {
        match &address.topology {
            Topology::One => open_single(address, timeout, on_push).await,
            Topology::Sentinel { service } => {
                open_sentinel(address, service, timeout, on_push).await
            }
            Topology::Cluster => open_cluster(address, timeout, on_push).await,
        }
    }

    /// Returns whether it leads to one server. A cluster's connection repairs itself, node by node.
    #[must_use]
    pub fn is_single(&self) -> bool {
        matches!(self, RedisConnection::Single(_))
    }

    /// Sends a command and returns the reply.
    ///
    /// # Errors
    ///
    /// The error of the server or of the connection.
    pub async fn call(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            RedisConnection::Single(connection) => command.query_async(connection).await,
            RedisConnection::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Subscribes to a sharded channel.
    ///
    /// # Errors
    ///
    /// As [`RedisConnection::call`].
    pub async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            RedisConnection::Single(connection) => {
                redis::cmd("SSUBSCRIBE")
                    .arg(channel)
                    .query_async(connection)
                    .await
            }
            RedisConnection::Cluster(connection) => connection.ssubscribe(channel).await,
        }
    }

    /// Unsubscribes from a sharded channel.
    ///
    /// # Errors
    ///
    /// As [`RedisConnection::call`].
    pub async fn unsubscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            RedisConnection::Single(connection) => {
                redis::cmd("SUNSUBSCRIBE")
                    .arg(channel)
                    .query_async(connection)
                    .await
            }
            RedisConnection::Cluster(connection) => connection.sunsubscribe(channel).await,
        }
    }
}

async fn open_single(
    address: &RedisAddress,
    timeout: Duration,
    on_push: impl AsyncPushSender,
) -> RedisResult<RedisConnection> {
    let no_host = || RedisError::from((ErrorKind::InvalidClientConfig, "no host"));
    let mut login = RedisConnectionInfo::default()
        .set_db(address.database)
        .set_protocol(ProtocolVersion::RESP3);
    if let Some(username) = &address.username {
        login = login.set_username(username);
    }
    if let Some(password) = &address.password {
        login = login.set_password(password.expose_secret());
    }
    let first = node_addresses(address).next().ok_or_else(no_host)?;
    let info = first.into_connection_info()?.set_redis_settings(login);
    let config = connection_config(timeout).set_push_sender(on_push);
    Client::open(info)?
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .map(RedisConnection::Single)
}

async fn open_sentinel(
    address: &RedisAddress,
    service: &str,
    timeout: Duration,
    on_push: impl AsyncPushSender,
) -> RedisResult<RedisConnection> {
    let sentinels = node_addresses(address);
    let mut builder = SentinelClientBuilder::new(sentinels, service, SentinelServerType::Master)?
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
    let config = connection_config(timeout).set_push_sender(on_push);
    let mut client = builder.build()?;
    client
        .get_async_connection_with_config(&config)
        .await
        .map(RedisConnection::Single)
}

async fn open_cluster(
    address: &RedisAddress,
    timeout: Duration,
    on_push: impl AsyncPushSender,
) -> RedisResult<RedisConnection> {
    let mut builder = ClusterClientBuilder::new(node_addresses(address))
        .use_protocol(ProtocolVersion::RESP3)
        .connection_timeout(timeout)
        .response_timeout(timeout)
        .retries(3)
        .connection_concurrency_limit(MAX_UNANSWERED_COMMANDS)
        .push_sender(on_push);
    if address.tls {
        builder = builder.tls(TlsMode::Secure);
    }
    if let Some(username) = &address.username {
        builder = builder.username(username);
    }
    if let Some(password) = &address.password {
        builder = builder.password(password.expose_secret());
    }
    let connection = builder.build()?.get_async_connection().await?;
    Ok(RedisConnection::Cluster(connection))
}

fn connection_config(timeout: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(MAX_QUEUED_COMMANDS)
        .set_concurrency_limit(MAX_UNANSWERED_COMMANDS)
}

fn node_addresses(address: &RedisAddress) -> impl Iterator<Item = ConnectionAddr> {
    address.nodes.iter().map(|(host, port)| match address.tls {
        true => ConnectionAddr::TcpTls {
            host: host.clone(),
            port: *port,
            insecure: false,
            tls_params: None,
        },
        false => ConnectionAddr::Tcp(host.clone(), *port),
    })
}
