//! The properties of a failure that others decide by: its kind, the party at fault, and whether
//! another attempt may follow. Not for the failures themselves.

/// The few kinds of error that every LLM API tells apart, each in words of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The request is wrong.
    InvalidRequest,
    /// The key is wrong.
    Authentication,
    /// The account has no credit.
    Billing,
    /// The key is valid but may not do this.
    Permission,
    /// There is no such resource.
    NotFound,
    /// The request is too large.
    TooLarge,
    /// Too many requests or tokens.
    RateLimit,
    /// The service is overloaded by all of its clients together.
    Overloaded,
    /// A deadline passed.
    Timeout,
    /// Any other fault of a server.
    Server,
}

impl FailureKind {
    /// Returns the kind that an HTTP status stands for.
    #[must_use]
    pub fn from_status(status: u16) -> Self {
        match status {
            401 => FailureKind::Authentication,
            402 => FailureKind::Billing,
            403 => FailureKind::Permission,
            404 => FailureKind::NotFound,
            408 | 504 => FailureKind::Timeout,
            413 => FailureKind::TooLarge,
            429 => FailureKind::RateLimit,
            503 | 529 => FailureKind::Overloaded,
            400..=499 => FailureKind::InvalidRequest,
            _ => FailureKind::Server,
        }
    }

    /// Returns the kind that an API's error type, code or status word stands for, if it is known.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        if let Ok(status) = code.parse() {
            return Some(Self::from_status(status));
        }
        Some(match code {
            "invalid_request_error"
            | "invalid_request"
            | "INVALID_ARGUMENT"
            | "FAILED_PRECONDITION"
            | "invalid_prompt" => FailureKind::InvalidRequest,
            "authentication_error"
            | "invalid_api_key"
            | "key_expired"
            | "key_revoked"
            | "UNAUTHENTICATED" => FailureKind::Authentication,
            "billing_error" | "budget_exceeded" => FailureKind::Billing,
            "permission_error" | "model_not_allowed" | "PERMISSION_DENIED" => {
                FailureKind::Permission
            }
            "not_found_error" | "model_not_found" | "NOT_FOUND" => FailureKind::NotFound,
            "request_too_large" => FailureKind::TooLarge,
            "rate_limit_error"
            | "rate_limit_exceeded"
            | "request_too_large_for_limit"
            | "insufficient_quota"
            | "RESOURCE_EXHAUSTED" => FailureKind::RateLimit,
            "overloaded_error" | "UNAVAILABLE" => FailureKind::Overloaded,
            "timeout_error" | "DEADLINE_EXCEEDED" => FailureKind::Timeout,
            "api_error" | "server_error" | "INTERNAL" => FailureKind::Server,
            _ => return None,
        })
    }
}

/// The party at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The client: its request, its pace, or its leaving.
    Client,
    /// The upstream, or the way to it.
    Upstream,
    /// This server, its configuration, or its store.
    Us,
}

/// The limit up to which another attempt may follow a failed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Another attempt would fail alike, or would repeat something that a client has seen.
    Never,
    /// The request was never sent: another attempt repeats nothing.
    BeforeSend,
    /// The upstream may have worked on the request. Another attempt is sound only while the client
    /// has seen nothing of the answer.
    BeforeFirstToken,
}
