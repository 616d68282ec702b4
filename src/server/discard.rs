//! Request bodies over HTTP/2 that their handler leaves unread, as after a refusal.
//!
//! The rest is received and thrown away within bounds. To reset the stream instead is allowed, but
//! clients such as curl take a reset for a failure, and the answer is lost. For HTTP/1.1 see
//! `http1::discard_input`.

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http1::MAX_DISCARDED_BYTES;
use hyper::body::Incoming;

/// A request's body that passes its unread rest to a callback when it is dropped.
pub(super) struct TrackedBody<F: FnOnce(Incoming)> {
    /// `None` only while this is being dropped.
    body: Option<Incoming>,
    ended: bool,
    on_unread: Option<F>,
}

impl<F: FnOnce(Incoming)> TrackedBody<F> {
    pub(super) fn new(body: Incoming, on_unread: F) -> Self {
        Self {
            body: Some(body),
            ended: false,
            on_unread: Some(on_unread),
        }
    }
}

impl<F: FnOnce(Incoming) + Unpin> Body for TrackedBody<F> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(body).poll_frame(cx);
        // The end of a body without a length is known only once it has been seen.
        self.ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl<F: FnOnce(Incoming)> Drop for TrackedBody<F> {
    fn drop(&mut self) {
        let unread = !self.ended && self.body.as_ref().is_some_and(|body| !body.is_end_stream());
        if let (true, Some(body), Some(on_unread)) =
            (unread, self.body.take(), self.on_unread.take())
        {
            on_unread(body);
        }
    }
}

/// The unread rest of one stream's body, received and thrown away while its answer is sent, and
/// after.
#[derive(Debug, Default)]
pub(super) struct Discard {
    body: Mutex<Option<Incoming>>,
    discarded: AtomicUsize,
}

impl Discard {
    /// Takes over the body that is to be thrown away.
    pub(super) fn set_body(&self, body: Incoming) {
        if let Ok(mut rest) = self.body.lock() {
            *rest = Some(body);
        }
    }

    /// Receives and throws away. Ready when there is no body, or no more of it is received.
    pub(super) fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Ok(mut rest) = self.body.lock() else {
            return Poll::Ready(());
        };
        while let Some(body) = &mut *rest {
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    let before = self.discarded.fetch_add(length, Ordering::Relaxed);
                    if before + length > MAX_DISCARDED_BYTES {
                        *rest = None;
                    }
                }
                _ => *rest = None,
            }
        }
        Poll::Ready(())
    }

    /// Releases the body without receiving the rest of it.
    pub(super) fn release(&self) {
        if let Ok(mut rest) = self.body.lock() {
            *rest = None;
        }
    }
}
