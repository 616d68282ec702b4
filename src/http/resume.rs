//! Resuming the stream of a generation, on every endpoint that streams and on `/v1/stream/{id}`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::body::read_body;
use super::context::{RequestHead, last_event_id};
use super::error::Rejection;
use super::sse::sse_response;
use crate::service::{self, RequestContext, Service};
use dialect::failure::Failure;
use stream::{End, Head, Offset, StreamId};

/// A layer in front of every endpoint that streams: a request that names the last event it has
/// wants the rest of that stream, and never a second generation, whatever else it says. A browser's
/// `EventSource` asks so by itself.
pub(super) async fn resume_stream(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(last) = last_event_id(request.headers(), request.uri().query()) else {
        return next.run(request).await;
    };
    let (mut parts, body) = request.into_parts();
    let resumed = async {
        let RequestHead { context, .. } = RequestHead::take_from(&mut parts)?;
        // It says nothing that matters, but there are clients that don't read before they have sent
        // all of it.
        read_body(body, &service).await?;
        let (id, offset) = service::parse_event_id(&last)?;
        read_stream(&service, &id, Some(offset), &context).await
    };
    resumed.await.unwrap_or_else(IntoResponse::into_response)
}

/// Answers with the frames of a generation's stream after the last event that the client has, or
/// with all of them.
pub(super) async fn read_after(
    service: &Service,
    id: &StreamId,
    last: Option<&str>,
    context: &RequestContext,
) -> Result<Response, Rejection> {
    let Some(last) = last else {
        return read_stream(service, id, None, context).await;
    };
    let (of, offset) = service::parse_event_id(last)?;
    if of != *id {
        let message = format!("this event id is one of stream `{of}`, not of `{id}`");
        return Err(Failure::invalid("last-event-id", message).into());
    }
    read_stream(service, id, Some(offset), context).await
}

/// Returns whether there is nothing more to tell to a client that has come so far.
fn has_all(head: &Head, from: Offset) -> bool {
    match head.end {
        None => false,
        // The loss is no part of the stream: who has all of that may not know of it.
        Some(End::Lost) => from.position == Offset::AFTER_LOSS,
        Some(_) => from == head.tail(),
    }
}

/// Answers with a stream's frames from an offset on.
async fn read_stream(
    service: &Service,
    id: &StreamId,
    from: Option<Offset>,
    context: &RequestContext,
) -> Result<Response, Rejection> {
    let head = service::find(service, id, context).await?;
    if from.is_some_and(|from| has_all(&head, from)) {
        // How an EventSource is told not to come again.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let subscription = service::attach(service, id, &head, from, context).await?;
    Ok(sse_response(service, subscription, context))
}
