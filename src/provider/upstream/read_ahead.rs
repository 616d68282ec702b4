//! Reads an HTTP/2 body ahead of its client.
//!
//! The streams of an HTTP/2 connection share it: unread frames of one count against a budget of
//! all, and h2 ends the whole connection (`too_many_data_frames`) once a slow client lets too many
//! small ones pile up. So each body is read at once into a bounded buffer of plain bytes. When that
//! is full, flow control stops this stream alone.

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// Bytes read ahead of the client: with the stream's window well under 256 KiB.
const MAX_READ_AHEAD: usize = 64 * 1024;

/// The bytes of an HTTP/2 body, read ahead by a task that ends with this value.
#[derive(Debug)]
pub(in crate::provider) struct ReadAhead {
    bytes: mpsc::Receiver<hyper::Result<Bytes>>,
    _task: AbortOnDropHandle<()>,
}

impl ReadAhead {
    /// Starts to read ahead.
    #[expect(
        clippy::disallowed_methods,
        reason = "aborted with the body that it reads ahead"
    )]
    pub(in crate::provider) fn spawn(body: Incoming, tasks: &TaskTracker) -> Self {
        // A capacity of one: what exceeds it waits in the task's own buffer, joined.
        let (sender, bytes) = mpsc::channel(1);
        Self {
            bytes,
            _task: AbortOnDropHandle::new(tasks.spawn(read_ahead(body, sender))),
        }
    }

    /// Polls for the next bytes, `None` after the end.
    pub(in crate::provider) fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Bytes>>> {
        self.bytes.poll_recv(cx)
    }
}

async fn read_ahead(body: Incoming, sender: mpsc::Sender<hyper::Result<Bytes>>) {
    let mut body = BodyDataStream::new(body);
    let mut buffer = BytesMut::new();
    loop {
        let error = tokio::select! {
            // Bytes that are there go first: no token waits for the next one.
            biased;
            permit = sender.reserve(), if !buffer.is_empty() => match permit {
                Ok(permit) => {
                    permit.send(Ok(buffer.split().freeze()));
                    continue;
                }
                Err(_closed) => return,
            },
            item = body.next(), if buffer.len() < MAX_READ_AHEAD => match item {
                Some(Ok(bytes)) => {
                    buffer.extend_from_slice(&bytes);
                    continue;
                }
                Some(Err(error)) => Some(error),
                None => None,
            },
        };
        // An error comes after the last byte, never instead of it.
        if !buffer.is_empty() && sender.send(Ok(buffer.split().freeze())).await.is_err() {
            return;
        }
        if let Some(error) = error {
            let _ = sender.send(Err(error)).await;
        }
        return;
    }
}
