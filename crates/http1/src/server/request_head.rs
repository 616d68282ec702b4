//! The head of a request: its parts, its body's framing, and what it asks of the connection.

use http::header::{CONNECTION, EXPECT, HOST, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::{Framing, MalformedMessage, body_framing, is_valid_host, list_contains};

/// The longest head that is read.
pub(super) const MAX_HEAD_BYTES: usize = 40 * 1024;
/// More headers than any honest client sends. An application with a lower limit of its own can
/// still name the number in its answer.
const MAX_HEADERS: usize = 256;
/// Bytes of a bad head's path that are passed on.
const MAX_SHOWN_PATH: usize = 200;

/// A complete, valid head.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) request: Request<()>,
    pub(super) framing: Framing,
    /// Another request may follow on the same connection.
    pub(super) keep_alive: bool,
    /// The client sends its body only after `100 Continue`.
    pub(super) expects_continue: bool,
    /// The client offers to switch to another protocol. Ignored for a request with a body.
    pub(super) offers_upgrade: bool,
}

/// A request head that is refused. The connection is closed after the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadHead {
    /// The reason.
    pub error: HeadError,
    /// The path that the client seems to ask for, at most 200 bytes of it. The empty string if
    /// there is none.
    pub path: String,
}

/// The reason for which a request head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The head violates the grammar of HTTP/1.1.
    #[error("malformed request head: {0}")]
    Syntax(httparse::Error),
    /// The head is ambiguous, or parts of it are invalid.
    #[error("malformed request head: {0}")]
    Malformed(#[from] MalformedMessage),
    /// The head is longer than 40 KiB.
    #[error("the request head is longer than {} bytes", MAX_HEAD_BYTES)]
    TooLong,
    /// The head has more than 256 headers.
    #[error("the request has more than {} headers", MAX_HEADERS)]
    TooManyHeaders,
}

impl HeadError {
    /// Returns true if the head is too large: status 431 where others are 400 (RFC 6585 §5).
    #[must_use]
    pub fn is_too_large(self) -> bool {
        matches!(self, Self::TooLong | Self::TooManyHeaders)
    }
}

impl BadHead {
    pub(super) fn new(head: &[u8], error: HeadError) -> Self {
        let line = head
            .split(|byte| matches!(byte, b'\r' | b'\n'))
            .next()
            .unwrap_or_default();
        let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let path = target
            .split(|byte| *byte == b'?')
            .next()
            .unwrap_or_default();
        let shown = &path[..path.len().min(MAX_SHOWN_PATH)];
        Self {
            error,
            path: String::from_utf8_lossy(shown).into_owned(),
        }
    }
}

/// Parses a complete head, its empty line included.
pub(super) fn parse_request_head(bytes: &[u8]) -> Result<RequestHead, BadHead> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let error = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {
            match check_head(&parsed) {
                Ok(head) => return Ok(head),
                Err(malformed) => malformed.into(),
            }
        }
        // The parser sees its end elsewhere than we did.
        Ok(_) => MalformedMessage("ambiguous end").into(),
        Err(httparse::Error::TooManyHeaders) => HeadError::TooManyHeaders,
        Err(error) => HeadError::Syntax(error),
    };
    Err(BadHead::new(bytes, error))
}

/// Checks what the grammar leaves open, and converts the head.
fn check_head(parsed: &httparse::Request<'_, '_>) -> Result<RequestHead, MalformedMessage> {
    let mut request = Request::new(());
    let method = parsed.method.unwrap_or_default();
    *request.method_mut() =
        Method::from_bytes(method.as_bytes()).map_err(|_| MalformedMessage("invalid method"))?;
    let target = parsed.path.unwrap_or_default();
    *request.uri_mut() =
        Uri::try_from(target).map_err(|_| MalformedMessage("invalid request target"))?;
    check_target(target, request.uri(), request.method())?;
    let is_http11 = parsed.version == Some(1);
    *request.version_mut() = if is_http11 {
        Version::HTTP_11
    } else {
        Version::HTTP_10
    };
    let headers = request.headers_mut();
    headers.reserve(parsed.headers.len());
    for header in &*parsed.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| MalformedMessage("invalid header name"))?;
        let value = HeaderValue::from_bytes(header.value)
            .map_err(|_| MalformedMessage("invalid header value"))?;
        headers.append(name, value);
    }
    check_host(headers, is_http11)?;
    let framing = body_framing(headers, is_http11)?.unwrap_or(Framing::Length(0));
    let keep_alive = !list_contains(headers, &CONNECTION, b"close")
        && (is_http11 || list_contains(headers, &CONNECTION, b"keep-alive"));
    let expects_continue = is_http11
        && headers
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    // The rest of a body would be taken for the other protocol's bytes.
    let offers_upgrade = is_http11
        && framing == Framing::Length(0)
        && headers.contains_key(UPGRADE)
        && list_contains(headers, &CONNECTION, b"upgrade");
    Ok(RequestHead {
        request,
        framing,
        keep_alive,
        expects_continue,
        offers_upgrade,
    })
}

/// Checks that the target has a form that the method may have (RFC 9112 §3.2).
fn check_target(target: &str, uri: &Uri, method: &Method) -> Result<(), MalformedMessage> {
    // What follows may be the tunnel's bytes already. They are no request.
    if *method == Method::CONNECT {
        return Err(MalformedMessage("CONNECT is not supported"));
    }
    let is_allowed = match (uri.scheme_str(), uri.authority()) {
        (None, None) if target == "*" => *method == Method::OPTIONS,
        (None, None) => target.starts_with('/'),
        // A user or password has no place in a request.
        (Some("http" | "https"), Some(host)) => is_valid_host(host.as_str().as_bytes()),
        _ => false,
    };
    // A fragment is never sent, and `Uri` would drop it.
    if is_allowed && !target.contains('#') {
        Ok(())
    } else {
        Err(MalformedMessage("invalid request target"))
    }
}

/// Checks that there is one valid `host` (RFC 9112 §3.2): of two, an intermediary might choose the
/// other.
fn check_host(headers: &HeaderMap, is_http11: bool) -> Result<(), MalformedMessage> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_valid_host(host.as_bytes()) => Ok(()),
        (Some(_), None) => Err(MalformedMessage("invalid host header")),
        (None, _) if !is_http11 => Ok(()),
        (None, _) => Err(MalformedMessage("the host header is missing")),
        (Some(_), Some(_)) => Err(MalformedMessage("more than one host header")),
    }
}
