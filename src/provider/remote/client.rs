//! The HTTP client of one provider: sends a request once, over pooled connections.
//!
//! Connections are bounded and driven in ways that reqwest's client does not offer: the bytes that
//! one may read ahead (hyper's default is 408 KiB a stream), the size of the kernel's receive
//! buffer, one time limit over name, TCP and TLS, and, for HTTP/1.1 ([`http1::client`]), no task
//! and no buffer between a token and its reader. HTTP/2 shares a connection among streams, and so
//! leaves it to hyper-util's own task.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dialect::failure::Failure;
use http::{Request, Response, Uri};
use http_body_util::Full;
use http1::client::{ClientConnection, EncodedRequest, IdlePool, SendError};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio_util::task::TaskTracker;
use tower::BoxError;

use super::connect::{ConnectError, ConnectStep, Connector, Resolver, find_connect_error};
use crate::provider::credentials::Credentials;
use crate::provider::upstream::{UpstreamBody, UpstreamFrames, UpstreamSocket};

/// Bytes that an HTTP/2 stream may send before we read them.
const H2_STREAM_WINDOW: u32 = 64 * 1024;
/// Bytes that an HTTP/2 connection may send: room for 256 unread streams, so that they never stall
/// one that is read.
const H2_CONNECTION_WINDOW: u32 = 256 * H2_STREAM_WINDOW;
/// Pause between two pings on an HTTP/2 connection.
const H2_PING_INTERVAL: Duration = Duration::from_secs(20);

/// The way to reach an upstream.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Time limit over name, TCP and TLS together.
    pub connect: Duration,
    /// HTTP/2: negotiated over TLS, by prior knowledge over plain TCP.
    pub http2: bool,
    /// Looks up the upstream's name.
    pub resolver: Resolver,
    /// The configuration of TLS, from [`tls_config`](super::tls_config).
    pub tls: ClientConfig,
    /// Owns the tasks that outlive a request for a moment.
    pub tasks: TaskTracker,
}

/// Sends requests to one upstream over pooled connections.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
    connect_timeout: Duration,
    tasks: TaskTracker,
}

#[derive(Debug, Clone)]
enum Transport {
    Http1(Connector, IdlePool<UpstreamSocket>),
    Http2(Connector, Arc<legacy::Client<Connector, Full<Bytes>>>),
}

impl Client {
    /// Creates a client for one upstream, with a pool of its own.
    #[must_use]
    pub fn new(options: ClientOptions) -> Self {
        let ClientOptions {
            connect,
            http2,
            resolver,
            tls,
            tasks,
        } = options;
        let connector = Connector::new(resolver, tls, http2, connect);
        let transport = if http2 {
            let client = legacy::Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .http2_only(true)
                .http2_initial_stream_window_size(H2_STREAM_WINDOW)
                .http2_initial_connection_window_size(H2_CONNECTION_WINDOW)
                .http2_keep_alive_interval(H2_PING_INTERVAL)
                .build(connector.clone());
            Transport::Http2(connector, Arc::new(client))
        } else {
            Transport::Http1(connector, IdlePool::default())
        };
        Self {
            transport,
            connect_timeout: connect,
            tasks,
        }
    }

    /// Sends a request, once.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
        provider: &str,
    ) -> Result<Response<UpstreamBody>, Failure> {
        match &self.transport {
            Transport::Http1(connector, pool) => {
                self.send_http1(connector, pool, request, provider).await
            }
            Transport::Http2(connector, client) => {
                match client.request(request.map(Full::new)).await {
                    Ok(response) => Ok(response.map(UpstreamBody::Http2)),
                    Err(error) if error.is_connect() => {
                        let source: BoxError = match connector.last_failure() {
                            Some(shared) if find_connect_error(&error).is_none() => shared.into(),
                            _ => error.into(),
                        };
                        Err(self.connect_failure(source, provider))
                    }
                    Err(error) => Err(Failure::request_uncertain(error.into())),
                }
            }
        }
    }

    async fn send_http1(
        &self,
        connector: &Connector,
        pool: &IdlePool<UpstreamSocket>,
        request: Request<Bytes>,
        provider: &str,
    ) -> Result<Response<UpstreamBody>, Failure> {
        let uri = request.uri().clone();
        let Some(host) = uri.authority().map(|authority| authority.as_str()) else {
            return Err(Failure::internal(
                "an upstream's address has no host".into(),
            ));
        };
        let request = match pool.send_on_idle(EncodedRequest::new(host, request)).await {
            Ok(response) => return Ok(response.map(UpstreamBody::Http1)),
            Err(SendError::NotSent(request)) => request,
            Err(error) => return Err(send_failure(error)),
        };
        // Boxed: what a handshake needs is not carried through every future.
        let connection = Box::pin(open_connection(connector, &uri))
            .await
            .map_err(|error| self.connect_failure(error, provider))?;
        let response = pool.send_on(connection, request).await;
        Ok(response.map_err(send_failure)?.map(UpstreamBody::Http1))
    }

    /// Classifies a request that was not sent, since there was no connection.
    fn connect_failure(&self, source: BoxError, provider: &str) -> Failure {
        match find_connect_error(&*source).map(ConnectError::step) {
            Some(ConnectStep::Lookup) => Failure::dns_failed(provider, source),
            Some(ConnectStep::InTime) => {
                Failure::connect_timeout(provider, self.connect_timeout, source)
            }
            Some(ConnectStep::Secure(reason)) => Failure::tls_failed(provider, reason, source),
            Some(ConnectStep::Open) | None => Failure::connect_failed(provider, source),
        }
    }

    /// Returns the owner of tasks that outlive a request for a moment.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Prepares a body to be streamed at a client's pace.
    pub(super) fn streamed(&self, body: UpstreamBody) -> UpstreamBody {
        body.streamed(&self.tasks)
    }

    /// Reads the response as runs of whole events.
    pub(super) fn frames(
        &self,
        body: UpstreamBody,
        max_event: usize,
        credentials: Arc<Credentials>,
    ) -> UpstreamFrames {
        UpstreamFrames::new(body, max_event, credentials, &self.tasks)
    }
}

async fn open_connection(
    connector: &Connector,
    uri: &Uri,
) -> Result<ClientConnection<UpstreamSocket>, BoxError> {
    let socket = connector.connect(uri).await?;
    Ok(socket.connection())
}

/// Classifies a request that got no response on an open connection.
fn send_failure(error: SendError) -> Failure {
    match error {
        SendError::NotSent(_) => {
            Failure::request_not_sent("the connection was closed at once".into())
        }
        SendError::Unknown(error) => Failure::request_uncertain(error.into()),
    }
}
