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

/// Returns the service over HTTP.
pub fn router(service: Arc<Service>) -> Router {
    let authenticate = middleware::from_fn_with_state(service.clone(), access::authenticate);
    let guard = middleware::from_fn_with_state(service.clone(), pages::guard);
    let routes = routes::all(&service).layer(authenticate).layer(guard);
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

#[cfg(test)]
mod tests;
