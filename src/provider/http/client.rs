//! The HTTP client under all providers.
//!
//! Requests and answers are reqwest's types; the connections under them are hyper-util's, because reqwest has no setting
//! for what matters to a proxy: how much one connection may read ahead (hyper's default is 408 KiB a stream), the size of
//! the kernel's receive buffer, and one time limit over name, TCP and TLS.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder};

use super::drain;
use super::reply::Frames;
use crate::failure::Failure;

/// How much one connection reads ahead of what its client has taken: some hundred tokens.
const READ_AHEAD: usize = 16 * 1024;
/// The kernel's receive buffer of one connection. The kernel doubles it.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// What one HTTP/2 stream may send before we read it.
const H2_STREAM_WINDOW: u32 = 64 * 1024;
/// What one HTTP/2 connection may send: room for 256 streams that nobody reads, so that they never stall one that is read.
const H2_CONNECTION_WINDOW: u32 = 256 * H2_STREAM_WINDOW;
/// Idle connections are closed before a typical upstream's own 60 s, so that we seldom send on one that is being closed.
const IDLE: Duration = Duration::from_secs(50);

type Connector = BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, BoxError>;

/// How to reach upstreams.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// For name, TCP and TLS together.
    pub connect: Duration,
    /// HTTP/2: by agreement over TLS, by prior knowledge over plain TCP.
    pub http2: bool,
    /// Owns what must outlive a request for a moment.
    pub tasks: TaskTracker,
}

/// Sends requests over pooled connections.
#[derive(Debug, Clone)]
pub struct Client {
    inner: legacy::Client<Connector, reqwest::Body>,
    options: Arc<ClientOptions>,
}

impl Client {
    /// A client with a pool of its own.
    ///
    /// # Errors
    ///
    /// When the system's certificates can't be read.
    pub fn new(options: ClientOptions) -> io::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(15)));
        tcp.set_recv_buffer_size(Some(RECEIVE_BUFFER));
        let connector = ServiceBuilder::new().timeout(options.connect).service(https(tcp, options.http2)?);
        let inner = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(READ_AHEAD)
            .http2_only(options.http2)
            .http2_initial_stream_window_size(H2_STREAM_WINDOW)
            .http2_initial_connection_window_size(H2_CONNECTION_WINDOW)
            .http2_keep_alive_interval(Duration::from_secs(20))
            // Only for a request of which nothing was written: its pooled connection had just been closed.
            .retry_canceled_requests(true)
            .build(BoxCloneSyncService::new(connector));
        Ok(Self { inner, options: Arc::new(options) })
    }

    /// Sends a request, once.
    pub(super) async fn send(
        &self,
        request: Request<reqwest::Body>,
        provider: &str,
    ) -> Result<Response<Incoming>, Failure> {
        self.inner.request(request).await.map_err(|error| self.failure(error, provider))
    }

    /// The answer as runs of whole events.
    pub(super) fn frames(&self, response: Response<Incoming>, max_event: usize) -> Frames {
        let http2 = response.version() == http::Version::HTTP_2;
        let response = reqwest::Response::from(response.map(reqwest::Body::wrap));
        let bytes = response.bytes_stream();
        if http2 {
            Frames::new(Box::pin(drain::drain(bytes, &self.options.tasks)), max_event, self.options.tasks.clone())
        } else {
            Frames::new(Box::pin(bytes), max_event, self.options.tasks.clone())
        }
    }

    fn failure(&self, error: legacy::Error, provider: &str) -> Failure {
        let provider = provider.to_owned();
        let connecting = error.is_connect();
        let source: BoxError = error.into();
        if !connecting {
            return Failure::UpstreamReset(source);
        }
        if find::<tower::timeout::error::Elapsed>(&*source) {
            Failure::ConnectTimeout { provider, after: self.options.connect }
        } else if find::<rustls::Error>(&*source) {
            Failure::TlsFailed { provider, source }
        } else if in_chain(&*source, &|cause| cause.to_string() == "dns error") {
            // hyper-util's error for this is private; its words are all there is to tell it by.
            Failure::DnsFailed { provider, source }
        } else {
            Failure::ConnectFailed { provider, source }
        }
    }
}

fn https(tcp: HttpConnector, http2: bool) -> io::Result<HttpsConnector<HttpConnector>> {
    let tls = rustls::crypto::aws_lc_rs::default_provider();
    let builder = HttpsConnectorBuilder::new().with_provider_and_native_roots(tls)?.https_or_http();
    Ok(if http2 { builder.enable_http2().wrap_connector(tcp) } else { builder.enable_http1().wrap_connector(tcp) })
}

fn in_chain(error: &(dyn StdError + 'static), is: &dyn Fn(&(dyn StdError + 'static)) -> bool) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        // An io::Error shows the source of what it wraps, not what it wraps.
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if is(cause) || wrapped.is_some_and(|inner| in_chain(inner, is)) {
            return true;
        }
        next = cause.source();
    }
    false
}

fn find<E: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    in_chain(error, &|cause| cause.is::<E>())
}
