//! The HTTP edge: routes, and a file of handlers for each family of them.
//!
//! Handlers read a request, start a generation and hand it to a transport. Whatever they refuse
//! becomes an answer in one place, [`error`]. Not here: sockets and connections (`server`).

mod accept;
mod api;
mod attach;
mod begin;
mod body;
mod caller;
mod context;
pub mod cors;
pub mod error;
mod health;
mod json;
mod linger;
mod models;
mod plain;
mod prompts;
mod respond;
mod responses;
mod resume;
mod sse_response;
mod stream_headers;
mod streams;
mod subscription;
mod ws;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Uri;
use axum::middleware;
use axum::routing::{delete, get, post};
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;

use crate::config::Cors;
use crate::generation::GenerationTimeouts;
use crate::outcome::Observers;
use crate::prompts::Library;
use crate::routing::Routes;
use crate::shutdown::{AbortSignal, DrainSignal};
use dialect::DIALECTS;
use dialect::failure::Failure;
use error::Rejection;
use stream::Streams;

/// The state that all handlers share.
#[derive(Debug)]
pub struct Service {
    /// The models.
    pub routes: Routes,
    /// The prompt templates.
    pub prompts: Arc<Library>,
    /// The timeouts of a generation.
    pub timeouts: GenerationTimeouts,
    /// The streams, which outlive their connections.
    pub streams: Streams,
    /// The settings of streams.
    pub streaming: Streaming,
    /// The interval of comments on a silent stream; never if `None`.
    pub heartbeat: Option<Duration>,
    /// The time after which an SSE response begins although its upstream has not answered.
    pub commit_after: Duration,
    /// The settings of WebSockets.
    pub websocket: Websocket,
    /// The web pages that may open a socket, besides our own.
    pub origins: Cors,
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// The timeout of receiving a request's body.
    pub body_timeout: Duration,
    /// Set once the server is shutting down.
    pub draining: DrainSignal,
    /// Cut when the server must end now.
    pub abort: AbortSignal,
    /// The observers of each generation's outcome.
    pub observers: Observers,
    /// Owns what runs on without a connection.
    pub tasks: TaskTracker,
}

/// The settings of streams.
#[derive(Debug, Clone, Copy)]
pub struct Streaming {
    /// The time for which a generation runs on without a reader, unless its client says otherwise.
    pub linger: Duration,
    /// The longest that a client may ask for.
    pub max_linger: Duration,
    /// The time for which a generation's stream is kept after its end, or after its last reader.
    pub ttl: Duration,
    /// The timeout of a long-poll.
    pub long_poll: Duration,
}

/// The settings of WebSockets.
#[derive(Debug, Clone, Copy)]
pub struct Websocket {
    /// The interval of pings; never if `None`.
    pub ping: Option<Duration>,
    /// A socket on which nothing runs and nothing is asked for is closed after so long.
    pub idle: Duration,
    /// The longest message of a client, in bytes.
    pub max_message: usize,
    /// The most generations and readers on one socket.
    pub max_running: usize,
}

/// All routes.
pub fn router(service: Arc<Service>) -> Router {
    let mut streaming = Router::new()
        .route("/stream", get(plain::get).post(plain::post))
        .route("/prompts/{name}", get(prompts::get).post(prompts::post));
    for dialect in DIALECTS {
        for endpoint in dialect.endpoints {
            streaming = streaming.route(endpoint, post(api::handler(dialect, endpoint)));
        }
    }
    let streaming = streaming.route("/v1/responses/{id}", get(responses::get));
    let streaming = streaming.route_layer(middleware::from_fn_with_state(
        service.clone(),
        resume::layer,
    ));
    let routes = streaming
        .route("/prompts", get(prompts::list))
        .route("/v1/stream/{id}", streams::route())
        .route("/v1/stream/{id}/cancel", post(resume::cancel))
        .route("/v1/ws", get(ws::open))
        .route("/v1/responses/{id}", delete(responses::delete))
        .route("/v1/responses/{id}/cancel", post(responses::cancel))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .fallback(not_found);
    layered(routes.with_state(service))
}

/// Wraps all routes, so that panics and rejections become responses.
fn layered(routes: Router) -> Router {
    let routes = routes.layer(CatchPanicLayer::custom(error::panicked));
    // Around the whole router, not each route: axum names the allowed methods only after a route's
    // own layers.
    Router::new()
        .fallback_service(routes)
        .layer(middleware::from_fn(error::finish_response))
}

async fn not_found(uri: Uri) -> Rejection {
    let path: String = uri.path().chars().take(80).collect();
    let apis: Vec<&str> = DIALECTS
        .iter()
        .flat_map(|dialect| dialect.endpoints)
        .copied()
        .collect();
    let message = format!(
        "nothing at {path}; there are /stream, /prompts, {}, /v1/stream/{{id}}, /v1/ws, /v1/models, /healthz and /readyz",
        apis.join(", ")
    );
    Rejection::from(Failure::not_found(message))
}

#[cfg(test)]
mod tests;
