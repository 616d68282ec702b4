//! The headers of every response of the streams resource, errors included.

use axum::http::HeaderValue;
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::response::Response;

/// The response headers that a page of another origin may read.
const EXPOSED: &str = "location, etag, retry-after, stream-next-offset, stream-closed, stream-up-to-date, stream-cursor, \
    stream-ttl, stream-expires-at, stream-sse-data-encoding, producer-epoch, producer-seq, producer-expected-seq, \
    producer-received-seq, x-request-id";

/// Adds the headers of every response there, errors too: a stream holds what others wrote, and no
/// browser is to guess what it might be, nor to put it into a page that didn't ask for it properly.
pub(super) async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(
        "access-control-expose-headers",
        HeaderValue::from_static(EXPOSED),
    );
    response
}
