//! Connects to an upstream: name, TCP and TLS under one time limit.

mod error;
mod race;
mod resolve;
mod roots;

pub(super) use error::{ConnectError, ConnectStep, find_connect_error};
pub use resolve::Resolver;
pub use roots::{CertificatesError, tls_config};

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tower::Service;

use crate::provider::upstream::UpstreamSocket;

/// Size of the kernel's receive buffer for a connection, in bytes. The kernel doubles it.
const RECEIVE_BUFFER: u32 = 64 * 1024;
/// Silence after which TCP probes whether an upstream is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// Interval between TCP's probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Time in which an upstream has to acknowledge what is sent to it, or a probe.
const VANISHED_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for which the address that answered last is tried first.
const PREFERRED_TTL: Duration = Duration::from_secs(600);

/// The name of HTTP/2 in the negotiation of TLS.
const ALPN_HTTP2: &[u8] = b"h2";

/// Opens connections to one upstream. Clones share what they know of it.
#[derive(Clone)]
pub(super) struct Connector {
    shared: Arc<ConnectorState>,
}

struct ConnectorState {
    resolver: Resolver,
    tls: TlsConnector,
    http2: bool,
    timeout: Duration,
    /// The address that answered last, and when.
    preferred: Mutex<Option<(IpAddr, Instant)>>,
    /// The last failure, for those whose connection another request was opening.
    failed: Mutex<Option<ConnectError>>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    /// Creates a connector whose connections take at most `timeout` to open.
    pub(super) fn new(
        resolver: Resolver,
        mut tls: ClientConfig,
        http2: bool,
        timeout: Duration,
    ) -> Self {
        if http2 {
            tls.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        }
        Self {
            shared: Arc::new(ConnectorState {
                resolver,
                tls: TlsConnector::from(Arc::new(tls)),
                http2,
                timeout,
                preferred: Mutex::default(),
                failed: Mutex::default(),
            }),
        }
    }

    /// Opens a connection to the host of an address.
    pub(super) async fn connect(&self, uri: &Uri) -> Result<UpstreamSocket, ConnectError> {
        let deadline = Instant::now() + self.shared.timeout;
        let host = uri.host().unwrap_or_default();
        let with_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if with_tls { 443 } else { 80 });
        let lookup = timeout_at(deadline, self.shared.resolver.lookup(host));
        let addresses = match lookup.await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => return Err(ConnectError::of_lookup(host, error)),
            Err(_elapsed) => return Err(ConnectError::of_slow_lookup(host)),
        };
        let addresses = race::in_order(&addresses, self.preferred())
            .into_iter()
            .map(|address| SocketAddr::new(address, port))
            .collect();
        let opened = if with_tls {
            let name = server_name(host)?;
            race::connect(addresses, deadline, open_tcp, |tcp, address| {
                self.open_tls(tcp, address, name.clone())
            })
            .await
        } else {
            race::connect(addresses, deadline, open_tcp, |tcp, _| async {
                Ok(UpstreamSocket::Plain(tcp))
            })
            .await
        };
        let (socket, address) = opened?;
        *lock(&self.shared.preferred) = Some((address.ip(), Instant::now()));
        Ok(socket)
    }

    /// Shakes hands over TLS. HTTP/2 must be agreed on where it is configured.
    async fn open_tls(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
        name: ServerName<'static>,
    ) -> Result<UpstreamSocket, ConnectError> {
        let tls = match self.shared.tls.connect(name, tcp).await {
            Ok(tls) => tls,
            Err(error) => return Err(ConnectError::of_tls(address, error)),
        };
        if self.shared.http2 && tls.get_ref().1.alpn_protocol() != Some(ALPN_HTTP2) {
            return Err(ConnectError::of_http2(address));
        }
        Ok(UpstreamSocket::Tls(Box::new(tls)))
    }

    fn preferred(&self) -> Option<IpAddr> {
        let (address, since) = (*lock(&self.shared.preferred))?;
        (since.elapsed() < PREFERRED_TTL).then_some(address)
    }

    /// Returns the reason that the last connection of hyper's client could not be opened. hyper
    /// opens one for all requests that need it, and tells the reason to one of them.
    pub(super) fn last_failure(&self) -> Option<ConnectError> {
        let failed = lock(&self.shared.failed);
        failed.as_ref().map(ConnectError::without_source)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connector as hyper's HTTP/2 client uses it.
impl Service<Uri> for Connector {
    type Response = TokioIo<UpstreamSocket>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let opened = connector.connect(&uri).await;
            let opened = opened.inspect_err(|error| {
                *lock(&connector.shared.failed) = Some(error.without_source());
            });
            opened.map(TokioIo::new)
        })
    }
}

/// Returns the name that an upstream's certificate must have.
fn server_name(host: &str) -> Result<ServerName<'static>, ConnectError> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(name.trim_end_matches('.').to_owned())
        .map_err(|error| ConnectError::of_name(host, error))
}

async fn open_tcp(address: SocketAddr) -> Result<TcpStream, ConnectError> {
    let connecting = async {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_nodelay(true)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let tcp = socket.connect(address).await?;
        notice_vanished(&tcp)?;
        Ok(tcp)
    };
    connecting
        .await
        .map_err(|error| ConnectError::of_tcp(address, error))
}

/// Has the kernel report an upstream that has vanished without a word, though it says nothing and
/// nothing is sent to it.
fn notice_vanished(tcp: &TcpStream) -> std::io::Result<()> {
    let socket = SockRef::from(tcp);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(3),
    )?;
    // Where the system lacks it, the probes remain.
    let _ = socket.set_tcp_user_timeout(Some(VANISHED_TIMEOUT));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn an_upstream_that_vanishes_is_given_up_within_a_minute() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = open_tcp(listener.local_addr().unwrap()).await.unwrap();
        let socket = SockRef::from(&tcp);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(VANISHED_TIMEOUT));
        let probes = socket.tcp_keepalive_retries().unwrap();
        let silence = socket.tcp_keepalive_time().unwrap()
            + socket.tcp_keepalive_interval().unwrap() * probes;
        assert!(silence < Duration::from_secs(60), "{silence:?}");
    }
}
