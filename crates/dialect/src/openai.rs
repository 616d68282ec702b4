//! Parts that both OpenAI dialects share: error bodies and forwarded headers.

use serde_json::json;

use crate::failure::{Failure, FailureKind, classes};

/// Returns the error body: `{"error": {"message", "type", "param", "code"}}`.
pub(crate) fn error_body(failure: &Failure) -> Vec<u8> {
    let body = json!({ "error": {
        "message": failure.to_string(),
        "type": error_type(failure),
        "param": failure.param(),
        "code": failure.code(),
    }});
    body.to_string().into_bytes()
}

/// Returns OpenAI's `type` of an error.
pub(crate) fn error_type(failure: &Failure) -> &'static str {
    match failure.kind() {
        _ if failure.is(&classes::INSUFFICIENT_QUOTA) => "insufficient_quota",
        FailureKind::InvalidRequest
        | FailureKind::NotFound
        | FailureKind::TooLarge
        | FailureKind::Authentication => "invalid_request_error",
        FailureKind::RateLimit => "rate_limit_exceeded",
        FailureKind::Billing => "insufficient_quota",
        FailureKind::Permission => "permission_error",
        FailureKind::Overloaded | FailureKind::Timeout | FailureKind::Server => "server_error",
    }
}

/// Headers of OpenAI's clients that are forwarded to OpenAI and compatible servers. Not those that
/// choose whose account pays (`openai-organization`, `openai-project`): the key is the provider's.
pub(crate) const FORWARDED_HEADERS: &[&str] = &["openai-beta", "http-referer", "x-title"];
