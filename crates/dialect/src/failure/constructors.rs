//! The constructors of [`Failure`]: one for each class, with the values that its message needs.

mod access;
mod limits;
mod socket;

use std::borrow::Cow;
use std::time::Duration;

use super::classes::{self, FailureClass};
use super::template::fill;
use super::{Failure, FailureData, FailureKind, Refusal, Retry, SourceError, log, meaning};
use crate::error_report::ErrorReport;

/// The delay after which a client may repeat a request that we could not take.
const RETRY_SOON: Duration = Duration::from_secs(1);

impl Failure {
    fn new(class: &'static FailureClass, values: &[(&str, &str)]) -> Self {
        Self::with_message(class, fill(class.message, values))
    }

    fn with_message(class: &'static FailureClass, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(FailureData {
            class,
            message: message.into(),
            param: None,
            kind: None,
            retry: None,
            retry_after: None,
            forbids_client_retry: false,
            refusal: None,
            log_text: None,
            source: None,
        }))
    }

    /// Names the field of the request at fault.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<Option<String>>) -> Self {
        self.0.param = param.into();
        self
    }

    /// Sets the kind, where the upstream's words tell it.
    #[must_use]
    pub fn with_kind(mut self, kind: impl Into<Option<FailureKind>>) -> Self {
        self.0.kind = kind.into();
        self
    }

    /// Asks clients not to send the request again by themselves.
    #[must_use]
    pub fn without_client_retry(mut self) -> Self {
        self.0.forbids_client_retry = true;
        self
    }

    /// Sets the time after which the request may be sent again.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    fn with_source(mut self, source: SourceError) -> Self {
        self.0.source = Some(source);
        self
    }

    /// Returns an `invalid_request` that blames the field `param`.
    pub fn invalid(param: &str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::invalid_request(message).with_param(param.to_owned())
    }

    /// Returns a failure of class [`INVALID_REQUEST`](classes::INVALID_REQUEST).
    #[must_use]
    pub fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_message(&classes::INVALID_REQUEST, message)
    }

    /// Returns a failure of class [`UNKNOWN_MODEL`](classes::UNKNOWN_MODEL).
    #[must_use]
    pub fn unknown_model(model: &str, known: &[String]) -> Self {
        let values = [("model", model), ("known", &known.join(", "))];
        Self::new(&classes::UNKNOWN_MODEL, &values).with_param("model".to_owned())
    }

    /// Returns a failure of class [`NOT_FOUND`](classes::NOT_FOUND).
    #[must_use]
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_message(&classes::NOT_FOUND, message)
    }

    /// Returns a failure of class [`UNKNOWN_RESPONSE`](classes::UNKNOWN_RESPONSE).
    #[must_use]
    pub fn unknown_response(id: &str) -> Self {
        Self::new(&classes::UNKNOWN_RESPONSE, &[("id", id)])
    }

    /// Returns a failure of class [`METHOD_NOT_ALLOWED`](classes::METHOD_NOT_ALLOWED).
    #[must_use]
    pub fn method_not_allowed(method: &str, allowed: &str) -> Self {
        let values = [("method", method), ("allowed", allowed)];
        Self::new(&classes::METHOD_NOT_ALLOWED, &values)
    }

    /// Returns a failure of class [`UPGRADE_REQUIRED`](classes::UPGRADE_REQUIRED).
    #[must_use]
    pub fn upgrade_required(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_message(&classes::UPGRADE_REQUIRED, message)
    }

    /// Returns a failure of class [`UNSUPPORTED_MEDIA_TYPE`](classes::UNSUPPORTED_MEDIA_TYPE).
    #[must_use]
    pub fn unsupported_media_type(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_message(&classes::UNSUPPORTED_MEDIA_TYPE, message)
    }

    /// Returns a failure of class [`BODY_TOO_LARGE`](classes::BODY_TOO_LARGE).
    #[must_use]
    pub fn body_too_large(limit: usize) -> Self {
        Self::new(&classes::BODY_TOO_LARGE, &[("limit", &limit.to_string())])
    }

    /// Returns a failure of class [`BODY_TIMEOUT`](classes::BODY_TIMEOUT).
    #[must_use]
    pub fn body_timeout(after: Duration) -> Self {
        Self::new(&classes::BODY_TIMEOUT, &[("after", &duration(after))])
    }

    /// Returns a failure of class [`BODY_BROKEN`](classes::BODY_BROKEN).
    #[must_use]
    pub fn body_broken(source: SourceError) -> Self {
        Self::with_message(&classes::BODY_BROKEN, classes::BODY_BROKEN.message).with_source(source)
    }

    /// Returns a failure of class [`HEADERS_TOO_LARGE`](classes::HEADERS_TOO_LARGE).
    #[must_use]
    pub fn headers_too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_message(&classes::HEADERS_TOO_LARGE, message)
    }

    /// Returns a failure of class [`FORBIDDEN`](classes::FORBIDDEN).
    #[must_use]
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_message(&classes::FORBIDDEN, message)
    }

    /// Returns a failure of class [`NOT_ACCEPTABLE`](classes::NOT_ACCEPTABLE).
    #[must_use]
    pub fn not_acceptable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_message(&classes::NOT_ACCEPTABLE, message)
    }

    /// Returns a failure of class [`GONE`](classes::GONE).
    #[must_use]
    pub fn gone(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_message(&classes::GONE, message)
    }

    /// Returns a failure of class [`CONFLICT`](classes::CONFLICT).
    #[must_use]
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_message(&classes::CONFLICT, message)
    }

    /// Returns a failure of class [`CONNECT_FAILED`](classes::CONNECT_FAILED).
    #[must_use]
    pub fn connect_failed(provider: &str, source: SourceError) -> Self {
        Self::new(&classes::CONNECT_FAILED, &[("provider", provider)]).with_source(source)
    }

    /// Returns a failure of class [`NO_ACCESS_TOKEN`](classes::NO_ACCESS_TOKEN).
    #[must_use]
    pub fn no_access_token(provider: &str, reason: &str) -> Self {
        let values = [("provider", provider), ("reason", reason)];
        Self::new(&classes::NO_ACCESS_TOKEN, &values)
    }

    /// Returns a failure of class [`DNS_FAILED`](classes::DNS_FAILED).
    #[must_use]
    pub fn dns_failed(provider: &str, source: SourceError) -> Self {
        Self::new(&classes::DNS_FAILED, &[("provider", provider)]).with_source(source)
    }

    /// Returns a failure of class [`TLS_FAILED`](classes::TLS_FAILED).
    #[must_use]
    pub fn tls_failed(provider: &str, reason: &str, source: SourceError) -> Self {
        let values = [("provider", provider), ("reason", reason)];
        Self::new(&classes::TLS_FAILED, &values).with_source(source)
    }

    /// Returns a failure of class [`CONNECT_TIMEOUT`](classes::CONNECT_TIMEOUT).
    #[must_use]
    pub fn connect_timeout(provider: &str, after: Duration, source: SourceError) -> Self {
        let values = [("provider", provider), ("after", &duration(after))];
        Self::new(&classes::CONNECT_TIMEOUT, &values).with_source(source)
    }

    /// Returns a failure of class [`FIRST_TOKEN_TIMEOUT`](classes::FIRST_TOKEN_TIMEOUT).
    #[must_use]
    pub fn first_token_timeout(after: Duration) -> Self {
        Self::new(
            &classes::FIRST_TOKEN_TIMEOUT,
            &[("after", &duration(after))],
        )
    }

    /// Returns a failure of class [`BETWEEN_TOKENS_TIMEOUT`](classes::BETWEEN_TOKENS_TIMEOUT).
    #[must_use]
    pub fn between_tokens_timeout(after: Duration) -> Self {
        Self::new(
            &classes::BETWEEN_TOKENS_TIMEOUT,
            &[("after", &duration(after))],
        )
    }

    /// Returns a failure of class [`TOTAL_TIMEOUT`](classes::TOTAL_TIMEOUT).
    #[must_use]
    pub fn total_timeout(after: Duration) -> Self {
        Self::new(&classes::TOTAL_TIMEOUT, &[("after", &duration(after))])
    }

    /// Returns a failure of class [`UPSTREAM_REFUSED`](classes::UPSTREAM_REFUSED), or of that of
    /// its cause.
    #[must_use]
    pub fn upstream_refused(refusal: Refusal) -> Self {
        let report = refusal.report.as_ref();
        let values = [
            ("provider", refusal.provider.as_str()),
            ("status", &refusal.status.to_string()),
            (
                "message",
                report.map_or("it gave no reason", |report| &report.message),
            ),
        ];
        let mut failure = Self::new(&classes::UPSTREAM_REFUSED, &values);
        let cause = report.and_then(|report| meaning::class_of(report, Some(refusal.status)));
        failure.0.class = cause.unwrap_or(failure.0.class);
        let mut log_text = format!(
            "provider `{}` answered {}",
            refusal.provider, refusal.status
        );
        if let Some(report) = report {
            log::append_report(&mut log_text, report);
        }
        failure.0.log_text = Some(log_text);
        failure.0.refusal = Some(Box::new(refusal));
        failure
    }

    /// Returns a failure of class [`UPSTREAM_NOT_A_STREAM`](classes::UPSTREAM_NOT_A_STREAM): the
    /// media type `found` came where `expected` was due, with a body of `length` bytes.
    #[must_use]
    pub fn not_a_stream(provider: &str, found: &str, expected: &str, length: usize) -> Self {
        let values = [
            ("provider", provider),
            ("found", found),
            ("expected", expected),
        ];
        let mut failure = Self::new(&classes::UPSTREAM_NOT_A_STREAM, &values);
        failure.0.log_text = Some(format!("{failure}; {length} bytes were read of it"));
        failure
    }

    /// Returns the same for an answer that is neither a stream nor JSON: `report` has its first
    /// words, for the client and not for the log.
    #[must_use]
    pub fn not_an_answer(
        provider: &str,
        found: &str,
        expected: &str,
        report: Option<&ErrorReport>,
        length: usize,
    ) -> Self {
        let mut failure = Self::not_a_stream(provider, found, expected, length);
        if let Some(report) = report {
            failure.0.message = format!("{}: {}", failure.0.message, report.message).into();
        }
        failure
    }

    /// Returns a failure of class [`UPSTREAM_BAD_PAYLOAD`](classes::UPSTREAM_BAD_PAYLOAD).
    #[must_use]
    pub fn bad_payload(expected: &str, source: SourceError) -> Self {
        let values = [("expected", expected)];
        Self::new(&classes::UPSTREAM_BAD_PAYLOAD, &values).with_source(source)
    }

    /// Returns a failure of class [`EVENT_TOO_LARGE`](classes::EVENT_TOO_LARGE).
    #[must_use]
    pub fn event_too_large(limit: usize) -> Self {
        Self::new(&classes::EVENT_TOO_LARGE, &[("limit", &limit.to_string())])
    }

    /// Returns a failure of class [`RESPONSE_TOO_LARGE`](classes::RESPONSE_TOO_LARGE).
    #[must_use]
    pub fn response_too_large(limit: usize) -> Self {
        Self::new(
            &classes::RESPONSE_TOO_LARGE,
            &[("limit", &limit.to_string())],
        )
    }

    /// Returns a failure of class [`UPSTREAM_RESET`](classes::UPSTREAM_RESET).
    #[must_use]
    pub fn upstream_reset(source: SourceError) -> Self {
        Self::with_message(&classes::UPSTREAM_RESET, classes::UPSTREAM_RESET.message)
            .with_source(source)
    }

    /// Returns an `upstream_reset` of a request that was certainly never sent: the connection was
    /// closed before the first byte of it went out.
    #[must_use]
    pub fn request_not_sent(source: SourceError) -> Self {
        let mut failure = Self::upstream_reset(source);
        failure.0.retry = Some(Retry::BeforeSend);
        failure
    }

    /// Returns an `upstream_reset` of a request that was sent and got no answer: the upstream may
    /// have processed it. The log says `uncertain`.
    #[must_use]
    pub fn request_uncertain(source: SourceError) -> Self {
        let mut failure = Self::upstream_reset(source);
        let text = format!("{failure}; uncertain: the upstream may have processed the request");
        failure.0.log_text = Some(text);
        failure
    }

    /// Returns a failure of class [`UPSTREAM_TRUNCATED`](classes::UPSTREAM_TRUNCATED).
    #[must_use]
    pub fn upstream_truncated(missing: &str) -> Self {
        Self::new(&classes::UPSTREAM_TRUNCATED, &[("missing", missing)])
    }

    /// Returns a failure of class [`UPSTREAM_ERROR`](classes::UPSTREAM_ERROR) in words of our own.
    #[must_use]
    pub fn upstream_error(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_message(&classes::UPSTREAM_ERROR, message)
    }

    /// Returns a failure of class [`UPSTREAM_ERROR`](classes::UPSTREAM_ERROR), or of that of its
    /// cause, in the upstream's words, which the log doesn't have.
    #[must_use]
    pub fn upstream_report(report: ErrorReport) -> Self {
        let mut log_text = "the upstream reported an error".to_owned();
        log::append_report(&mut log_text, &report);
        let class = meaning::class_of(&report, None).unwrap_or(&classes::UPSTREAM_ERROR);
        let mut failure = Self::with_message(class, report.message);
        failure.0.log_text = Some(log_text);
        failure
    }

    /// Returns a failure of class [`TOO_MANY_LINGERING`](classes::TOO_MANY_LINGERING).
    #[must_use]
    pub fn too_many_lingering(limit: usize) -> Self {
        Self::new(
            &classes::TOO_MANY_LINGERING,
            &[("limit", &limit.to_string())],
        )
    }

    /// Returns a failure of class [`TOO_MANY_READERS`](classes::TOO_MANY_READERS).
    #[must_use]
    pub fn too_many_readers() -> Self {
        Self::with_message(
            &classes::TOO_MANY_READERS,
            classes::TOO_MANY_READERS.message,
        )
        .with_retry_after(RETRY_SOON)
    }

    /// Returns a failure of class [`STREAM_CAPACITY`](classes::STREAM_CAPACITY).
    #[must_use]
    pub fn stream_capacity(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_message(&classes::STREAM_CAPACITY, message).with_retry_after(RETRY_SOON)
    }

    /// Returns a failure of class [`STREAM_FULL`](classes::STREAM_FULL).
    #[must_use]
    pub fn stream_full() -> Self {
        Self::with_message(&classes::STREAM_FULL, classes::STREAM_FULL.message)
    }

    /// Returns a failure of class [`STORE_UNAVAILABLE`](classes::STORE_UNAVAILABLE).
    #[must_use]
    pub fn store_unavailable() -> Self {
        Self::with_message(
            &classes::STORE_UNAVAILABLE,
            classes::STORE_UNAVAILABLE.message,
        )
        .with_retry_after(RETRY_SOON)
    }

    /// Returns a failure of class [`CANCELLED`](classes::CANCELLED).
    #[must_use]
    pub fn cancelled() -> Self {
        Self::with_message(&classes::CANCELLED, classes::CANCELLED.message)
    }

    /// Returns a failure of class [`ABANDONED`](classes::ABANDONED).
    #[must_use]
    pub fn abandoned(after: Duration) -> Self {
        Self::new(&classes::ABANDONED, &[("after", &duration(after))])
    }

    /// Returns a failure of class [`UNREAD`](classes::UNREAD).
    #[must_use]
    pub fn unread() -> Self {
        Self::with_message(&classes::UNREAD, classes::UNREAD.message)
    }

    /// Returns a failure of class [`READER_LAGGED`](classes::READER_LAGGED).
    #[must_use]
    pub fn reader_lagged() -> Self {
        Self::with_message(&classes::READER_LAGGED, classes::READER_LAGGED.message)
    }

    /// Returns a failure of class [`WRITER_LOST`](classes::WRITER_LOST).
    #[must_use]
    pub fn writer_lost() -> Self {
        Self::with_message(&classes::WRITER_LOST, classes::WRITER_LOST.message)
    }

    /// Returns a failure of class [`TARGETS_BUSY`](classes::TARGETS_BUSY).
    #[must_use]
    pub fn targets_busy(retry_after: Duration) -> Self {
        Self::with_message(&classes::TARGETS_BUSY, classes::TARGETS_BUSY.message)
            .with_retry_after(whole_seconds(retry_after))
    }

    /// Returns a failure of class [`TARGETS_DOWN`](classes::TARGETS_DOWN).
    #[must_use]
    pub fn targets_down(retry_after: Duration) -> Self {
        Self::with_message(&classes::TARGETS_DOWN, classes::TARGETS_DOWN.message)
            .with_retry_after(whole_seconds(retry_after))
    }

    /// Returns a failure of class [`QUEUE_FULL`](classes::QUEUE_FULL).
    #[must_use]
    pub fn queue_full(retry_after: Duration) -> Self {
        Self::with_message(&classes::QUEUE_FULL, classes::QUEUE_FULL.message)
            .with_retry_after(whole_seconds(retry_after))
    }

    /// Returns a failure of class [`QUEUE_TIMEOUT`](classes::QUEUE_TIMEOUT).
    #[must_use]
    pub fn queue_timeout(retry_after: Duration) -> Self {
        Self::with_message(&classes::QUEUE_TIMEOUT, classes::QUEUE_TIMEOUT.message)
            .with_retry_after(whole_seconds(retry_after))
    }

    /// Returns a failure of class [`MEMORY_CAPACITY`](classes::MEMORY_CAPACITY).
    #[must_use]
    pub fn memory_capacity() -> Self {
        Self::with_message(&classes::MEMORY_CAPACITY, classes::MEMORY_CAPACITY.message)
            .with_retry_after(RETRY_SOON)
    }

    /// Returns a failure of class [`DRAINING`](classes::DRAINING).
    #[must_use]
    pub fn draining() -> Self {
        Self::with_message(&classes::DRAINING, classes::DRAINING.message)
            .with_retry_after(RETRY_SOON)
    }

    /// Returns a failure of class [`INTERNAL`](classes::INTERNAL).
    #[must_use]
    pub fn internal(source: SourceError) -> Self {
        Self::with_message(&classes::INTERNAL, classes::INTERNAL.message).with_source(source)
    }
}

/// Returns a time in the next whole seconds: a header says no others, and 0 would be at once.
fn whole_seconds(time: Duration) -> Duration {
    Duration::from_millis(time.as_secs() * 1000 + 1000)
}

fn duration(of: Duration) -> String {
    humantime::format_duration(of).to_string()
}
