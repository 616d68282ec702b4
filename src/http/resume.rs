//! Resuming and cancelling generations, on every endpoint that streams and on `/v1/stream/{id}`.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Service;
use super::attach::{self, LAST_EVENT_ID, ended, event_id, failure, last_event_id, stream_id};
use super::context::RequestContext;
use super::error::Rejection;
use super::json::json;
use super::{caller, sse_response};
use dialect::failure::Failure;
use stream::{End, Offset, StreamId};

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

/// Returns the rest of a stream after an event.
async fn rest(
    service: &Service,
    last: &str,
    context: &RequestContext,
) -> Result<Response, Rejection> {
    let (id, offset) = event_id(last)?;
    read_stream(service, &id, Some(offset), context).await
}

/// A stream's frames from that place on.
async fn read_stream(
    service: &Service,
    id: &StreamId,
    from: Option<Offset>,
    context: &RequestContext,
) -> Result<Response, Rejection> {
    let head = attach::head(service, id, context).await?;
    if head.end.is_some_and(|end| end != End::Lost) && from == Some(head.tail()) {
        // How an EventSource is told not to come again.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let source = attach::attach(service, id, &head, from, context).await?;
    Ok(sse_response::stream(service, source, context))
}
