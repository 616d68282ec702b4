//! A client's socket, which detects the client's protocol and a client that stops reading.
//!
//! A stalled client can't be seen from a response's body, which is simply not polled any more. So
//! the write itself is timed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::connections::Admission;
use super::presence;
use super::protocol::Protocol;
use crate::disconnect::Disconnect;

/// Bytes read at once until the protocol is known: more than most requests have.
const DETECT_BUFFER: usize = 1024;

/// A socket whose writes fail once they made no progress for too long.
///
/// It shares the stream with the watch for the client's close.
#[derive(Debug)]
pub(super) struct ClientSocket {
    stream: Arc<TcpStream>,
    /// Bytes read to detect the protocol, to be read again.
    first: Bytes,
    stall_timeout: Duration,
    disconnect: Disconnect,
    /// Created when a write first has to wait; most connections never need it.
    stall_timer: Option<Pin<Box<Sleep>>>,
    write_waits: bool,
    /// Held by the socket, since an upgraded connection outlives the one that it came in on.
    _admission: Admission,
}

impl ClientSocket {
    pub(super) fn new(
        stream: Arc<TcpStream>,
        stall_timeout: Duration,
        disconnect: Disconnect,
        admission: Admission,
    ) -> Self {
        Self {
            stream,
            first: Bytes::new(),
            stall_timeout,
            disconnect,
            stall_timer: None,
            write_waits: false,
            _admission: admission,
        }
    }

    /// Detects the client's protocol by its first bytes.
    pub(super) async fn detect_protocol(&mut self) -> io::Result<Protocol> {
        let mut first = BytesMut::new();
        let protocol = loop {
            self.stream.readable().await?;
            let mut buffer = [0; DETECT_BUFFER];
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => first.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            if let Some(protocol) = Protocol::detect(&first) {
                break protocol;
            }
        };
        self.first = first.freeze();
        Ok(protocol)
    }

    /// Polls a write until it makes progress, fails, or has waited for too long.
    #[inline]
    fn poll_progress<T>(
        &mut self,
        cx: &mut Context<'_>,
        attempt: impl Fn(&TcpStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match self.stream.poll_write_ready(cx) {
                Poll::Ready(Ok(())) => match attempt(&self.stream) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => {
                        if std::mem::take(&mut self.write_waits) {
                            presence::expect_acknowledgements(&self.stream, self.stall_timeout);
                        }
                        return Poll::Ready(result);
                    }
                },
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(self.poll_stall_timeout(cx));
                    self.disconnect.set_stalled();
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
    }

    fn poll_stall_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.stall_timeout;
        let timer = self
            .stall_timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        if !self.write_waits {
            self.write_waits = true;
            presence::allow_stall(&self.stream, timeout);
            timer.as_mut().reset(Instant::now() + timeout);
        }
        timer.as_mut().poll(cx)
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let length = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first[..length]);
            // The last piece releases the memory.
            self.first = self.first.slice(length..);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut SharedInput(&self.stream)).poll_read(cx, buf)
    }
}

/// The reading side of a TCP stream that others use as well.
#[derive(Debug)]
pub(super) struct SharedInput<'a>(pub(super) &'a TcpStream);

impl AsyncRead for SharedInput<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read_buf(buf) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for ClientSocket {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_progress(cx, |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_progress(cx, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TCP has nothing to flush: with TCP_NODELAY a write is on its way.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket2::SockRef::from(&*self.stream).shutdown(std::net::Shutdown::Write))
    }
}
