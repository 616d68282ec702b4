//! One connection: its socket, and the buffer into which this thread's connections read.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::ThreadBuffer;

/// Bytes per read: some hundred tokens.
const READ_BUFFER: usize = 16 * 1024;

thread_local! {
    static BUFFER: ThreadBuffer<Box<[u8]>> = const { ThreadBuffer::new(|| vec![0; READ_BUFFER].into()) };
}

/// Runs `work` with this thread's read buffer.
pub(super) fn with_read_buffer<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with(|buffer| buffer.with(|bytes| work(bytes)))
}

/// The effect of a write that failed or is pending: decides whether a request counts as not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedWrite {
    /// Nothing was sent, as with a plain TCP socket.
    SendsNothing,
    /// Some bytes may have been sent, as with a TLS session, which buffers records.
    MaySend,
}

/// A connection to a server, between two requests or in the middle of one.
#[derive(Debug)]
pub struct ClientConnection<S> {
    socket: S,
    failed_write: FailedWrite,
    has_input: fn(&S) -> bool,
}

impl<S> ClientConnection<S> {
    /// Wraps a connected socket. For TCP, `TCP_NODELAY` should be set.
    pub fn new(socket: S, failed_write: FailedWrite) -> Self {
        Self {
            socket,
            failed_write,
            has_input: |_| false,
        }
    }

    /// Sets the check for input, or a close, that has arrived and that the socket's reads don't
    /// tell of yet. tokio's sockets learn of it only when their runtime next asks the kernel, which
    /// a request sent at that moment would not live to see.
    #[must_use]
    pub fn with_input_check(mut self, has_input: fn(&S) -> bool) -> Self {
        self.has_input = has_input;
        self
    }

    /// Tells if a write that failed may nevertheless have sent some bytes.
    pub(super) fn may_send_on_failure(&self) -> bool {
        self.failed_write == FailedWrite::MaySend
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientConnection<S> {
    /// Reads once; 0 bytes are the end. After a read that did not fill the buffer, tokio's sockets
    /// ask the kernel again only once it has reported more.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Checks that another request can be sent: a server that closed the connection, or sent
    /// something without being asked, has made it unusable. Unregisters whoever waits for a read.
    pub(super) fn is_usable(&mut self) -> bool {
        let mut byte = [0];
        let read = poll_fn(|cx| self.poll_read(cx, &mut byte));
        // Without tokio's budget: once a task has spent it, every read is pending.
        let is_silent = pin!(tokio::task::unconstrained(read))
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending();
        is_silent && !(self.has_input)(&self.socket)
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bytes)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }
}
