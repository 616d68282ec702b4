//! The body of one response of Server-Sent Events.
//!
//! An answer that broke has no proper end: after its error the body breaks off, so that a client
//! which passes over the error meets a broken connection, and none takes the answer for whole.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::Sleep;

use super::Heartbeat;
use crate::service::Frames;
use dialect::{Dialect, sse};

/// The time between an error and the break of the connection. A client that acts on the error is
/// gone by then; many drop what they have not yet read of a connection that breaks.
const BREAK_DELAY: Duration = Duration::from_millis(250);

/// The body of one SSE response.
#[derive(Debug)]
pub(super) struct SseBody {
    stage: Stage,
    heartbeat: Option<Heartbeat>,
    dialect: &'static Dialect,
    /// The last frames, where their error will have to be repeated.
    last: Bytes,
}

/// The part of the body that comes next.
#[derive(Debug)]
enum Stage {
    /// Frames.
    Frames(Frames),
    /// The error once more, as bare JSON.
    BareError(Bytes),
    /// The break, after a moment.
    Break(Pin<Box<Sleep>>),
    /// Nothing.
    Ended,
}

impl SseBody {
    /// Streams those frames of that dialect; with a heartbeat after so much silence, if any.
    pub(super) fn new(
        frames: Frames,
        heartbeat: Option<Duration>,
        dialect: &'static Dialect,
    ) -> Self {
        Self {
            stage: Stage::Frames(frames),
            heartbeat: heartbeat.map(Heartbeat::new),
            dialect,
            last: Bytes::new(),
        }
    }

    /// Returns the stage after frames that have ended.
    fn stage_after_frames(&self, is_broken: bool) -> Stage {
        match bare_error(&self.last) {
            _ if !is_broken => Stage::Ended,
            Some(error) => Stage::BareError(error),
            None => Stage::Break(Box::pin(tokio::time::sleep(BREAK_DELAY))),
        }
    }
}

/// Returns the error that these frames end with, as bare JSON.
fn bare_error(frames: &Bytes) -> Option<Bytes> {
    let last = sse::frames(frames).filter_map(|frame| frame.data).last()?;
    let error: serde_json::Value = serde_json::from_slice(&last).ok()?;
    let is_error = error["error"].is_object();
    is_error.then(|| format!("{error}\n\n").into())
}

impl Body for SseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let bytes = loop {
            match &mut this.stage {
                Stage::Frames(frames) => match frames.poll(cx) {
                    Poll::Ready(Some(bytes)) => {
                        if this.dialect.repeats_errors_bare && frames.may_be_last() {
                            this.last = bytes.clone();
                        }
                        break bytes;
                    }
                    // Its generation is dropped here, not when the client has gone.
                    Poll::Ready(None) => {
                        let is_broken = frames.is_broken();
                        this.stage = this.stage_after_frames(is_broken);
                    }
                    // Only here, between whole events, may a comment stand.
                    Poll::Pending => match &mut this.heartbeat {
                        Some(heartbeat) => {
                            ready!(heartbeat.poll(cx));
                            break Bytes::from_static(this.dialect.heartbeat);
                        }
                        None => return Poll::Pending,
                    },
                },
                Stage::BareError(error) => {
                    // A piece of its own: that is how it is known.
                    let error = std::mem::take(error);
                    this.stage = Stage::Break(Box::pin(tokio::time::sleep(BREAK_DELAY)));
                    break error;
                }
                Stage::Break(delay) => {
                    ready!(delay.as_mut().poll(cx));
                    this.stage = Stage::Ended;
                    let broken = io::Error::other("the answer broke off");
                    return Poll::Ready(Some(Err(broken)));
                }
                Stage::Ended => return Poll::Ready(None),
            }
        };
        if let Some(heartbeat) = &mut this.heartbeat {
            heartbeat.wrote();
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.stage {
            Stage::Frames(frames) => frames.is_ended() && !frames.is_broken(),
            Stage::BareError(_) | Stage::Break(_) => false,
            Stage::Ended => true,
        }
    }
}
