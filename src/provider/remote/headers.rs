//! The headers that cross between clients and upstreams, in either direction.

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};

use crate::provider::credentials::Credentials;

/// Headers that any upstream may see of a client's, besides those of a common dialect. Everything
/// else stays here: keys, cookies, hosts, hop-by-hop headers.
const FORWARDED: &[&str] = &[
    "idempotency-key",
    "x-client-request-id",
    "traceparent",
    "tracestate",
];

/// Headers that a client may see of an upstream's. Not those of its rate limits: these are our
/// account's, and no client's own.
const CLIENT_VISIBLE: &[&str] = &[
    "retry-after-ms",
    "x-should-retry",
    "openai-processing-ms",
    "openai-version",
];

/// The upstream's own request id, under another name: `x-request-id` is ours.
const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");

/// The header by which an upstream is asked to keep a stream, and for how long after its reader has
/// left: longer than it takes to come back.
const LINGER: HeaderName = HeaderName::from_static("x-linger");
const LINGER_TIME: HeaderValue = HeaderValue::from_static("30s");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Asks the upstream to keep the stream of its answer.
pub(super) fn ask_to_keep(headers: &mut HeaderMap) {
    headers.entry(LINGER).or_insert(LINGER_TIME);
    // A request that repeats one in another form would be refused as not the same.
    headers.remove(IDEMPOTENCY_KEY);
}

/// Copies the client's headers that the upstream may see: [`FORWARDED`], those of the dialect, and
/// those that the provider's configuration names.
pub(super) fn copy_forwarded(
    from: &HeaderMap,
    dialect: &'static [&'static str],
    configured: &[HeaderName],
    to: &mut HeaderMap,
) {
    let known = dialect.iter().chain(FORWARDED);
    let known = known.map(|name| HeaderName::from_static(name));
    for name in known.chain(configured.iter().cloned()) {
        let mut values = from.get_all(&name).iter();
        // The client's own value replaces ours.
        if let Some(first) = values.next() {
            to.insert(name.clone(), first.clone());
        }
        for value in values {
            to.append(name.clone(), value.clone());
        }
    }
}

/// Returns the upstream's headers that the client may see. Those that `Connection` names concern
/// that connection alone (RFC 9110, section 7.6.1).
pub(super) fn client_visible(from: &HeaderMap, credentials: &Credentials) -> HeaderMap {
    let is_end_to_end = |name: &str| !http1::list_contains(from, &CONNECTION, name.as_bytes());
    let mut to = HeaderMap::new();
    for (name, value) in from {
        if CLIENT_VISIBLE.contains(&name.as_str()) && is_end_to_end(name.as_str()) {
            to.append(name, credentials.redact_header(value));
        }
    }
    let id = ["x-request-id", "request-id"]
        .into_iter()
        .find_map(|name| from.get(name).filter(|_| is_end_to_end(name)));
    if let Some(id) = id {
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

/// Names that stand in `content-encoding` for no coding at all, some of them by mistake.
const NO_CODINGS: &[&str] = &["", "identity", "none", "utf-8", "utf8", "binary", "8bit"];

/// Returns the codings of a response's body, in the order in which they were applied.
pub(super) fn codings(headers: &HeaderMap) -> Vec<String> {
    http1::list_items(headers, &CONTENT_ENCODING)
        .map(|coding| String::from_utf8_lossy(coding).to_ascii_lowercase())
        .filter(|coding| !NO_CODINGS.contains(&coding.as_str()))
        .collect()
}

/// Returns whether a response is labelled as a stream of events.
pub(super) fn is_labelled_events(headers: &HeaderMap) -> bool {
    has_media_type(headers, b"text/event-stream")
}

/// Returns whether a response is labelled as frames of AWS.
pub(super) fn is_labelled_aws_events(headers: &HeaderMap) -> bool {
    has_media_type(headers, b"application/vnd.amazon.eventstream")
}

fn has_media_type(headers: &HeaderMap, wanted: &[u8]) -> bool {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let media_type = value.unwrap_or_default().split(|&byte| byte == b';').next();
    media_type.is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(wanted))
}

/// Returns the length of a response's body, where it is known before.
pub(super) fn content_length(headers: &HeaderMap) -> Option<usize> {
    header_text(headers, CONTENT_LENGTH)?.parse().ok()
}
