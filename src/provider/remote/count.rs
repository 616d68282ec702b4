//! Counting the tokens of a request: by the upstream's own counter or, where it has none, by an
//! estimate, which says that it is one.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::client::Client;
use super::complete;
use super::options::RemoteOptions;
use crate::provider::credentials::Credentials;
use crate::provider::{CompleteSource, Opened, UpstreamRequest, WholeBody};
use dialect::ToolNames;
use dialect::failure::Failure;

/// The header of an answer that is an estimate.
const ESTIMATE: HeaderName = HeaderName::from_static("x-tokenrill-estimate");
/// The statuses of an address at which nothing counts.
const MISSING: &[StatusCode] = &[
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::NOT_IMPLEMENTED,
];

/// Counts the tokens of a request.
pub(super) async fn count_tokens(
    client: &Client,
    options: Arc<RemoteOptions>,
    credentials: Arc<Credentials>,
    call: UpstreamRequest,
) -> Result<Opened<CompleteSource>, Failure> {
    let path = options
        .addressing
        .path(options.side, call.request.operation, &call.model, false);
    if path.is_none() {
        return estimate(&options, call).await;
    }
    match complete(client, options.clone(), credentials, call.clone()).await {
        Err(failure) if is_counter_missing(&failure, &call.model) => estimate(&options, call).await,
        counted => counted,
    }
}

/// Returns whether an upstream has refused because it counts nothing, and not for want of the
/// model, which it would name.
fn is_counter_missing(failure: &Failure, model: &str) -> bool {
    failure.refusal().is_some_and(|refusal| {
        let names_model = |message: &str| message.contains(model);
        MISSING.iter().any(|status| *status == refusal.status)
            && !refusal
                .report
                .as_ref()
                .is_some_and(|report| names_model(&report.message))
    })
}

/// Answers with an estimate, in the client's dialect.
async fn estimate(
    options: &RemoteOptions,
    call: UpstreamRequest,
) -> Result<Opened<CompleteSource>, Failure> {
    let (request, dialect) = (call.request.clone(), call.dialect);
    request.check()?;
    let size = request.size();
    let estimate = move || request.estimated_tokens();
    let tokens = options.compute.run(size, estimate).await?;
    let body = WholeBody {
        bytes: dialect.encode_token_count(tokens)?,
        permit: None,
        names: ToolNames::default(),
        finish_rule: options.finish_rule,
    };
    let mut headers = HeaderMap::new();
    headers.insert(ESTIMATE, HeaderValue::from_static("true"));
    Ok(Opened {
        headers,
        source: CompleteSource::Body(body, dialect),
    })
}
