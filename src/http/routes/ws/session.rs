//! The one task of a socket: it reads the client's messages, drives all that runs, and watches the
//! clock.
//!
//! Nothing is polled while the client has not taken what it was given, so a client that stalls
//! stalls its own generations, and each of their upstreams, and nobody else's.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::socket::{CloseReason, Socket};
use crate::service::Service;
use crate::shutdown::AbortSignal;

/// Rounds per poll before yielding to other connections.
const MAX_ROUNDS_PER_POLL: usize = 16;
/// The time that what runs for a revoked key has to say so.
const REVOCATION_GRACE: Duration = Duration::from_secs(2);

/// The messages that are exchanged over a socket, and all that runs for them.
pub(super) trait Protocol {
    /// Takes a message of the client; returns what is to be said at once, if anything.
    fn take_message(&mut self, text: Utf8Bytes) -> Option<String>;

    /// Polls for the next message for the client.
    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<String>;

    /// Returns whether nothing runs.
    fn is_idle(&self) -> bool;
}

/// An open socket, and all that runs on it.
pub(super) struct Session<S, P> {
    socket: Socket<S>,
    protocol: P,
    idle: Idle,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
    is_draining: bool,
    /// For a caller that has a key.
    revocation: Option<Revocation>,
}

/// The end of a key: what runs for it says so, and then its socket is closed.
struct Revocation {
    signal: Pin<Box<WaitForCancellationFutureOwned>>,
    abort: AbortSignal,
    /// Fires when what runs has had its time to say so.
    since: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin, P: Protocol> Session<S, P> {
    /// Returns the session on a socket; `abort` ends what runs for its caller.
    pub(super) fn new(
        service: &Arc<Service>,
        socket: Socket<S>,
        protocol: P,
        abort: &AbortSignal,
    ) -> Self {
        // The server's own abort ends what runs, and closes no socket.
        let revocation = abort.is_of_key().then(|| Revocation {
            signal: Box::pin(abort.aborted()),
            abort: abort.clone(),
            since: None,
        });
        Self {
            socket,
            protocol,
            idle: Idle::new(service.websocket.idle),
            draining: Box::pin(service.draining.begun()),
            is_draining: false,
            revocation,
        }
    }

    /// To its end.
    pub(super) async fn run(mut self) {
        let over = std::future::poll_fn(|cx| self.poll(cx)).await;
        // First of all: what ran for this client runs for nobody now.
        drop(self.protocol);
        self.socket.close(over).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        for _ in 0..MAX_ROUNDS_PER_POLL {
            match self.round(cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(over) => return Poll::Ready(over),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does one round of work; returns whether there may be more to do at once.
    fn round(&mut self, cx: &mut Context<'_>) -> Result<bool, CloseReason> {
        match self.socket.poll_flushed(cx) {
            Poll::Ready(room) => room?,
            Poll::Pending => return Ok(false),
        }
        let heard = match self.socket.poll_message(cx) {
            Poll::Ready(heard) => {
                if let Some(text) = heard? {
                    self.idle.touch();
                    if let Some(text) = self.protocol.take_message(text) {
                        self.socket.send_text(text)?;
                    }
                }
                true
            }
            Poll::Pending => false,
        };
        self.poll_texts(cx)?;
        self.socket.poll_ping(cx)?;
        self.poll_timers(cx)?;
        Ok(heard || !self.socket.is_flushed())
    }

    /// Lets all that run say what they have to say, until nobody has more or the client should take
    /// it first.
    fn poll_texts(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        while !self.socket.is_full() {
            let Poll::Ready(text) = self.protocol.poll_text(cx) else {
                break;
            };
            self.idle.touch();
            self.socket.send_text(text)?;
        }
        Ok(())
    }

    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        if let Some(revocation) = &mut self.revocation
            && revocation.poll(self.protocol.is_idle(), cx).is_ready()
        {
            return Err(CloseReason::Unauthorized);
        }
        self.is_draining = self.is_draining || self.draining.as_mut().poll(cx).is_ready();
        if !self.protocol.is_idle() {
            self.idle.touch();
        } else if self.is_draining {
            return Err(CloseReason::Draining);
        }
        match self.idle.poll(cx) {
            Poll::Ready(()) => Err(CloseReason::Idle),
            Poll::Pending => Ok(()),
        }
    }
}

impl Revocation {
    /// Polls for the time to close the socket; `is_idle` says whether nothing runs on it.
    fn poll(&mut self, is_idle: bool, cx: &mut Context<'_>) -> Poll<()> {
        let Some(grace) = &mut self.since else {
            ready!(self.signal.as_mut().poll(cx));
            if !self.abort.is_revoked() {
                return Poll::Pending;
            }
            let grace = self
                .since
                .insert(Box::pin(tokio::time::sleep(REVOCATION_GRACE)));
            return match is_idle {
                true => Poll::Ready(()),
                false => grace.as_mut().poll(cx),
            };
        };
        match is_idle {
            true => Poll::Ready(()),
            false => grace.as_mut().poll(cx),
        }
    }
}

/// Tells when nothing has happened for a while. The timer moves only when it fires.
struct Idle {
    after: Duration,
    since: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Idle {
    fn new(after: Duration) -> Self {
        Self {
            after,
            since: Instant::now(),
            timer: Box::pin(tokio::time::sleep(after)),
        }
    }

    fn touch(&mut self) {
        self.since = Instant::now();
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let due = self.since + self.after;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}
