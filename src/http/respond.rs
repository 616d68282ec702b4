//! From a request to an HTTP response: what all families of handlers do in the same way.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::Response;

use super::error::Rejection;
use super::sse::sse_response;
use crate::generation::CompleteAnswer;
use crate::service::{self, GenerationRequest, RequestContext, Service};

/// Answers a request with a stream, or whole, as it asks.
pub(super) async fn respond(
    service: &Service,
    request: GenerationRequest,
    context: &RequestContext,
) -> Result<Response, Rejection> {
    if request.request.stream {
        let subscription = service::start(service, request, context).await?;
        return Ok(sse_response(service, subscription, context));
    }
    let CompleteAnswer { headers, body } = service::complete(service, request, context).await?;
    let mut response = Response::new(Body::from(body));
    *response.headers_mut() = headers;
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/json"));
    Ok(response)
}
