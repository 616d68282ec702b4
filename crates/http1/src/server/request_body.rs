//! The body of a request, received from its connection as it is polled.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{RequestBodyError, ServerConnection, lock};
use crate::Framing;

/// A request's body. Nothing of it is received before it is polled, but for what came with the
/// head.
#[derive(Debug)]
pub struct RequestBody<S> {
    /// `None` if the body came completely with the head.
    connection: Option<Arc<Mutex<ServerConnection<S>>>>,
    /// The number of its request on the connection.
    number: u64,
    /// The bytes that are still to be given out, if known.
    length: Option<u64>,
    /// Bytes that came with the head.
    first: Bytes,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> RequestBody<S> {
    /// Returns the body of the request whose head has just been received.
    pub(super) fn receive(connection: &Arc<Mutex<ServerConnection<S>>>) -> Self {
        let mut locked = lock(connection);
        // A fault in it is reported to the reader of the rest.
        let first = locked.take_body().unwrap_or_default();
        let is_complete = locked.framing().is_ended();
        let left = match locked.framing() {
            _ if is_complete => Some(0),
            Framing::Length(left) => Some(*left),
            Framing::Chunked(_) | Framing::Close | Framing::Broken(_) => None,
        };
        Self {
            number: locked.request_number(),
            length: left.map(|left| left.saturating_add(first.len() as u64)),
            ended: is_complete && first.is_empty(),
            first,
            connection: (!is_complete).then(|| connection.clone()),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Body for RequestBody<S> {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        let next = match &this.connection {
            _ if !this.first.is_empty() => Some(Ok(std::mem::take(&mut this.first))),
            Some(connection) if !this.ended => {
                ready!(lock(connection).poll_body(this.number, cx))
            }
            _ => None,
        };
        match &next {
            Some(Ok(bytes)) => {
                let given = bytes.len() as u64;
                this.length = this.length.map(|length| length.saturating_sub(given));
                this.ended = this.length == Some(0);
            }
            Some(Err(_)) | None => this.ended = true,
        }
        Poll::Ready(next.map(|next| next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.first.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
