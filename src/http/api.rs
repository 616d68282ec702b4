//! The endpoints of other people's APIs: one handler for all of them, told which dialect it speaks.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use bytes::Bytes;

use super::Shared;
use super::asked::Asked;
use super::begin::Order;
use super::body::{self, Format};
use super::error::Refused;
use super::respond::respond;
use super::{linger, responses};
use dialect::Dialect;
use dialect::failure::Failure;

type Answered = Pin<Box<dyn Future<Output = Result<Response, Refused>> + Send>>;

/// A handler of that dialect, streaming or not. Query parameters that are not ours are let be: some SDKs send their own.
pub(super) fn handler(
    dialect: &'static Dialect,
    route: &'static str,
) -> impl Fn(State<Arc<Shared>>, Uri, Asked, Body) -> Answered + Clone + Send + Sync + 'static {
    move |State(shared), uri, mut asked, body| {
        Box::pin(async move {
            body::format(&asked.headers, &[Format::Json])?;
            let body = body::read(body, &shared).await?;
            let body = match dialect.retrieves_by_id {
                true => responses::previous(&shared, body, &asked).await?,
                false => body,
            };
            let order = read(dialect, route, uri.path(), body, &mut asked)?;
            respond(&shared, order, asked).await
        })
    }
}

/// Reads a request's body.
pub(super) fn read(
    dialect: &'static Dialect,
    route: &'static str,
    path: &str,
    body: Bytes,
    asked: &mut Asked,
) -> Result<Order, Failure> {
    let body = linger::take(body, asked)?;
    Ok(Order {
        route,
        dialect,
        request: dialect.client.parse_request(body, path)?,
    })
}
