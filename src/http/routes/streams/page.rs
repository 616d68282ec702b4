//! A page of a stream, as the body of a response.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use stream::{ContentKind, RecordBatch};

/// Pieces that lie where the stream has them: a thousand readers of a page share its memory.
struct Pieces(VecDeque<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}

/// Returns a body of those records. JSON records, which each end in a comma, form an array.
pub(super) fn body(form: ContentKind, runs: Vec<RecordBatch>) -> Body {
    let mut pieces: VecDeque<Bytes> = runs.into_iter().map(RecordBatch::into_bytes).collect();
    if form == ContentKind::Json {
        if let Some(last) = pieces.back_mut()
            && last.ends_with(b",")
        {
            last.truncate(last.len() - 1);
        }
        pieces.push_front(Bytes::from_static(b"["));
        pieces.push_back(Bytes::from_static(b"]"));
    }
    Body::new(Pieces(pieces))
}
