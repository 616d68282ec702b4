//! The endpoints of other people's APIs: one handler for all of them, told which dialect it speaks.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use bytes::Bytes;

use super::Service;
use super::begin::GenerationRequest;
use super::body::{self, BodyFormat};
use super::context::RequestContext;
use super::error::Rejection;
use super::respond::respond;
use super::{linger, responses};
use dialect::Dialect;
use dialect::failure::Failure;

type HandlerFuture = Pin<Box<dyn Future<Output = Result<Response, Rejection>> + Send>>;

/// Returns a handler for an endpoint of a dialect. Unknown query parameters are ignored: some SDKs
/// send their own.
pub(super) fn handler(
    dialect: &'static Dialect,
    route: &'static str,
) -> impl Fn(State<Arc<Service>>, Uri, RequestContext, Body) -> HandlerFuture
+ Clone
+ Send
+ Sync
+ 'static {
    move |State(service), uri, mut context, body| {
        Box::pin(async move {
            body::format(&context.headers, &[BodyFormat::Json])?;
            let body = body::read_body(body, &service).await?;
            let body = match dialect.retrieves_by_id {
                true => responses::replace_previous_id(&service, body, &context).await?,
                false => body,
            };
            let order = parse_body(dialect, route, uri.path(), body, &mut context)?;
            respond(&service, order, context).await
        })
    }
}

/// Reads a request's body.
pub(super) fn parse_body(
    dialect: &'static Dialect,
    route: &'static str,
    path: &str,
    body: Bytes,
    context: &mut RequestContext,
) -> Result<GenerationRequest, Failure> {
    let body = linger::take(body, context)?;
    Ok(GenerationRequest {
        route,
        dialect,
        request: dialect.client.parse_request(body, path)?,
    })
}
