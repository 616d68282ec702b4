//! Parses response heads: the status, the end of the body, the fate of the connection.

use http::header::CONNECTION;
use http::{HeaderName, HeaderValue, Response, StatusCode, Version};

use super::error::H1Error;
use crate::{Framing, MalformedMessage, body_framing, end_of_head, list_contains};

/// Longest response head, interim responses before it included.
pub(super) const MAX_HEAD_BYTES: usize = 32 * 1024;
const MAX_HEADERS: usize = 100;

/// A complete response head.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) response: Response<()>,
    pub(super) framing: Framing,
    /// Set if another request may follow on the same connection.
    pub(super) reusable: bool,
}

/// Collects bytes until they hold a head that is not that of an interim response.
#[derive(Debug, Default)]
pub(super) struct HeadParser {
    received: Vec<u8>,
    /// Start of the next head.
    start: usize,
    /// Position before which no head ends.
    searched: usize,
}

impl HeadParser {
    /// Takes the next bytes; returns the head once it is complete.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Option<ResponseHead>, H1Error> {
        self.received.extend_from_slice(piece);
        loop {
            let head = &self.received[self.start..];
            // Empty lines before a head are not skipped: another reader might see a head end there.
            if !head.starts_with(&b"HTTP/1."[..head.len().min(7)]) {
                return Err(H1Error::NotHttp);
            }
            let Some(end) = end_of_head(&self.received, self.searched.max(self.start)) else {
                self.searched = self.received.len().saturating_sub(2);
                check_length(self.received.len())?;
                return Ok(None);
            };
            check_length(end)?;
            let head = parse_head(&self.received[self.start..end])?;
            self.start = end;
            match head.response.status() {
                // The request did not ask for another protocol.
                StatusCode::SWITCHING_PROTOCOLS => {
                    return Err(MalformedMessage("unexpected switch of protocols").into());
                }
                status if status.is_informational() => {}
                _ => return Ok(Some(head)),
            }
        }
    }

    /// Returns the bytes that followed the head.
    pub(super) fn rest(&mut self) -> &mut [u8] {
        &mut self.received[self.start..]
    }
}

fn check_length(length: usize) -> Result<(), H1Error> {
    let limit = MAX_HEAD_BYTES;
    if length > limit {
        return Err(H1Error::HeadTooLarge { limit });
    }
    Ok(())
}

fn parse_head(bytes: &[u8]) -> Result<ResponseHead, H1Error> {
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
    let declared = body_framing(map, current)?;
    let framing = match status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Framing::Length(0),
        status if status.is_informational() => Framing::Length(0),
        _ => declared.unwrap_or(Framing::Close),
    };
    let reusable =
        current && framing != Framing::Close && !list_contains(map, &CONNECTION, b"close");
    Ok(ResponseHead {
        response,
        framing,
        reusable,
    })
}
