//! The media types that a client accepts.

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderValue};

/// Returns whether the client accepts `text/event-stream` by name.
pub(super) fn wants_events(headers: &HeaderMap) -> bool {
    let accepts = |value: &HeaderValue| {
        String::from_utf8_lossy(value.as_bytes())
            .to_ascii_lowercase()
            .contains("text/event-stream")
    };
    headers.get_all(ACCEPT).iter().any(accepts)
}
