//! The frames of one client: of a generation that it alone reads, or of a stream that a generation
//! writes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::generation::Generation;
use base::id::RequestId;
use dialect::failure::Failure;
use dialect::sse;
use dialect::{Dialect, ResponseMeta};
use stream::{End, Reader, ReaderEvent, StreamId};

/// The frames that a client reads, and what its response says of them.
#[derive(Debug)]
pub struct Subscription {
    /// The frames.
    pub frames: Frames,
    /// The dialect of the frames.
    pub dialect: &'static Dialect,
    /// The stream that they come from, if they come from one.
    pub stream: Option<StreamId>,
    /// The upstream's headers that the client may see.
    pub headers: HeaderMap,
}

/// The source of frames.
#[derive(Debug)]
pub enum Frames {
    /// A generation that this client alone reads.
    Generation(Box<Generation>),
    /// A stream of frames.
    Stream(StreamSubscription),
}

/// A reader of a stream of frames.
#[derive(Debug)]
pub struct StreamSubscription {
    reader: Reader,
    /// In which this client is told that its reader can't go on.
    dialect: &'static Dialect,
    request_id: RequestId,
    /// The signal that its client should reconnect elsewhere.
    until: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    ended: Option<End>,
}

impl StreamSubscription {
    /// Follows that reader of a stream in that dialect.
    pub(super) fn new(reader: Reader, dialect: &'static Dialect, request_id: RequestId) -> Self {
        Self {
            reader,
            dialect,
            request_id,
            until: None,
            ended: None,
        }
    }

    /// Follows it no longer than that; then its client is told to come again.
    pub(super) fn until(self, end: WaitForCancellationFutureOwned) -> Self {
        Self {
            until: Some(Box::pin(end)),
            ..self
        }
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended.is_some() {
            return Poll::Ready(None);
        }
        let Poll::Ready(next) = self.reader.poll_next(cx) else {
            let Some(until) = &mut self.until else {
                return Poll::Pending;
            };
            ready!(until.as_mut().poll(cx));
            self.ended = Some(End::Lost);
            return Poll::Ready(Some(sse::retry_frame()));
        };
        let (failure, end) = match next {
            ReaderEvent::Records(run, _) => return Poll::Ready(Some(run.into_bytes())),
            ReaderEvent::End(End::Lost) => (Failure::writer_lost(), End::Lost),
            ReaderEvent::End(end) => {
                self.ended = Some(end);
                return Poll::Ready(None);
            }
            ReaderEvent::Gone => (Failure::reader_lagged(), End::Failed),
        };
        self.ended = Some(end);
        Poll::Ready(Some(self.error_frame(&failure)))
    }

    /// A last frame. It is no part of the stream and bears no id.
    fn error_frame(&self, failure: &Failure) -> Bytes {
        tracing::info!(request_id = %self.request_id, stream = %self.reader.log().id(), ended = failure.code(), "reader");
        let mut out = BytesMut::new();
        let mut writer = self.dialect.client.event_writer(ResponseMeta::for_error());
        writer.write_error(failure, self.request_id.as_str(), &mut |event, data| {
            sse::write_frame(&mut out, event, data)
        });
        out.freeze()
    }
}

impl Frames {
    /// The next run of whole frames; none after the last.
    #[inline]
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self {
            Frames::Generation(generation) => generation.poll_frames(cx),
            Frames::Stream(following) => following.poll(cx),
        }
    }

    /// Returns whether the last frame has been given out.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        match self {
            Frames::Generation(generation) => generation.is_ended(),
            Frames::Stream(following) => following.ended.is_some(),
        }
    }

    /// Returns how it ended, once it has.
    #[must_use]
    pub fn end(&self) -> End {
        match self {
            Frames::Generation(generation) if generation.is_complete() => End::Completed,
            Frames::Generation(_) => End::Failed,
            Frames::Stream(following) => following.ended.unwrap_or(End::Lost),
        }
    }
}
