//! The HTTP edge: routes, and the adapters that all of them use.
//!
//! A handler reads a request, lets [`service`](crate::service) start or find what is asked for, and
//! carries the frames to its client. Whatever is refused becomes an answer in one place, [`error`].
//! Not here: sockets and connections (`server`).

mod accept;
mod access;
mod azure;
mod body;
mod context;
pub mod cors;
pub mod error;
mod exposed;
mod json;
mod linger;
mod operator;
mod pages;
mod respond;
mod resume;
mod routes;
mod sse;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use tower_http::catch_panic::CatchPanicLayer;

use crate::service::Service;
use crate::telemetry::metrics::RequestCounter;

/// Returns the service over HTTP.
pub fn router(service: Arc<Service>) -> Router {
    let authenticate = middleware::from_fn_with_state(service.clone(), access::authenticate);
    guarded(routes::all(&service).layer(authenticate), service)
}

/// Returns what operators see, for a listener of its own. Whoever reaches it may read it.
pub fn admin_router(service: Arc<Service>) -> Router {
    guarded(routes::for_operators(), service)
}

fn guarded(routes: Router<Arc<Service>>, service: Arc<Service>) -> Router {
    let guard = middleware::from_fn_with_state(service.clone(), pages::guard);
    let counter = service.metrics.as_ref().map(|site| site.requests.clone());
    layered(routes.layer(guard).with_state(service), counter)
}

/// Wraps all routes, so that panics and rejections become responses. Requests are counted if there
/// is a counter.
fn layered(routes: Router, counter: Option<RequestCounter>) -> Router {
    let mut routes = routes.layer(CatchPanicLayer::custom(error::panicked));
    if counter.is_some() {
        routes = routes.layer(middleware::from_fn(error::note_route));
    }
    // Around the whole router, not each route: axum names the allowed methods only after a route's
    // own layers.
    Router::new()
        .fallback_service(routes)
        .layer(middleware::from_fn_with_state(
            counter,
            error::finish_response,
        ))
}

#[cfg(test)]
mod tests;
