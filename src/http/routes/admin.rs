//! `/admin/v1`: what operators do.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use crate::access::Caller;
use crate::config::KeyRole;
use crate::http::error::Rejection;
use crate::http::json::json as json_response;
use crate::service::{ReloadError, Service};
use dialect::failure::Failure;

/// Reads the configuration again, for a caller who may.
pub(super) async fn reload_for_caller(
    state: State<Arc<Service>>,
    caller: Caller,
) -> Result<Response, Rejection> {
    if caller.key().is_some_and(|key| key.role != KeyRole::Admin) {
        let message = "the configuration is for keys with the role `admin`".to_owned();
        return Err(Failure::forbidden(message).into());
    }
    reload(state).await
}

/// Reads the configuration again, and answers with the keys that have changed.
pub(super) async fn reload(State(service): State<Arc<Service>>) -> Result<Response, Rejection> {
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
