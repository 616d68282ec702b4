//! The response headers that pages of other origins may read.

use std::sync::LazyLock;

use axum::http::HeaderValue;

/// The response headers of this server that a page may read.
pub(super) const EXPOSED: &[&str] = &[
    "etag",
    "location",
    "producer-epoch",
    "producer-expected-seq",
    "producer-received-seq",
    "producer-seq",
    "request-id",
    "retry-after",
    "stream-closed",
    "stream-cursor",
    "stream-expires-at",
    "stream-next-offset",
    "stream-seq",
    "stream-sse-data-encoding",
    "stream-ttl",
    "stream-up-to-date",
    "x-request-id",
    "x-stream-id",
    "x-tokenrill-attempts",
    "x-tokenrill-estimate",
    "x-tokenrill-target",
];

/// [`EXPOSED`] as the value of `access-control-expose-headers`.
pub(super) static EXPOSED_VALUE: LazyLock<HeaderValue> = LazyLock::new(|| {
    HeaderValue::try_from(EXPOSED.join(", ")).unwrap_or(HeaderValue::from_static("*"))
});
