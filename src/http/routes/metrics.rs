//! `/metrics`, for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::http::error::Rejection;
use crate::http::operator::Viewer;
use crate::service::Service;
use crate::telemetry::metrics::MEDIA_TYPE;
use dialect::failure::Failure;

/// Bytes that a scrape counts as: it is made beside the worker, however few series there are.
const SCRAPE_SIZE: usize = usize::MAX;

/// Answers with all metrics.
pub(super) async fn metrics(
    _: Viewer,
    State(service): State<Arc<Service>>,
) -> Result<Response, Rejection> {
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
