//! Redis: its address, and connections to it.

mod connection;
mod link;

pub use connection::RedisConnection;
pub use link::{LinkError, PushListener, RedisLink};

use std::fmt;

use secrecy::SecretString;

/// The address of a Redis: its servers, their arrangement and the credentials.
///
/// ```
/// use store::redis::{RedisAddress, Topology};
///
/// let address = RedisAddress {
///     tls: true,
///     topology: Topology::Cluster,
///     nodes: vec![("10.0.0.1".to_owned(), 6379), ("::1".to_owned(), 6379)],
///     database: 0,
///     username: None,
///     password: None,
///     key_prefix: "tokenrill:".to_owned(),
/// };
/// assert_eq!(address.to_string(), "rediss+cluster://10.0.0.1:6379,[::1]:6379");
/// ```
#[derive(Debug, Clone)]
pub struct RedisAddress {
    /// Connections use TLS.
    pub tls: bool,
    /// The arrangement of its servers.
    pub topology: Topology,
    /// Hosts and their ports.
    pub nodes: Vec<(String, u16)>,
    /// The number of the database.
    pub database: i64,
    /// The user name, if the server wants one.
    pub username: Option<String>,
    /// The password, if the server wants one.
    pub password: Option<SecretString>,
    /// The prefix of every key.
    pub key_prefix: String,
}

/// The arrangement of the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// A single server.
    One,
    /// Sentinels that know the master.
    Sentinel {
        /// The name of the monitored master.
        service: String,
    },
    /// A cluster: every server has a part of the keys.
    Cluster,
}

impl fmt::Display for RedisAddress {
    /// Writes the address without its credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, path) = match &self.topology {
            Topology::One => ("", String::new()),
            Topology::Sentinel { service } => ("+sentinel", format!("/{service}")),
            Topology::Cluster => ("+cluster", String::new()),
        };
        let node = |(host, port): &(String, u16)| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let nodes: Vec<String> = self.nodes.iter().map(node).collect();
        write!(
            f,
            "redis{}{kind}://{}{path}",
            if self.tls { "s" } else { "" },
            nodes.join(",")
        )
    }
}
