//! `/healthz`, `/readyz`, and `/`, which some clients ask whether there is a server.

use std::sync::Arc;

use axum::extract::State;

use crate::http::error::Rejection;
use crate::service::Service;
use dialect::failure::Failure;

/// Answers that the process runs.
pub(super) async fn healthz() -> &'static str {
    "ok"
}

/// Answers that this is the server. Agents send `HEAD /` before their first request.
pub(super) async fn root() -> &'static str {
    "tokenrill is running\n"
}

/// Answers whether new requests are accepted.
pub(super) async fn readyz(State(service): State<Arc<Service>>) -> Result<&'static str, Rejection> {
    if service.draining.is_announced() {
        Err(Failure::draining().into())
    } else {
        Ok("ok")
    }
}
