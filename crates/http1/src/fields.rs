//! Header fields that decide where a body ends and what happens to its connection.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName};

use super::{ChunkedReader, Framing, MalformedMessage};

/// Returns how the message body is delimited (RFC 9112 §6.3), `None` if the headers don't say.
/// `is_http11` is the version of the message: HTTP/1.0 has no chunks.
///
/// ```
/// use http::{HeaderMap, HeaderValue, header};
/// use http1::{Framing, body_framing};
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(body_framing(&headers, true), Ok(None));
///
/// headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("42"));
/// assert_eq!(body_framing(&headers, true), Ok(Some(Framing::Length(42))));
///
/// // RFC 9112 lets transfer-encoding win. Somebody between us and the peer may think otherwise.
/// headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
/// assert!(body_framing(&headers, true).is_err());
/// ```
///
/// # Errors
///
/// When the headers are ambiguous, even where the RFC permits guessing: two different lengths, a
/// length beside a transfer coding, a coding other than `chunked`, or a length that is no decimal
/// number of 64 bits.
pub fn body_framing(
    headers: &HeaderMap,
    is_http11: bool,
) -> Result<Option<Framing>, MalformedMessage> {
    let length = content_length(headers)?;
    if !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(length.map(Framing::Length));
    }
    if length.is_some() {
        return Err(MalformedMessage(
            "both content-length and transfer-encoding are present",
        ));
    }
    if !is_http11 {
        return Err(MalformedMessage("transfer-encoding in an HTTP/1.0 message"));
    }
    let mut codings = list_items(headers, &TRANSFER_ENCODING);
    let first = codings.next();
    if !first.is_some_and(|coding| eq_token(coding, b"chunked")) || codings.next().is_some() {
        return Err(MalformedMessage("transfer-encoding is not `chunked`"));
    }
    Ok(Some(Framing::Chunked(ChunkedReader::default())))
}

/// Returns the body's length. There may be several fields if they agree (RFC 9110 §8.6).
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, MalformedMessage> {
    let mut length = None;
    for item in list_items(headers, &CONTENT_LENGTH) {
        // `str::parse` would accept a sign.
        let digits = Some(item).filter(|item| item.iter().all(u8::is_ascii_digit));
        let parsed = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        match parsed {
            Some(parsed) if length.is_none_or(|length| length == parsed) => length = Some(parsed),
            _ => return Err(MalformedMessage("invalid content-length")),
        }
    }
    Ok(length)
}

/// Returns the items of a comma-separated header, of all its fields (RFC 9110 §5.6.1). Empty items
/// are kept.
pub fn list_items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).into_iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// Returns true if a comma-separated header has that item.
#[must_use]
pub fn list_contains(headers: &HeaderMap, name: &HeaderName, item: &[u8]) -> bool {
    list_items(headers, name).any(|token| eq_token(token, item))
}

/// Compares two tokens, such as the names of codings, without regard to case.
#[must_use]
pub fn eq_token(token: &[u8], name: &[u8]) -> bool {
    token.eq_ignore_ascii_case(name)
}
