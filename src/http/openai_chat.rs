//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;

use super::Shared;
use super::asked::Asked;
use super::body::{self, Format};
use super::error::Refused;
use super::respond::respond;
use crate::dialect::{Dialect, openai_chat};

/// Chat Completions, streaming or not. Query parameters that are not ours are let be: some SDKs send their own.
pub(super) async fn post(State(shared): State<Arc<Shared>>, asked: Asked, body: Body) -> Result<Response, Refused> {
    body::format(&asked.headers, &[Format::Json])?;
    let request = openai_chat::request::read(body::read(body, &shared).await?)?;
    respond(&shared, "/v1/chat/completions", Dialect::OpenAiChat, request, asked).await
}
