//! `/healthz` and `/readyz`.

use std::sync::Arc;

use axum::extract::State;

use super::Shared;
use super::error::Refused;
use dialect::failure::Failure;

/// The process runs.
pub(super) async fn healthz() -> &'static str {
    "ok"
}

/// New requests are welcome.
pub(super) async fn readyz(State(shared): State<Arc<Shared>>) -> Result<&'static str, Refused> {
    if shared.draining.is_begun() {
        Err(Failure::draining().into())
    } else {
        Ok("ok")
    }
}
