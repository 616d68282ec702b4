//! `/stream`: a prompt in, plain tokens out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;

use super::Shared;
use super::asked::Asked;
use super::begin::Order;
use super::body::{self, Format};
use super::error::Refused;
use super::linger;
use super::respond::respond;
use dialect::failure::Failure;
use dialect::plain::{self, request};
use dialect::request::Request;

pub(super) const ROUTE: &str = "/stream";

/// `GET /stream?prompt=…`
pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Refused> {
    asked.only_get()?;
    let request = request::from_query(&asked.pairs)?;
    respond(&shared, order(request), asked).await
}

/// `POST /stream`, with JSON or with the prompt itself.
pub(super) async fn post(
    State(shared): State<Arc<Shared>>,
    mut asked: Asked,
    body: Body,
) -> Result<Response, Refused> {
    let format = body::format(&asked.headers, &[Format::Json, Format::Text])?;
    let bytes = body::read(body, &shared).await?;
    let request = match format {
        Format::Json => return respond(&shared, read(bytes, &mut asked)?, asked).await,
        Format::Text => {
            asked.pairs.push(("prompt".to_owned(), text(&bytes)?));
            request::from_query(&asked.pairs)?
        }
    };
    respond(&shared, order(request), asked).await
}

/// Reads a body in JSON.
pub(super) fn read(body: Bytes, asked: &mut Asked) -> Result<Order, Failure> {
    asked.no_more_pairs()?;
    let body = linger::take(body, asked)?;
    Ok(order(request::from_json(&body)?))
}

fn order(request: Request) -> Order {
    Order {
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
