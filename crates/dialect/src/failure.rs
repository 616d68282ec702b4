//! Everything that can go wrong with a request, as one value.
//!
//! A failure says what happened, in words that are safe to send to a client, and keeps its source for the log. It makes
//! no response: `http::error` is the one place that finds a status for it, and the dialects spell it on the wire.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::Bytes;

/// A source that only the log sees.
pub type Source = Box<dyn StdError + Send + Sync>;

/// What went wrong. `Display` is what a client may read.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The request makes no sense; `param` names the field.
    #[error("{message}")]
    InvalidRequest {
        /// What, where, and what would be right.
        message: String,
        /// The field at fault.
        param: Option<String>,
    },
    /// No model of that name.
    #[error("the model `{model}` is not served here; known models: {}", known.join(", "))]
    UnknownModel {
        /// What was asked for.
        model: String,
        /// What could have been.
        known: Vec<String>,
    },
    /// Nothing lives at that address.
    #[error("{message}")]
    NotFound {
        /// What was looked for, and what there is.
        message: String,
    },
    /// No response of that id.
    #[error(
        "there is no response `{id}` here: it never was, is no longer kept, or is another caller's. Only one that was \
         asked for with `background`, or as a stream with `linger`, can be asked for again"
    )]
    UnknownResponse {
        /// What was asked for.
        id: String,
    },
    /// The address is right and the method is not.
    #[error("{method} is not allowed here; allowed: {allowed}")]
    MethodNotAllowed {
        /// The request's method.
        method: String,
        /// Comma-separated.
        allowed: String,
    },
    /// The address is that of a WebSocket, and the request opens none that is spoken here.
    #[error("{message}")]
    UpgradeRequired {
        /// What is missing.
        message: String,
    },
    /// A body in a format that this endpoint doesn't read.
    #[error("{message}")]
    UnsupportedMediaType {
        /// What came, and what would be right.
        message: String,
    },
    /// The request's body is over the cap.
    #[error("the request's body is larger than {limit} bytes (max_body)")]
    BodyTooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The request's body did not arrive in time.
    #[error("the request's body did not arrive within {}", humantime::format_duration(*.after))]
    BodyTimeout {
        /// How long we waited.
        after: Duration,
    },
    /// The client left while it was still sending its request.
    #[error("the request's body broke off")]
    BodyBroken(#[source] Source),
    /// The request's head is over a cap.
    #[error("{message}")]
    HeadersTooLarge {
        /// Which cap.
        message: String,
    },
    /// No connection to the upstream: refused, unreachable.
    #[error("could not connect to provider `{provider}`")]
    ConnectFailed {
        /// Which provider.
        provider: String,
        /// For the log.
        source: Source,
    },
    /// The upstream's name does not resolve.
    #[error("could not resolve the address of provider `{provider}`")]
    DnsFailed {
        /// Which provider.
        provider: String,
        /// For the log.
        source: Source,
    },
    /// The upstream's certificate or handshake is wrong.
    #[error("no secure connection to provider `{provider}`")]
    TlsFailed {
        /// Which provider.
        provider: String,
        /// For the log.
        source: Source,
    },
    /// No connection in time (`timeouts.connect`).
    #[error("no connection to provider `{provider}` within {}", humantime::format_duration(*.after))]
    ConnectTimeout {
        /// Which provider.
        provider: String,
        /// How long we waited.
        after: Duration,
    },
    /// No token in time (`timeouts.first_token`).
    #[error("the upstream said nothing within {} (timeouts.first_token)", humantime::format_duration(*.after))]
    FirstTokenTimeout {
        /// How long we waited.
        after: Duration,
    },
    /// The upstream fell silent (`timeouts.between_tokens`).
    #[error("the upstream fell silent for {} (timeouts.between_tokens)", humantime::format_duration(*.after))]
    BetweenTokensTimeout {
        /// How long we waited.
        after: Duration,
    },
    /// The whole took too long (`timeouts.total`).
    #[error("the answer was not finished within {} (timeouts.total)", humantime::format_duration(*.after))]
    TotalTimeout {
        /// How long we waited.
        after: Duration,
    },
    /// The upstream refused the request with an error of its own.
    #[error("provider `{}` answered {}: {}", .0.provider, .0.status, .0.message)]
    UpstreamRefused(Box<Refusal>),
    /// The upstream answered 200 with something that is no stream of events (or, unasked, with one).
    #[error("provider `{provider}` answered with {found} instead of {expected}")]
    NotAStream {
        /// Which provider.
        provider: String,
        /// The content type that came.
        found: String,
        /// The one that was due.
        expected: &'static str,
        /// The start of the body, for the log.
        excerpt: String,
    },
    /// A frame of the upstream's stream can't be read.
    #[error("the upstream sent something that is not {expected}")]
    BadPayload {
        /// What was due.
        expected: &'static str,
        /// For the log.
        source: Source,
    },
    /// One event of the upstream is over the cap.
    #[error("the upstream sent an event of more than {limit} bytes (max_event_bytes)")]
    EventTooLarge {
        /// In bytes.
        limit: usize,
    },
    /// A non-streaming answer is over the cap.
    #[error("the upstream's answer is larger than {limit} bytes (max_response_bytes)")]
    ResponseTooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The upstream's connection broke.
    #[error("the upstream's connection broke before the answer was complete")]
    UpstreamReset(#[source] Source),
    /// The upstream ended its stream before the answer was complete.
    #[error("the upstream's stream ended before the answer was complete: {missing}")]
    UpstreamTruncated {
        /// What should have come.
        missing: &'static str,
    },
    /// The upstream reported an error in the middle of its stream.
    #[error("{message}")]
    UpstreamError {
        /// The upstream's words.
        message: String,
        /// The upstream's type of error, where it named one.
        kind: Option<String>,
        /// The upstream's code, where it named one.
        code: Option<String>,
    },
    /// It has been there and is no more.
    #[error("{message}")]
    Gone {
        /// What is no more.
        message: String,
    },
    /// What is there says otherwise.
    #[error("{message}")]
    Conflict {
        /// What is there.
        message: String,
    },
    /// More on one socket than may run there (`websocket.max_running`).
    #[error("{most} run on this socket, and no more may (websocket.max_running)")]
    TooManyRunning {
        /// How many may.
        most: usize,
    },
    /// More readers than one stream may have.
    #[error("this stream has all the readers that it may have (streams.max_readers)")]
    TooManyReaders,
    /// No stream can be kept at the moment.
    #[error("{message}")]
    NoStreams {
        /// Why.
        message: String,
    },
    /// The request is right, but not for who asks.
    #[error("{message}")]
    Forbidden {
        /// Who may.
        message: String,
    },
    /// What is there can't be had in the form that was asked for.
    #[error("{message}")]
    NotAcceptable {
        /// In which it can.
        message: String,
    },
    /// A stream holds all that it may hold.
    #[error("this stream holds all that it may hold (streams.max_bytes)")]
    StreamFull,
    /// The store of streams can't be reached.
    #[error("the store of streams can't be reached; ask again")]
    StoreAway,
    /// Someone told the generation to end.
    #[error("the generation was cancelled")]
    Cancelled,
    /// Nobody has read the generation for its linger.
    #[error("nobody read this generation for {}: it was cancelled (linger)", humantime::format_duration(*.after))]
    Abandoned {
        /// Its linger.
        after: Duration,
    },
    /// A generation in the background, which nobody reads, has filled its stream.
    #[error(
        "nobody reads this response, and its stream is full (streams.max_bytes, streams.max_total_bytes)"
    )]
    Unread,
    /// What a reader should have got next has been given up for faster readers.
    #[error("this reader fell too far behind: what follows is no longer kept (streams.max_bytes)")]
    FellBehind,
    /// Whoever wrote the stream vanished.
    #[error("whoever wrote this stream is gone: it ends here, incomplete")]
    WriterLost,
    /// This server is shutting down.
    #[error("this server is shutting down; ask again")]
    Draining,
    /// A defect of ours.
    #[error("internal error")]
    Internal(#[source] Source),
}

/// An upstream's own error, instead of an answer.
#[derive(Debug, Clone, Default)]
pub struct Refusal {
    /// Which provider.
    pub provider: String,
    /// The dialect that it spoke.
    pub dialect: &'static str,
    /// The upstream's HTTP status.
    pub status: u16,
    /// The upstream's own message.
    pub message: String,
    /// Its body as it came, for a client of the same dialect; empty if it was no JSON.
    pub reply: Bytes,
    /// When it may be tried again, as the upstream said it.
    pub retry_after: Option<String>,
    /// Headers that the client may see.
    pub headers: http::HeaderMap,
}

/// What every API tells apart, in words of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is wrong.
    InvalidRequest,
    /// The key is wrong.
    Authentication,
    /// Nobody pays.
    Billing,
    /// The key may not do that.
    Permission,
    /// No such thing.
    NotFound,
    /// The request is too large.
    TooLarge,
    /// Too many requests or tokens.
    RateLimit,
    /// Too many of everyone's.
    Overloaded,
    /// It took too long.
    Timeout,
    /// Anything else is the server's fault.
    Server,
}

impl Kind {
    /// What an HTTP status says.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            401 => Kind::Authentication,
            402 => Kind::Billing,
            403 => Kind::Permission,
            404 => Kind::NotFound,
            408 | 504 => Kind::Timeout,
            413 => Kind::TooLarge,
            429 => Kind::RateLimit,
            503 | 529 => Kind::Overloaded,
            400..=499 => Kind::InvalidRequest,
            _ => Kind::Server,
        }
    }

    /// What a type, code or status word of some API says, if it is known.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        if let Ok(status) = word.parse() {
            return Some(Self::of_status(status));
        }
        Some(match word {
            "invalid_request_error"
            | "invalid_request"
            | "INVALID_ARGUMENT"
            | "FAILED_PRECONDITION"
            | "invalid_prompt" => Kind::InvalidRequest,
            "authentication_error" | "invalid_api_key" | "UNAUTHENTICATED" => Kind::Authentication,
            "billing_error" => Kind::Billing,
            "permission_error" | "PERMISSION_DENIED" => Kind::Permission,
            "not_found_error" | "model_not_found" | "NOT_FOUND" => Kind::NotFound,
            "request_too_large" => Kind::TooLarge,
            "rate_limit_error"
            | "rate_limit_exceeded"
            | "insufficient_quota"
            | "RESOURCE_EXHAUSTED" => Kind::RateLimit,
            "overloaded_error" | "UNAVAILABLE" => Kind::Overloaded,
            "timeout_error" | "DEADLINE_EXCEEDED" => Kind::Timeout,
            "api_error" | "server_error" | "INTERNAL" => Kind::Server,
            _ => return None,
        })
    }
}

impl Failure {
    /// A 400 of our own finding.
    pub fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self::InvalidRequest {
            message: message.into(),
            param: Some(param.to_owned()),
        }
    }

    /// The stable name of this failure: `code` on the wire, `ended` in the log.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest { .. } => "invalid_request",
            Self::UnknownModel { .. } => "model_not_found",
            Self::NotFound { .. } => "not_found",
            Self::UnknownResponse { .. } => "response_not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::UpgradeRequired { .. } => "upgrade_required",
            Self::UnsupportedMediaType { .. } => "unsupported_media_type",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTimeout { .. } => "body_timeout",
            Self::BodyBroken(_) => "body_broken",
            Self::HeadersTooLarge { .. } => "headers_too_large",
            Self::ConnectFailed { .. } => "connect_failed",
            Self::DnsFailed { .. } => "dns_failed",
            Self::TlsFailed { .. } => "tls_failed",
            Self::ConnectTimeout { .. } => "connect_timeout",
            Self::FirstTokenTimeout { .. } => "first_token_timeout",
            Self::BetweenTokensTimeout { .. } => "between_tokens_timeout",
            Self::TotalTimeout { .. } => "total_timeout",
            Self::UpstreamRefused(_) => "upstream_refused",
            Self::NotAStream { .. } => "upstream_not_a_stream",
            Self::BadPayload { .. } => "upstream_bad_payload",
            Self::EventTooLarge { .. } => "event_too_large",
            Self::ResponseTooLarge { .. } => "response_too_large",
            Self::UpstreamReset(_) => "upstream_reset",
            Self::UpstreamTruncated { .. } => "upstream_truncated",
            Self::UpstreamError { .. } => "upstream_error",
            Self::Gone { .. } => "gone",
            Self::Conflict { .. } => "conflict",
            Self::TooManyReaders => "too_many_readers",
            Self::TooManyRunning { .. } => "too_many_running",
            Self::NoStreams { .. } => "no_streams",
            Self::Forbidden { .. } => "forbidden",
            Self::NotAcceptable { .. } => "not_acceptable",
            Self::StreamFull => "stream_full",
            Self::StoreAway => "store_away",
            Self::Cancelled => "cancelled",
            Self::Abandoned { .. } => "abandoned",
            Self::Unread => "unread",
            Self::FellBehind => "fell_behind",
            Self::WriterLost => "writer_lost",
            Self::Draining => "draining",
            Self::Internal(_) => "internal",
        }
    }

    /// Whose fault it is, in the few words that every API has for it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::InvalidRequest { .. }
            | Self::MethodNotAllowed { .. }
            | Self::UpgradeRequired { .. }
            | Self::UnsupportedMediaType { .. }
            | Self::BodyTimeout { .. }
            | Self::BodyBroken(_)
            | Self::HeadersTooLarge { .. }
            | Self::Conflict { .. }
            | Self::NotAcceptable { .. } => Kind::InvalidRequest,
            Self::Forbidden { .. } => Kind::Permission,
            Self::UnknownModel { .. }
            | Self::NotFound { .. }
            | Self::UnknownResponse { .. }
            | Self::Gone { .. } => Kind::NotFound,
            Self::TooManyReaders | Self::TooManyRunning { .. } => Kind::RateLimit,
            Self::BodyTooLarge { .. } | Self::StreamFull => Kind::TooLarge,
            Self::UpstreamRefused(refusal) => Kind::of_status(refusal.status),
            Self::UpstreamError { kind, code, .. } => {
                let named = [kind, code]
                    .into_iter()
                    .flatten()
                    .find_map(|word| Kind::of_word(word));
                named.unwrap_or(Kind::Server)
            }
            Self::ConnectTimeout { .. }
            | Self::FirstTokenTimeout { .. }
            | Self::BetweenTokensTimeout { .. }
            | Self::TotalTimeout { .. } => Kind::Timeout,
            Self::Draining | Self::NoStreams { .. } | Self::StoreAway => Kind::Overloaded,
            _ => Kind::Server,
        }
    }

    /// The field of the request at fault, where there is one.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::InvalidRequest { param, .. } => param.as_deref(),
            Self::UnknownModel { .. } => Some("model"),
            _ => None,
        }
    }

    /// The whole chain of causes on one line, for the log.
    #[must_use]
    pub fn details(&self) -> String {
        use std::fmt::Write as _;
        if let Self::InvalidRequest { param, .. } = self {
            // Its message may quote the request, and no prompt belongs into a log.
            return format!(
                "the request is wrong at {}",
                param.as_deref().unwrap_or("its body")
            );
        }
        let mut line = self.to_string();
        let mut source = StdError::source(self);
        while let Some(cause) = source {
            let _ = write!(line, ": {cause}");
            source = cause.source();
        }
        if let Self::NotAStream { excerpt, .. } = self {
            let _ = write!(line, "; it began {excerpt:?}");
        }
        line
    }
}
