//! Failures of a request as data: a class from a static table, a message for the client, and the
//! source for the log.
//!
//! Dialects spell a failure on the wire by its [`FailureKind`]; `http` makes a response of it.
//! Nothing is sent or logged here.
//!
//! ```
//! use std::time::Duration;
//! use dialect::failure::{Blame, Failure, Retry};
//!
//! let failure = Failure::connect_timeout("openai", Duration::from_secs(5), "no answer".into());
//! assert_eq!(failure.to_string(), "no connection to provider `openai` within 5s");
//! assert_eq!((failure.code(), failure.status()), ("connect_timeout", 504));
//! assert_eq!((failure.blame(), failure.retry()), (Blame::Upstream, Retry::BeforeSend));
//! ```

pub mod classes;
mod constructors;
mod kind;
mod log;
mod meaning;
mod template;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::error_report::ErrorReport;

pub use classes::{CLASSES, FailureClass};
pub use kind::{Blame, FailureKind, Retry};
pub use meaning::retry_info;

/// An underlying error, for the log alone.
pub type SourceError = Box<dyn StdError + Send + Sync>;

/// A failed request. `Display` is the message for the client.
///
/// One word in size, so that a `Result` on the token path stays small.
pub struct Failure(Box<FailureData>);

struct FailureData {
    class: &'static FailureClass,
    message: Cow<'static, str>,
    /// The field of the request at fault.
    param: Option<String>,
    /// The kind, where it follows from the upstream's words and not from the class.
    kind: Option<FailureKind>,
    /// The retry limit, where more is known than the class says.
    retry: Option<Retry>,
    retry_after: Option<Duration>,
    /// Set if clients should not send the request again by themselves.
    forbids_client_retry: bool,
    refusal: Option<Box<Refusal>>,
    /// The message for the log, where the client's repeats an upstream's words.
    log_text: Option<String>,
    source: Option<SourceError>,
}

/// An upstream's own error response.
#[derive(Debug, Clone, Default)]
pub struct Refusal {
    /// The provider's name.
    pub provider: String,
    /// The dialect that it spoke.
    pub dialect: &'static str,
    /// Its HTTP status.
    pub status: u16,
    /// Its report, if it gave one.
    pub report: Option<ErrorReport>,
    /// Its body as it came, for a client of the same dialect; empty if it was not JSON.
    pub reply: Bytes,
    /// The value of its `retry-after` header.
    pub retry_after: Option<String>,
    /// Those of its headers that the client may see.
    pub headers: http::HeaderMap,
}

impl Failure {
    /// Returns the class, the failure's line in the table.
    #[must_use]
    pub fn class(&self) -> &'static FailureClass {
        self.0.class
    }

    /// Returns whether the failure belongs to `class`.
    #[must_use]
    pub fn is(&self, class: &'static FailureClass) -> bool {
        std::ptr::eq(self.0.class, class)
    }

    /// Returns the stable name: `code` on the wire, `ended` in the log.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.class.code
    }

    /// Returns the error kind that the dialects spell on the wire.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match (&self.0.refusal, self.0.kind) {
            _ if self.is(&classes::CONTEXT_LENGTH_EXCEEDED) => self.0.class.kind,
            (Some(refusal), _) => FailureKind::from_status(refusal.status),
            (None, Some(kind)) => kind,
            (None, None) => self.0.class.kind,
        }
    }

    /// Returns the HTTP status: the upstream's own where it refused the request.
    #[must_use]
    pub fn status(&self) -> u16 {
        let is_too_long = self.is(&classes::CONTEXT_LENGTH_EXCEEDED);
        match &self.0.refusal {
            // Some servers call it a fault of their own, after which clients would try again.
            Some(refusal) if !is_too_long || refusal.status < 500 => refusal.status,
            _ => self.0.class.status,
        }
    }

    /// Returns the party at fault.
    #[must_use]
    pub fn blame(&self) -> Blame {
        if !self.is_upstream_report() {
            return self.0.class.blame;
        }
        match self.kind() {
            FailureKind::InvalidRequest | FailureKind::NotFound | FailureKind::TooLarge => {
                Blame::Client
            }
            // The key is ours.
            FailureKind::Authentication | FailureKind::Billing | FailureKind::Permission => {
                Blame::Us
            }
            FailureKind::RateLimit
            | FailureKind::Overloaded
            | FailureKind::Timeout
            | FailureKind::Server => Blame::Upstream,
        }
    }

    /// Returns the limit up to which another attempt may follow.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self.0.retry {
            Some(retry) => retry,
            // Any upstream would refuse the request, or this one refuses our key.
            None if self.is_upstream_report() && self.blame() != Blame::Upstream => Retry::Never,
            None => self.0.class.retry,
        }
    }

    /// Returns whether the request certainly never reached an upstream.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        self.retry() == Retry::BeforeSend
    }

    /// Returns the field of the request at fault, where there is one.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        self.0.param.as_deref()
    }

    /// Returns the time after which the request may be sent again, where this server sets one.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns true if clients should not send the request again by themselves: it was tried as
    /// often as is good for the upstreams.
    #[must_use]
    pub fn forbids_client_retry(&self) -> bool {
        self.0.forbids_client_retry
    }

    /// Returns the upstream's own error response, if that is the failure.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.0.refusal.as_deref()
    }

    /// Returns whether the upstream itself reported the error, in its own words.
    fn is_upstream_report(&self) -> bool {
        let is_plain = self.is(&classes::UPSTREAM_REFUSED) || self.is(&classes::UPSTREAM_ERROR);
        is_plain || self.has_known_cause()
    }

    /// Returns true if the upstream named a cause upon which clients act by themselves.
    pub(crate) fn has_known_cause(&self) -> bool {
        self.is(&classes::CONTEXT_LENGTH_EXCEEDED)
            || self.is(&classes::INSUFFICIENT_QUOTA)
            || self.is(&classes::CONTENT_FILTER)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("code", &self.code())
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
