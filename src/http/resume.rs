//! Streams that generations write: who comes back, who joins, who ends one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Service;
use super::begin::Subscription;
use super::context::RequestContext;
use super::error::Rejection;
use super::models::json;
use super::{caller, respond};
use crate::transport::frames::{Frames, StreamSubscription};
use dialect::Dialect;
use dialect::failure::Failure;
use stream::{End, Head, Offset, Owner, Reader, StreamError, StreamId};

pub(super) const STREAM_ID: HeaderName = HeaderName::from_static("x-stream-id");
const LAST_EVENT_ID: &str = "last-event-id";
/// The time that a cancelled generation has to end; it takes one step of its task.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval at which its end is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// In front of every endpoint that streams: a request that names the last event it has wants the
/// rest of that stream, and never a second generation, whatever else it says. A browser's
/// `EventSource` asks so by itself.
pub(super) async fn layer(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(last) = last_event_id(request.headers(), request.uri().query()) else {
        return next.run(request).await;
    };
    let (mut parts, body) = request.into_parts();
    let context = match super::context::context_from_parts(&mut parts) {
        Ok(context) => context,
        Err(refused) => return refused.into_response(),
    };
    // It says nothing that matters, but there are clients that don't read before they have sent all
    // of it.
    if let Err(failure) = super::body::read_body(body, &service).await {
        return Rejection::from(failure).into_response();
    }
    rest(&service, &last, &context)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

/// `GET /v1/stream/{id}`: a generation's frames in its own dialect, after the last event that the
/// client has, or all.
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    context: RequestContext,
    request: Request,
) -> Result<Response, Rejection> {
    let id = stream_id(&id)?;
    match last_event_id(&context.headers, request.uri().query()) {
        Some(last) => {
            let (of, offset) = event_id(&last)?;
            if of != id {
                let message = format!("this event id is one of stream `{of}`, not of `{id}`");
                return Err(Failure::invalid(LAST_EVENT_ID, message).into());
            }
            read_stream(&service, &id, Some(offset), &context).await
        }
        None => read_stream(&service, &id, None, &context).await,
    }
}

/// `POST /v1/stream/{id}/cancel`: ends a generation and keeps what it said.
pub(super) async fn cancel(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    context: RequestContext,
) -> Result<Response, Rejection> {
    let id = stream_id(&id)?;
    let owner = caller::owner(&context.headers);
    let head = service
        .streams
        .head(&id, owner.as_ref())
        .await
        .map_err(failure)?;
    if head.dialect.is_none() {
        let message =
            "no generation writes this stream; close it with a POST and Stream-Closed, or DELETE it".to_owned();
        return Err(Failure::conflict(message).into());
    }
    service
        .streams
        .cancel(&id, owner.as_ref())
        .await
        .map_err(failure)?;
    let head = ended(&service, &id, owner.as_ref()).await?;
    let status = head.end.map_or("running", End::as_str);
    Ok(json(
        &json!({ "id": id.as_str(), "status": status, "next_offset": head.tail().to_string() }),
    ))
}

/// Waits for a stream's end. It looks instead of reading: a reader may be one too many, and one at
/// the end would have what slower ones have not got yet given up.
pub(super) async fn ended(
    service: &Service,
    id: &StreamId,
    owner: Option<&Owner>,
) -> Result<Head, Failure> {
    let late = Instant::now() + CANCEL_TIMEOUT;
    loop {
        let head = service.streams.head(id, owner).await.map_err(failure)?;
        if head.end.is_some() || Instant::now() >= late {
            return Ok(head);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Returns the rest of a stream after an event.
async fn rest(
    service: &Service,
    last: &str,
    context: &RequestContext,
) -> Result<Response, Rejection> {
    let (id, offset) = event_id(last)?;
    read_stream(service, &id, Some(offset), context).await
}

/// A stream from its start, for who has asked for it before.
pub(super) async fn join(
    service: &Service,
    id: &StreamId,
    context: &RequestContext,
) -> Result<Subscription, Rejection> {
    let owner = caller::owner(&context.headers);
    let head = service
        .streams
        .head(id, owner.as_ref())
        .await
        .map_err(failure)?;
    Ok(attach(service, id, &head, None, context).await?)
}

/// A stream's frames from that place on.
async fn read_stream(
    service: &Service,
    id: &StreamId,
    from: Option<Offset>,
    context: &RequestContext,
) -> Result<Response, Rejection> {
    let owner = caller::owner(&context.headers);
    let head = service
        .streams
        .head(id, owner.as_ref())
        .await
        .map_err(failure)?;
    if head.end.is_some_and(|end| end != End::Lost) && from == Some(head.tail()) {
        // How an EventSource is told not to come again.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let source = attach(service, id, &head, from, context).await?;
    Ok(respond::stream(service, source, context))
}

/// A reader of a stream that a generation writes, at that place or at the start.
pub(super) async fn attach(
    service: &Service,
    id: &StreamId,
    head: &Head,
    from: Option<Offset>,
    context: &RequestContext,
) -> Result<Subscription, Failure> {
    let Some(dialect) = head.dialect.as_deref().and_then(Dialect::named) else {
        return Err(Failure::conflict(
            "no generation writes this stream".to_owned(),
        ));
    };
    let owner = caller::owner(&context.headers);
    let reader = service
        .streams
        .attach(id, owner.as_ref(), from)
        .await
        .map_err(failure)?;
    Ok(follow(service, reader, dialect, context))
}

/// Returns the subscription of a reader.
pub(super) fn follow(
    service: &Service,
    reader: Reader,
    dialect: &'static Dialect,
    context: &RequestContext,
) -> Subscription {
    let stream = Some(reader.log().id().clone());
    let mut following = StreamSubscription::new(reader, dialect, context.id.clone());
    // It comes again by itself, and finds the stream at another replica.
    if service.streams.is_shared() && context.is_event_source() {
        following = following.until(service.draining.begun());
    }
    let frames = Frames::Stream(following);
    Subscription {
        frames,
        dialect,
        stream,
        headers: HeaderMap::new(),
    }
}

/// Returns the failure for an error of a stream.
pub(super) fn failure(error: StreamError) -> Failure {
    let message = error.to_string();
    match error {
        StreamError::Unknown => Failure::not_found(message),
        StreamError::Gone(_) => Failure::gone(message),
        StreamError::NotYetWritten => Failure::invalid(LAST_EVENT_ID, message),
        StreamError::TooManyReaders => Failure::too_many_readers(),
        StreamError::Exists => Failure::conflict(message),
        StreamError::Full | StreamError::StoreFull => Failure::stream_capacity(message),
        StreamError::Unavailable => Failure::store_unavailable(),
    }
}

pub(super) fn stream_id(text: &str) -> Result<StreamId, Failure> {
    // What is no id is none of a stream that there is.
    StreamId::from_client(text).ok_or_else(|| failure(StreamError::Unknown))
}

pub(super) fn event_id(text: &str) -> Result<(StreamId, Offset), Failure> {
    StreamId::of_event(text).ok_or_else(|| {
        let text: String = text.chars().take(80).collect();
        Failure::invalid(
            LAST_EVENT_ID,
            format!("`{text}` is no event id of this server: they are <stream>.<offset>"),
        )
    })
}

/// The last event that a client has: in the header, or, for who can't set one, in the query. An
/// empty one is none.
pub(super) fn last_event_id(headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    let header = headers
        .get(LAST_EVENT_ID)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    header.filter(|value| !value.is_empty()).or_else(|| {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query?).ok()?;
        pairs
            .into_iter()
            .find(|(name, value)| name == "last_event_id" && !value.is_empty())
            .map(|(_, value)| value)
    })
}
