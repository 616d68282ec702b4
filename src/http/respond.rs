//! From a request to an HTTP response: what all families of handlers do in the same way.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::Response;

use super::Service;
use super::begin::{BackgroundStart, GenerationRequest, RoutedRequest, Subscription, begin, queue};
use super::context::RequestContext;
use super::error::Rejection;
use super::{responses, resume};
use crate::generation::{CompleteAnswer, CompleteGeneration};
use crate::transport::sse::{self, SseBody};
use stream::StreamId;

/// Answers a request, as a stream or whole, as it asks.
pub(super) async fn respond(
    service: &Service,
    order: GenerationRequest,
    context: RequestContext,
) -> Result<Response, Rejection> {
    if order.request.stream {
        let source = begin(service, order, &context).await?;
        return Ok(stream(service, source, &context));
    }
    if order.request.background {
        return match queue(service, order, &context).await? {
            BackgroundStart::New { id, body } => Ok(responses::background_response(body, &id)),
            BackgroundStart::Old(id) => responses::join(service, id, &context).await,
        };
    }
    let prepared = RoutedRequest::new(service, order)?;
    let params = prepared.params(service, &context, None);
    match CompleteGeneration::start(params).answer().await {
        Ok(CompleteAnswer { headers, body }) => {
            let mut response = Response::new(Body::from(body));
            *response.headers_mut() = headers;
            response
                .headers_mut()
                .insert("content-type", HeaderValue::from_static("application/json"));
            Ok(response)
        }
        Err((failure, generation)) => Err(Rejection::generation(failure, generation)),
    }
}

/// The response of who reads that source.
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
    let heartbeat = context.manner.heartbeat(service.heartbeat);
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

/// Says which stream a response is of.
pub(super) fn set_stream_id(response: &mut Response, id: &StreamId) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(resume::STREAM_ID, value);
    }
}
