//! The frames of one client: of a generation that it alone reads, or of a stream that a generation
//! writes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::generation::Generation;
use crate::shutdown::AbortSignal;
use base::id::RequestId;
use base::wake_flag::WakeFlag;
use dialect::failure::Failure;
use dialect::sse;
use dialect::{Dialect, ResponseMeta};
use stream::{End, Offset, Reader, ReaderEvent, StreamId};

/// The signal that the key of a reader is no longer good. The server's own abort ends streams, and
/// their readers with them.
#[derive(Debug)]
struct CutSignal {
    abort: AbortSignal,
    raised: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Set by the signal, so that it is not polled for every token.
    wake_flag: WakeFlag,
}

impl CutSignal {
    fn is_raised(&self) -> bool {
        self.abort.is_revoked()
    }

    /// Polls for the signal; returns whether it is raised.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(waker) = self.wake_flag.take_waker(cx) else {
            return false;
        };
        let mut cx = Context::from_waker(&waker);
        self.raised.as_mut().poll(&mut cx).is_ready() && self.is_raised()
    }
}

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
    /// Frames of a complete answer that no upstream was asked for.
    Ready(Option<Bytes>),
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
    /// The signal of the reader's key, which ends it with an error.
    cut: Option<CutSignal>,
    /// Its client has been told to reconnect: there is more to come, elsewhere.
    is_sent_on: bool,
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
            cut: None,
            is_sent_on: false,
            ended: None,
        }
    }

    /// Follows it unless that is raised, which its client is told.
    pub(super) fn unless_cut(self, abort: AbortSignal) -> Self {
        let cut = CutSignal {
            raised: Box::pin(abort.aborted()),
            abort,
            wake_flag: WakeFlag::new(),
        };
        Self {
            cut: Some(cut),
            ..self
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
        if self.cut.as_ref().is_some_and(CutSignal::is_raised) {
            return Poll::Ready(Some(self.cut_off()));
        }
        let Poll::Ready(next) = self.reader.poll_next(cx) else {
            if self.cut.as_mut().is_some_and(|cut| cut.poll(cx)) {
                return Poll::Ready(Some(self.cut_off()));
            }
            let Some(until) = &mut self.until else {
                return Poll::Pending;
            };
            ready!(until.as_mut().poll(cx));
            self.ended = Some(End::Lost);
            self.is_sent_on = true;
            return Poll::Ready(Some(sse::retry_frame()));
        };
        let (failure, end) = match next {
            ReaderEvent::Records(run, _) => return Poll::Ready(Some(run.into_bytes())),
            ReaderEvent::End(End::Lost) => (Failure::writer_lost(), End::Lost),
            ReaderEvent::End(end) => {
                self.ended = Some(end);
                return Poll::Ready(None);
            }
            // Deleted while it was read, or given up by its writer before it could begin.
            ReaderEvent::Gone if self.reader.log().is_gone() => {
                (Failure::gone("this stream is no longer here"), End::Failed)
            }
            ReaderEvent::Gone => (Failure::reader_lagged(), End::Failed),
        };
        self.ended = Some(end);
        Poll::Ready(Some(self.error_frame(&failure, end)))
    }

    /// Ends it for its key's sake; returns the last frame.
    fn cut_off(&mut self) -> Bytes {
        self.ended = Some(End::Failed);
        self.error_frame(&Failure::key_revoked(), End::Failed)
    }

    /// Returns a last frame. It is no part of the stream; one about the loss of the writer bears an
    /// id, by which a client that comes again shows that it was told.
    fn error_frame(&self, failure: &Failure, end: End) -> Bytes {
        tracing::info!(request_id = %self.request_id, stream = %self.reader.log().id(), ended = failure.code(), "reader");
        let log = self.reader.log();
        let told = log.head().at(Offset::AFTER_LOSS);
        let id = format!("{}.{told}", log.id());
        let mut out = BytesMut::new();
        let mut writer = self.dialect.client.event_writer(ResponseMeta::for_error());
        writer.write_error(failure, self.request_id.as_str(), &mut |event, data| {
            if end == End::Lost {
                sse::write_frame_head(&mut out, None, Some(&id));
            }
            sse::write_frame(&mut out, event, data);
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
            Frames::Ready(frames) => Poll::Ready(frames.take()),
        }
    }

    /// Returns whether the last frame has been given out.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        match self {
            Frames::Generation(generation) => generation.is_ended(),
            Frames::Stream(following) => following.ended.is_some(),
            Frames::Ready(frames) => frames.is_none(),
        }
    }

    /// Returns whether the run of frames that was given out last may end the answer. The reader of
    /// a stream learns that it was the last only when it asks for more.
    #[must_use]
    pub fn may_be_last(&self) -> bool {
        matches!(self, Frames::Stream(_)) || self.is_ended()
    }

    /// Returns whether it ended before the answer was complete.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        match self {
            Frames::Generation(generation) => generation.is_ended() && !generation.is_complete(),
            Frames::Stream(following) => {
                let is_cut = |end| end != End::Completed;
                following.ended.is_some_and(is_cut) && !following.is_sent_on
            }
            Frames::Ready(_) => false,
        }
    }

    /// Returns how it ended, once it has.
    #[must_use]
    pub fn end(&self) -> End {
        match self {
            Frames::Generation(generation) if generation.is_complete() => End::Completed,
            Frames::Generation(_) => End::Failed,
            Frames::Stream(following) => following.ended.unwrap_or(End::Lost),
            Frames::Ready(_) => End::Completed,
        }
    }
}
