//! A response that is not a stream: a whole body, a refusal, or something unexpected.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Response, header};

use super::headers;
use super::options::RemoteOptions;
use crate::provider::WholeBody;
use crate::provider::credentials::Credentials;
use crate::provider::upstream::UpstreamBody;
use dialect::failure::{Failure, Refusal};

/// Bytes that are read of an error's body.
const MAX_ERROR_BODY: usize = 64 * 1024;
/// Time limit for an error's body.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// The time that an answer of unknown length waits for memory.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest name of a media type or an encoding that is repeated.
const MAX_NAME_LENGTH: usize = 100;

/// Checks that the response has that media type and no encoding; returns its own otherwise.
pub(super) fn check_content_type(
    response: &Response<UpstreamBody>,
    media_type: &str,
) -> Result<(), String> {
    let found = headers::media_type(response.headers());
    match headers::encodings(response.headers()).as_str() {
        "" if found == media_type => Ok(()),
        encodings if !is_name(&found) || !encodings.split(", ").all(is_name) => {
            Err("a malformed content-type".to_owned())
        }
        "" if found.is_empty() => Err("no content-type".to_owned()),
        "" => Err(found),
        encodings => Err(format!("{found} in {encodings}")),
    }
}

/// Returns the failure for a response of another media type.
pub(super) async fn unexpected_response(
    response: Response<UpstreamBody>,
    options: &RemoteOptions,
    found: &str,
    expected: &'static str,
) -> Failure {
    let body = read_error_body(response).await;
    Failure::not_a_stream(&options.name, found, expected, body.len())
}

/// Returns the failure for a response with another status than 200.
pub(super) async fn refusal(
    response: Response<UpstreamBody>,
    options: &RemoteOptions,
    credentials: &Credentials,
) -> Failure {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        // A redirect is never followed: it would carry the key along.
        let found = format!("status {}", status.as_u16());
        return unexpected_response(response, options, &found, "200").await;
    }
    let retry_after = response.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after.map(|value| credentials.redact_header(value));
    let headers = headers::client_visible(response.headers(), credentials);
    let body = credentials.redact_error(read_error_body(response).await);
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
    Failure::upstream_refused(Refusal {
        provider: options.name.clone(),
        dialect: options.dialect.name,
        status: status.as_u16(),
        report: options.side.error_report(&body),
        reply: if is_json { body } else { Bytes::new() },
        retry_after: retry_after.and_then(|value| value.to_str().ok().map(str::to_owned)),
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

/// Returns whether this is a media type, or the name of an encoding, and no other words.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_LENGTH
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/.+-_*".contains(&byte))
}
