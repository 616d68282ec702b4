//! Which headers cross, and in which direction.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

/// From a client to any upstream, besides those of their common dialect. Everything else stays here: keys, cookies,
/// hosts, hop-by-hop.
const FORWARDED: &[&str] = &[
    "idempotency-key",
    "x-client-request-id",
    "traceparent",
    "tracestate",
];

/// From an upstream to a client, as they are; besides those that begin as one of [`RATE_LIMITS`].
const SHOWN: &[&str] = &[
    "retry-after-ms",
    "x-should-retry",
    "openai-processing-ms",
    "openai-version",
];

const RATE_LIMITS: &[&str] = &["x-ratelimit-", "anthropic-ratelimit-"];

/// The upstream's own id of the request, under a name of its own: `x-request-id` is ours.
const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");

/// Copies what an upstream may see of a client's headers.
pub(super) fn forward(from: &HeaderMap, dialect: &'static [&'static str], to: &mut HeaderMap) {
    for name in dialect.iter().chain(FORWARDED) {
        let mut values = from.get_all(*name).iter();
        // The client's own takes the place of ours.
        if let Some(first) = values.next() {
            to.insert(HeaderName::from_static(name), first.clone());
        }
        for value in values {
            to.append(HeaderName::from_static(name), value.clone());
        }
    }
}

/// What a client may see of an upstream's headers.
pub(super) fn client_visible(from: &HeaderMap) -> HeaderMap {
    let mut to = HeaderMap::new();
    for (name, value) in from {
        if SHOWN.contains(&name.as_str())
            || RATE_LIMITS
                .iter()
                .any(|start| name.as_str().starts_with(start))
        {
            to.append(name, value.clone());
        }
    }
    if let Some(id) = from.get("x-request-id").or_else(|| from.get("request-id")) {
        to.insert(UPSTREAM_REQUEST_ID, id.clone());
    }
    to
}

/// A header's text, where it is text.
pub(super) fn text(headers: &HeaderMap, name: impl http::header::AsHeaderName) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

/// The media type of an answer, without its parameters, in lower case.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let value = String::from_utf8_lossy(value).to_ascii_lowercase();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// `retry-after`, as it came.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<String> {
    text(headers, RETRY_AFTER)
}
