//! `/metrics`, for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::access::Caller;
use crate::config::KeyRole;
use crate::http::error::Rejection;
use crate::service::Service;
use crate::telemetry::metrics::MEDIA_TYPE;
use dialect::failure::Failure;

/// Bytes that a scrape counts as: it is made beside the worker, however few series there are.
const SCRAPE_SIZE: usize = usize::MAX;

/// Answers a caller who may see how the service fares.
pub(super) async fn for_caller(
    state: State<Arc<Service>>,
    caller: Caller,
) -> Result<Response, Rejection> {
    if caller.key().is_some_and(|key| key.role == KeyRole::User) {
        let message = "metrics are for keys with the role `viewer` or `admin`".to_owned();
        return Err(Failure::forbidden(message).into());
    }
    metrics(state).await
}

/// Answers with all metrics.
pub(super) async fn metrics(State(service): State<Arc<Service>>) -> Result<Response, Rejection> {
    let Some(site) = &service.metrics else {
        let message = "there are no metrics: metrics.enabled is not set".to_owned();
        return Err(Failure::not_found(message).into());
    };
    let metrics = site.metrics.clone();
    let text = service
        .compute
        .run(SCRAPE_SIZE, move || metrics.exposition())
        .await?;
    let text = text.map_err(|error| Failure::internal(error.into()))?;
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], text).into_response())
}
