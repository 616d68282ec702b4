//! The socket of an upstream: plain TCP, or TLS over it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use http1::client::{ClientConnection, FailedWrite};
use hyper_util::client::legacy::connect::{Connected, Connection};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connected socket of an upstream.
#[derive(Debug)]
pub(in crate::provider) enum UpstreamSocket {
    Plain(TcpStream),
    /// Boxed: a TLS session is large, and most connections are plain or idle.
    Tls(Box<TlsStream<TcpStream>>),
}

impl UpstreamSocket {
    /// Makes a connection of a connected socket.
    pub(in crate::provider) fn connection(self) -> ClientConnection<Self> {
        let failed_write = match &self {
            UpstreamSocket::Plain(_) => FailedWrite::SendsNothing,
            UpstreamSocket::Tls(_) => FailedWrite::MaySend,
        };
        ClientConnection::new(self, failed_write).with_input_check(Self::has_input)
    }

    /// Asks the kernel for bytes that have arrived, or a close. Under TLS too: on a connection
    /// between two requests they are the closing of the session.
    fn has_input(&self) -> bool {
        let tcp = match self {
            UpstreamSocket::Plain(tcp) => tcp,
            UpstreamSocket::Tls(tls) => tls.get_ref().0,
        };
        let peeked = SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]);
        !peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// For hyper's pool of HTTP/2 connections.
impl Connection for UpstreamSocket {
    fn connected(&self) -> Connected {
        match self {
            UpstreamSocket::Plain(_) => Connected::new(),
            // The connector has seen to it.
            UpstreamSocket::Tls(_) => Connected::new().negotiated_h2(),
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
