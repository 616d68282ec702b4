//! `/stream`: a prompt in, plain tokens out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;

use crate::http::body::{self, BodyFormat, ReceivedBody};
use crate::http::context::{Query, RequestHead};
use crate::http::error::Rejection;
use crate::http::linger;
use crate::http::respond::respond;
use crate::service::{GenerationRequest, RequestContext, Service};
use dialect::failure::Failure;
use dialect::plain::{self, request};
use dialect::request::Request;

pub(super) const ROUTE: &str = "/stream";

/// `GET /stream?prompt=…`
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    head: RequestHead,
) -> Result<Response, Rejection> {
    head.only_get()?;
    respond(&service, from_query(&head.query)?, &head.context).await
}

/// `POST /stream`, with JSON or with the prompt itself.
pub(super) async fn post(
    State(service): State<Arc<Service>>,
    mut head: RequestHead,
    body: Body,
) -> Result<Response, Rejection> {
    let RequestHead { context, query, .. } = &mut head;
    let format = body::format(&context.headers, &[BodyFormat::Json, BodyFormat::Text])?;
    let ReceivedBody { bytes, permit } = body::read_body(body, &service).await?;
    let mut request = match format {
        BodyFormat::Json => parse_body(&service, bytes, query, context).await?,
        BodyFormat::Text => {
            query.0.push(("prompt".to_owned(), text(&bytes)?));
            from_query(query)?
        }
    };
    request.permit = Some(permit);
    respond(&service, request, context).await
}

/// Parses a body in JSON.
pub(super) async fn parse_body(
    service: &Service,
    body: Bytes,
    query: &Query,
    context: &mut RequestContext,
) -> Result<GenerationRequest, Failure> {
    query.deny()?;
    let size = body.len();
    let parse = move || {
        let (body, linger) = linger::take(body)?;
        let request = request::from_json(&body)?;
        Ok::<_, Failure>((generation_request(request, vec![body]), linger))
    };
    let (request, linger) = service.compute.run(size, parse).await??;
    context.linger = linger.or(context.linger);
    Ok(request)
}

fn from_query(query: &Query) -> Result<GenerationRequest, Failure> {
    let request = request::from_query(&query.0)?;
    let pairs = query.0.iter().flat_map(|(name, value)| [name, value]);
    let as_sent = pairs.map(|text| Bytes::copy_from_slice(text.as_bytes()));
    Ok(generation_request(request, as_sent.collect()))
}

fn generation_request(request: Request, as_sent: Vec<Bytes>) -> GenerationRequest {
    GenerationRequest {
        route: ROUTE,
        dialect: &plain::DIALECT,
        request,
        as_sent,
        permit: None,
    }
}

fn text(bytes: &[u8]) -> Result<String, Failure> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|error| {
            Failure::invalid_request(format!(
                "the request's body is not UTF-8: byte {} is wrong",
                error.valid_up_to()
            ))
            .with_param("prompt".to_owned())
        })
}
