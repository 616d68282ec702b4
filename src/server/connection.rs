//! One connection, from accept to close: TLS if configured, then the client's version of HTTP.
//!
//! HTTP/1.1, where one request at a time has the connection to itself, is in `http1`, HTTP/2 in
//! `http2`.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::connections::Admission;
use super::context::{ConnectionContext, WorkerContext};
use super::paced::Paced;
use super::protocol::Protocol;
use super::router_cell::RouterCell;
use super::socket::ClientSocket;
use super::{http1, http2, presence, tls};
use crate::disconnect::Disconnect;

/// Time that a client has for its first request when the server begins to drain.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// Serves one connection until it is closed.
pub(super) async fn serve_connection(
    stream: TcpStream,
    router: RouterCell,
    worker: WorkerContext,
    (connection, load_guard): Admission,
) {
    let stream = Arc::new(stream);
    let disconnect = Disconnect::default();
    let mut socket = ClientSocket::new(
        stream.clone(),
        worker.limits.client_stall,
        disconnect.clone(),
        (connection.clone(), load_guard),
    );
    let mut context = ConnectionContext {
        stream: &stream,
        router,
        worker: &worker,
        disconnect,
        first_request: pin!(tokio::time::sleep(worker.limits.request_head)),
        connection: &connection,
    };
    // The rarer cases are boxed, so that they don't enlarge the future of the common one.
    match &worker.tls {
        None => match context.before_http(socket.detect_protocol()).await {
            Some(Protocol::Http1) => http1::serve_http1(socket, context).await,
            Some(Protocol::Http2) => Box::pin(http2::serve_http2(socket, context)).await,
            None => {}
        },
        Some(acceptor) => {
            Box::pin(async {
                let Some(socket) = context
                    .before_http(Paced::new(acceptor.accept(socket)))
                    .await
                else {
                    return;
                };
                match tls::negotiated_protocol(&socket) {
                    Protocol::Http1 => http1::serve_http1(socket, context).await,
                    Protocol::Http2 => http2::serve_http2(socket, context).await,
                }
            })
            .await;
        }
    }
}

impl ConnectionContext<'_> {
    /// Awaits a step that precedes HTTP. Returns `None` if it failed or took too long, or if the
    /// server drains or the connection has to make room.
    async fn before_http<T>(&mut self, step: impl Future<Output = io::Result<T>>) -> Option<T> {
        let done = tokio::select! {
            biased;
            result = step => result.ok()?,
            () = self.first_request.as_mut() => return None,
            () = drained(&self.worker.drain) => return None,
            () = self.connection.mark().evicted() => return None,
        };
        presence::expect_acknowledgements(self.stream, self.worker.limits.client_stall);
        Some(done)
    }
}

/// Waits until the server drains and a client that has just connected had time to send its first
/// request.
async fn drained(drain: &CancellationToken) {
    drain.cancelled().await;
    tokio::time::sleep(FIRST_REQUEST_GRACE).await;
}
