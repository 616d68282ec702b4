//! The list of routes, and a file of handlers for each family of them.

mod admin;
mod apis;
mod forward;
mod health;
mod key;
mod metrics;
mod models;
mod plain;
mod prompts;
mod responses;
mod streams;
mod tickets;
mod usage;
mod ws;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, any, delete, get, post};

use super::error::Rejection;
use super::resume;
use crate::service::Service;
use dialect::DIALECTS;
use dialect::failure::Failure;

/// Returns all routes.
pub(super) fn all(service: &Arc<Service>) -> Router<Arc<Service>> {
    let mut streaming = RouteList::default()
        .add("/stream", get(plain::get).post(plain::post))
        .add("/prompts/{name}", get(prompts::get).post(prompts::post));
    for dialect in DIALECTS {
        for path in dialect.endpoints {
            streaming = streaming.add(path, post(apis::handler(dialect, path)));
        }
    }
    let mut routes = streaming
        .add("/v1/responses/{id}", get(responses::get))
        .resumable(service)
        .add("/prompts", get(prompts::list))
        .add("/v1/stream/{id}", streams::handlers())
        .add("/v1/stream/{id}/cancel", streams::cancel_handler())
        .add("/v1/ws", get(ws::open))
        .add("/v1/responses", get(ws::open_responses))
        // Named here, since they would be responses otherwise.
        .add("/v1/responses/compact", any(forward::forward))
        .add("/v1/responses/{id}", delete(responses::delete))
        .add("/v1/responses/{id}/cancel", post(responses::cancel))
        .add("/v1/models", get(models::list))
        .add("/v1/models/{*id}", get(models::one))
        .add("/v1beta/models", get(models::list_gemini))
        .add("/v1beta/models/{*id}", get(models::one_gemini))
        .add("/v1/key", get(key::show))
        .add("/v1/tickets", post(tickets::issue))
        .add("/", get(health::root))
        .add("/healthz", get(health::healthz))
        .add("/health", get(health::healthz))
        .add("/readyz", get(health::readyz));
    if service.has_operators {
        routes = with_admin(routes);
        if service.metrics.is_some() {
            routes = routes.add("/metrics", get(metrics::metrics));
        }
    }
    routes.into_router(true)
}

/// Returns the routes of a listener for operators.
pub(super) fn for_operators() -> Router<Arc<Service>> {
    with_admin(RouteList::default())
        .add("/metrics", get(metrics::metrics))
        .add("/healthz", get(health::healthz))
        .add("/readyz", get(health::readyz))
        .into_router(false)
}

/// Adds what operators ask for and do.
fn with_admin(routes: RouteList) -> RouteList {
    routes
        .add("/admin/v1/reload", post(admin::reload))
        .add("/admin/v1/usage", get(usage::json_table))
        .add("/admin/v1/usage.csv", get(usage::csv_table))
}

/// Routes, and their paths, which the answer to an unknown path lists.
#[derive(Default)]
struct RouteList {
    router: Router<Arc<Service>>,
    paths: Vec<&'static str>,
}

impl RouteList {
    fn add(mut self, path: &'static str, handlers: MethodRouter<Arc<Service>>) -> Self {
        self.router = self.router.route(path, handlers);
        if !self.paths.contains(&path) {
            self.paths.push(path);
        }
        self
    }

    /// Lets clients resume a stream at each route that there is so far.
    fn resumable(mut self, service: &Arc<Service>) -> Self {
        let layer = middleware::from_fn_with_state(service.clone(), resume::resume_stream);
        self.router = self.router.route_layer(layer);
        self
    }

    /// Returns the routes. What is none may be a path whose requests are passed on.
    fn into_router(self, passes_on: bool) -> Router<Arc<Service>> {
        let paths: Arc<str> = self.paths.join(", ").into();
        let fallback = async move |State(service): State<Arc<Service>>, request: Request| {
            let path = request.uri().path();
            if passes_on && service.pass_through.contains(path) {
                return forward::forward.call(request, service).await;
            }
            let path: String = path.chars().take(80).collect();
            let message = format!("nothing at {path}; there are {paths}");
            Rejection::from(Failure::not_found(message)).into_response()
        };
        self.router.fallback(fallback)
    }
}
