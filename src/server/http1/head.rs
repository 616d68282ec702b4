//! A request's head: what it asks, how its body ends, and whether another request may follow.

use axum::http::header::{CONNECTION, EXPECT, HOST, UPGRADE};
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri, Version};

use dialect::failure::Failure;
use http1::{Framing, Malformed, body_framing, list_contains};

/// The longest head.
pub(super) const LONGEST: usize = 40 * 1024;
/// More headers than any honest client sends. With fewer the edge says what is wrong, where a head has too many.
const HEADERS: usize = 256;

/// A whole head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) request: Request<()>,
    pub(super) framing: Framing,
    /// Whether another request may follow on the same connection.
    pub(super) keep: bool,
    /// The client sends its body once it is told to.
    pub(super) expects: bool,
    /// The client would speak another protocol from then on. One that has a body first is not let.
    pub(super) upgrades: bool,
}

/// A head that can't be answered as it asks.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) failure: Failure,
    /// What it seems to ask for.
    pub(super) path: String,
}

impl Unreadable {
    fn new(bytes: &[u8], failure: Failure) -> Self {
        let line = bytes
            .split(|byte| matches!(byte, b'\r' | b'\n'))
            .next()
            .unwrap_or_default();
        let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let path = target
            .split(|byte| *byte == b'?')
            .next()
            .unwrap_or_default();
        Self {
            failure,
            path: String::from_utf8_lossy(&path[..path.len().min(200)]).into_owned(),
        }
    }

    fn malformed(bytes: &[u8], why: &str) -> Self {
        let message = format!("the request's head can't be read: {why}");
        Self::new(bytes, Failure::invalid_request(message))
    }

    pub(super) fn too_long(bytes: &[u8]) -> Self {
        let message = format!("the request's head is longer than {LONGEST} bytes");
        Self::new(bytes, Failure::headers_too_large(message))
    }
}

/// Reads a whole head.
pub(super) fn read(bytes: &[u8]) -> Result<Head, Unreadable> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(bytes) {
        Ok(status) if status.is_complete() => {}
        Ok(_) => return Err(Unreadable::malformed(bytes, "it has no end")),
        Err(httparse::Error::TooManyHeaders) => {
            let message = format!("the request has more than {HEADERS} headers");
            return Err(Unreadable::new(bytes, Failure::headers_too_large(message)));
        }
        Err(error) => return Err(Unreadable::malformed(bytes, &error.to_string())),
    }
    of(&parsed).map_err(|why| Unreadable::malformed(bytes, why))
}

fn of(parsed: &httparse::Request<'_, '_>) -> Result<Head, &'static str> {
    let mut request = Request::new(());
    let method = parsed.method.unwrap_or_default();
    *request.method_mut() =
        Method::from_bytes(method.as_bytes()).map_err(|_| "its method is none")?;
    *request.uri_mut() =
        Uri::try_from(parsed.path.unwrap_or_default()).map_err(|_| "its target is no URI")?;
    let current = parsed.version == Some(1);
    *request.version_mut() = if current {
        Version::HTTP_11
    } else {
        Version::HTTP_10
    };
    let headers = request.headers_mut();
    headers.reserve(parsed.headers.len());
    for header in &*parsed.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| "a header's name is none")?;
        let value =
            HeaderValue::from_bytes(header.value).map_err(|_| "a header's value is none")?;
        headers.append(name, value);
    }
    // RFC 9112, 3.2: which of two hosts was meant, somebody between might see otherwise.
    match headers.get_all(HOST).iter().count() {
        1 => {}
        0 if !current => {}
        0 => return Err("it names no host"),
        _ => return Err("it names more than one host"),
    }
    let framing = body_framing(headers, current)
        .map_err(|Malformed(why)| why)?
        .unwrap_or(Framing::Length(0));
    let keep = match current {
        true => !list_contains(headers, &CONNECTION, b"close"),
        false => list_contains(headers, &CONNECTION, b"keep-alive"),
    };
    let expects = current
        && headers
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    // What is left of a body would be taken for the other protocol's.
    let upgrades = current
        && framing == Framing::Length(0)
        && headers.contains_key(UPGRADE)
        && list_contains(headers, &CONNECTION, b"upgrade");
    Ok(Head {
        framing,
        keep,
        expects,
        upgrades,
        request,
    })
}
