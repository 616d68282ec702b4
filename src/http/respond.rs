//! From a request to an HTTP response: what all families of handlers do in the same way.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::Response;

use super::Service;
use super::begin::{BackgroundStart, GenerationRequest, RoutedRequest, begin, queue};
use super::context::RequestContext;
use super::error::Rejection;
use super::{responses, sse_response};
use crate::generation::{CompleteAnswer, CompleteGeneration};

/// Answers a request, as a stream or whole, as it asks.
pub(super) async fn respond(
    service: &Service,
    order: GenerationRequest,
    context: RequestContext,
) -> Result<Response, Rejection> {
    if order.request.stream {
        let source = begin(service, order, &context).await?;
        return Ok(sse_response::stream(service, source, &context));
    }
    if order.request.background {
        return match queue(service, order, &context).await? {
            BackgroundStart::New { id, body } => Ok(responses::background_response(body, &id)),
            BackgroundStart::Old(id) => responses::join(service, id, &context).await,
        };
    }
    let routed = RoutedRequest::new(service, order)?;
    let params = routed.params(service, &context, None);
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
