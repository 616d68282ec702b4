//! The guard of all routes: the caller of a request is known before any handler runs.
//!
//! Where keys are wanted every path needs one, but for [`OPEN_PATHS`]: a new route is guarded
//! without a word. The credentials end here: handlers and upstreams get a [`Caller`], and never see
//! a key.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{UPGRADE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::Rejection;
use crate::access::{Caller, TICKET, TicketAddress, has_credentials};
use crate::service::Service;
use dialect::failure::Failure;

/// The only paths that need no key. They tell nothing but that the server is there.
pub(super) const OPEN_PATHS: &[&str] = &["/healthz", "/readyz"];

/// The path whose sockets may say who they are by their first message.
const SOCKET_PATH: &str = "/v1/ws";
/// The paths of Gemini's API, whose clients may send their key in the query.
const GEMINI_PREFIX: &str = "/v1beta/";
const QUERY_KEY: &str = "key";

/// A layer in front of all routes: finds out who asks, and refuses those who may not.
pub(super) async fn authenticate(
    State(service): State<Arc<Service>>,
    mut request: Request,
    next: Next,
) -> Response {
    match admit(&service, &mut request) {
        Ok(()) => next.run(request).await,
        Err(failure) => Rejection::from(failure)
            .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            .into_response(),
    }
}

fn admit(service: &Service, request: &mut Request) -> Result<(), Failure> {
    if OPEN_PATHS.contains(&request.uri().path()) {
        return Ok(());
    }
    let mut in_query = None;
    if let Some(caller) = redeem_ticket(service, request)? {
        request.extensions_mut().insert(caller);
        return Ok(());
    }
    let path = request.uri().path();
    if service.access.wants_keys() {
        if path == SOCKET_PATH && opens_socket(request) && !has_credentials(request.headers()) {
            let pending = service.access.pending()?;
            request.extensions_mut().insert(Arc::new(pending));
            return Ok(());
        }
        if path.starts_with(GEMINI_PREFIX) {
            in_query = take_parameter(request.uri_mut(), QUERY_KEY);
        }
    }
    let access = &service.access;
    let caller = access.authenticate(request.headers_mut(), in_query)?;
    request.extensions_mut().insert(caller);
    Ok(())
}

fn opens_socket(request: &Request) -> bool {
    http1::list_contains(request.headers(), &UPGRADE, b"websocket")
}

/// Returns the caller of a request whose ticket stands in its query, if it has one and no key.
fn redeem_ticket(service: &Service, request: &mut Request) -> Result<Option<Caller>, Failure> {
    let has_tickets = service.access.tickets().is_some();
    // More than one generation may begin on a socket, which may send its key there.
    if !has_tickets || has_credentials(request.headers()) || opens_socket(request) {
        return Ok(None);
    }
    let Some(ticket) = take_parameter(request.uri_mut(), TICKET) else {
        return Ok(None);
    };
    let address = TicketAddress {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
    };
    service
        .access
        .authenticate_ticket(&ticket, address)
        .map(Some)
}

/// Takes a parameter out of a query, so that neither a log nor an upstream sees it.
fn take_parameter(uri: &mut Uri, name: &str) -> Option<String> {
    let query = uri.query()?;
    let is_key = |pair: &&str| pair.split('=').next() == Some(name);
    let found = query.split('&').find(is_key)?;
    let value = found.split_once('=').map_or("", |(_, value)| value);
    let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_key(pair)).collect();
    let whole = match rest.is_empty() {
        true => uri.path().to_owned(),
        false => format!("{}?{}", uri.path(), rest.join("&")),
    };
    let value = value.into_owned();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = whole.parse().ok();
    *uri = Uri::from_parts(parts).ok()?;
    Some(value)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Ok(caller_of(parts))
    }
}

/// Returns the caller of a request. A router that is called without its layers has no key to
/// look for.
pub(super) fn caller_of(parts: &Parts) -> Caller {
    let caller = parts.extensions.get::<Caller>();
    caller.map_or_else(|| Caller::of_headers(&parts.headers), Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_taken_out_of_the_query() {
        for (uri, key, rest) in [
            ("/v1beta/models?key=trk_1", Some("trk_1"), "/v1beta/models"),
            ("/a?x=1&key=b%2Bc&alt=sse", Some("b+c"), "/a?x=1&alt=sse"),
            ("/a?keys=1", None, "/a?keys=1"),
            ("/a", None, "/a"),
        ] {
            let mut parsed: Uri = uri.parse().unwrap_or_default();
            assert_eq!(
                take_parameter(&mut parsed, QUERY_KEY).as_deref(),
                key,
                "{uri}"
            );
            assert_eq!(parsed.to_string(), rest);
        }
    }
}
