//! `/v1/stream/{id}`: streams as a resource, per the [Durable Streams
//! protocol](https://github.com/durable-streams/durable-streams/blob/main/PROTOCOL.md), and as a
//! feed for a browser's `EventSource`.
//!
//! What may be done is decided in `stream`; here are the names of headers and the statuses.

mod headers;
mod page;
mod read;
mod sse;
mod write;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};

use serde_json::json;

use crate::access::Caller;
use crate::http::context::RequestHead;
use crate::http::error::Rejection;
use crate::http::json::json;
use crate::service::{self, Service, parse_stream_id, stream_failure};
use dialect::failure::Failure;
use stream::{End, Head, Lifetime, Offset, StreamError, StreamId, StreamRejection};

const STREAM_NEXT_OFFSET: HeaderName = HeaderName::from_static("stream-next-offset");
const STREAM_CLOSED: HeaderName = HeaderName::from_static("stream-closed");
const STREAM_UP_TO_DATE: HeaderName = HeaderName::from_static("stream-up-to-date");
const STREAM_CURSOR: HeaderName = HeaderName::from_static("stream-cursor");
const STREAM_TTL: HeaderName = HeaderName::from_static("stream-ttl");
const STREAM_EXPIRES_AT: HeaderName = HeaderName::from_static("stream-expires-at");
const PRODUCER_EPOCH: HeaderName = HeaderName::from_static("producer-epoch");
const PRODUCER_SEQ: HeaderName = HeaderName::from_static("producer-seq");
const PRODUCER_EXPECTED_SEQ: HeaderName = HeaderName::from_static("producer-expected-seq");
const PRODUCER_RECEIVED_SEQ: HeaderName = HeaderName::from_static("producer-received-seq");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The beginning of every stream's path.
const PATH_PREFIX: &str = "/v1/stream/";
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";
/// The request headers that a page of another origin may send.
const SENT: &str = "content-type, authorization, x-api-key, accept, last-event-id, if-none-match, stream-ttl, \
    stream-expires-at, stream-seq, stream-closed, stream-forked-from, stream-fork-offset, stream-fork-sub-offset, \
    producer-id, producer-epoch, producer-seq, x-request-id";

/// Returns the handlers of a stream.
pub(super) fn handlers() -> MethodRouter<Arc<Service>> {
    get(read::get)
        .head(head)
        .put(write::put)
        .post(write::post)
        .delete(delete)
        .options(options)
        .layer(map_response(headers::guard))
}

/// Returns the handler that cancels the generation of a stream.
pub(super) fn cancel_handler() -> MethodRouter<Arc<Service>> {
    post(cancel).layer(map_response(headers::guard))
}

/// The stream that a path names.
fn stream_id(path: Result<Path<String>, PathRejection>) -> Result<StreamId, Failure> {
    let id = path.ok().and_then(|Path(id)| StreamId::from_client(&id));
    id.ok_or_else(|| Failure::invalid("id", "a stream's id is 1 to 128 of `A-Z a-z 0-9 . _ ~ -`"))
}

/// `HEAD`: what a stream is. It is no read: an idle lifetime goes on.
async fn head(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
    caller: Caller,
) -> Result<Response, Rejection> {
    let id = stream_id(path)?;
    let head = service
        .streams
        .status(&id, caller.owner())
        .await
        .map_err(refused)?;
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    describe(headers, &head, head.tail());
    headers.insert(CACHE_CONTROL, NO_STORE);
    match head.lifetime {
        Lifetime::Unlimited => {}
        Lifetime::Idle(idle) => insert(headers, STREAM_TTL, &idle.as_secs().to_string()),
        Lifetime::Until(time) => insert(
            headers,
            STREAM_EXPIRES_AT,
            &humantime::format_rfc3339(time).to_string(),
        ),
    }
    if head.end.is_some() {
        headers.insert(STREAM_CLOSED, TRUE);
    }
    Ok(response)
}

/// `DELETE`: forgets a stream; a generation that writes it ends.
async fn delete(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
    caller: Caller,
) -> Result<Response, Rejection> {
    let id = stream_id(path)?;
    service
        .streams
        .remove(&id, caller.owner())
        .await
        .map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/stream/{id}/cancel`: ends the generation that writes a stream and keeps what it said.
async fn cancel(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    RequestHead { context, .. }: RequestHead,
) -> Result<Response, Rejection> {
    let id = parse_stream_id(&id)?;
    let head = service::find(&service, &id, &context).await?;
    if head.dialect.is_none() {
        let message =
            "no generation writes this stream; close it with a POST and Stream-Closed, or DELETE it".to_owned();
        return Err(Failure::conflict(message).into());
    }
    let head = service::cancel(&service, &id, context.caller.owner()).await?;
    let status = head.end.map_or("running", End::as_str);
    Ok(json(
        &json!({ "id": id.as_str(), "status": status, "next_offset": head.tail().to_string() }),
    ))
}

/// `OPTIONS`: what may be asked, also for a browser that asks beforehand. Which origins may is not
/// said here.
async fn options() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(METHODS));
    headers.insert(
        "access-control-allow-methods",
        HeaderValue::from_static(METHODS),
    );
    headers.insert(
        "access-control-allow-headers",
        HeaderValue::from_static(SENT),
    );
    headers.insert("access-control-max-age", HeaderValue::from_static("86400"));
    response
}

/// The type, and the place after what is answered.
fn describe(headers: &mut HeaderMap, head: &Head, next: Offset) {
    insert(headers, CONTENT_TYPE, &head.content_type);
    insert(headers, STREAM_NEXT_OFFSET, &next.to_string());
}

/// Our own values are fine headers; a stream's type was read from one.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn number(value: u64) -> HeaderValue {
    HeaderValue::from(value)
}

/// Returns the rejection for a refused request to a stream.
fn refused(refusal: StreamRejection) -> Rejection {
    let message = refusal.to_string();
    let failure = match &refusal {
        StreamRejection::Stream(StreamError::Full) => Failure::stream_full(),
        StreamRejection::Stream(StreamError::NotYetWritten) => Failure::invalid("offset", message),
        StreamRejection::Stream(error) => stream_failure(error.clone()),
        StreamRejection::Deleted => Failure::gone(message),
        StreamRejection::NoSource => Failure::not_found(message),
        StreamRejection::StaleEpoch { .. } => Failure::forbidden(message),
        StreamRejection::NotJson(_) | StreamRejection::EmptyArray | StreamRejection::EmptyBody => {
            Failure::invalid("body", message)
        }
        StreamRejection::EpochNotFromStart => Failure::invalid("producer-seq", message),
        StreamRejection::ForkOffset => Failure::invalid("stream-fork-offset", message),
        StreamRejection::ForkSubOffset => Failure::invalid("stream-fork-sub-offset", message),
        _ => Failure::conflict(message),
    };
    let refused = Rejection::from(failure);
    match refusal {
        StreamRejection::Closed { tail } => {
            let tail =
                HeaderValue::from_str(&tail.to_string()).unwrap_or(HeaderValue::from_static(""));
            refused
                .with(STREAM_CLOSED, TRUE)
                .with(STREAM_NEXT_OFFSET, tail)
        }
        StreamRejection::StaleEpoch { current } => refused.with(PRODUCER_EPOCH, number(current)),
        StreamRejection::Gap { expected, received } => refused
            .with(PRODUCER_EXPECTED_SEQ, number(expected))
            .with(PRODUCER_RECEIVED_SEQ, number(received)),
        _ => refused,
    }
}
