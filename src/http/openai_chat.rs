//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::body::{self, Format};
use super::error::Refused;
use super::respond::{Asked, respond};
use super::{Shared, query};
use crate::dialect::{Dialect, openai_chat};
use crate::generation::Left;
use crate::id::RequestId;

/// Chat Completions, streaming or not. Query parameters that are not ours are let be: some SDKs send their own.
pub(super) async fn post(
    State(shared): State<Arc<Shared>>,
    Extension(id): Extension<RequestId>,
    Extension(left): Extension<Left>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let (manner, _others) = query::read(&uri, &headers)?;
    body::format(&headers, &[Format::Json])?;
    let request = openai_chat::request::read(body::read(body, &shared).await?)?;
    let route = "/v1/chat/completions";
    respond(&shared, request, Asked { id, left, headers, route, dialect: Dialect::OpenAiChat, manner }).await
}
