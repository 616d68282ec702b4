//! The headers of every response of the streams resource, errors included.

use axum::http::HeaderValue;
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::response::Response;

use crate::http::exposed::EXPOSED_VALUE;

/// Adds the headers of every response there, errors too: a stream holds what others wrote, and no
/// browser is to guess what it might be, nor to put it into a page that didn't ask for it properly.
pub(super) async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("same-origin"),
    );
    headers.insert("access-control-expose-headers", EXPOSED_VALUE.clone());
    response
}
