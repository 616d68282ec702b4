//! The list of routes, and a file of handlers for each family of them.

mod apis;
mod health;
mod models;
mod plain;
mod prompts;
mod responses;
mod streams;
mod ws;

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::middleware;
use axum::routing::{MethodRouter, delete, get, post};

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
    streaming
        .add("/v1/responses/{id}", get(responses::get))
        .resumable(service)
        .add("/prompts", get(prompts::list))
        .add("/v1/stream/{id}", streams::handlers())
        .add("/v1/stream/{id}/cancel", streams::cancel_handler())
        .add("/v1/ws", get(ws::open))
        .add("/v1/responses/{id}", delete(responses::delete))
        .add("/v1/responses/{id}/cancel", post(responses::cancel))
        .add("/v1/models", get(models::list))
        .add("/v1/models/{*id}", get(models::one))
        .add("/healthz", get(health::healthz))
        .add("/readyz", get(health::readyz))
        .into_router()
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

    fn into_router(self) -> Router<Arc<Service>> {
        let paths: Arc<str> = self.paths.join(", ").into();
        let not_found = async move |uri: Uri| {
            let path: String = uri.path().chars().take(80).collect();
            let message = format!("nothing at {path}; there are {paths}");
            Rejection::from(Failure::not_found(message))
        };
        self.router.fallback(not_found)
    }
}
