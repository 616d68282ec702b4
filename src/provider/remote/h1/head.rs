//! An answer's head: what it says, how its body ends, and whether the connection may be kept.

use http::header::CONNECTION;
use http::{HeaderName, HeaderValue, Response, StatusCode, Version};

use super::H1Error;
use http1::{Framing, Malformed, body_framing, end_of_head, list_contains};

/// The longest head, those of interim answers before it included.
pub(super) const MAX_HEAD_BYTES: usize = 32 * 1024;
const MAX_HEADERS: usize = 100;

/// A whole head.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) response: Response<()>,
    pub(super) framing: Framing,
    /// Whether another request may follow on the same connection.
    pub(super) keep: bool,
}

/// HeadParser as they come in, until the one that is no interim answer.
#[derive(Debug, Default)]
pub(super) struct HeadParser {
    came: Vec<u8>,
    /// Where the next head begins.
    start: usize,
    /// Up to where no head ends.
    seen: usize,
}

impl HeadParser {
    /// Takes in the next piece; gives out the head once it is whole, and where the body begins in what came.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Option<ResponseHead>, H1Error> {
        self.came.extend_from_slice(piece);
        loop {
            let head = &self.came[self.start..];
            // Empty lines before a head might be an answer's end to somebody.
            if !head.starts_with(&b"HTTP/1."[..head.len().min(7)]) {
                return Err(H1Error::NotHttp);
            }
            let Some(end) = end_of_head(&self.came, self.seen.max(self.start)) else {
                self.seen = self.came.len().saturating_sub(2);
                return if self.came.len() > MAX_HEAD_BYTES {
                    Err(H1Error::HeadTooLarge)
                } else {
                    Ok(None)
                };
            };
            if end > MAX_HEAD_BYTES {
                return Err(H1Error::HeadTooLarge);
            }
            let head = read(&self.came[self.start..end])?;
            self.start = end;
            match head.response.status() {
                // Nobody asked for another protocol.
                StatusCode::SWITCHING_PROTOCOLS => {
                    return Err(Malformed("it switches protocols").into());
                }
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

fn read(bytes: &[u8]) -> Result<ResponseHead, H1Error> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    if parsed.parse(bytes).map_err(H1Error::Head)?.is_partial() {
        return Err(H1Error::NotHttp);
    }
    let status = parsed
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(H1Error::NotHttp)?;
    let mut response = Response::new(());
    *response.status_mut() = status;
    let current = parsed.version == Some(1);
    *response.version_mut() = if current {
        Version::HTTP_11
    } else {
        Version::HTTP_10
    };
    let map = response.headers_mut();
    map.reserve(parsed.headers.len());
    for header in &*parsed.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| H1Error::NotHttp)?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| H1Error::NotHttp)?;
        map.append(name, value);
    }
    let framed = body_framing(map, current)?;
    let framing = match status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Framing::Length(0),
        status if status.is_informational() => Framing::Length(0),
        _ => framed.unwrap_or(Framing::Close),
    };
    let keep = current && framing != Framing::Close && !list_contains(map, &CONNECTION, b"close");
    Ok(ResponseHead {
        response,
        framing,
        keep,
    })
}
