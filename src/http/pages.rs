//! The guard against web pages that may not ask: all but those of our own host, and those that
//! `cors.origins` names.
//!
//! A page of any other origin could spend the keys behind this server: `<img>`, and a `fetch`
//! without CORS, send their requests without asking. A page whose own name was made to point here
//! (DNS rebinding) would even read the answers; it is told by its `Host`, as long as the names of
//! this server are known. Clients that are no browsers send neither `Origin` nor `Sec-Fetch-Site`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::Rejection;
use crate::config::{Cors, Hosts};
use crate::service::Service;
use dialect::failure::Failure;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The paths that cost nothing and tell nothing.
const OPEN_PATHS: &[&str] = &["/healthz", "/health", "/readyz"];

/// A layer in front of all routes: refuses what pages may not ask.
pub(super) async fn guard(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let is_open = request.method() == Method::OPTIONS || OPEN_PATHS.contains(&request.uri().path());
    match is_open {
        true => next.run(request).await,
        false => match check(&service, request.headers(), request.uri()) {
            Ok(()) => next.run(request).await,
            Err(failure) => Rejection::from(failure).into_response(),
        },
    }
}

fn check(service: &Service, headers: &HeaderMap, uri: &Uri) -> Result<(), Failure> {
    let host = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(HOST).and_then(|host| host.to_str().ok()),
    };
    check_host(host, &service.hosts)?;
    check_origin(headers, host, &service.origins)
}

fn check_host(host: Option<&str>, hosts: &Hosts) -> Result<(), Failure> {
    match host {
        Some(host) if !hosts.allows(host) => {
            let host: String = host.chars().take(80).collect();
            Err(Failure::forbidden(format!(
                "`{host}` is not a name of this server; `hosts` lists its names"
            )))
        }
        _ => Ok(()),
    }
}

/// Checks the origin of a page that asks.
fn check_origin(headers: &HeaderMap, host: Option<&str>, allowed: &Cors) -> Result<(), Failure> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let is_fine = match (allowed, origins.next()) {
        (Cors::Any, _) => true,
        (Cors::These(listed), Some(origin)) if listed.contains(origin) => true,
        (_, Some(origin)) => is_own(origin, host),
        // An image or a script of a foreign page is asked for without an origin.
        (_, None) => headers
            .get(SEC_FETCH_SITE)
            .is_none_or(|site| site == "same-origin" || site == "none"),
    };
    if is_fine && origins.next().is_none() {
        return Ok(());
    }
    let message = "web pages of other origins may not ask here; cors.origins lists those that may";
    Err(Failure::forbidden(message.to_owned()))
}

fn is_own(origin: &HeaderValue, host: Option<&str>) -> bool {
    let (Ok(origin), Some(host)) = (origin.to_str(), host) else {
        return false;
    };
    origin
        .split_once("://")
        .is_some_and(|(_, of)| !of.is_empty() && of.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests;
