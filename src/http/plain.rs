//! `/stream`: a prompt in, plain tokens out.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;

use super::body::{self, Format};
use super::error::Refused;
use super::respond::{Asked, respond};
use super::{Shared, query};
use crate::dialect::{Dialect, plain::request};
use crate::failure::Failure;
use crate::generation::Left;
use crate::id::RequestId;
use crate::request::Request;

const ROUTE: &str = "/stream";

/// `GET /stream?prompt=…`
pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    Extension(id): Extension<RequestId>,
    Extension(left): Extension<Left>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    only_get(&method, "GET,POST")?;
    let (manner, pairs) = query::read(&uri, &headers)?;
    let request = request::from_query(&pairs)?;
    respond(&shared, request, Asked { id, left, headers, route: ROUTE, dialect: Dialect::Plain, manner }).await
}

/// `POST /stream`, with JSON or with the prompt itself.
pub(super) async fn post(
    State(shared): State<Arc<Shared>>,
    Extension(id): Extension<RequestId>,
    Extension(left): Extension<Left>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let (manner, mut pairs) = query::read(&uri, &headers)?;
    let format = body::format(&headers, &[Format::Json, Format::Text])?;
    let bytes = body::read(body, &shared).await?;
    let request = match format {
        Format::Json => match pairs.first() {
            None => request::from_json(&bytes)?,
            Some((name, _)) => {
                return Err(Failure::invalid(name, format!("`{name}` belongs into the JSON body here")).into());
            }
        },
        Format::Text => {
            pairs.push(("prompt".to_owned(), text(&bytes)?));
            request::from_query(&pairs)?
        }
    };
    respond(&shared, request, Asked { id, left, headers, route: ROUTE, dialect: Dialect::Plain, manner }).await
}

/// axum answers HEAD with GET's handler; that would run a model for nobody.
pub(super) fn only_get(method: &Method, allowed: &str) -> Result<(), Failure> {
    if method == Method::HEAD {
        return Err(Failure::MethodNotAllowed { method: method.to_string(), allowed: allowed.to_owned() });
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Result<String, Failure> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| Failure::InvalidRequest {
        message: format!("the request's body is not UTF-8: byte {} is wrong", error.valid_up_to()),
        param: Some("prompt".to_owned()),
    })
}

/// What a prompt template and its variables came to, as a request.
pub(super) fn rendered(system: Option<String>, user: String) -> Request {
    let mut request = Request::prompt(user);
    request::system(&mut request, system);
    request
}
