//! The headers that cross between clients and upstreams, in either direction.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::provider::credentials::Credentials;

/// Headers that any upstream may see of a client's, besides those of a common dialect. Everything
/// else stays here: keys, cookies, hosts, hop-by-hop headers.
const FORWARDED: &[&str] = &[
    "idempotency-key",
    "x-client-request-id",
    "traceparent",
    "tracestate",
];

/// Headers that a client may see of an upstream's, besides those of [`RATE_LIMIT_PREFIXES`].
const CLIENT_VISIBLE: &[&str] = &[
    "retry-after-ms",
    "x-should-retry",
    "openai-processing-ms",
    "openai-version",
];

const RATE_LIMIT_PREFIXES: &[&str] = &["x-ratelimit-", "anthropic-ratelimit-"];

/// The upstream's own request id, under another name: `x-request-id` is ours.
const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");

/// Copies the client's headers that the upstream may see: [`FORWARDED`] and those of the dialect.
pub(super) fn copy_forwarded(
    from: &HeaderMap,
    dialect: &'static [&'static str],
    to: &mut HeaderMap,
) {
    for name in dialect.iter().chain(FORWARDED) {
        let mut values = from.get_all(*name).iter();
        // The client's own value replaces ours.
        if let Some(first) = values.next() {
            to.insert(HeaderName::from_static(name), first.clone());
        }
        for value in values {
            to.append(HeaderName::from_static(name), value.clone());
        }
    }
}

/// Returns the upstream's headers that the client may see.
pub(super) fn client_visible(from: &HeaderMap, credentials: &Credentials) -> HeaderMap {
    let mut to = HeaderMap::new();
    for (name, value) in from {
        if CLIENT_VISIBLE.contains(&name.as_str())
            || RATE_LIMIT_PREFIXES
                .iter()
                .any(|prefix| name.as_str().starts_with(prefix))
        {
            to.append(name, credentials.redact_header(value));
        }
    }
    if let Some(id) = from.get("x-request-id").or_else(|| from.get("request-id")) {
        to.insert(UPSTREAM_REQUEST_ID, credentials.redact_header(id));
    }
    to
}

/// Returns a header's value, if it is text.
pub(super) fn header_text(
    headers: &HeaderMap,
    name: impl http::header::AsHeaderName,
) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

/// Returns the media type of a response, without its parameters, in lower case.
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
