//! HTTP/1.1 for clients: connects the routes with the protocol, which is in the crate `http1`.

use std::pin::pin;

use axum::body::Body;
use axum::http::Response;
use dialect::failure::Failure;
use http1::server::{BadHead, ConnectionEnd, ServeOptions, serve_connection};
use tokio::io::{AsyncRead, AsyncWrite};

use super::context::{ConnectionContext, IDLE_TIMEOUT, peer_closed, respond};
use super::socket::SharedInput;
use crate::http;

/// Serves one connection until it is closed, or speaks another protocol.
pub(super) async fn serve_http1<S>(socket: S, context: ConnectionContext<'_>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ConnectionContext {
        stream,
        router,
        worker,
        disconnect,
        first_request,
        connection,
    } = context;
    let options = ServeOptions {
        peer_closed: pin!(peer_closed(stream)),
        drain: &worker.drain,
        head_deadline: first_request,
        idle_timeout: IDLE_TIMEOUT,
        idle: connection.mark(),
    };
    let respond = |request: axum::http::Request<_>| {
        respond(router.current(), request.map(Body::new), disconnect.clone())
    };
    let end = serve_connection(socket, options, respond, reject).await;
    if end == ConnectionEnd::UnreadInput {
        http1::discard_input(SharedInput(stream), worker.limits.request_body).await;
    }
}

/// Answers a request whose head is refused.
fn reject(BadHead { error, path }: BadHead) -> Response<Body> {
    let message = error.to_string();
    let failure = if error.is_too_large() {
        Failure::headers_too_large(message)
    } else {
        Failure::invalid_request(message)
    };
    http::error::unreadable(failure, &path)
}
