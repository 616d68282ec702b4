//! Connections that leave HTTP for another protocol (RFC 9110 §7.8): the hand-over from the server,
//! which answers 101, to the code that speaks that protocol.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// An extension of a request whose client offers to upgrade: a handler that answers 101 gets the
/// connection from it.
#[derive(Debug, Clone)]
pub struct OnUpgrade(Arc<Mutex<Option<oneshot::Receiver<Upgraded>>>>);

/// The server's end of an [`OnUpgrade`]. Dropped if the request is answered otherwise.
#[derive(Debug)]
pub(crate) struct PendingUpgrade(oneshot::Sender<Upgraded>);

impl OnUpgrade {
    /// Returns both ends for one request.
    pub(crate) fn new() -> (Self, PendingUpgrade) {
        let (sender, receiver) = oneshot::channel();
        let on_upgrade = Self(Arc::new(Mutex::new(Some(receiver))));
        (on_upgrade, PendingUpgrade(sender))
    }

    /// Waits until the 101 has been written and returns the connection. `None` if the connection
    /// ended before, or if a clone of this has taken it.
    pub async fn upgraded(self) -> Option<Upgraded> {
        let receiver = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        receiver.await.ok()
    }
}

impl PendingUpgrade {
    /// Hands the connection over. It is closed if nobody waits for it any more.
    pub(crate) fn fulfill(self, upgraded: Upgraded) {
        drop(self.0.send(upgraded));
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection that no longer speaks HTTP.
pub struct Upgraded {
    io: Box<dyn Io>,
    /// Bytes that were read beyond the request, to be read again.
    ahead: Bytes,
}

impl Upgraded {
    pub(crate) fn new(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        ahead: Bytes,
    ) -> Self {
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
