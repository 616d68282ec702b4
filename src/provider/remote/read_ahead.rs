//! Keeps reading an HTTP/2 stream when its client doesn't.
//!
//! Streams of one HTTP/2 connection share it: frames that lie unread in one count against a budget of all, and h2 ends the
//! whole connection (`too_many_data_frames`) once a slow client lets too many small ones pile up. So each stream is read
//! at once into a bounded buffer of plain bytes; only when that is full, flow control stops this stream alone.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// What is read ahead of the client: with the stream's window it stays well under 256 KiB.
const BUFFER: usize = 64 * 1024;

/// The same bytes, read ahead by a task that ends with the returned stream.
pub(super) fn read_ahead<S>(
    upstream: S,
    tasks: &TaskTracker,
) -> impl Stream<Item = S::Item> + Send + use<S>
where
    S: Stream<Item = reqwest::Result<Bytes>> + Send + 'static,
{
    // One: what waits beyond it waits in the task's own buffer, joined.
    let (sender, mut receiver) = mpsc::channel(1);
    let task = AbortOnDropHandle::new(tasks.spawn(fill(upstream, sender)));
    async_stream::stream! {
        let _ends_with_us = task;
        while let Some(item) = receiver.recv().await {
            yield item;
        }
    }
}

async fn fill<S>(upstream: S, sender: mpsc::Sender<reqwest::Result<Bytes>>)
where
    S: Stream<Item = reqwest::Result<Bytes>>,
{
    let mut upstream = std::pin::pin!(upstream);
    let mut buffer = BytesMut::new();
    loop {
        let end = tokio::select! {
            // First what is there already: a token waits for nobody.
            biased;
            permit = sender.reserve(), if !buffer.is_empty() => match permit {
                Ok(permit) => {
                    permit.send(Ok(buffer.split().freeze()));
                    continue;
                }
                Err(_gone) => return,
            },
            item = upstream.next(), if buffer.len() < BUFFER => match item {
                Some(Ok(bytes)) => {
                    buffer.extend_from_slice(&bytes);
                    continue;
                }
                Some(Err(error)) => Some(error),
                None => None,
            },
        };
        // The end comes after the last byte, never instead of it.
        if !buffer.is_empty() && sender.send(Ok(buffer.split().freeze())).await.is_err() {
            return;
        }
        if let Some(error) = end {
            let _ = sender.send(Err(error)).await;
        }
        return;
    }
}
