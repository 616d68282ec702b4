//! Responses that stream a subscription as Server-Sent Events.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::Response;

use super::Service;
use super::attach::STREAM_ID;
use super::context::RequestContext;
use super::subscription::Subscription;
use crate::transport::sse::{self, SseBody};
use stream::StreamId;

/// Returns the response that streams a subscription.
pub(super) fn stream(
    service: &Service,
    source: Subscription,
    context: &RequestContext,
) -> Response {
    let Subscription {
        frames,
        dialect,
        stream,
        headers,
    } = source;
    let heartbeat = context.preferences.heartbeat(service.heartbeat);
    let mut response = Response::new(Body::new(SseBody::new(
        frames,
        heartbeat,
        dialect.heartbeat,
    )));
    *response.headers_mut() = headers;
    sse::head(response.headers_mut());
    if let Some(id) = stream {
        set_stream_id(&mut response, &id);
    }
    response
}

/// Sets the header that names the stream of a response.
pub(super) fn set_stream_id(response: &mut Response, id: &StreamId) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(STREAM_ID, value);
    }
}
