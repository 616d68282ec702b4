//! A connection's bytes, and a request on its way into them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Request};
use hyper::rt::{Read as _, Write as _};
use hyper_rustls::MaybeHttpsStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::provider::remote::client::Io;
use http1::ThreadBuffer;

/// The most that is read at once: some hundred tokens.
const READ_BUFFER: usize = 16 * 1024;

thread_local! {
    /// Where this thread reads into.
    static SCRATCH: ThreadBuffer<Box<[u8]>> = const { ThreadBuffer::new(|| vec![0; READ_BUFFER].into()) };
}

/// Lends this thread's buffer.
pub(super) fn with_read_buffer<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with(|buffer| buffer.with(|bytes| work(bytes)))
}

/// A connection's bytes.
#[derive(Debug)]
pub(in crate::provider::remote) enum ClientConnection {
    Plain(TcpStream),
    /// Boxed: a TLS session is large, and most of what is small is many.
    Tls(Box<Io>),
}

impl From<Io> for ClientConnection {
    fn from(io: Io) -> Self {
        match io {
            MaybeHttpsStream::Http(tcp) => ClientConnection::Plain(tcp.into_inner()),
            tls @ MaybeHttpsStream::Https(_) => ClientConnection::Tls(Box::new(tls)),
        }
    }
}

impl ClientConnection {
    /// Reads what is there, once; 0 is the end. After a read that didn't fill the buffer tokio doesn't ask the kernel again
    /// before it says that there is more.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            ClientConnection::Plain(tcp) => {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(tcp).poll_read(cx, &mut buffer))?;
                Poll::Ready(Ok(buffer.filled().len()))
            }
            ClientConnection::Tls(tls) => {
                let mut buffer = hyper::rt::ReadBuf::new(buffer);
                ready!(Pin::new(tls).poll_read(cx, buffer.unfilled()))?;
                Poll::Ready(Ok(buffer.filled().len()))
            }
        }
    }

    /// Whether another request can be sent: an upstream that closed it, or said something unasked, has made it unusable.
    /// Nobody is woken by it from then on.
    pub(super) fn is_usable(&mut self) -> bool {
        if self
            .poll_read(&mut Context::from_waker(Waker::noop()), &mut [0])
            .is_ready()
        {
            return false;
        }
        // A task that has done much is told to wait whatever there is to read.
        match self {
            ClientConnection::Plain(tcp) => {
                matches!(tcp.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            ClientConnection::Tls(_) => true,
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            ClientConnection::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bytes),
            ClientConnection::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bytes),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            // With TCP_NODELAY a write is on its way.
            ClientConnection::Plain(_) => Poll::Ready(Ok(())),
            ClientConnection::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }
}

/// A request as it goes over the connection: what is left of it.
#[derive(Debug)]
pub(in crate::provider::remote) struct EncodedRequest {
    head: Bytes,
    body: Bytes,
    started: bool,
}

impl EncodedRequest {
    /// That request to that host. What its headers say of its host and its length is not sent.
    pub(in crate::provider::remote) fn new(host: &str, request: Request<Bytes>) -> Self {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut head = Vec::with_capacity(1024);
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

    /// Whether a byte of it may have been sent.
    pub(super) fn is_started(&self) -> bool {
        self.started
    }

    /// Writes as much as is taken; ready when all of it was.
    pub(super) fn poll_send(
        &mut self,
        connection: &mut ClientConnection,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.head.has_remaining() || self.body.has_remaining() {
            let pieces = [IoSlice::new(&self.head), IoSlice::new(&self.body)];
            let pieces = if self.head.is_empty() {
                &pieces[1..]
            } else {
                &pieces[..]
            };
            // TLS may have written some of what it then says it couldn't.
            self.started |= matches!(connection, ClientConnection::Tls(_));
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
