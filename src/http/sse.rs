//! Responses of Server-Sent Events: a generation, or a stream that one writes, as an HTTP body.
//!
//! The body is polled only when the client has taken what came before, and gives all that there is;
//! who writes it cuts it. Where the body polls the generation itself, a client that stops reading
//! stops our reading from the upstream, and a client that leaves drops it all. Where it reads a
//! stream, its client is one reader of perhaps many, and owns nothing but its place.

mod body;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use tokio::time::{Instant, Sleep};

use crate::service::{RequestContext, Service, Subscription};
use base::wake_flag::WakeFlag;
use body::SseBody;
use dialect::sse::{MEDIA_TYPE, retry_frame};
use stream::StreamId;

const STREAM_ID: HeaderName = HeaderName::from_static("x-stream-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Sets the headers of every SSE response: what keeps caches, compressors and reverse proxies from
/// holding it back.
pub(super) fn set_sse_headers(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-transform"),
    );
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

/// Returns the response that streams a subscription.
pub(super) fn sse_response(
    service: &Service,
    subscription: Subscription,
    context: &RequestContext,
) -> Response {
    let Subscription {
        frames,
        dialect,
        stream,
        headers,
    } = subscription;
    let heartbeat = context.preferences.heartbeat(service.heartbeat);
    let body = SseBody::new(frames, heartbeat, dialect);
    let mut response = Response::new(axum::body::Body::new(body));
    *response.headers_mut() = headers;
    set_sse_headers(response.headers_mut());
    if let Some(id) = stream {
        set_stream_id(&mut response, &id);
    }
    response
}

/// Sets the header that names the stream of a response.
pub(super) fn set_stream_id(response: &mut Response, id: &StreamId) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(STREAM_ID, value);
    }
}

/// Returns a response that says nothing but when to come again, for clients that would not after an
/// error.
pub(super) fn retry_later() -> Response {
    let mut response = Response::new(axum::body::Body::from(retry_frame()));
    set_sse_headers(response.headers_mut());
    response
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

    #[inline]
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
