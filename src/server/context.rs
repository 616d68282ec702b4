//! The surroundings of a connection: its worker's settings and signals, and the client's presence.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
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

use super::connections::Connection;
use super::load::Load;
use super::router_cell::RouterCell;
use crate::config::ConnectionLimits;
use crate::disconnect::Disconnect;

/// Longest idle time of a kept connection, and longest time for the head of a later request.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// Settings and signals that all connections of a worker share.
#[derive(Clone)]
pub(super) struct WorkerContext {
    pub(super) limits: ConnectionLimits,
    /// Cancelled when the server drains: nothing new begins, and what runs may finish.
    pub(super) drain: CancellationToken,
    pub(super) tls: Option<TlsAcceptor>,
    /// The owner of every task.
    pub(super) tasks: TaskTracker,
    pub(super) load: Load,
}

/// A connection that is about to speak HTTP, apart from the bytes themselves.
pub(super) struct ConnectionContext<'a> {
    /// The TCP socket, to watch for the client's leaving. Below TLS, if there is any.
    pub(super) stream: &'a TcpStream,
    pub(super) router: RouterCell,
    pub(super) worker: &'a WorkerContext,
    pub(super) disconnect: Disconnect,
    /// Elapses when the first request should have arrived.
    pub(super) first_request: Pin<&'a mut Sleep>,
    /// Its place among all connections.
    pub(super) connection: &'a Arc<Connection>,
}

/// Answers one request. Its generation learns from `disconnect` why its client went.
pub(super) fn respond(
    router: Router,
    mut request: Request<Body>,
    disconnect: Disconnect,
) -> impl Future<Output = Result<Response<Body>, Infallible>> {
    request.extensions_mut().insert(disconnect);
    router.oneshot(request)
}

/// Resolves when the client has closed its side.
///
/// A client that closes only its sending half counts as gone. Hardly any does, and waiting for it
/// would mean running a model for nobody.
pub(super) async fn peer_closed(stream: &TcpStream) {
    loop {
        match stream.ready(Interest::PRIORITY).await {
            Ok(ready) if !ready.is_read_closed() => {
                // Urgent data, which nobody sends. Clear the readiness, or it would wake us
                // forever.
                let _ = stream.try_io(Interest::PRIORITY, || {
                    Err::<(), _>(std::io::ErrorKind::WouldBlock.into())
                });
            }
            _ => return,
        }
    }
}
