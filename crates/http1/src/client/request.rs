//! A request as bytes on their way into a connection.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Request};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::ClientConnection;

/// Capacity reserved for a request head, in bytes; it grows if needed.
const HEAD_CAPACITY: usize = 1024;

/// A request encoded for HTTP/1.1: the bytes of it that are still to be sent.
#[derive(Debug)]
pub struct EncodedRequest {
    head: Bytes,
    body: Bytes,
    started: bool,
}

impl EncodedRequest {
    /// Encodes a request to `host`, a `host[:port]` as in the `Host` header (RFC 9110, 7.2).
    ///
    /// `Host`, `Content-Length` and `Transfer-Encoding` among its headers are ignored: the first
    /// is `host`, the second the length of the body, and the third is never sent.
    #[must_use]
    pub fn new(host: &str, request: Request<Bytes>) -> Self {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut head = Vec::with_capacity(HEAD_CAPACITY);
        for part in [
            parts.method.as_str(),
            " ",
            path,
            " HTTP/1.1\r\nhost: ",
            host,
            "\r\ncontent-length: ",
        ] {
            head.extend_from_slice(part.as_bytes());
        }
        head.extend_from_slice(body.len().to_string().as_bytes());
        head.extend_from_slice(b"\r\n");
        write_headers(&parts.headers, &mut head);
        head.extend_from_slice(b"\r\n");
        Self {
            head: head.into(),
            body,
            started: false,
        }
    }

    /// Tells if a byte of the request may have been sent.
    pub(super) fn is_started(&self) -> bool {
        self.started
    }

    /// Writes as much as the connection takes; ready once all is written and flushed.
    pub(super) fn poll_send<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut ClientConnection<S>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.head.has_remaining() || self.body.has_remaining() {
            let pieces = [IoSlice::new(&self.head), IoSlice::new(&self.body)];
            let pieces = if self.head.is_empty() {
                &pieces[1..]
            } else {
                &pieces[..]
            };
            self.started |= connection.may_send_on_failure();
            let written = ready!(connection.poll_write(cx, pieces))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.started = true;
            let of_head = written.min(self.head.len());
            self.head.advance(of_head);
            self.body.advance(written - of_head);
        }
        connection.poll_flush(cx)
    }
}

fn write_headers(headers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in headers {
        if [HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
            continue;
        }
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
}
