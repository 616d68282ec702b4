//! One of those that run on a socket: from the request that began it to its last frame. What a
//! client is told of it is its protocol's to say.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt;

use crate::access::Caller;
use crate::disconnect::Disconnect;
use crate::http::context::CommonOptions;
use crate::http::error::Rejection;
use crate::service::{Frames, RequestContext, Service, Subscription};
use base::id::RequestId;
use dialect::failure::Failure;
use dialect::sse::{self, Frame};
use stream::{End, StreamId};

/// The progress of a subscription.
pub(super) enum Progress<'a> {
    /// It has begun.
    Begun(&'a Subscription),
    /// A frame with data, and the stream that it comes from.
    Frame(Frame<'a>, Option<&'a StreamId>),
    /// It has ended.
    Ended(End),
    /// It could not begin.
    Refused(Rejection),
}

/// The next output of what runs on a socket.
pub(super) enum SocketOutput {
    /// A message; more may follow.
    More(String),
    /// The end, and the last message if there is one.
    Last(Option<String>),
}

type PendingSubscription = Pin<Box<dyn Future<Output = Result<Subscription, Rejection>> + Send>>;

enum Phase {
    Starting(PendingSubscription),
    Open(Box<Subscription>),
}

/// A generation, or a reader of a stream.
pub(super) struct SocketSubscription {
    disconnect: Disconnect,
    caller: Caller,
    phase: Phase,
    /// Frames that came and are not told yet.
    rest: Bytes,
    /// The signal that ends its stream.
    cancelling: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    is_cancelled: bool,
}

impl SocketSubscription {
    /// Returns one that begins as that future does.
    pub(super) fn new<F>(context: RequestContext, begin: impl FnOnce(RequestContext) -> F) -> Self
    where
        F: Future<Output = Result<Subscription, Rejection>> + Send + 'static,
    {
        let (disconnect, caller) = (context.disconnect.clone(), context.caller.clone());
        // A panic ends what it happened in, and no other on the socket.
        let beginning = AssertUnwindSafe(begin(context)).catch_unwind();
        let beginning = Box::pin(beginning.map(|begun| {
            begun.unwrap_or_else(|_| Err(Failure::internal("a panic".into()).into()))
        }));
        Self {
            disconnect,
            caller,
            phase: Phase::Starting(beginning),
            rest: Bytes::new(),
            cancelling: None,
            is_cancelled: false,
        }
    }

    /// Polls for the next message; `tell` writes it, if there is anything to say.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut tell: impl FnMut(Progress<'_>) -> Option<String>,
    ) -> Poll<SocketOutput> {
        loop {
            if let Some(cancelling) = &mut self.cancelling
                && cancelling.as_mut().poll(cx).is_ready()
            {
                self.cancelling = None;
            }
            let text = match &mut self.phase {
                Phase::Starting(beginning) => match ready!(beginning.as_mut().poll(cx)) {
                    Ok(source) => {
                        let text = tell(Progress::Begun(&source));
                        self.phase = Phase::Open(Box::new(source));
                        text
                    }
                    Err(refused) => {
                        let last = tell(Progress::Refused(refused));
                        return Poll::Ready(SocketOutput::Last(last));
                    }
                },
                Phase::Open(source) => {
                    match next(&mut self.rest, source.stream.as_ref(), &mut tell) {
                        Some(text) => Some(text),
                        None => match ready!(source.frames.poll(cx)) {
                            Some(frames) => {
                                self.rest = frames;
                                None
                            }
                            None => {
                                let end = match self.is_cancelled {
                                    true => End::Cancelled,
                                    false => source.frames.end(),
                                };
                                let last = tell(Progress::Ended(end));
                                return Poll::Ready(SocketOutput::Last(last));
                            }
                        },
                    }
                }
            };
            if let Some(text) = text {
                return Poll::Ready(SocketOutput::More(text));
            }
        }
    }

    /// Ends it, at its client's word; returns whether that is its end. Otherwise what is still to
    /// be said comes with the next poll.
    pub(super) fn cancel(&mut self, service: &Arc<Service>) -> bool {
        self.disconnect.set_cancelled();
        let source = match &mut self.phase {
            Phase::Starting(_) => return true,
            Phase::Open(source) => source,
        };
        match (&mut source.frames, &source.stream) {
            (Frames::Generation(generation), _) => {
                // What it had said before and is not told yet stays before its last frame.
                if !generation.is_ended() {
                    let last = generation.stop(Failure::cancelled());
                    self.rest = [&self.rest[..], &last[..]].concat().into();
                    self.is_cancelled = true;
                }
            }
            (Frames::Stream(_), Some(id)) => {
                let (service, id, caller) = (service.clone(), id.clone(), self.caller.clone());
                self.cancelling = Some(Box::pin(async move {
                    // A stream that can't be found is gone, which its reader says.
                    let _ = service.streams.cancel(&id, caller.owner()).await;
                }));
            }
            (Frames::Stream(_) | Frames::Ready(_), _) => {}
        }
        false
    }
}

/// Returns what is to be said of the next frames, up to the first of which anything is.
fn next(
    rest: &mut Bytes,
    stream: Option<&StreamId>,
    tell: &mut impl FnMut(Progress<'_>) -> Option<String>,
) -> Option<String> {
    while !rest.is_empty() {
        let frame = sse::frames(rest).next()?;
        let end = frame.range.end;
        let text = match frame.data.is_some() {
            true => tell(Progress::Frame(frame, stream)),
            false => None,
        };
        let _told = rest.split_to(end);
        if text.is_some() {
            return text;
        }
    }
    None
}

/// Returns the context of a request that arrived over the socket of that route.
pub(super) fn request_context(
    handshake: &RequestContext,
    options: CommonOptions,
    route: &'static str,
) -> RequestContext {
    let mut preferences = options.preferences;
    // What keeps a silent connection open here is a ping of the socket's own.
    preferences.comments = false;
    RequestContext {
        id: RequestId::random(),
        caller: handshake.caller.renewed(),
        headers: handshake.headers.clone(),
        preferences,
        linger: options.linger,
        is_event_source: false,
        via: Some(route),
        disconnect: handshake.disconnect.for_request(),
    }
}
