//! The HTTP edge: routes, and a file of handlers for each family of them.
//!
//! Handlers read a request, start a generation and hand it to a transport. Whatever they refuse becomes an answer in one
//! place, [`error`]. Not here: sockets and connections (`server`).

mod api;
mod asked;
mod begin;
mod body;
mod caller;
pub mod cors;
pub mod error;
mod linger;
mod models;
mod ops;
mod plain;
mod prompts;
mod respond;
mod responses;
mod resume;
mod streams;
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
use error::Refused;
use stream::Streams;

/// What handlers share.
#[derive(Debug)]
pub struct Shared {
    /// Which models there are.
    pub routes: Routes,
    /// Which prompt templates there are.
    pub prompts: Arc<Library>,
    /// How long a generation may take.
    pub timeouts: GenerationTimeouts,
    /// What outlives its connection.
    pub streams: Streams,
    /// How long that may be, and how it is read.
    pub streaming: Streaming,
    /// When a silent stream gets a comment; never if none.
    pub heartbeat: Option<Duration>,
    /// When an SSE response begins though its upstream has not.
    pub commit_after: Duration,
    /// How sockets are kept.
    pub websocket: Websocket,
    /// Which web pages may open one, besides our own.
    pub origins: Cors,
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// How long a request's body may take to arrive.
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

/// How streams are made and read.
#[derive(Debug, Clone, Copy)]
pub struct Streaming {
    /// How long a generation may run on without a reader, where its client doesn't say.
    pub linger: Duration,
    /// The longest that a client may ask for.
    pub max_linger: Duration,
    /// How long a generation's stream is kept after its end, or after its last reader.
    pub ttl: Duration,
    /// How long a long-poll may wait.
    pub long_poll: Duration,
}

/// How sockets are kept.
#[derive(Debug, Clone, Copy)]
pub struct Websocket {
    /// How often a client is asked whether it is still there; never if none.
    pub ping: Option<Duration>,
    /// A socket on which nothing runs and nothing is asked for is closed after so long.
    pub idle: Duration,
    /// The longest message of a client, in bytes.
    pub max_message: usize,
    /// How many generations and readers may run on one socket.
    pub max_running: usize,
}

/// All routes.
pub fn router(shared: Arc<Shared>) -> Router {
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
        shared.clone(),
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
        .route("/healthz", get(ops::healthz))
        .route("/readyz", get(ops::readyz))
        .fallback(nowhere);
    layered(routes.with_state(shared))
}

/// What every route stands behind: its panics and its refusals become answers.
fn layered(routes: Router) -> Router {
    let routes = routes.layer(CatchPanicLayer::custom(error::panicked));
    // Around the whole router, not each route: axum names the allowed methods only after a route's own layers.
    Router::new()
        .fallback_service(routes)
        .layer(middleware::from_fn(error::answer))
}

async fn nowhere(uri: Uri) -> Refused {
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
    Refused::from(Failure::not_found(message))
}

#[cfg(test)]
mod tests;
