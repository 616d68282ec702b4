//! Headers that say where a body ends, and what becomes of its connection.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName};

use super::{Chunked, Framing, Malformed};

/// How the body after these headers ends; none if they don't say. RFC 9112, 6.3; but where it lets one guess, this is an
/// error. `current` is HTTP/1.1, which alone has chunks.
///
/// # Errors
///
/// When they say it in two ways, or in one that can't be read.
pub fn framed(headers: &HeaderMap, current: bool) -> Result<Option<Framing>, Malformed> {
    let coded = headers.contains_key(TRANSFER_ENCODING);
    let length = length(headers)?;
    if !coded {
        return Ok(length.map(Framing::Length));
    }
    if length.is_some() || !current {
        return Err(Malformed("its body ends in two ways"));
    }
    let mut codings = tokens(headers, &TRANSFER_ENCODING);
    if !codings.next().is_some_and(|coding| is(coding, b"chunked")) || codings.next().is_some() {
        return Err(Malformed("its transfer-encoding is not `chunked`"));
    }
    Ok(Some(Framing::Chunked(Chunked::default())))
}

/// The body's length, of which there may be several if they agree.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut length = None;
    for token in tokens(headers, &CONTENT_LENGTH) {
        // Rust would take a sign.
        let digits = Some(token).filter(|token| token.iter().all(u8::is_ascii_digit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        match digits {
            Some(digits) if length.is_none_or(|length| length == digits) => length = Some(digits),
            _ => return Err(Malformed("its content-length is no length")),
        }
    }
    Ok(length)
}

/// The elements of a header that is a list.
pub fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).into_iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// Whether a header that is a list has that element.
#[must_use]
pub fn has(headers: &HeaderMap, name: &HeaderName, element: &[u8]) -> bool {
    tokens(headers, name).any(|token| is(token, element))
}

/// Whether a list's element is that one.
#[must_use]
pub fn is(token: &[u8], name: &[u8]) -> bool {
    token.eq_ignore_ascii_case(name)
}
