//! An answer's head: what it says, how its body ends, and whether the connection may be kept.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};

use super::Broken;
use super::framing::{Chunked, Framing};

/// The longest head, those of interim answers before it included.
pub(super) const LONGEST: usize = 32 * 1024;
const HEADERS: usize = 100;

/// A whole head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) response: Response<()>,
    pub(super) framing: Framing,
    /// Whether another request may follow on the same connection.
    pub(super) keep: bool,
}

/// Heads as they come in, until the one that is no interim answer.
#[derive(Debug, Default)]
pub(super) struct Heads {
    came: Vec<u8>,
    /// Where the next head begins.
    start: usize,
    /// Up to where no head ends.
    seen: usize,
}

impl Heads {
    /// Takes in the next piece; gives out the head once it is whole, and where the body begins in what came.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Option<Head>, Broken> {
        self.came.extend_from_slice(piece);
        loop {
            let head = &self.came[self.start..];
            // Empty lines before a head might be an answer's end to somebody.
            if !head.starts_with(&b"HTTP/1."[..head.len().min(7)]) {
                return Err(Broken::NotHttp);
            }
            let Some(end) = end_of_head(&self.came, self.seen.max(self.start)) else {
                self.seen = self.came.len().saturating_sub(2);
                return if self.came.len() > LONGEST { Err(Broken::HeadTooLarge) } else { Ok(None) };
            };
            if end > LONGEST {
                return Err(Broken::HeadTooLarge);
            }
            let head = read(&self.came[self.start..end])?;
            self.start = end;
            match head.response.status() {
                // Nobody asked for another protocol.
                StatusCode::SWITCHING_PROTOCOLS => return Err(Broken::Framing("it switches protocols")),
                status if status.is_informational() => {}
                _ => return Ok(Some(head)),
            }
        }
    }

    /// What came after the head.
    pub(super) fn rest(&mut self) -> &mut [u8] {
        &mut self.came[self.start..]
    }
}

/// Where the first head ends: after its first empty line.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at).find_map(|at| match bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

fn read(bytes: &[u8]) -> Result<Head, Broken> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    if parsed.parse(bytes).map_err(Broken::Head)?.is_partial() {
        return Err(Broken::NotHttp);
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Broken::NotHttp)?;
    let mut response = Response::new(());
    *response.status_mut() = status;
    let current = parsed.version == Some(1);
    *response.version_mut() = if current { Version::HTTP_11 } else { Version::HTTP_10 };
    let map = response.headers_mut();
    map.reserve(parsed.headers.len());
    for header in &*parsed.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| Broken::NotHttp)?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| Broken::NotHttp)?;
        map.append(name, value);
    }
    let framing = framing(status, current, map)?;
    let keep = current && framing != Framing::Close && !tokens(map, CONNECTION).any(|token| is(token, b"close"));
    Ok(Head { response, framing, keep })
}

/// RFC 9112, 6.3; but where it lets one guess, this is an error.
fn framing(status: StatusCode, current: bool, headers: &HeaderMap) -> Result<Framing, Broken> {
    let coded = headers.contains_key(TRANSFER_ENCODING);
    let length = length(headers)?;
    if coded && (length.is_some() || !current) {
        return Err(Broken::Framing("its body ends in two ways"));
    }
    if coded {
        let mut codings = tokens(headers, TRANSFER_ENCODING);
        if !codings.next().is_some_and(|coding| is(coding, b"chunked")) || codings.next().is_some() {
            return Err(Broken::Framing("its transfer-encoding is not `chunked`"));
        }
    }
    if status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Ok(Framing::Length(0));
    }
    Ok(match length {
        _ if coded => Framing::Chunked(Chunked::default()),
        Some(length) => Framing::Length(length),
        None => Framing::Close,
    })
}

/// The body's length, of which there may be several if they agree.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Broken> {
    let mut length = None;
    for token in tokens(headers, CONTENT_LENGTH) {
        // Rust would take a sign.
        let digits = Some(token).filter(|token| token.iter().all(u8::is_ascii_digit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        match digits {
            Some(digits) if length.is_none_or(|length| length == digits) => length = Some(digits),
            _ => return Err(Broken::Framing("its content-length is no length")),
        }
    }
    Ok(length)
}

/// The elements of a header that is a list.
fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(name).into_iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

fn is(token: &[u8], name: &[u8]) -> bool {
    token.eq_ignore_ascii_case(name)
}
