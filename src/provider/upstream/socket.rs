//! The socket of an HTTP/1.1 upstream: plain TCP, or TLS over it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use http1::client::{ClientConnection, FailedWrite};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The connector's stream, in hyper's traits.
pub(in crate::provider) type HyperSocket = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A connected socket of an HTTP/1.1 upstream.
#[derive(Debug)]
pub(in crate::provider) enum UpstreamSocket {
    Plain(TcpStream),
    /// Boxed: a TLS session is large, and most connections are plain or idle.
    Tls(Box<TokioIo<HyperSocket>>),
}

impl UpstreamSocket {
    /// Makes a connection of a connected stream.
    pub(in crate::provider) fn connection(stream: HyperSocket) -> ClientConnection<Self> {
        match stream {
            MaybeHttpsStream::Http(tcp) => ClientConnection::new(
                UpstreamSocket::Plain(tcp.into_inner()),
                FailedWrite::SendsNothing,
            ),
            tls @ MaybeHttpsStream::Https(_) => ClientConnection::new(
                UpstreamSocket::Tls(Box::new(TokioIo::new(tls))),
                FailedWrite::MaySend,
            ),
        }
    }
}

impl AsyncRead for UpstreamSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            UpstreamSocket::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            UpstreamSocket::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for UpstreamSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            UpstreamSocket::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            UpstreamSocket::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            UpstreamSocket::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bytes),
            UpstreamSocket::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            UpstreamSocket::Plain(tcp) => tcp.is_write_vectored(),
            UpstreamSocket::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            UpstreamSocket::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            UpstreamSocket::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            UpstreamSocket::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            UpstreamSocket::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
