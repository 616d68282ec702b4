//! The rest of a request's body that nobody reads, as after a refusal: what becomes of it.
//!
//! An HTTP/1.1 connection has been answered by then, and told that nothing more will come. Closing the socket then, with bytes of the client's still
//! unread or on their way, makes the kernel send a RST, and the client loses the answer before it has read it. So what
//! still comes is read and thrown away, within bounds, until the client closes.

use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::net::TcpStream;

use http1::ThreadBuffer;

/// More than any of the APIs takes as one request (32 to 50 MB), so that whoever might have sent it to one of them is
/// told what was wrong. It costs time only: nothing of it is kept.
const MOST: usize = 64 << 20;
/// A client that is silent for so long has either read its answer or won't.
const SILENCE: Duration = Duration::from_secs(5);
/// Read at once.
const PIECE: usize = 64 * 1024;

thread_local! {
    /// Where this thread reads into: whoever is silent, as refused clients are for seconds, holds none of it.
    static SCRATCH: ThreadBuffer<Box<[u8]>> = const { ThreadBuffer::new(|| vec![0; PIECE].into()) };
}

/// A request's body; what its reader leaves of it goes to `left`.
pub(super) struct Watched<F: FnOnce(Incoming)> {
    /// None only while it is being dropped.
    body: Option<Incoming>,
    ended: bool,
    left: Option<F>,
}

impl<F: FnOnce(Incoming)> Watched<F> {
    pub(super) fn new(body: Incoming, left: F) -> Self {
        Self {
            body: Some(body),
            ended: false,
            left: Some(left),
        }
    }
}

impl<F: FnOnce(Incoming) + Unpin> Body for Watched<F> {
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
        // The length of a chunked body is never known, its end only seen.
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

impl<F: FnOnce(Incoming)> Drop for Watched<F> {
    fn drop(&mut self) {
        let unread = !self.ended && self.body.as_ref().is_some_and(|body| !body.is_end_stream());
        if let (true, Some(body), Some(left)) = (unread, self.body.take(), self.left.take()) {
            left(body);
        }
    }
}

/// The rest of one stream's body, of a connection that goes on: read and thrown away while its answer is sent, and after.
/// To reset the stream instead is allowed, but clients such as curl take it for a failure and the answer is lost.
#[derive(Debug, Default)]
pub(super) struct Rest {
    body: Mutex<Option<Incoming>>,
    read: AtomicUsize,
}

impl Rest {
    pub(super) fn keep(&self, body: Incoming) {
        if let Ok(mut rest) = self.body.lock() {
            *rest = Some(body);
        }
    }

    /// Ready when there is none, or too much.
    pub(super) fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Ok(mut rest) = self.body.lock() else {
            return Poll::Ready(());
        };
        while let Some(body) = &mut *rest {
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    if self.read.fetch_add(length, Ordering::Relaxed) + length > MOST {
                        *rest = None;
                    }
                }
                _ => *rest = None,
            }
        }
        Poll::Ready(())
    }

    /// Lets go of it, unread.
    pub(super) fn give_up(&self) {
        if let Ok(mut rest) = self.body.lock() {
            *rest = None;
        }
    }
}

/// The rest of a connection's bytes: reads and throws away what still comes, until the client closes, a bound is reached, or `longest` is over.
pub(super) async fn discard(stream: &TcpStream, longest: Duration) {
    // Whatever ends it: the connection is closed next.
    let _ = tokio::time::timeout(longest, async {
        let mut rest = MOST;
        while rest > 0 {
            let Ok(Ok(())) = tokio::time::timeout(SILENCE, stream.readable()).await else {
                return;
            };
            match SCRATCH.with(|scratch| scratch.with(|piece| stream.try_read(piece))) {
                Ok(read @ 1..) => rest = rest.saturating_sub(read),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    })
    .await;
}
