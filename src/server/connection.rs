//! One connection, from accept to close: TLS if configured, then whichever HTTP its client speaks.
//!
//! Here is HTTP/1.1, where one stream has the connection to itself, so that a stalled client is noticed by the socket;
//! HTTP/2 is in `http2`.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::socket::{Protocol, Socket};
use super::unread::{self, Watched};
use super::worker::{Load, One};
use super::{http2, tls};
use crate::generation::Left;

/// How much of one connection hyper may buffer, in either direction; also the longest head.
const BUFFER: usize = 32 * 1024;
/// Heads with more headers are refused by hyper itself, without a word; those with fewer get an answer that says why.
const HEADERS: usize = 512;
/// How long a kept connection may be idle, and how long a later request's head may take.
pub(super) const IDLE: Duration = Duration::from_secs(75);

/// What a connection may do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The first request's head must have come by then, TLS included.
    pub request_head: Duration,
    /// A client that takes nothing for so long, though there is something to take, is dropped.
    pub client_stall: Duration,
    /// So long a body may come that nobody reads.
    pub request_body: Duration,
}

/// What all connections of a worker share.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) limits: Limits,
    /// Begin nothing more, let what runs finish.
    pub(super) drain: CancellationToken,
    pub(super) tls: Option<TlsAcceptor>,
    /// Owns every task.
    pub(super) tasks: TaskTracker,
    /// What the worker has to do.
    pub(super) load: Load,
}

/// A connection whose protocol is known, and what is known of it besides.
pub(super) struct Visit<'a> {
    pub(super) stream: &'a TcpStream,
    pub(super) router: Router,
    pub(super) terms: &'a Terms,
    pub(super) left: Left,
    /// Fires when the first request should have come.
    pub(super) first_request: Pin<&'a mut Sleep>,
}

/// Serves one connection until it is closed.
pub(super) async fn serve(stream: TcpStream, router: Router, terms: Terms, counted: One) {
    // A socket that is already dead refuses its options; serving it then ends at once.
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(terms.limits.client_stall));
    let stream = Arc::new(stream);
    let left = Left::default();
    let first_request = pin!(tokio::time::sleep(terms.limits.request_head));
    let socket = Socket::new(stream.clone(), terms.limits.client_stall, left.clone(), counted);
    let mut visit = Visit { stream: &stream, router, terms: &terms, left, first_request };
    // What the rarer ways need is boxed, so that the common one is no larger for them.
    match &terms.tls {
        None => {
            let mut socket = socket;
            match visit.begin(socket.protocol()).await {
                Some(Protocol::Http1) => serve_http1(socket, visit).await,
                Some(Protocol::Http2) => Box::pin(http2::serve(socket, visit)).await,
                None => {}
            }
        }
        Some(acceptor) => {
            Box::pin(async {
                let Some(socket) = visit.begin(acceptor.accept(socket)).await else { return };
                match tls::protocol(&socket) {
                    Protocol::Http1 => serve_http1(socket, visit).await,
                    Protocol::Http2 => http2::serve(socket, visit).await,
                }
            })
            .await;
        }
    }
}

impl Visit<'_> {
    /// What comes before HTTP: none if it failed, took too long, or the server ends.
    async fn begin<T>(&mut self, beginning: impl Future<Output = io::Result<T>>) -> Option<T> {
        tokio::select! {
            biased;
            begun = beginning => begun.ok(),
            () = self.first_request.as_mut() => None,
            () = self.terms.drain.cancelled() => None,
        }
    }
}

async fn serve_http1(socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, visit: Visit<'_>) {
    let Visit { stream, router, terms, left, mut first_request } = visit;
    let asked = Arc::new(AtomicBool::new(false));
    let unread = Arc::new(AtomicBool::new(false));
    let service = {
        let (asked, unread) = (asked.clone(), unread.clone());
        service_fn(move |request: Request<Incoming>| {
            asked.store(true, Ordering::Release);
            let unread = unread.clone();
            // Nothing reads on: hyper closes the connection once it has answered.
            let watch = |body| Body::new(Watched::new(body, move |_rest| unread.store(true, Ordering::Release)));
            answer(router.clone(), request.map(watch), left.clone())
        })
    };
    let mut connection = pin!(builder().serve_connection(TokioIo::new(socket), service).with_upgrades());
    let mut hung_up = pin!(hung_up(stream));
    let (mut waiting, mut accepting) = (true, true);
    loop {
        tokio::select! {
            biased;
            // Also when it was upgraded: then its socket is its handler's, and writes to it are timed as before.
            // Errors here are the client's way of leaving: each generation has logged its own end. But a head that can't
            // be read is answered, too, and more of it may come.
            ended = connection.as_mut() => {
                if unread.load(Ordering::Acquire) || ended.is_err_and(|error| error.is_parse()) {
                    unread::discard(stream, terms.limits.request_body).await;
                }
                return;
            }
            // hyper looks for a client's end only while its own read buffer is empty; one stray byte hides it.
            () = hung_up.as_mut() => return,
            () = first_request.as_mut(), if waiting => {
                if !asked.load(Ordering::Acquire) {
                    return;
                }
                waiting = false;
            }
            () = terms.drain.cancelled(), if accepting => {
                accepting = false;
                connection.as_mut().graceful_shutdown();
                if !asked.load(Ordering::Acquire) {
                    return;
                }
            }
        }
    }
}

/// Answers a request; `left` is how its generation learns why its client went.
pub(super) fn answer(
    router: Router,
    mut request: Request<Body>,
    left: Left,
) -> impl Future<Output = Result<Response<Body>, Infallible>> {
    request.extensions_mut().insert(left);
    router.oneshot(request)
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(BUFFER).max_headers(HEADERS);
    builder
}

/// Resolves when the client has closed its side. A client that closes only its sending half counts as gone: nearly none
/// does, and to wait for it would be to run a model for nobody.
pub(super) async fn hung_up(stream: &TcpStream) {
    loop {
        match stream.ready(Interest::PRIORITY).await {
            Ok(ready) if !ready.is_read_closed() => {
                // Urgent data, which nobody sends: take the readiness back, or it would wake us forever.
                let _ = stream.try_io(Interest::PRIORITY, || Err::<(), _>(std::io::ErrorKind::WouldBlock.into()));
            }
            _ => return,
        }
    }
}
