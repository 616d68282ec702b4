//! The endpoints of other people's APIs: one handler for all of them, told which dialect it speaks.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use bytes::Bytes;

use super::responses;
use crate::http::body::{self, BodyFormat};
use crate::http::context::RequestHead;
use crate::http::error::Rejection;
use crate::http::linger;
use crate::http::respond::respond;
use crate::service::{GenerationRequest, RequestContext, Service};
use dialect::Dialect;
use dialect::failure::Failure;

type HandlerFuture = Pin<Box<dyn Future<Output = Result<Response, Rejection>> + Send>>;

/// Returns a handler for an endpoint of a dialect. Unknown query parameters are ignored: some SDKs
/// send their own.
pub(super) fn handler(
    dialect: &'static Dialect,
    route: &'static str,
) -> impl Fn(State<Arc<Service>>, Uri, RequestHead, Body) -> HandlerFuture + Clone + Send + Sync + 'static
{
    move |State(service), uri, mut head, body| {
        Box::pin(async move {
            let context = &mut head.context;
            body::format(&context.headers, &[BodyFormat::Json])?;
            let body = body::read_body(body, &service).await?;
            let request = parse_body(&service, (dialect, route), uri.path(), body, context).await?;
            if request.request.background && !request.request.stream {
                return responses::start_in_background(&service, request, context).await;
            }
            respond(&service, request, context).await
        })
    }
}

/// Parses a request's body.
pub(super) async fn parse_body(
    service: &Service,
    (dialect, route): (&'static Dialect, &'static str),
    path: &str,
    body: Bytes,
    context: &mut RequestContext,
) -> Result<GenerationRequest, Failure> {
    let as_sent = linger::take(body, context)?;
    let body = match dialect.retrieves_by_id {
        true => responses::replace_previous_id(service, as_sent.clone(), context).await?,
        false => as_sent.clone(),
    };
    Ok(GenerationRequest {
        route,
        dialect,
        request: dialect.client.parse_request(body, path)?,
        as_sent: vec![as_sent],
    })
}
