//! From a request to an HTTP response: what all families of handlers do in the same way.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::Response;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::Full;

use super::error::Rejection;
use super::sse::sse_response;
use crate::generation::CompleteAnswer;
use crate::memory::MemoryPermit;
use crate::service::{self, GenerationRequest, RequestContext, Service};

/// A body that holds the permit for its memory until the client has it.
struct HeldBody {
    body: Full<Bytes>,
    _permit: MemoryPermit,
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

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
    let answer = service::complete(service, request, context).await?;
    let CompleteAnswer {
        headers,
        body,
        permit,
    } = answer;
    let mut response = Response::new(match permit {
        None => Body::from(body),
        Some(permit) => Body::new(HeldBody {
            body: Full::new(body),
            _permit: permit,
        }),
    });
    *response.headers_mut() = headers;
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/json"));
    Ok(response)
}
