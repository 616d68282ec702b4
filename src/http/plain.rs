//! `/stream`: a prompt in, plain tokens out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;

use super::Service;
use super::begin::GenerationRequest;
use super::body::{self, BodyFormat};
use super::context::RequestContext;
use super::error::Rejection;
use super::linger;
use super::respond::respond;
use dialect::failure::Failure;
use dialect::plain::{self, request};
use dialect::request::Request;

pub(super) const ROUTE: &str = "/stream";

/// `GET /stream?prompt=…`
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    context: RequestContext,
) -> Result<Response, Rejection> {
    context.only_get()?;
    let request = request::from_query(&context.query)?;
    respond(&service, generation_request(request), context).await
}

/// `POST /stream`, with JSON or with the prompt itself.
pub(super) async fn post(
    State(service): State<Arc<Service>>,
    mut context: RequestContext,
    body: Body,
) -> Result<Response, Rejection> {
    let format = body::format(&context.headers, &[BodyFormat::Json, BodyFormat::Text])?;
    let bytes = body::read_body(body, &service).await?;
    let request = match format {
        BodyFormat::Json => {
            return respond(&service, parse_body(bytes, &mut context)?, context).await;
        }
        BodyFormat::Text => {
            context.query.push(("prompt".to_owned(), text(&bytes)?));
            request::from_query(&context.query)?
        }
    };
    respond(&service, generation_request(request), context).await
}

/// Reads a body in JSON.
pub(super) fn parse_body(
    body: Bytes,
    context: &mut RequestContext,
) -> Result<GenerationRequest, Failure> {
    context.deny_query()?;
    let body = linger::take(body, context)?;
    Ok(generation_request(request::from_json(&body)?))
}

fn generation_request(request: Request) -> GenerationRequest {
    GenerationRequest {
        route: ROUTE,
        dialect: &plain::DIALECT,
        request,
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
