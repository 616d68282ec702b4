//! Attaching to the stream that a generation writes, and cancelling the generation.
//!
//! Not here: the front doors that do so.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use super::Service;
use super::context::RequestContext;
use super::subscription::{Frames, StreamSubscription, Subscription};
use dialect::Dialect;
use dialect::failure::Failure;
use stream::{Head, Offset, Owner, Reader, StreamError, StreamId};

/// The time that a cancelled generation has to end; it takes one step of its task.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the head of a stream that the caller may read.
///
/// # Errors
///
/// A 404 when there is none, a 503 when the store of streams can't be asked.
pub async fn find(
    service: &Service,
    id: &StreamId,
    context: &RequestContext,
) -> Result<Head, Failure> {
    if !context.caller.may_read(id) {
        return Err(stream_failure(StreamError::Unknown));
    }
    let head = service.streams.head(id, context.caller.owner()).await;
    head.map_err(stream_failure)
}

/// Attaches to a stream from its start, for a client that has asked for it before.
pub(super) async fn join(
    service: &Service,
    id: &StreamId,
    context: &RequestContext,
) -> Result<Subscription, Failure> {
    let head = find(service, id, context).await?;
    attach(service, id, &head, None, context).await
}

/// Attaches to a stream that a generation writes, at an offset or from its start.
///
/// # Errors
///
/// A 409 when no generation writes it; else those of the stream.
pub async fn attach(
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
    let reader = service
        .streams
        .attach(id, context.caller.owner(), from)
        .await
        .map_err(stream_failure)?;
    Ok(follow(service, reader, dialect, context))
}

/// Returns the subscription of a reader.
pub fn follow(
    service: &Service,
    reader: Reader,
    dialect: &'static Dialect,
    context: &RequestContext,
) -> Subscription {
    let stream = Some(reader.log().id().clone());
    let mut following = StreamSubscription::new(reader, dialect, context.id.clone());
    let abort = context.caller.abort(&service.abort);
    // Else what ends a reader is the end of its stream.
    if abort.is_of_key() {
        following = following.unless_cut(abort);
    }
    // It comes again by itself, and finds the stream at another replica.
    if service.streams.is_shared() && context.is_event_source {
        following = following.until(service.draining.begun());
    }
    Subscription {
        frames: Frames::Stream(following),
        dialect,
        stream,
        headers: HeaderMap::new(),
    }
}

/// Cancels the generation that writes a stream and waits for its end; returns the stream's head.
///
/// # Errors
///
/// Those of the stream.
pub async fn cancel(
    service: &Service,
    id: &StreamId,
    owner: Option<&Owner>,
) -> Result<Head, Failure> {
    let cancelled = service.streams.cancel(id, owner).await;
    cancelled.map_err(stream_failure)?;
    // It waits instead of reading: a reader may be one too many, and one at the end would have what
    // slower ones have not got yet given up.
    let deadline = Instant::now() + CANCEL_TIMEOUT;
    let ended = service.streams.wait_for_end(id, owner, deadline).await;
    ended.map_err(stream_failure)
}

/// Returns the failure for an error of a stream.
#[must_use]
pub fn stream_failure(error: StreamError) -> Failure {
    let message = error.to_string();
    match error {
        StreamError::Unknown => Failure::not_found(message),
        StreamError::Gone(_) => Failure::gone(message),
        StreamError::NotYetWritten => Failure::invalid("last-event-id", message),
        StreamError::TooManyReaders => Failure::too_many_readers(),
        StreamError::Exists => Failure::conflict(message),
        StreamError::Full | StreamError::StoreFull => Failure::stream_capacity(message),
        StreamError::Unavailable => Failure::store_unavailable(),
    }
}

/// Parses the id of a stream.
///
/// # Errors
///
/// A 404: text that is no id names no stream that exists.
pub fn parse_stream_id(text: &str) -> Result<StreamId, Failure> {
    StreamId::from_client(text).ok_or_else(|| stream_failure(StreamError::Unknown))
}

/// Parses the id of an event.
///
/// # Errors
///
/// A 400 that quotes at most 80 characters of the text.
pub fn parse_event_id(text: &str) -> Result<(StreamId, Offset), Failure> {
    StreamId::of_event(text).ok_or_else(|| {
        let text: String = text.chars().take(80).collect();
        Failure::invalid(
            "last-event-id",
            format!("`{text}` is not an event id of this server: they are <stream>.<offset>"),
        )
    })
}
