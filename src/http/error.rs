//! The one map from failure to HTTP, and what every answer bears: an `x-request-id`.

use std::any::Any;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::accept::wants_events;
use super::azure;
use super::sse;
use crate::service::StartError;
use crate::telemetry::metrics::RequestCounter;
use base::id::RequestId;
use base::shorten::shorten;
use dialect::failure::{Failure, classes};
use dialect::{Dialect, anthropic};

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// More headers than any honest client sends.
const MAX_HEADERS: usize = 100;
/// More bytes of headers than any honest client sends.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// The name in metrics for paths that are no route of ours.
const OTHER_ROUTE: &str = "other";

/// Longest path or method in the log, in bytes.
const MAX_LOGGED_PATH: usize = 256;

/// A handler's rejection of a request.
#[derive(Debug)]
pub struct Rejection {
    error: StartError,
    /// Headers of the response.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl From<StartError> for Rejection {
    fn from(error: StartError) -> Self {
        Self {
            error,
            headers: Vec::new(),
        }
    }
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        Self::from(StartError::from(failure))
    }
}

impl Rejection {
    /// Refuses a method, and lists those `allowed`, separated by commas.
    pub(super) fn method_not_allowed(method: &Method, allowed: &str) -> Self {
        let refused = Self::from(Failure::method_not_allowed(method.as_str(), allowed));
        match HeaderValue::from_str(allowed) {
            Ok(value) if !value.is_empty() => refused.with(ALLOW, value),
            _ => refused,
        }
    }

    /// Adds a header to the response.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Logs it with the status that a client of that dialect gets; returns both.
    pub(super) fn log_rejection(
        self,
        dialect: &Dialect,
        id: &RequestId,
        method: &Method,
        path: &str,
    ) -> (Failure, StatusCode) {
        let StartError {
            failure,
            generation,
            headers: _,
        } = self.error;
        let status = status_for(&failure, dialect);
        match generation {
            Some(generation) => generation.record(&failure, status.as_u16()),
            None => {
                let path = shorten(path, MAX_LOGGED_PATH);
                let (path, method) = (&*path, shorten(method.as_str(), MAX_LOGGED_PATH));
                let (code, error) = (failure.code(), failure.log_message());
                tracing::info!(request_id = %id, method = %method, route = path, status = status.as_u16(), code, error, "refused");
            }
        }
        (failure, status)
    }
}

/// A response's extension: [`finish_response`] makes the response of it. Extensions must be
/// cloneable, hence the cell.
#[derive(Clone)]
struct PendingRejection(Arc<std::sync::Mutex<Option<Rejection>>>);

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response
            .extensions_mut()
            .insert(PendingRejection(Arc::new(std::sync::Mutex::new(Some(
                self,
            )))));
        response
    }
}

/// A response's extension: it will be otherwise in a moment. A browser's `EventSource` would never
/// come again after a 503.
#[derive(Clone)]
struct RetryLater;

/// A layer around each route: tells [`finish_response`] which one it is.
pub(super) async fn note_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

/// The outermost layer: gives each request its id, and each refusal its shape.
pub(super) async fn finish_response(
    State(counter): State<Option<RequestCounter>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = request
        .headers()
        .get(X_REQUEST_ID)
        .and_then(|value| RequestId::from_client(value.as_bytes()));
    let id = id.unwrap_or_else(RequestId::random);
    azure::rewrite_path(&mut request);
    let dialect = dialect_of(&request);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let event_source = method == Method::GET && wants_events(request.headers());
    let refused = match too_many_headers(request.headers()) {
        Some(failure) => Rejection::from(failure).into_response(),
        None => {
            request.extensions_mut().insert(id.clone());
            next.run(request).await
        }
    };
    let mut response = render_error(refused, dialect, &id, &method, &path);
    if event_source && response.extensions_mut().remove::<RetryLater>().is_some() {
        response = sse::retry_later();
    }
    set_request_id(response.headers_mut(), &id);
    if let Some(counter) = counter {
        let route = response.extensions_mut().remove::<MatchedPath>();
        let route = route.as_ref().map_or(OTHER_ROUTE, MatchedPath::as_str);
        counter.count(route, dialect.name, response.status().as_u16());
    }
    response
}

/// Returns the dialect in which a client expects its errors. Some paths are those of two APIs.
fn dialect_of(request: &Request) -> &'static Dialect {
    let path = request.uri().path();
    let is_shared = path.starts_with("/v1/models") || path.starts_with("/v1/files");
    match is_shared && request.headers().contains_key("anthropic-version") {
        true => &dialect::anthropic::DIALECT,
        false => dialect::dialect_for_path(path),
    }
}

fn set_request_id(headers: &mut HeaderMap, id: &RequestId) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        // Where Anthropic's SDKs look for it.
        headers.insert(REQUEST_ID, value.clone());
        headers.insert(X_REQUEST_ID, value);
    }
}

fn render_error(
    mut response: Response,
    dialect: &Dialect,
    id: &RequestId,
    method: &Method,
    path: &str,
) -> Response {
    let pending = response.extensions_mut().remove::<PendingRejection>();
    let refused = pending.and_then(|cell| cell.0.lock().ok().and_then(|mut cell| cell.take()));
    let allow = response.headers().get(ALLOW).cloned();
    let mut refused = match refused {
        Some(refused) => refused,
        // axum's own answer to a wrong method.
        None if response.status() == StatusCode::METHOD_NOT_ALLOWED => {
            let allowed = allow.as_ref().and_then(|value| value.to_str().ok());
            Rejection::method_not_allowed(method, allowed.unwrap_or_default())
        }
        None => return response,
    };
    let more = std::mem::take(&mut refused.headers);
    let limits = refused.error.headers.take();
    if let Some(generation) = &refused.error.generation {
        generation.add_headers(response.headers_mut());
    }
    let (failure, status) = refused.log_rejection(dialect, id, method, path);
    let body = match failure.refusal() {
        // Same dialect: the upstream's own words.
        Some(refusal) if dialect.name == refusal.dialect && !refusal.reply.is_empty() => {
            Body::from(refusal.reply.clone())
        }
        _ => Body::from(
            dialect
                .client
                .error_body(&failure, status.as_u16(), id.as_str()),
        ),
    };
    // What the route's layers have added stays.
    *response.body_mut() = body;
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    if let Some(refusal) = failure.refusal() {
        for (name, value) in &refusal.headers {
            headers.append(name, value.clone());
        }
    }
    if let Some(value) = retry_after(&failure) {
        headers.insert(RETRY_AFTER, value);
    }
    if failure.forbids_client_retry() {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    headers.extend(limits.into_iter().flat_map(|limits| *limits));
    for (name, value) in more {
        headers.insert(name, value);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if failure.is(&classes::DRAINING) || failure.is(&classes::STORE_UNAVAILABLE) {
        response.extensions_mut().insert(RetryLater);
    }
    response
}

/// Returns the status of a response that has not begun.
fn status_for(failure: &Failure, dialect: &Dialect) -> StatusCode {
    if failure.refusal().is_some() {
        return refused_status(failure.status(), dialect);
    }
    if failure.is(&classes::BUDGET_EXCEEDED) && *dialect == anthropic::DIALECT {
        return StatusCode::PAYMENT_REQUIRED;
    }
    StatusCode::from_u16(failure.status()).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// A client of an API sees the upstream's own status, which its SDK makes an exception of. A plain
/// one sees whose fault it was: its own (4xx), the upstream's (5xx), and a refused key is ours, not
/// its.
fn refused_status(status: u16, dialect: &Dialect) -> StatusCode {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    match (dialect.upstream, status.as_u16()) {
        (Some(_), _) | (_, 400 | 404 | 413 | 422 | 429) => status,
        (_, 503 | 529) => StatusCode::SERVICE_UNAVAILABLE,
        (_, 408 | 504) => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    }
}

/// Returns the `retry-after` of a refusal: the upstream's own, or ours.
pub(super) fn retry_after(failure: &Failure) -> Option<HeaderValue> {
    match failure.refusal() {
        Some(refusal) => HeaderValue::from_str(refusal.retry_after.as_deref()?)
            .ok()
            .filter(|value| !value.is_empty()),
        None => failure.retry_after().map(|after| after.as_secs().into()),
    }
}

fn too_many_headers(headers: &HeaderMap) -> Option<Failure> {
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    let message = if headers.len() > MAX_HEADERS {
        format!(
            "the request has {} headers; at most {MAX_HEADERS} are read",
            headers.len()
        )
    } else if bytes > MAX_HEADER_BYTES {
        format!("the request's headers are {bytes} bytes; at most {MAX_HEADER_BYTES} are read")
    } else {
        return None;
    };
    Some(Failure::headers_too_large(message))
}

/// The answer to a request whose head can't be read, or not whole; `path` is what it seems to ask
/// for.
#[must_use]
pub fn unreadable(failure: Failure, path: &str) -> Response {
    let id = RequestId::random();
    let response = Rejection::from(failure).into_response();
    let mut response = render_error(
        response,
        dialect::dialect_for_path(path),
        &id,
        &Method::default(),
        path,
    );
    set_request_id(response.headers_mut(), &id);
    response
}

/// Turns a panic in a handler into a response: it ends that request and no other.
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    // Its words may quote the request.
    drop(panic);
    Rejection::from(Failure::internal("a panic".into())).into_response()
}
