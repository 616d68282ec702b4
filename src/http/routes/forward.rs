//! The endpoints whose requests and answers are passed on as they are.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Uri};
use axum::response::Response;
use bytes::Bytes;
use http_body::Frame;

use crate::config::DEFAULT_PASS_THROUGH;
use crate::generation::ForwardedGeneration;
use crate::http::body::{self, ReceivedBody};
use crate::http::context::RequestHead;
use crate::http::error::Rejection;
use crate::http::sse::set_sse_headers;
use crate::service::{self, ForwardRequest, Service};
use dialect::failure::Failure;

/// The media type of answers that are flushed as they come.
const EVENTS: &[u8] = b"text/event-stream";

/// Passes a request on.
pub(super) async fn forward(
    State(service): State<Arc<Service>>,
    uri: Uri,
    head: RequestHead,
    body: Body,
) -> Result<Response, Rejection> {
    let RequestHead {
        context,
        method,
        deployment,
        ..
    } = head;
    let path = uri.path();
    if !service.pass_through.contains(path) {
        let path: String = path.chars().take(80).collect();
        let message =
            format!("{path} is not passed on by this server; `pass_through` lists what is");
        return Err(Failure::not_found(message).into());
    }
    if ![Method::GET, Method::POST, Method::DELETE].contains(&method) {
        return Err(Rejection::method_not_allowed(&method, "GET,POST,DELETE"));
    }
    body::uncompressed(&context.headers)?;
    let ReceivedBody { bytes, permit } = body::read_body(body, &service).await?;
    let request = ForwardRequest {
        route: route_of(path),
        method,
        path: path.to_owned(),
        path_and_query: uri
            .path_and_query()
            .map_or(path, |whole| whole.as_str())
            .to_owned(),
        body: bytes,
        permit: Some(permit),
    };
    let deployment = deployment.as_ref().map(|named| named.0.as_str());
    let answer = service::forward(&service, request, deployment, &context).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status;
    response.headers_mut().clone_from(&answer.headers);
    let content_type = answer.headers.get("content-type").cloned();
    if let Some(content_type) = content_type
        && content_type.as_bytes().starts_with(EVENTS)
    {
        set_sse_headers(response.headers_mut());
        response.headers_mut().insert("content-type", content_type);
    }
    *response.body_mut() = Body::new(ForwardedResponseBody {
        answer,
        is_ended: false,
    });
    Ok(response)
}

/// Returns the name of the route in the log.
fn route_of(path: &str) -> &'static str {
    let route = DEFAULT_PASS_THROUGH.iter().find(|route| {
        let folder = route.strip_suffix('*');
        folder.map_or(**route == path, |folder| path.starts_with(folder))
    });
    route.copied().unwrap_or("pass_through")
}

/// The body of an answer that is passed on. Where it breaks, the client's connection breaks too.
struct ForwardedResponseBody {
    answer: ForwardedGeneration,
    is_ended: bool,
}

impl http_body::Body for ForwardedResponseBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.is_ended {
            return Poll::Ready(None);
        }
        let polled = std::task::ready!(self.answer.poll_bytes(cx));
        self.is_ended = !matches!(polled, Some(Ok(_)));
        Poll::Ready(polled.map(|bytes| bytes.map(Frame::data)))
    }
}
