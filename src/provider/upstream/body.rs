//! The body of an upstream's response, of either version of HTTP.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;
use http1::client::ResponseBody;
use hyper::body::Incoming;
use tokio_util::task::TaskTracker;
use tower::BoxError;

use super::read_ahead::ReadAhead;
use super::socket::UpstreamSocket;

/// The body of an upstream's response. Dropping it before its end cancels the response.
#[derive(Debug)]
pub(in crate::provider) enum UpstreamBody {
    /// Read from its connection by whoever polls it.
    Http1(ResponseBody<UpstreamSocket>),
    /// Read from the connection's task, within the stream's window.
    Http2(Incoming),
    /// Read ahead of whoever polls it, within a bound.
    Http2ReadAhead(ReadAhead),
}

impl UpstreamBody {
    /// Prepares the body to be streamed at a client's pace.
    pub(in crate::provider) fn streamed(self, tasks: &TaskTracker) -> Self {
        match self {
            UpstreamBody::Http2(body) => {
                UpstreamBody::Http2ReadAhead(ReadAhead::spawn(body, tasks))
            }
            body => body,
        }
    }

    /// Polls for the next bytes, `None` after the end.
    #[inline]
    pub(in crate::provider) fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BoxError>>> {
        match self {
            UpstreamBody::Http1(body) => body.poll_bytes(cx).map_err(Into::into),
            UpstreamBody::Http2(body) => poll_data(body, cx).map_err(Into::into),
            UpstreamBody::Http2ReadAhead(body) => body.poll_bytes(cx).map_err(Into::into),
        }
    }

    /// Waits for the next bytes, `None` after the end.
    pub(in crate::provider) async fn next_bytes(&mut self) -> Option<Result<Bytes, BoxError>> {
        std::future::poll_fn(|cx| self.poll_bytes(cx)).await
    }
}

/// Polls for the next data frame; trailers are skipped.
fn poll_data(body: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Bytes>>> {
    loop {
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Poll::Ready(Some(Ok(data)));
                }
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(None),
        }
    }
}
