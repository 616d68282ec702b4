//! A request's body, read from its connection as it is asked for.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use super::link::{Broken, Link};
use http1::Framing;

/// A body that has not come whole with its head.
#[derive(Debug)]
pub(super) struct Incoming<S> {
    link: Arc<Mutex<Link<S>>>,
    /// Which of the connection's requests it is of.
    number: u64,
    length: Option<u64>,
    /// What came with the head.
    first: Bytes,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Incoming<S> {
    pub(super) fn new(link: Arc<Mutex<Link<S>>>, first: Bytes) -> Self {
        let (number, left) = {
            let link = link.lock().unwrap_or_else(PoisonError::into_inner);
            let left = match link.framing() {
                Framing::Length(left) => Some(*left),
                Framing::Chunked(_) | Framing::Close | Framing::Broken(_) => None,
            };
            (link.number(), left)
        };
        let length = left.map(|left| left.saturating_add(first.len() as u64));
        Self {
            link,
            number,
            length,
            first,
            ended: false,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> http_body::Body for Incoming<S> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        let next = match this.first.is_empty() {
            false => Some(Ok(std::mem::take(&mut this.first))),
            true if this.ended => None,
            true => {
                let mut link = this.link.lock().unwrap_or_else(PoisonError::into_inner);
                std::task::ready!(link.poll_body(this.number, cx))
            }
        };
        match &next {
            Some(Ok(bytes)) => {
                this.length = this
                    .length
                    .map(|length| length.saturating_sub(bytes.len() as u64));
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
