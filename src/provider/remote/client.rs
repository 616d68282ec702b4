//! The HTTP client under all providers.
//!
//! Connections are bounded and driven as reqwest's own client lets nobody do it: how much one may read ahead (hyper's
//! default is 408 KiB a stream), the size of the kernel's receive buffer, one time limit over name, TCP and TLS, and, for
//! HTTP/1.1 ([`h1`](super::h1)), no task and no buffer between a token and its reader. HTTP/2 shares a connection among
//! streams and so leaves it to hyper-util's own task; its answers are read as reqwest's byte stream.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame};
use http_body_util::Full;
use hyper::body::Incoming as H2Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt};

use super::h1::{ClientConnection, EncodedRequest, IdlePool, ResponseBody, SendError};
use super::read_ahead;
use super::response::{BodySource, UpstreamFrames};
use dialect::failure::Failure;

/// The kernel's receive buffer of one connection. The kernel doubles it.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// What one HTTP/2 stream may send before we read it.
const H2_STREAM_WINDOW: u32 = 64 * 1024;
/// What one HTTP/2 connection may send: room for 256 streams that nobody reads, so that they never stall one that is read.
const H2_CONNECTION_WINDOW: u32 = 256 * H2_STREAM_WINDOW;

/// A connection's bytes, encrypted or not.
pub(super) type Io = MaybeHttpsStream<TokioIo<TcpStream>>;
type Connector<C> = BoxCloneSyncService<Uri, C, BoxError>;

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
    transport: Transport,
    options: Arc<ClientOptions>,
}

#[derive(Debug, Clone)]
enum Transport {
    Http1(Connector<ClientConnection>, IdlePool),
    Http2(Box<legacy::Client<Connector<Io>, Full<Bytes>>>),
}

impl Client {
    /// A client for one upstream, with a pool of its own.
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
        let connector = ServiceBuilder::new()
            .timeout(options.connect)
            .service(https(tcp, options.http2)?);
        let transport = if options.http2 {
            let client = legacy::Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .http2_only(true)
                .http2_initial_stream_window_size(H2_STREAM_WINDOW)
                .http2_initial_connection_window_size(H2_CONNECTION_WINDOW)
                .http2_keep_alive_interval(Duration::from_secs(20))
                .build(BoxCloneSyncService::new(connector));
            Transport::Http2(Box::new(client))
        } else {
            // What is large of a connection is put aside at once, not carried through every future on the way.
            Transport::Http1(
                BoxCloneSyncService::new(connector.map_response(ClientConnection::from)),
                IdlePool::default(),
            )
        };
        Ok(Self {
            transport,
            options: Arc::new(options),
        })
    }

    /// Sends a request, once.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
        provider: &str,
    ) -> Result<Response<UpstreamBody>, Failure> {
        match &self.transport {
            Transport::Http1(connector, pool) => {
                let response = self.send_http1(connector, pool, request, provider).await?;
                Ok(response.map(UpstreamBody::Http1))
            }
            Transport::Http2(client) => match client.request(request.map(Full::new)).await {
                Ok(response) => Ok(response.map(UpstreamBody::Http2)),
                Err(error) if error.is_connect() => Err(self.not_connected(error.into(), provider)),
                Err(error) => Err(Failure::UpstreamReset(error.into())),
            },
        }
    }

    async fn send_http1(
        &self,
        connector: &Connector<ClientConnection>,
        pool: &IdlePool,
        request: Request<Bytes>,
        provider: &str,
    ) -> Result<Response<ResponseBody>, Failure> {
        let uri = request.uri().clone();
        let Some(host) = uri.authority().map(|authority| authority.as_str()) else {
            return Err(Failure::Internal(
                "an upstream's address has no host".into(),
            ));
        };
        let request = match pool.send_on_idle(EncodedRequest::new(host, request)).await {
            Ok(response) => return Ok(response),
            Err(SendError::NotSent(request)) => request,
            Err(SendError::Unknown(error)) => return Err(Failure::UpstreamReset(error.into())),
        };
        let connection = connector
            .clone()
            .oneshot(uri)
            .await
            .map_err(|error| self.not_connected(error, provider))?;
        pool.send_on(connection, request)
            .await
            .map_err(|unsent| match unsent {
                SendError::NotSent(_) => {
                    Failure::UpstreamReset("the connection was closed at once".into())
                }
                SendError::Unknown(error) => Failure::UpstreamReset(error.into()),
            })
    }

    /// The answer as runs of whole events.
    pub(super) fn frames(
        &self,
        response: Response<UpstreamBody>,
        max_event: usize,
    ) -> UpstreamFrames {
        let (head, body) = response.into_parts();
        let tasks = &self.options.tasks;
        let incoming = match body {
            UpstreamBody::Http1(answer) => BodySource::Http1(answer),
            UpstreamBody::Http2(body) => {
                let response =
                    reqwest::Response::from(Response::from_parts(head, reqwest::Body::wrap(body)));
                BodySource::Http2(Box::pin(read_ahead::read_ahead(
                    response.bytes_stream(),
                    tasks,
                )))
            }
        };
        UpstreamFrames::new(incoming, max_event, tasks.clone())
    }

    fn not_connected(&self, source: BoxError, provider: &str) -> Failure {
        let provider = provider.to_owned();
        if find::<tower::timeout::error::Elapsed>(&*source) {
            Failure::ConnectTimeout {
                provider,
                after: self.options.connect,
            }
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

/// An answer's body.
pub(super) enum UpstreamBody {
    Http1(ResponseBody),
    Http2(H2Body),
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            UpstreamBody::Http1(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            UpstreamBody::Http2(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            UpstreamBody::Http1(body) => body.is_end_stream(),
            UpstreamBody::Http2(body) => body.is_end_stream(),
        }
    }
}

fn https(tcp: HttpConnector, http2: bool) -> io::Result<HttpsConnector<HttpConnector>> {
    let tls = rustls::crypto::aws_lc_rs::default_provider();
    let builder = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(tls)?
        .https_or_http();
    Ok(if http2 {
        builder.enable_http2().wrap_connector(tcp)
    } else {
        builder.enable_http1().wrap_connector(tcp)
    })
}

fn in_chain(
    error: &(dyn StdError + 'static),
    is: &dyn Fn(&(dyn StdError + 'static)) -> bool,
) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        // An io::Error shows the source of what it wraps, not what it wraps.
        let wrapped = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
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
