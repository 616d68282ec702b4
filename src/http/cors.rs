//! CORS: which web pages may call us and read what we answer.
//!
//! A layer around all routes, so that refusals carry its headers too: a page that can't read an
//! error can't tell what went wrong. Only a true preflight ends here; any other OPTIONS is its
//! route's. Without configured origins there is no layer, and browsers keep everyone's answers to
//! pages of our own.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use super::exposed::EXPOSED;
use crate::config::Cors;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, OPTIONS");
/// Seconds that a browser may remember a preflight for; Chromium takes no more than these two
/// hours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The headers that every page may read, and those that are the browser's own.
const PLAIN: &[&str] = &[
    "cache-control",
    "connection",
    "content-language",
    "content-length",
    "content-type",
    "date",
    "expires",
    "last-modified",
    "pragma",
    "set-cookie",
    "transfer-encoding",
    "vary",
];

/// Puts that policy around all routes.
pub fn around(routes: Router, cors: &Cors) -> Router {
    if *cors == Cors::None {
        return routes;
    }
    Router::new()
        .fallback_service(routes)
        .layer(middleware::from_fn_with_state(
            Arc::new(cors.clone()),
            answer,
        ))
}

async fn answer(State(cors): State<Arc<Cors>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let allowed = match (&*cors, origin) {
        (Cors::Any, Some(_)) => Some(ANY),
        (Cors::These(origins), Some(origin)) if origins.contains(&origin) => Some(origin),
        _ => None,
    };
    let mut response = if is_preflight(&request) {
        preflight(request.headers(), allowed.is_some())
    } else {
        let mut response = next.run(request).await;
        if allowed.is_some() {
            expose(response.headers_mut());
        }
        response
    };
    let headers = response.headers_mut();
    if matches!(*cors, Cors::These(_)) {
        // Also of an answer without an origin: a cache must not give it to a page.
        headers.append(VARY, HeaderValue::from_static("origin"));
        // Never beside `*`: that would be everyone's page with its visitor's rights.
        if allowed.is_some() {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
    }
    if let Some(allowed) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    }
    response
}

fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(context: &HeaderMap, allowed: bool) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.append(
        VARY,
        HeaderValue::from_static("access-control-request-headers"),
    );
    if allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        // Whoever may send a key may send any other header: SDKs have many of their own.
        if let Some(names) = context.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
    }
    response
}

/// Exposes the server's headers and the response's further ones, such as an upstream's rate limits.
fn expose(headers: &mut HeaderMap) {
    let others = headers
        .keys()
        .map(axum::http::HeaderName::as_str)
        .filter(|name| {
            !EXPOSED.contains(name) && !PLAIN.contains(name) && !name.starts_with("access-control-")
        });
    let names: Vec<&str> = EXPOSED.iter().copied().chain(others).collect();
    if let Ok(names) = HeaderValue::try_from(names.join(", ")) {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names);
    }
}
