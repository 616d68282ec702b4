//! The state of a client's connection: bytes received and not yet used, and bytes the socket has
//! not taken yet.
//!
//! It is shared by the code that answers and by the body of the request that is being answered.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::request_head::{BadHead, HeadError, MAX_HEAD_BYTES, RequestHead, parse_request_head};
use crate::grammar::is_token_byte;
use crate::{Framing, MalformedMessage, ThreadBuffer, end_of_head};

/// Bytes that are read at once.
const READ_BUFFER: usize = 16 * 1024;
/// The interim response that lets a client send its body (RFC 9110 §15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

thread_local! {
    /// The buffer that this thread reads into.
    static BUFFER: ThreadBuffer<Box<[u8]>> =
        const { ThreadBuffer::new(|| vec![0; READ_BUFFER].into()) };
}

/// An error that ends a request's body before its end.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// The socket failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The client closed the connection within the body.
    #[error("the connection was closed before the body's end")]
    Truncated,
    /// The body violates its framing.
    #[error("malformed body: {0}")]
    Malformed(#[from] MalformedMessage),
    /// The request has been answered, and the connection has gone on without this body.
    #[error("the request has been answered")]
    Answered,
}

/// A client's connection. It holds no buffer while it waits.
#[derive(Debug)]
pub(super) struct ServerConnection<S> {
    socket: S,
    /// Bytes received and not yet used.
    received: BytesMut,
    /// Length of the part of `received` that is known to contain no end of a head.
    searched: usize,
    /// Bytes that the socket has not taken yet.
    unsent: BytesMut,
    /// The rest of the body of the current request.
    framing: Framing,
    /// The client waits for `100 Continue`.
    expects_continue: bool,
    /// The number of the current request; the first is 1.
    request_number: u64,
}

/// Locks a connection. It is never locked across an await, and a poisoned lock is as good as any.
pub(super) fn lock<S>(
    connection: &Mutex<ServerConnection<S>>,
) -> MutexGuard<'_, ServerConnection<S>> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns true for the bytes with which a head, or an empty line before it, may begin.
fn begins_head(byte: u8) -> bool {
    is_token_byte(byte) || matches!(byte, b'\r' | b'\n')
}

impl<S: AsyncRead + AsyncWrite + Unpin> ServerConnection<S> {
    pub(super) fn new(socket: S) -> Self {
        Self {
            socket,
            received: BytesMut::new(),
            searched: 0,
            unsent: BytesMut::new(),
            framing: Framing::Length(0),
            expects_continue: false,
            request_number: 0,
        }
    }

    /// Receives the next request's head, `None` if the client closes before it.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Result<RequestHead, BadHead>>>> {
        loop {
            if self.searched == 0 {
                self.skip_empty_lines();
            }
            if let Some(end) = end_of_head(&self.received, self.searched) {
                self.searched = 0;
                let head = match end {
                    ..=MAX_HEAD_BYTES => parse_request_head(&self.split_received(end)),
                    _ => Err(BadHead::new(&self.received, HeadError::TooLong)),
                };
                if let Ok(head) = &head {
                    self.framing = head.framing.clone();
                    self.expects_continue = head.expects_continue;
                    self.request_number += 1;
                }
                return Poll::Ready(Ok(Some(head)));
            }
            // TLS, for one, is told at once: such a client waits for an answer to its first bytes.
            if self
                .received
                .first()
                .is_some_and(|byte| !begins_head(*byte))
            {
                let error = HeadError::Syntax(httparse::Error::Token);
                let bad = BadHead::new(&self.received, error);
                return Poll::Ready(Ok(Some(Err(bad))));
            }
            if self.received.len() > MAX_HEAD_BYTES {
                let bad = BadHead::new(&self.received, HeadError::TooLong);
                return Poll::Ready(Ok(Some(Err(bad))));
            }
            self.searched = self.received.len().saturating_sub(2);
            if !ready!(self.poll_receive(cx))? {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// Drops empty lines, which are ignored before a request (RFC 9112 §2.2). A lone CR is no line.
    fn skip_empty_lines(&mut self) {
        loop {
            let length = match self.received[..] {
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                _ => return,
            };
            self.received.advance(length);
        }
    }

    /// Returns true if no part of a further request has arrived. Line ends are none: they are
    /// skipped before a request.
    pub(super) fn is_idle(&self) -> bool {
        self.received
            .iter()
            .all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// Returns the number of the current request.
    pub(super) fn request_number(&self) -> u64 {
        self.request_number
    }

    /// Returns the rest of the current request's body, as far as it is still to come.
    pub(super) fn framing(&self) -> &Framing {
        &self.framing
    }

    /// Receives the next bytes of the body of request `number`, `None` after the last.
    pub(super) fn poll_body(
        &mut self,
        number: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, RequestBodyError>>> {
        if number != self.request_number {
            return Poll::Ready(Some(Err(RequestBodyError::Answered)));
        }
        loop {
            match self.take_body() {
                Ok(body) if !body.is_empty() => return Poll::Ready(Some(Ok(body))),
                Ok(_) if self.framing.is_ended() => return Poll::Ready(None),
                Ok(_) => {}
                Err(malformed) => return Poll::Ready(Some(Err(malformed.into()))),
            }
            if std::mem::take(&mut self.expects_continue) {
                self.unsent.extend_from_slice(CONTINUE);
            }
            ready!(self.poll_flushed(cx))?;
            if !ready!(self.poll_receive(cx))? {
                return Poll::Ready(Some(Err(RequestBodyError::Truncated)));
            }
        }
    }

    /// Takes the part of the body that has arrived.
    pub(super) fn take_body(&mut self) -> Result<Bytes, MalformedMessage> {
        if self.received.is_empty() || self.framing.is_ended() {
            return Ok(Bytes::new());
        }
        let decoded = self.framing.decode(&mut self.received)?;
        let mut body = self.split_received(decoded.used);
        body.truncate(decoded.body.end);
        body.advance(decoded.body.start);
        Ok(body.freeze())
    }

    /// Drops what has arrived of the body. Returns true if that was all of it.
    pub(super) fn skip_body(&mut self) -> bool {
        self.take_body().is_ok() && self.framing.is_ended()
    }

    /// Splits off the first `length` received bytes, releasing the buffer when that is all of it.
    fn split_received(&mut self, length: usize) -> BytesMut {
        if length == self.received.len() {
            std::mem::take(&mut self.received)
        } else {
            self.received.split_to(length)
        }
    }

    /// Reads once. Returns false at the end of the input.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        BUFFER.with(|buffer| {
            buffer.with(|bytes| {
                let mut buffer = ReadBuf::new(bytes);
                ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
                self.received.extend_from_slice(buffer.filled());
                Poll::Ready(Ok(!buffer.filled().is_empty()))
            })
        })
    }

    /// Writes these bytes and keeps what the socket does not take at once. Nothing else may be
    /// written before [`Self::poll_flushed`] is ready.
    #[inline]
    pub(super) fn write_or_keep(
        &mut self,
        mut bytes: &[u8],
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        while self.unsent.is_empty() && !bytes.is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => bytes = &bytes[written..],
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }

    /// Ready once the socket has taken everything.
    #[inline]
    pub(super) fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.unsent))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(written);
            if self.unsent.is_empty() {
                self.unsent = BytesMut::new();
            }
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    /// Shuts down the sending half: the client learns that nothing more will come.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    /// Returns the socket, for another protocol, and the bytes that were read beyond the request.
    pub(super) fn into_parts(self) -> (S, Bytes) {
        (self.socket, self.received.freeze())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_waits_keeps_nothing_of_what_was_taken() {
        let (mut client, server) = tokio::io::duplex(READ_BUFFER);
        let mut connection = ServerConnection::new(server);
        for _ in 0..2 {
            client
                .write_all(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\n\r\nhello")
                .await
                .unwrap();
            let head = poll_fn(|cx| connection.poll_head(cx)).await;
            assert!(head.unwrap().unwrap().is_ok());
            let body = connection.take_body().unwrap();
            assert_eq!(body, "hello");
            assert!(body.is_unique());
        }
    }

    /// Found by fuzzing: a lone CR was skipped as well, which other servers refuse.
    #[tokio::test]
    async fn empty_lines_before_a_request_are_skipped_and_lone_carriage_returns_are_refused() {
        for (before, is_valid) in [("\r\n\n\r\n", true), ("\r", false), ("\n\r", false)] {
            let (mut client, server) = tokio::io::duplex(READ_BUFFER);
            let mut connection = ServerConnection::new(server);
            let request = format!("{before}GET / HTTP/1.1\r\nhost: t\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            let head = poll_fn(|cx| connection.poll_head(cx)).await;
            assert_eq!(head.unwrap().unwrap().is_ok(), is_valid, "{before:?}");
        }
    }
}
