//! A response that is not a stream: a whole body, or a refusal.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Response, header};

use super::headers;
use super::options::RemoteOptions;
use crate::config::AnswerLimits;
use crate::memory::MemoryPermit;
use crate::provider::WholeBody;
use crate::provider::credentials::Credentials;
use crate::provider::upstream::{UpstreamBody, read_failure};
use dialect::ToolNames;
use dialect::failure::{Failure, Refusal, retry_info};

/// Bytes that are read of an error's body.
const MAX_ERROR_BODY: usize = 64 * 1024;
/// Time limit for an error's body.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// The time that an answer of unknown length waits for memory.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the failure for a response with a status that is no success.
pub(super) async fn refusal(
    response: Response<UpstreamBody>,
    options: &RemoteOptions,
    credentials: &Credentials,
) -> Failure {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        // A redirect is never followed: it would carry the key along.
        let found = format!("status {}", status.as_u16());
        let length = read_error_body(response.into_body()).await.len();
        return Failure::not_a_stream(&options.name, &found, "200", length);
    }
    let retry_after = response.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after.map(|value| credentials.redact_header(value));
    let headers = headers::client_visible(response.headers(), credentials);
    let body = credentials.redact_error(read_error_body(response.into_body()).await);
    let retry_after = retry_after.and_then(|value| value.to_str().ok().map(str::to_owned));
    // A header says whole seconds: not less than the body says.
    let in_body = retry_info(&body).map(|delay| delay.as_secs_f64().ceil().to_string());
    let report = options.side.error_report(&body);
    // As it came only where that tells something.
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
    let reply = if is_json && report.is_some() {
        body
    } else {
        Bytes::new()
    };
    Failure::upstream_refused(Refusal {
        provider: options.name.clone(),
        dialect: options.dialect.name,
        status: status.as_u16(),
        report,
        reply,
        retry_after: retry_after.or(in_body),
        headers,
    })
}

/// Reads a whole body, within the bounds of one body and of all. While others hold the memory it
/// waits, and the upstream with it: an answer that was generated is not thrown away.
pub(super) async fn whole_body(
    mut body: UpstreamBody,
    length: Option<usize>,
    (options, limits): (&RemoteOptions, AnswerLimits),
) -> Result<WholeBody, Failure> {
    let limit = limits.response;
    let mut permit = options.memory.permit();
    // All at once where the length is known: two answers that each hold half of what they need
    // would wait for each other.
    if let Some(length) = length {
        permit.grow_to(length.min(limit)).await?;
    }
    let mut whole = BytesMut::new();
    while let Some(bytes) = body.next_bytes().await {
        let bytes = bytes.map_err(read_failure)?;
        if whole.len() + bytes.len() > limit {
            return Err(Failure::response_too_large(limit));
        }
        whole.extend_from_slice(&bytes);
        grow(&mut permit, whole.len()).await?;
    }
    Ok(WholeBody {
        bytes: whole.freeze(),
        permit: Some(permit),
        names: ToolNames::default(),
        finish_rule: options.finish_rule,
    })
}

/// Extends a permit, and waits while others hold the memory.
pub(super) async fn grow(permit: &mut MemoryPermit, size: usize) -> Result<(), Failure> {
    match tokio::time::timeout(MEMORY_TIMEOUT, permit.grow_to(size)).await {
        Ok(grown) => grown,
        Err(_elapsed) => Err(Failure::memory_capacity()),
    }
}

/// Reads an error's body, within bounds of size and time. It may be cut: the status matters.
pub(super) async fn read_error_body(mut body: UpstreamBody) -> Bytes {
    let mut read = BytesMut::new();
    let _ = tokio::time::timeout(ERROR_BODY_TIMEOUT, async {
        while let Some(Ok(bytes)) = body.next_bytes().await {
            let room = MAX_ERROR_BODY - read.len();
            read.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if read.len() == MAX_ERROR_BODY {
                return;
            }
        }
    })
    .await;
    read.freeze()
}
