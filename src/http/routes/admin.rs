//! `/admin/v1`: what operators do.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use crate::http::error::Rejection;
use crate::http::json::json as json_response;
use crate::http::operator::Administrator;
use crate::service::{ReloadError, Service};
use dialect::failure::Failure;

/// Reads the configuration again, and answers with the keys that have changed.
pub(super) async fn reload(
    _: Administrator,
    State(service): State<Arc<Service>>,
) -> Result<Response, Rejection> {
    match service.reload.reload().await {
        Ok(changed) => Ok(json_response(&json!({ "changed": changed }))),
        Err(error @ ReloadError::Wrong(_)) => {
            Err(Failure::invalid_request(error.to_string()).into())
        }
        Err(error @ ReloadError::NeedsRestart(_)) => {
            Err(Failure::conflict(error.to_string()).into())
        }
        Err(error @ ReloadError::Unavailable) => Err(Failure::internal(error.into()).into()),
    }
}
