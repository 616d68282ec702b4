//! A response body on its way into h2: in pieces that h2 can hold, and with what came before an
//! error sent before the stream is reset.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;

/// The largest piece of a body that is handed to h2 at once. h2 never splits a piece, so it would
/// hold a whole answer.
const MAX_PIECE_BYTES: usize = 16 * 1024;

/// A response body that is handed to h2 in pieces, and tells the guard when one is not taken.
pub(super) struct PacedBody {
    body: Body,
    /// Bytes of the body that hyper has not taken yet.
    rest: Bytes,
    /// The error that broke the body off, until h2 has sent all that came before: a reset would
    /// drop it.
    broken: Option<(axum::Error, oneshot::Receiver<()>)>,
    /// Counts up when a piece is handed to hyper, and when hyper asks again.
    handed: Arc<AtomicU64>,
}

/// An empty piece of a body. It is dropped when h2 has sent it, and all before it.
struct LastPiece {
    _sent: oneshot::Sender<()>,
}

impl AsRef<[u8]> for LastPiece {
    fn as_ref(&self) -> &[u8] {
        &[]
    }
}

impl PacedBody {
    pub(super) fn new(body: Body, handed: Arc<AtomicU64>) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            broken: None,
            handed,
        }
    }
}

impl http_body::Body for PacedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Some((_, sent)) = &mut this.broken {
            let _ = ready!(Pin::new(sent).poll(cx));
            return Poll::Ready(this.broken.take().map(|(error, _)| Err(error)));
        }
        let handed = &this.handed;
        let asked = handed.load(Ordering::Relaxed).next_multiple_of(2);
        handed.store(asked, Ordering::Relaxed);
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                Some(Err(error)) => {
                    let (sender, receiver) = oneshot::channel();
                    this.broken = Some((error, receiver));
                    handed.store(asked + 1, Ordering::Relaxed);
                    let last = Bytes::from_owner(LastPiece { _sent: sender });
                    return Poll::Ready(Some(Ok(Frame::data(last))));
                }
                None => return Poll::Ready(None),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(MAX_PIECE_BYTES));
        handed.store(asked + 1, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.broken.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked before the first piece is taken, or not at all.
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests")]

    use std::convert::Infallible;
    use std::io;

    use axum::http::{Request, Response};
    use futures_util::stream;
    use hyper::server::conn::http2;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};

    use super::*;

    /// h2 drops what it holds of a stream that is reset.
    #[tokio::test]
    async fn what_came_before_a_break_is_sent_however_slowly_it_is_taken() {
        let (client, server) = tokio::io::duplex(64);
        let answer = || {
            let pieces = [
                Ok(Bytes::from(vec![b'x'; 10_000])),
                Err(io::Error::other("broken")),
            ];
            Body::from_stream(stream::iter(pieces))
        };
        let respond = service_fn(move |_request: Request<hyper::body::Incoming>| {
            let body = PacedBody::new(answer(), Arc::default());
            std::future::ready(Ok::<_, Infallible>(Response::new(body)))
        });
        tokio::spawn(async move {
            let builder = http2::Builder::new(TokioExecutor::new());
            builder
                .serve_connection(TokioIo::new(server), respond)
                .await
        });
        let (mut send, mut connection) = h2::client::handshake(client).await.unwrap();
        let request = Request::get("http://t/").body(()).unwrap();
        let (response, _) = send.send_request(request, true).unwrap();
        let mut body = tokio::select! {
            response = response => response.unwrap().into_body(),
            _ = &mut connection => unreachable!("the connection ends last"),
        };
        // The client takes nothing, while the server does all that it can.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        let reading = async {
            let mut taken = 0;
            loop {
                match body.data().await.unwrap() {
                    Ok(piece) => taken += piece.len(),
                    Err(error) => return (taken, error.reason()),
                }
            }
        };
        let read = tokio::select! {
            read = reading => read,
            _ = &mut connection => unreachable!("the connection ends last"),
        };
        assert_eq!(read, (10_000, Some(h2::Reason::INTERNAL_ERROR)));
    }
}
