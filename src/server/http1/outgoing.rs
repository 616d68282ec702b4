//! An answer on its way: its head, and its body as the client takes it.
//!
//! The body is polled only while the client has taken all that came before. What it has at one moment goes out in one write.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};

use super::link::Link;
use http1::ThreadBuffer;

/// The most that is gathered for one write, but for the framing around it.
const RUN: usize = 16 * 1024;
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

thread_local! {
    /// What this thread is about to write.
    static OUT: ThreadBuffer<Vec<u8>> = const { ThreadBuffer::new(|| Vec::with_capacity(2 * RUN)) };
}

/// What is known of the request that is answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Whether it was `HEAD`: the answer has no body, whatever it says of it.
    pub(super) head: bool,
    /// Whether it was HTTP/1.1, which alone has chunks.
    pub(super) current: bool,
    /// Whether another may follow on the same connection.
    pub(super) keep: bool,
}

/// How the client knows the body's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// After so many more bytes.
    Length(u64),
    Chunks,
    Close,
}

#[derive(Debug)]
pub(super) struct Outgoing {
    /// Not written yet, if any.
    head: Vec<u8>,
    /// None once its last byte has been written.
    body: Option<Body>,
    /// Why the body has no end, once all that it had has been taken.
    broken: Option<io::Error>,
    /// What it gave and is not written yet.
    rest: Bytes,
    until: Until,
    keep: bool,
}

impl Outgoing {
    pub(super) fn new(response: Response<Body>, asked: Asked) -> Self {
        let (parts, body) = response.into_parts();
        let status = parts.status;
        let bare = status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let until = match body.size_hint().exact() {
            _ if bare => Until::Length(0),
            Some(length) => Until::Length(length),
            None if asked.current => Until::Chunks,
            None => Until::Close,
        };
        let keep = asked.keep && until != Until::Close;
        let head = head(
            status,
            &parts.headers,
            (!bare).then_some(until),
            Asked { keep, ..asked },
        );
        let body = (!bare && !asked.head && until != Until::Length(0)).then_some(body);
        Self {
            head,
            body,
            broken: None,
            rest: Bytes::new(),
            until,
            keep,
        }
    }

    /// Whether another request may follow.
    pub(super) fn keeps(&self) -> bool {
        self.keep
    }

    /// Ready when all of it has been taken.
    pub(super) fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        link: &Mutex<Link<S>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let lock = || link.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            ready!(lock().poll_unsent(cx))?;
            if self.body.is_none() && self.head.is_empty() {
                return Poll::Ready(self.broken.take().map_or(Ok(()), Err));
            }
            let filled = OUT.with(|out| {
                out.with(|out| {
                    out.clear();
                    out.append(&mut self.head);
                    self.head = Vec::new();
                    let filled = self.fill(out, cx);
                    // Not before: the body may be made of the request's, which is read from the link.
                    let mut link = lock();
                    link.write(out, cx)?;
                    ready!(link.poll_unsent(cx))?;
                    filled.map(Ok::<_, io::Error>)
                })
            });
            ready!(filled)?;
        }
    }

    /// Gathers what there is, up to a limit or the end; pending when the body has no more at the moment.
    fn fill(&mut self, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(body) = &mut self.body {
            if self.rest.is_empty() {
                match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                    Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                    Some(Err(error)) => {
                        self.broken = Some(io::Error::other(error));
                        self.body = None;
                        break;
                    }
                    None => {
                        match self.until {
                            Until::Chunks => out.extend_from_slice(LAST_CHUNK),
                            // The close says it.
                            Until::Close => {}
                            Until::Length(_) => {
                                self.broken = Some(io::ErrorKind::UnexpectedEof.into())
                            }
                        }
                        self.body = None;
                        break;
                    }
                }
                if self.rest.is_empty() {
                    continue;
                }
            }
            let mut piece = self.rest.split_to(self.rest.len().min(RUN));
            match &mut self.until {
                Until::Chunks => write_chunk(out, &piece),
                Until::Close => out.extend_from_slice(&piece),
                Until::Length(left) => {
                    piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    out.extend_from_slice(&piece);
                    *left -= piece.len() as u64;
                }
            }
            if self.rest.is_empty() && self.is_over() {
                if self.until == Until::Chunks {
                    out.extend_from_slice(LAST_CHUNK);
                }
                self.body = None;
            }
            if out.len() >= RUN {
                break;
            }
        }
        Poll::Ready(())
    }

    /// Whether the body is known to have nothing more.
    fn is_over(&self) -> bool {
        self.until == Until::Length(0)
            || self
                .body
                .as_ref()
                .is_none_or(http_body::Body::is_end_stream)
    }
}

fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
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

/// The head's bytes; `until` is none where a body can't be. What handlers say of the connection and of the body's end is
/// not sent but for an upgrade's, and for the length of what `HEAD` leaves out.
fn head(status: StatusCode, headers: &HeaderMap, until: Option<Until>, asked: Asked) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    for part in [
        "HTTP/1.1 ",
        status.as_str(),
        " ",
        status.canonical_reason().unwrap_or_default(),
        "\r\n",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
    let said = headers.get(CONTENT_LENGTH).filter(|_| asked.head);
    for (name, value) in headers {
        if *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING || *name == CONNECTION && !switches
        {
            continue;
        }
        write_header(&mut out, name.as_str(), value.as_bytes());
    }
    match until {
        _ if said.is_some() => write_header(
            &mut out,
            "content-length",
            said.map_or(b"", HeaderValue::as_bytes),
        ),
        Some(Until::Length(length)) => {
            write_header(&mut out, "content-length", length.to_string().as_bytes())
        }
        Some(Until::Chunks) => write_header(&mut out, "transfer-encoding", b"chunked"),
        Some(Until::Close) | None => {}
    }
    match asked {
        _ if switches => {}
        Asked { keep: false, .. } => write_header(&mut out, "connection", b"close"),
        Asked { current: false, .. } => write_header(&mut out, "connection", b"keep-alive"),
        _ => {}
    }
    if !headers.contains_key(DATE) {
        write_header(
            &mut out,
            "date",
            httpdate::fmt_http_date(SystemTime::now()).as_bytes(),
        );
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn write_header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_body_that_breaks_has_no_end_however_slowly_it_is_taken() {
        for room in [1, 100, 64 * 1024] {
            let pieces = [
                Ok(Bytes::from(vec![b'x'; 1000])),
                Err(io::Error::other("broken")),
            ];
            let body = Body::from_stream(futures_util::stream::iter(pieces));
            let (mut client, server) = tokio::io::duplex(room);
            let link = Mutex::new(Link::new(server));
            let mut outgoing = Outgoing::new(
                Response::new(body),
                Asked {
                    head: false,
                    current: true,
                    keep: true,
                },
            );
            let sending =
                tokio::spawn(async move { poll_fn(|cx| outgoing.poll(&link, cx)).await.is_err() });
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.unwrap();
            assert!(sending.await.unwrap(), "{room}");
            assert!(
                all.ends_with(b"x\r\n"),
                "{room}: {}",
                String::from_utf8_lossy(&all)
            );
        }
    }
}
