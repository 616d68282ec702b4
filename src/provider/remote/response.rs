//! A response that is not a stream: a whole body, a refusal, or something unexpected.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, header};

use super::headers;
use super::options::RemoteOptions;
use crate::provider::WholeBody;
use crate::provider::upstream::UpstreamBody;
use dialect::failure::{Failure, Refusal};

/// Bytes that are read of an error's body.
const MAX_ERROR_BODY: usize = 64 * 1024;
/// Time limit for an error's body.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Length of the shortest key that is looked for in an error's body.
const MIN_KEY_LENGTH: usize = 8;
/// The time that an answer of unknown length waits for memory.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an unexpected body that the log shows.
const MAX_EXCERPT: usize = 200;

/// Checks that the response has that media type and no encoding; returns its own otherwise.
pub(super) fn check_content_type(
    response: &Response<UpstreamBody>,
    media_type: &str,
) -> Result<(), String> {
    let found = headers::media_type(response.headers());
    let encoding = headers::header_text(response.headers(), header::CONTENT_ENCODING);
    match encoding.as_deref().unwrap_or_default() {
        "" | "identity" if found == media_type => Ok(()),
        "" | "identity" if found.is_empty() => Err("no content-type".to_owned()),
        "" | "identity" => Err(found),
        encoding => Err(format!("{found} in {encoding}")),
    }
}

/// Returns the failure for a response of another media type.
pub(super) async fn unexpected_response(
    response: Response<UpstreamBody>,
    options: &RemoteOptions,
    found: String,
    expected: &'static str,
) -> Failure {
    let body = redact_credentials(read_error_body(response).await, &options.headers);
    let excerpt = String::from_utf8_lossy(&body[..body.len().min(MAX_EXCERPT)]).into_owned();
    Failure::not_a_stream(&options.name.clone(), &found, expected, &excerpt)
}

/// Returns the failure for a response with another status than 200.
pub(super) async fn refusal(response: Response<UpstreamBody>, options: &RemoteOptions) -> Failure {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        // A redirect is never followed: it would carry the key along.
        let found = format!("status {}", status.as_u16());
        return unexpected_response(response, options, found, "200").await;
    }
    let retry_after = headers::header_text(response.headers(), header::RETRY_AFTER);
    let headers = headers::client_visible(response.headers());
    let body = redact_credentials(read_error_body(response).await, &options.headers);
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
    let message = options.side.error_message(&body);
    Failure::upstream_refused(Refusal {
        provider: options.name.clone(),
        dialect: options.dialect.name,
        status: status.as_u16(),
        message: message.unwrap_or_else(|| "it gave no reason".to_owned()),
        reply: if is_json { body } else { Bytes::new() },
        retry_after,
        headers,
    })
}

/// Reads a whole body, within the bounds of one body and of all. While others hold the memory it
/// waits, and the upstream with it: an answer that was generated is not thrown away.
pub(super) async fn whole_body(
    response: Response<UpstreamBody>,
    options: &RemoteOptions,
) -> Result<WholeBody, Failure> {
    let limit = options.max_response;
    let mut permit = options.memory.permit();
    // All at once where the length is known: two answers that each hold half of what they need
    // would wait for each other.
    let length = headers::header_text(response.headers(), header::CONTENT_LENGTH);
    if let Some(length) = length.and_then(|length| length.parse::<usize>().ok()) {
        permit.grow_to(length.min(limit)).await?;
    }
    let mut body = response.into_body();
    let mut whole = BytesMut::new();
    while let Some(bytes) = body.next_bytes().await {
        let bytes = bytes.map_err(Failure::upstream_reset)?;
        if whole.len() + bytes.len() > limit {
            return Err(Failure::response_too_large(limit));
        }
        whole.extend_from_slice(&bytes);
        let grown = permit.grow_to(whole.len());
        match tokio::time::timeout(MEMORY_TIMEOUT, grown).await {
            Ok(grown) => grown?,
            Err(_elapsed) => return Err(Failure::memory_capacity()),
        }
    }
    Ok(WholeBody {
        bytes: whole.freeze(),
        permit: Some(permit),
    })
}

/// Reads an error's body, within bounds of size and time. It may be cut: the status matters.
async fn read_error_body(response: Response<UpstreamBody>) -> Bytes {
    let mut body = response.into_body();
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

/// Replaces the keys that were sent: some upstreams repeat the key that they refuse.
fn redact_credentials(body: Bytes, sent: &HeaderMap) -> Bytes {
    let mut text = String::from_utf8_lossy(&body).into_owned();
    let mut found = false;
    for value in sent.values().filter(|value| value.is_sensitive()) {
        let key = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let key = key.strip_prefix("Bearer ").unwrap_or(&key);
        if key.len() >= MIN_KEY_LENGTH && text.contains(key) {
            text = text.replace(key, "***");
            found = true;
        }
    }
    if found { text.into() } else { body }
}
