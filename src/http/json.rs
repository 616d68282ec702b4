//! Responses in JSON.

use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// Makes a JSON response.
pub(super) fn json(value: &Value) -> Response {
    (
        [("content-type", HeaderValue::from_static("application/json"))],
        value.to_string(),
    )
        .into_response()
}
