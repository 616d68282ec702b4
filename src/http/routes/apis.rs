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
use crate::http::azure::Deployment;
use crate::http::body::{self, BodyFormat, ReceivedBody};
use crate::http::context::RequestHead;
use crate::http::error::Rejection;
use crate::http::linger;
use crate::http::respond::respond;
use crate::service::{GenerationRequest, RequestContext, Service};
use dialect::Dialect;
use dialect::failure::Failure;
use dialect::json;

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
            let deployment = head.deployment.take();
            let context = &mut head.context;
            body::format(&context.headers, &[BodyFormat::Json])?;
            let ReceivedBody { bytes, permit } = body::read_body(body, &service).await?;
            let bytes = match deployment {
                Some(deployment) => with_model(&service, bytes, deployment).await?,
                None => bytes,
            };
            let endpoint = (dialect, route);
            let mut request = parse_body(&service, endpoint, uri.path(), bytes, context).await?;
            request.permit = Some(permit);
            if request.request.background && !request.request.stream {
                return responses::start_in_background(&service, request, context).await;
            }
            respond(&service, request, context).await
        })
    }
}

/// Returns a body with the model that the path names. What is no object is refused later.
async fn with_model(
    service: &Service,
    body: Bytes,
    Deployment(model): Deployment,
) -> Result<Bytes, Failure> {
    let name = serde_json::Value::from(model).to_string();
    let size = body.len();
    let replace = move || {
        let changed = json::with_fields(&body, &[("model", Some(&name))]);
        changed.unwrap_or(body)
    };
    service.compute.run(size, replace).await
}

/// Parses a request's body.
pub(super) async fn parse_body(
    service: &Service,
    (dialect, route): (&'static Dialect, &'static str),
    path: &str,
    body: Bytes,
    context: &mut RequestContext,
) -> Result<GenerationRequest, Failure> {
    let size = body.len();
    let (as_sent, linger) = service.compute.run(size, || linger::take(body)).await??;
    context.linger = linger.or(context.linger);
    let body = match dialect.retrieves_by_id {
        true => responses::replace_previous_id(service, as_sent.clone(), context).await?,
        false => as_sent.clone(),
    };
    let path = path.to_owned();
    let parse = move || dialect.client.parse_request(body, &path);
    Ok(GenerationRequest {
        route,
        dialect,
        request: service.compute.run(size, parse).await??,
        as_sent: vec![as_sent],
        permit: None,
    })
}
