//! The HTTP edge: routes, and a file of handlers for each family of them.
//!
//! Handlers read a request, start a generation and hand it to a transport. Whatever they refuse becomes an answer in one
//! place, [`error`]. Not here: sockets and connections (`server`).

mod api;
mod asked;
mod body;
pub mod cors;
pub mod error;
mod models;
mod ops;
mod plain;
mod prompts;
mod respond;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Uri;
use axum::middleware;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::dialect::DIALECTS;
use crate::failure::Failure;
use crate::generation::{Cutoff, Routes, Timeouts};
use crate::prompts::Library;
use error::Refused;

/// What handlers share.
#[derive(Debug)]
pub struct Shared {
    /// Which models there are.
    pub routes: Routes,
    /// Which prompt templates there are.
    pub prompts: Arc<Library>,
    /// How long a generation may take.
    pub timeouts: Timeouts,
    /// When a silent stream gets a comment; never if none.
    pub heartbeat: Option<Duration>,
    /// When an SSE response begins though its upstream has not.
    pub commit_after: Duration,
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// Set once the server is shutting down.
    pub draining: Draining,
    /// Cut when the server must end now.
    pub cutoff: Cutoff,
}

/// Whether the server is shutting down.
#[derive(Debug, Clone, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// From now on it is.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// All routes.
pub fn router(shared: Arc<Shared>) -> Router {
    let mut routes = Router::new()
        .route("/stream", get(plain::get).post(plain::post))
        .route("/prompts", get(prompts::list))
        .route("/prompts/{name}", get(prompts::get).post(prompts::post))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .route("/healthz", get(ops::healthz))
        .route("/readyz", get(ops::readyz))
        .fallback(nowhere);
    for dialect in DIALECTS {
        for endpoint in dialect.client.endpoints() {
            routes = routes.route(endpoint, post(api::handler(dialect, endpoint)));
        }
    }
    layered(routes.with_state(shared))
}

/// What every route stands behind: its panics and its refusals become answers.
fn layered(routes: Router) -> Router {
    let routes = routes.layer(CatchPanicLayer::custom(error::panicked));
    // Around the whole router, not each route: axum names the allowed methods only after a route's own layers.
    Router::new().fallback_service(routes).layer(middleware::from_fn(error::answer))
}

async fn nowhere(uri: Uri) -> Refused {
    let path: String = uri.path().chars().take(80).collect();
    let apis: Vec<&str> = DIALECTS.iter().flat_map(|dialect| dialect.client.endpoints()).copied().collect();
    let message = format!(
        "nothing at {path}; there are /stream, /prompts, {}, /v1/models, /healthz and /readyz",
        apis.join(", ")
    );
    Refused::from(Failure::NotFound { message })
}

#[cfg(test)]
mod tests;
