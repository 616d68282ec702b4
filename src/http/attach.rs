//! Attaching a client to the stream that a generation writes.
//!
//! Not here: the endpoints that do so (`resume`, `responses`, `ws`).

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName};

use super::Service;
use super::caller;
use super::context::RequestContext;
use super::error::Rejection;
use super::subscription::Subscription;
use crate::transport::frames::{Frames, StreamSubscription};
use dialect::Dialect;
use dialect::failure::Failure;
use stream::{Head, Offset, Owner, Reader, StreamError, StreamId};

pub(super) const STREAM_ID: HeaderName = HeaderName::from_static("x-stream-id");
pub(super) const LAST_EVENT_ID: &str = "last-event-id";
/// The time that a cancelled generation has to end; it takes one step of its task.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval at which its end is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

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

/// Returns the head of a stream that the caller may read.
pub(super) async fn head(
    service: &Service,
    id: &StreamId,
    context: &RequestContext,
) -> Result<Head, Failure> {
    let owner = caller::owner(&context.headers);
    let head = service.streams.head(id, owner.as_ref()).await;
    head.map_err(failure)
}

/// Attaches to a stream from its start, for a client that has asked for it before.
pub(super) async fn join(
    service: &Service,
    id: &StreamId,
    context: &RequestContext,
) -> Result<Subscription, Rejection> {
    let head = head(service, id, context).await?;
    Ok(attach(service, id, &head, None, context).await?)
}

/// Attaches to a stream that a generation writes, at an offset or from its start.
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
            format!("`{text}` is not an event id of this server: they are <stream>.<offset>"),
        )
    })
}

/// Returns the id of the last event that a client has: from the header, or from the query for
/// clients that can set no header. An empty one is none.
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
