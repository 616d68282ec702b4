//! A generation, or a stream that one writes, as an HTTP body of Server-Sent Events.
//!
//! The body is polled only when the client has taken what came before, and gives all that there is;
//! who writes it cuts it. Where the body polls the generation itself, a client that stops reading
//! stops our reading from the upstream, and a client that leaves drops it all. Where it reads a
//! stream, its client is one reader of perhaps many, and owns nothing but its place.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep};

use super::frames::Frames;
use base::wake_flag::WakeFlag;

/// The media type of frames.
pub const MEDIA_TYPE: &str = "text/event-stream; charset=utf-8";

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Sets the headers of every SSE response: what keeps caches, compressors and reverse proxies from
/// holding it back.
pub fn head(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-transform"),
    );
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

/// A response that says nothing but when to come again, for clients that would not after an error.
#[must_use]
pub fn retry_later() -> Response<axum::body::Body> {
    let mut response = Response::new(axum::body::Body::from(dialect::sse::retry_frame()));
    head(response.headers_mut());
    response
}

/// The body of one SSE response.
#[derive(Debug)]
pub struct SseBody {
    frames: Frames,
    heartbeat: Option<Heartbeat>,
    /// The bytes of a heartbeat.
    beat: &'static [u8],
}

impl SseBody {
    /// Streams those frames; with a heartbeat that looks so after so much silence, if any.
    #[must_use]
    pub fn new(frames: Frames, heartbeat: Option<Duration>, beat: &'static [u8]) -> Self {
        Self {
            frames,
            heartbeat: heartbeat.map(Heartbeat::new),
            beat,
        }
    }
}

impl Body for SseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        let bytes = match this.frames.poll(cx) {
            Poll::Ready(Some(bytes)) => bytes,
            Poll::Ready(None) => return Poll::Ready(None),
            // Only here, between whole events, may a comment stand.
            Poll::Pending => match &mut this.heartbeat {
                Some(heartbeat) => {
                    std::task::ready!(heartbeat.poll(cx));
                    Bytes::from_static(this.beat)
                }
                None => return Poll::Pending,
            },
        };
        if let Some(heartbeat) = &mut this.heartbeat {
            heartbeat.wrote();
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_ended()
    }
}

/// Tells when the client has been told nothing for a while. As in a generation's clock, the timer
/// moves only when it fires.
#[derive(Debug)]
pub(super) struct Heartbeat {
    every: Duration,
    last: Instant,
    timer: Pin<Box<Sleep>>,
    wake_flag: WakeFlag,
}

impl Heartbeat {
    pub(super) fn new(every: Duration) -> Self {
        Self {
            every,
            last: Instant::now(),
            timer: Box::pin(tokio::time::sleep(every)),
            wake_flag: WakeFlag::new(),
        }
    }

    pub(super) fn wrote(&mut self) {
        self.last = Instant::now();
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(waker) = self.wake_flag.take_waker(cx) else {
            return Poll::Pending;
        };
        let mut cx = Context::from_waker(&waker);
        while self.timer.as_mut().poll(&mut cx).is_ready() {
            let due = self.last + self.every;
            let now = Instant::now();
            if due <= now {
                // The next is to be waited for as well.
                self.timer.as_mut().reset(now + self.every);
                self.wake_flag.wake();
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}
