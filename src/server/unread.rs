//! The rest of a request's body that nobody reads, as after a refusal: what becomes of it.
//!
//! hyper answers, shuts down its sending half and is done. Closing the socket then, with bytes of the client's still
//! unread or on their way, makes the kernel send a RST, and the client loses the answer before it has read it. So what
//! still comes is read and thrown away, within bounds, until the client closes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::net::TcpStream;

/// More than any of the APIs takes as one request (32 to 50 MB), so that whoever might have sent it to one of them is
/// told what was wrong. It costs time only: nothing of it is kept.
const MOST: usize = 64 << 20;
/// A client that is silent for so long has either read its answer or won't.
const SILENCE: Duration = Duration::from_secs(5);
/// Read at once.
const PIECE: usize = 64 * 1024;

/// Whether a request's body was left unread.
#[derive(Debug, Clone, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
    pub(super) fn is(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Says so if that body is dropped before its end.
    pub(super) fn watch(&self, body: Incoming) -> Watched {
        Watched { body, ended: false, unread: self.clone() }
    }
}

/// A request's body that says so when it is dropped before its end.
#[derive(Debug)]
pub(super) struct Watched {
    body: Incoming,
    ended: bool,
    unread: Unread,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        // The length of a chunked body is never known, its end only seen.
        self.ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.unread.0.store(true, Ordering::Release);
        }
    }
}

/// Reads and throws away what still comes, until the client closes, a bound is reached, or `longest` is over.
pub(super) async fn discard(stream: &TcpStream, longest: Duration) {
    // hyper has done so, unless a head was too broken for an answer: then the client must learn it from this.
    let _ = socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write);
    // Whatever ends it: the connection is closed next.
    let _ = tokio::time::timeout(longest, async {
        let mut piece = vec![0; PIECE];
        let mut rest = MOST;
        while rest > 0 {
            let Ok(Ok(())) = tokio::time::timeout(SILENCE, stream.readable()).await else { return };
            match stream.try_read(&mut piece) {
                Ok(read @ 1..) => rest = rest.saturating_sub(read),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    })
    .await;
}
