//! The body of a response: reading it drives its connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{ClientConnection, with_read_buffer};
use super::error::H1Error;
use super::pool::IdlePool;
use super::request::EncodedRequest;
use crate::Framing;

/// A connection whose response body is being read.
#[derive(Debug)]
pub(super) struct BodyReader<S> {
    pub(super) connection: ClientConnection<S>,
    pub(super) framing: Framing,
    /// The rest of a request that was answered before all of it was sent.
    pub(super) unsent: Option<Box<EncodedRequest>>,
    /// Set while another request may follow on the connection.
    pub(super) reusable: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> BodyReader<S> {
    /// Polls for the next bytes of the body, from one read of the socket; they may be empty.
    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, H1Error>> {
        if let Some(unsent) = &mut self.unsent
            && let Poll::Ready(sent) = unsent.poll_send(&mut self.connection, cx)
        {
            self.unsent = None;
            self.reusable &= sent.is_ok();
        }
        if let Framing::Broken(malformed) = self.framing {
            return Poll::Ready(Err(malformed.into()));
        }
        with_read_buffer(|buffer| {
            let length = ready!(self.connection.poll_read(cx, buffer)).map_err(H1Error::Io)?;
            if length == 0 {
                return Poll::Ready(if self.framing.allows_close() {
                    Ok(None)
                } else {
                    Err(H1Error::Truncated)
                });
            }
            let decoded = self.framing.decode(&mut buffer[..length])?;
            self.reusable &= decoded.used == length;
            Poll::Ready(Ok(Some(Bytes::copy_from_slice(&buffer[decoded.body]))))
        })
    }
}

/// The body of a response. Polling it drives its connection, which goes back to the pool at the
/// body's end. Dropping it earlier closes the connection.
#[derive(Debug)]
pub struct ResponseBody<S> {
    /// `None` once the end has been read.
    reader: Option<BodyReader<S>>,
    /// The bytes that arrived with the head.
    first: Bytes,
    pool: IdlePool<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> ResponseBody<S> {
    /// Creates a body that begins with the bytes that arrived with the head.
    pub(super) fn new(reader: BodyReader<S>, first: Bytes, pool: IdlePool<S>) -> Self {
        let mut body = Self {
            reader: None,
            first,
            pool,
        };
        body.continue_or_recycle(reader);
        body
    }

    /// Polls for the next bytes of the body, `None` after its end.
    ///
    /// # Errors
    ///
    /// Once, if the connection or the body breaks; `None` follows.
    #[inline]
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, H1Error>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.first))));
        }
        while let Some(reader) = &mut self.reader {
            match ready!(reader.poll_read(cx)) {
                Ok(Some(bytes)) => {
                    if reader.framing.is_ended()
                        && let Some(reader) = self.reader.take()
                    {
                        self.continue_or_recycle(reader);
                    }
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Ok(None) => self.reader = None,
                Err(error) => {
                    self.reader = None;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }

    /// Keeps reading from the connection, or gives it back to the pool if the body has ended.
    fn continue_or_recycle(&mut self, reader: BodyReader<S>) {
        if !reader.framing.is_ended() {
            self.reader = Some(reader);
        } else if reader.reusable && reader.unsent.is_none() {
            self.pool.put(reader.connection);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Body for ResponseBody<S> {
    type Data = Bytes;
    type Error = H1Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, H1Error>>> {
        self.poll_bytes(cx)
            .map(|bytes| bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.reader.is_none() && self.first.is_empty()
    }
}
