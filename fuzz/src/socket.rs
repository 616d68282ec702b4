//! A socket in memory: input that arrives in given pieces, and output that is dropped.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

thread_local! {
    static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
}

/// Runs a future to its end on this thread's runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// Cuts `data` into pieces whose lengths are the bytes of `cuts`, in turn, but for zeros. Without
/// any there is one piece.
pub fn cut(mut data: &[u8], cuts: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let lengths: Vec<usize> = cuts
        .iter()
        .filter(|cut| **cut > 0)
        .map(|cut| (*cut).into())
        .collect();
    for length in lengths.iter().cycle() {
        if data.len() <= *length {
            break;
        }
        let (piece, rest) = data.split_at(*length);
        pieces.push(piece.to_vec());
        data = rest;
    }
    if !data.is_empty() {
        pieces.push(data.to_vec());
    }
    pieces
}

/// The socket. Its peer sends all its pieces and then closes.
pub struct MemorySocket {
    input: VecDeque<Vec<u8>>,
    /// The peer sends nothing before something was written, as a server.
    answers: bool,
    /// Alternates: before each piece a read has to wait once.
    has_waited: bool,
    reader: Option<Waker>,
    has_output: bool,
}

impl MemorySocket {
    /// A socket whose peer is a client.
    pub fn of_client(pieces: Vec<Vec<u8>>) -> Self {
        Self {
            input: pieces.into(),
            answers: false,
            has_waited: false,
            reader: None,
            has_output: false,
        }
    }

    /// A socket whose peer is a server.
    pub fn of_server(pieces: Vec<Vec<u8>>) -> Self {
        Self {
            answers: true,
            ..Self::of_client(pieces)
        }
    }
}

impl AsyncRead for MemorySocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.answers && !self.has_output {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.has_waited = !self.has_waited;
        if self.has_waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(mut piece) = self.input.pop_front() {
            let rest = piece.split_off(piece.len().min(buf.remaining()));
            buf.put_slice(&piece);
            if !rest.is_empty() {
                self.input.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MemorySocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.has_output |= !buf.is_empty();
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
