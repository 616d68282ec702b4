//! A response on its way: its head, and its body as fast as the client takes it.
//!
//! The body is polled only while the client has taken all that came before. All that it has at one
//! moment goes out in one write.

use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Response, StatusCode, response};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{ServerConnection, lock};
use crate::ThreadBuffer;

/// Bytes that are gathered for one write, apart from the framing around them.
const WRITE_BATCH: usize = 16 * 1024;
/// The last chunk and an empty trailer section (RFC 9112 §7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

thread_local! {
    /// The buffer in which this thread gathers its next write.
    static BUFFER: ThreadBuffer<Vec<u8>> =
        const { ThreadBuffer::new(|| Vec::with_capacity(2 * WRITE_BATCH)) };
}

/// The facts of a request on which the form of its response depends.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestInfo {
    /// The method was `HEAD`: the response has no body, whatever its headers say of it.
    pub(super) is_head: bool,
    /// The version was HTTP/1.1, which alone has chunks.
    pub(super) is_http11: bool,
    /// Another request may follow on the same connection.
    pub(super) keep_alive: bool,
}

impl RequestInfo {
    /// The facts assumed of a request whose head is refused.
    pub(super) const UNKNOWN: Self = Self {
        is_head: false,
        is_http11: true,
        keep_alive: false,
    };

    pub(super) fn with_keep_alive(self, keep_alive: bool) -> Self {
        Self { keep_alive, ..self }
    }
}

/// The way in which the client recognizes the body's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyEnd {
    /// The number of bytes that are still to be written.
    Length(u64),
    Chunks,
    Close,
}

/// The writer of one response.
#[derive(Debug)]
pub(super) struct ResponseWriter<B> {
    /// The head; empty once it has been written.
    head: Vec<u8>,
    /// `None` once the last byte has been gathered.
    body: Option<B>,
    /// The error that broke the body off, returned once the client has taken all before it.
    error: Option<io::Error>,
    /// The client has got all before that error.
    broken: bool,
    /// Bytes of the body's last frame that have not been gathered yet.
    rest: Bytes,
    end: BodyEnd,
    keep_alive: bool,
}

impl<B> ResponseWriter<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(response: Response<B>, request: RequestInfo) -> Self {
        let (parts, body) = response.into_parts();
        let has_body = !(parts.status.is_informational()
            || matches!(
                parts.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            ));
        let end = match body.size_hint().exact() {
            _ if !has_body => BodyEnd::Length(0),
            Some(length) => BodyEnd::Length(length),
            None if request.is_http11 => BodyEnd::Chunks,
            None => BodyEnd::Close,
        };
        let keep_alive = request.keep_alive && end != BodyEnd::Close;
        let info = request.with_keep_alive(keep_alive);
        let head = encode_head(&parts, has_body.then_some(end), info);
        let sends_body = has_body && !request.is_head && end != BodyEnd::Length(0);
        Self {
            head,
            body: sends_body.then_some(body),
            error: None,
            broken: false,
            rest: Bytes::new(),
            end,
            keep_alive,
        }
    }

    /// Returns true if the body broke off: all before that has been written, and no end of it.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Returns true if another request may follow.
    pub(super) fn keeps_alive(&self) -> bool {
        self.keep_alive
    }

    /// Writes the response; ready when the socket has taken all of it.
    pub(super) fn poll_write<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &Mutex<ServerConnection<S>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(lock(connection).poll_flushed(cx))?;
            if self.body.is_none() && self.head.is_empty() {
                self.broken |= self.error.is_some();
                return Poll::Ready(self.error.take().map_or(Ok(()), Err));
            }
            let gathered = BUFFER.with(|buffer| {
                buffer.with(|out| {
                    out.clear();
                    out.append(&mut self.head);
                    self.head = Vec::new();
                    let gathered = self.poll_gather(out, cx);
                    // Locked only now: the body may be made of the request's, which locks it too.
                    let mut connection = lock(connection);
                    connection.write_or_keep(out, cx)?;
                    ready!(connection.poll_flushed(cx))?;
                    gathered.map(Ok::<_, io::Error>)
                })
            });
            ready!(gathered)?;
        }
    }

    /// Gathers bytes of the body up to [`WRITE_BATCH`] or its end. Pending when the body has no
    /// more at the moment; what was gathered before is in `out`.
    #[inline]
    fn poll_gather(&mut self, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(body) = &mut self.body {
            if self.rest.is_empty() {
                match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                    Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                    Some(Err(error)) => {
                        self.error = Some(io::Error::other(error));
                        self.body = None;
                        break;
                    }
                    None => {
                        self.end_body(out);
                        break;
                    }
                }
                if self.rest.is_empty() {
                    continue;
                }
            }
            let mut piece = if self.rest.len() <= WRITE_BATCH {
                std::mem::take(&mut self.rest)
            } else {
                self.rest.split_to(WRITE_BATCH)
            };
            match &mut self.end {
                BodyEnd::Chunks => put_chunk(out, &piece),
                BodyEnd::Close => out.extend_from_slice(&piece),
                BodyEnd::Length(left) => {
                    piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    out.extend_from_slice(&piece);
                    *left -= piece.len() as u64;
                }
            }
            let is_last =
                self.rest.is_empty() && (self.end == BodyEnd::Length(0) || body.is_end_stream());
            if is_last {
                if self.end == BodyEnd::Chunks {
                    out.extend_from_slice(LAST_CHUNK);
                }
                self.body = None;
            }
            if out.len() >= WRITE_BATCH {
                break;
            }
        }
        Poll::Ready(())
    }

    /// Ends a body that has no more frames. One with a length is too short then.
    fn end_body(&mut self, out: &mut Vec<u8>) {
        match self.end {
            BodyEnd::Chunks => out.extend_from_slice(LAST_CHUNK),
            BodyEnd::Close => {}
            BodyEnd::Length(_) => self.error = Some(io::ErrorKind::UnexpectedEof.into()),
        }
        self.body = None;
    }
}

/// Appends one chunk (RFC 9112 §7.1). `data` must not be empty, or it would be the last one.
#[inline]
fn put_chunk(out: &mut Vec<u8>, data: &[u8]) {
    let mut digits = [0; 16];
    let mut at = digits.len();
    let mut left = data.len();
    while left > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[left % 16];
        left /= 16;
    }
    for part in [&digits[at..], b"\r\n", data, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Encodes the head. `end` is `None` for a response that can't have a body.
///
/// A handler's own `connection`, `transfer-encoding` and `content-length` are not sent, but for the
/// `connection` of an upgrade, and for the length of the body that `HEAD` leaves out.
fn encode_head(parts: &response::Parts, end: Option<BodyEnd>, request: RequestInfo) -> Vec<u8> {
    let response::Parts {
        status, headers, ..
    } = parts;
    let mut out = Vec::with_capacity(512);
    let reason = status.canonical_reason().unwrap_or_default();
    for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let switches = *status == StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in headers {
        let is_ours = *name == CONTENT_LENGTH
            || *name == TRANSFER_ENCODING
            || (*name == CONNECTION && !switches);
        if !is_ours {
            put_header(&mut out, name.as_str(), value.as_bytes());
        }
    }
    put_framing_headers(&mut out, headers, end, request);
    match request {
        _ if switches => {}
        RequestInfo {
            keep_alive: false, ..
        } => put_header(&mut out, "connection", b"close"),
        RequestInfo {
            is_http11: false, ..
        } => put_header(&mut out, "connection", b"keep-alive"),
        _ => {}
    }
    if !headers.contains_key(DATE) {
        let now = httpdate::fmt_http_date(SystemTime::now());
        put_header(&mut out, "date", now.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Appends the header that says how the body ends, if there is one.
fn put_framing_headers(
    out: &mut Vec<u8>,
    headers: &HeaderMap,
    end: Option<BodyEnd>,
    request: RequestInfo,
) {
    let left_out = headers.get(CONTENT_LENGTH).filter(|_| request.is_head);
    match end {
        _ if left_out.is_some() => {
            let length = left_out.map_or(b"".as_slice(), HeaderValue::as_bytes);
            put_header(out, "content-length", length);
        }
        Some(BodyEnd::Length(length)) => {
            put_header(out, "content-length", length.to_string().as_bytes());
        }
        Some(BodyEnd::Chunks) => put_header(out, "transfer-encoding", b"chunked"),
        Some(BodyEnd::Close) | None => {}
    }
}

fn put_header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests")]

    use std::future::poll_fn;

    use http_body::Frame;
    use http_body_util::StreamBody;
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_body_that_breaks_has_no_end_however_slowly_it_is_taken() {
        for room in [1, 100, 64 * 1024] {
            let frames = [
                Ok(Frame::data(Bytes::from(vec![b'x'; 1000]))),
                Err(io::Error::other("broken")),
            ];
            let body = StreamBody::new(futures_util::stream::iter(frames));
            let (mut client, server) = tokio::io::duplex(room);
            let connection = Mutex::new(ServerConnection::new(server));
            let request = RequestInfo {
                is_head: false,
                is_http11: true,
                keep_alive: true,
            };
            let mut writer = ResponseWriter::new(Response::new(body), request);
            let writing = tokio::spawn(async move {
                poll_fn(|cx| writer.poll_write(&connection, cx))
                    .await
                    .is_err()
            });
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.unwrap();
            assert!(writing.await.unwrap(), "{room}");
            let text = String::from_utf8_lossy(&all);
            assert!(text.ends_with("x\r\n"), "{room}: {text}");
        }
    }
}
