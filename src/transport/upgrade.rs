//! A connection that leaves HTTP for another protocol: from the server, which answers 101, to who speaks that protocol.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// A request's extension: its connection can be had for another protocol, by one who answers 101.
#[derive(Debug, Clone)]
pub struct OnUpgrade(Arc<Mutex<Option<oneshot::Receiver<Upgraded>>>>);

/// The server's part: it gives the connection away, or drops this.
#[derive(Debug)]
pub struct Upgrading(oneshot::Sender<Upgraded>);

impl OnUpgrade {
    /// For one request.
    #[must_use]
    pub fn new() -> (Self, Upgrading) {
        let (sender, receiver) = oneshot::channel();
        (
            Self(Arc::new(Mutex::new(Some(receiver)))),
            Upgrading(sender),
        )
    }

    /// The connection, once the 101 has been written; none if it ended before, or somebody else has it.
    pub async fn upgraded(self) -> Option<Upgraded> {
        let receiver = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        receiver.await.ok()
    }
}

impl Upgrading {
    /// Gives it away. Where nobody wants it any more it is closed.
    pub fn done(self, upgraded: Upgraded) {
        drop(self.0.send(upgraded));
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection that is HTTP's no more.
pub struct Upgraded {
    io: Box<dyn Io>,
    /// What was read of it before.
    ahead: Bytes,
}

impl Upgraded {
    /// Of a connection, and what was read of it beyond its last request.
    #[must_use]
    pub fn new(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, ahead: Bytes) -> Self {
        Self {
            io: Box::new(io),
            ahead,
        }
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded")
            .field("ahead", &self.ahead.len())
            .finish_non_exhaustive()
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let length = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..length]);
        self.ahead.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
