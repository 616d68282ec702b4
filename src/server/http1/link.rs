//! A client's connection: what was read of it and not used yet, what must be written before all else.
//!
//! It is shared by the one who answers and by the body of the request that is being answered.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::{self, Head, Unreadable};
use http1::{Framing, Malformed, ThreadBuffer, end_of_head};

/// The most that is read at once.
const READ: usize = 16 * 1024;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

thread_local! {
    /// Where this thread reads into.
    static SCRATCH: ThreadBuffer<Box<[u8]>> = const { ThreadBuffer::new(|| vec![0; READ].into()) };
}

/// Why a request's body ends before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("the connection was closed before the body's end")]
    Cut,
    #[error("the body can't be read: {0}")]
    Framing(#[from] Malformed),
    #[error("its request has been answered")]
    Late,
}

#[derive(Debug)]
pub(super) struct Link<S> {
    socket: S,
    /// What has been read and not used.
    came: BytesMut,
    /// Up to where no head ends in it.
    seen: usize,
    /// What the socket has not taken yet.
    unsent: BytesMut,
    /// Where the body of the request ends that is being answered.
    framing: Framing,
    /// Its client waits to be told to send the body.
    expects: bool,
    /// Which request it is.
    number: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    pub(super) fn new(socket: S) -> Self {
        let framing = Framing::Length(0);
        let (came, unsent) = (BytesMut::new(), BytesMut::new());
        Self {
            socket,
            came,
            seen: 0,
            unsent,
            framing,
            expects: false,
            number: 0,
        }
    }

    /// The next request's head; none if the client closes before it.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Result<Head, Unreadable>>>> {
        loop {
            // Empty lines before a request are somebody's mistake, RFC 9112, 2.2.
            while self.seen == 0 && matches!(self.came.first(), Some(b'\r' | b'\n')) {
                self.came.advance(1);
            }
            if let Some(end) = end_of_head(&self.came, self.seen) {
                self.seen = 0;
                let head = match end {
                    ..=head::LONGEST => head::read(&self.take(end)),
                    _ => Err(Unreadable::too_long(&self.came)),
                };
                if let Ok(head) = &head {
                    self.framing = head.framing.clone();
                    self.expects = head.expects;
                    self.number += 1;
                }
                return Poll::Ready(Ok(Some(head)));
            }
            if self.came.len() > head::LONGEST {
                return Poll::Ready(Ok(Some(Err(Unreadable::too_long(&self.came)))));
            }
            self.seen = self.came.len().saturating_sub(2);
            if !ready!(self.poll_more(cx))? {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// Whether nothing has come that has not been answered. Line ends are nothing: they are passed over before a request.
    pub(super) fn is_idle(&self) -> bool {
        self.came.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// Which request is being answered.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next bytes of that request's body, none after the last.
    pub(super) fn poll_body(
        &mut self,
        number: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Broken>>> {
        if number != self.number {
            return Poll::Ready(Some(Err(Broken::Late)));
        }
        loop {
            match self.take_body() {
                Ok(body) if !body.is_empty() => return Poll::Ready(Some(Ok(body))),
                Ok(_) if self.framing.is_ended() => return Poll::Ready(None),
                Ok(_) => {}
                Err(malformed) => return Poll::Ready(Some(Err(malformed.into()))),
            }
            if std::mem::take(&mut self.expects) {
                self.unsent.extend_from_slice(CONTINUE);
            }
            ready!(self.poll_unsent(cx))?;
            if !ready!(self.poll_more(cx))? {
                return Poll::Ready(Some(Err(Broken::Cut)));
            }
        }
    }

    /// What of the body has come.
    pub(super) fn take_body(&mut self) -> Result<Bytes, Malformed> {
        if self.came.is_empty() || self.framing.is_ended() {
            return Ok(Bytes::new());
        }
        let decoded = self.framing.decode(&mut self.came)?;
        let mut body = self.take(decoded.used);
        body.truncate(decoded.body.end);
        body.advance(decoded.body.start);
        Ok(body.freeze())
    }

    /// So much of what came. All of it is given away whole, or the buffer would be kept for nothing.
    fn take(&mut self, length: usize) -> BytesMut {
        if length == self.came.len() {
            std::mem::take(&mut self.came)
        } else {
            self.came.split_to(length)
        }
    }

    /// How the body ends, as far as it is still to come.
    pub(super) fn framing(&self) -> &Framing {
        &self.framing
    }

    /// Reads once; whether anything came.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        SCRATCH.with(|scratch| {
            scratch.with(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
                self.came.extend_from_slice(buffer.filled());
                Poll::Ready(Ok(!buffer.filled().is_empty()))
            })
        })
    }

    /// Writes these bytes, after which nothing else may be written before [`Self::poll_unsent`] is ready: what the socket
    /// does not take at once is kept.
    pub(super) fn write(&mut self, mut bytes: &[u8], cx: &mut Context<'_>) -> io::Result<()> {
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

    /// Ready once everything has been taken.
    pub(super) fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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

    /// Tells the client that nothing more will come.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    /// The connection, for another protocol, and what has been read of it.
    pub(super) fn into_parts(self) -> (S, Bytes) {
        (self.socket, self.came.freeze())
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
        let (mut client, server) = tokio::io::duplex(READ);
        let mut link = Link::new(server);
        for _ in 0..2 {
            client
                .write_all(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\n\r\nhello")
                .await
                .unwrap();
            assert!(
                poll_fn(|cx| link.poll_head(cx))
                    .await
                    .unwrap()
                    .unwrap()
                    .is_ok()
            );
            let body = link.take_body().unwrap();
            assert_eq!(body, "hello");
            assert!(body.is_unique());
        }
    }
}
