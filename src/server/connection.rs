//! One connection, from accept to close: TLS if configured, then whichever HTTP its client speaks.
//!
//! HTTP/1.1, where one stream has the connection to itself, is in `http1`, HTTP/2 in `http2`.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::socket::{Protocol, Socket};
use super::worker::{Load, One};
use super::{http1, http2, tls};
use crate::generation::Left;

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
    let stream = Arc::new(stream);
    let left = Left::default();
    let first_request = pin!(tokio::time::sleep(terms.limits.request_head));
    let socket = Socket::new(
        stream.clone(),
        terms.limits.client_stall,
        left.clone(),
        counted,
    );
    let mut visit = Visit {
        stream: &stream,
        router,
        terms: &terms,
        left,
        first_request,
    };
    // What the rarer ways need is boxed, so that the common one is no larger for them.
    match &terms.tls {
        None => {
            let mut socket = socket;
            match visit.begin(socket.protocol()).await {
                Some(Protocol::Http1) => http1::serve(socket, visit).await,
                Some(Protocol::Http2) => Box::pin(http2::serve(socket, visit)).await,
                None => {}
            }
        }
        Some(acceptor) => {
            Box::pin(async {
                let Some(socket) = visit.begin(acceptor.accept(socket)).await else {
                    return;
                };
                match tls::protocol(&socket) {
                    Protocol::Http1 => http1::serve(socket, visit).await,
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

/// Answers a request; `left` is how its generation learns why its client went.
pub(super) fn answer(
    router: Router,
    mut request: Request<Body>,
    left: Left,
) -> impl Future<Output = Result<Response<Body>, Infallible>> {
    request.extensions_mut().insert(left);
    router.oneshot(request)
}

/// Resolves when the client has closed its side. A client that closes only its sending half counts as gone: nearly none
/// does, and to wait for it would be to run a model for nobody.
pub(super) async fn hung_up(stream: &TcpStream) {
    loop {
        match stream.ready(Interest::PRIORITY).await {
            Ok(ready) if !ready.is_read_closed() => {
                // Urgent data, which nobody sends: take the readiness back, or it would wake us forever.
                let _ = stream.try_io(Interest::PRIORITY, || {
                    Err::<(), _>(std::io::ErrorKind::WouldBlock.into())
                });
            }
            _ => return,
        }
    }
}
