//! Input that nobody will read, as the rest of a request's body after a refusal.
//!
//! The request has been answered by then, and the peer told that nothing more will come. To close
//! the socket at once, with input unread or on its way, would make the kernel send a RST, and the
//! peer would lose the answer before it has read it (RFC 9112 §9.6). So the input is read and
//! thrown away, within bounds, until the peer closes.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time;

use crate::ThreadBuffer;

/// Bytes that are thrown away at most. More than any LLM API takes as one request (32 to 50 MB), so
/// that a client which could have sent its request to one of them learns what is wrong. It costs
/// time only: none of it is kept.
pub const MAX_DISCARDED_BYTES: usize = 64 << 20;
/// Longest silence of a peer. After this it has either read its answer or won't.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that are read at once.
const READ_BUFFER: usize = 64 * 1024;

thread_local! {
    /// The buffer to read into. A peer that is silent, as refused ones are for seconds, holds none.
    static BUFFER: ThreadBuffer<Box<[u8]>> =
        const { ThreadBuffer::new(|| vec![0; READ_BUFFER].into()) };
}

/// Reads input and throws it away, until the peer closes or falls silent, `timeout` elapses, or
/// [`MAX_DISCARDED_BYTES`] have arrived.
pub async fn discard_input(mut input: impl AsyncRead + Unpin, timeout: Duration) {
    // The result makes no difference: the caller closes the connection next.
    let _ = time::timeout(timeout, async {
        let mut left = MAX_DISCARDED_BYTES;
        while left > 0 {
            let read = poll_fn(|cx| poll_discard(Pin::new(&mut input), cx));
            match time::timeout(SILENCE_TIMEOUT, read).await {
                Ok(Ok(length @ 1..)) => left = left.saturating_sub(length),
                _ => return,
            }
        }
    })
    .await;
}

/// Reads once into the thread's buffer; returns the number of bytes, 0 at the end of the input.
fn poll_discard(input: Pin<&mut impl AsyncRead>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    BUFFER.with(|buffer| {
        buffer.with(|bytes| {
            let mut buffer = ReadBuf::new(bytes);
            ready!(input.poll_read(cx, &mut buffer))?;
            Poll::Ready(Ok(buffer.filled().len()))
        })
    })
}
