//! WebSockets: `GET /v1/ws`, many generations over one socket, and `GET /v1/responses`, OpenAI's
//! responses over one. Here is the handshake; what is said is in `multiplexed` and `responses`, and
//! the one task that all of a socket is driven by in `session`.
//!
//! Browsers let web pages of any origin open a socket: which may is seen to before all routes, in
//! `http::pages`.

mod admission;
mod fragments;
mod message;
mod multiplexed;
mod responses;
mod session;
mod socket;
mod subscription;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::access::PendingPlace;
use crate::http::context::RequestHead;
use crate::http::error::Rejection;
use crate::service::Service;
use dialect::failure::Failure;
use http1::{HandshakeError, OnUpgrade};
use multiplexed::Multiplexed;
use responses::Responses;
use session::{Protocol, Session};
use socket::Socket;

const ROUTE: &str = "/v1/ws";
/// The only subprotocol. Clients need not name it; browsers that name others are told so by its
/// absence.
const PROTOCOL: &str = "tokenrill.v1";

/// Headers that concern the handshake alone, and no request on the socket.
const HANDSHAKE_HEADERS: &[&str] = &[
    "idempotency-key",
    "last-event-id",
    "content-type",
    "content-encoding",
    "x-heartbeat",
];

/// `GET /v1/ws`: opens a socket for many generations.
pub(super) async fn open(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, Rejection> {
    open_socket(service, request, |service, head| {
        Multiplexed::new(service, head.context)
    })
}

/// `GET /v1/responses`: opens a socket for responses.
pub(super) async fn open_responses(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, Rejection> {
    if !http1::list_contains(request.headers(), &UPGRADE, b"websocket") {
        return Err(Rejection::method_not_allowed(request.method(), "POST"));
    }
    open_socket(service, request, Responses::new)
}

fn open_socket<P: Protocol + Send + 'static>(
    service: Arc<Service>,
    mut request: Request,
    protocol: impl FnOnce(Arc<Service>, RequestHead) -> P + Send + 'static,
) -> Result<Response, Rejection> {
    let accept = handshake(&request)?;
    if service.draining.is_begun() {
        return Err(Failure::draining().into());
    }
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let pending = request.extensions_mut().remove::<Arc<PendingPlace>>();
    let (mut parts, _body) = request.into_parts();
    let mut head = RequestHead::take_from(&mut parts)?;
    let headers = &mut head.context.headers;
    let mut response = switching_protocols(accept);
    if http1::list_contains(headers, &SEC_WEBSOCKET_PROTOCOL, PROTOCOL.as_bytes()) {
        let protocol = HeaderValue::from_static(PROTOCOL);
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    for name in HANDSHAKE_HEADERS {
        headers.remove(*name);
    }
    let tasks = service.tasks.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "an upgraded connection ends with its socket, or by the shutdown"
    )]
    tasks.spawn(async move {
        // A connection that ends before its 101 is written has no socket.
        let Some(upgraded) = async { upgrade?.upgraded().await }.await else {
            return;
        };
        let kept = service.websocket;
        let mut socket = Socket::new(upgraded, kept.max_message, kept.ping).await;
        if let Some(place) = pending {
            match admission::receive_key(&mut socket, &service).await {
                Ok(caller) => head.context.caller = caller,
                Err(over) => return socket.close(over).await,
            }
            drop(place);
        }
        let abort = head.context.caller.abort(&service.abort);
        let protocol = protocol(service.clone(), head);
        Session::new(&service, socket, protocol, &abort).run().await;
    });
    Ok(response)
}

fn switching_protocols(accept: HeaderValue) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// Checks the handshake and returns the `sec-websocket-accept` of its answer.
fn handshake(request: &Request) -> Result<HeaderValue, Rejection> {
    let required = |message: &str| {
        Rejection::from(Failure::upgrade_required(message.to_owned()))
            .with(UPGRADE, HeaderValue::from_static("websocket"))
            .with(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
    };
    http1::websocket_accept(request).map_err(|error| match error {
        HandshakeError::NotWebSocket => {
            required("this is a WebSocket: open it with a WebSocket client, over HTTP/1.1")
        }
        HandshakeError::Version => required("the WebSocket's version should be 13"),
        HandshakeError::Key => Failure::invalid(
            "sec-websocket-key",
            "`sec-websocket-key` should be 16 bytes in base64",
        )
        .into(),
    })
}
