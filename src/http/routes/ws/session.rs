//! The one task of a socket: it reads the client's messages, drives all that runs, and watches the
//! clock.
//!
//! Nothing is polled while the client has not taken what it was given, so a client that stalls
//! stalls its own generations, and each of their upstreams, and nobody else's. Those that run have
//! turns: one message each, then the next.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::message::{self, ClientMessage, ServerMessage, require_field};
use super::running::{SocketContext, SocketOutput, SocketSubscription};
use super::socket::{CloseReason, Socket};
use crate::service::{Caller, RequestContext, Service};
use base::id::RequestId;
use dialect::failure::Failure;
use dialect::plain;

/// Rounds per poll before yielding to other connections.
const MAX_ROUNDS_PER_POLL: usize = 16;
/// Headers that concern the handshake alone, and no request on the socket.
const HANDSHAKE_HEADERS: &[&str] = &[
    "idempotency-key",
    "last-event-id",
    "content-type",
    "content-encoding",
    "x-heartbeat",
];

/// An open socket, and all that runs on it.
pub(super) struct Session<S> {
    service: Arc<Service>,
    socket: Socket<S>,
    /// The context of the handshake.
    handshake: RequestContext,
    running: Vec<SocketSubscription>,
    /// The index of the subscription whose turn it is.
    turn: usize,
    /// Set once a message has arrived.
    heard: bool,
    idle: Idle,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
    is_draining: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn new(
        service: Arc<Service>,
        socket: Socket<S>,
        mut handshake: RequestContext,
    ) -> Self {
        for name in HANDSHAKE_HEADERS {
            handshake.headers.remove(*name);
        }
        let (idle, draining) = (
            Idle::new(service.websocket.idle),
            Box::pin(service.draining.begun()),
        );
        let running = Vec::new();
        Self {
            service,
            socket,
            handshake,
            running,
            turn: 0,
            heard: false,
            idle,
            draining,
            is_draining: false,
        }
    }

    /// To its end.
    pub(super) async fn run(mut self) {
        let over = std::future::poll_fn(|cx| self.poll(cx)).await;
        // First of all: what ran for this client runs for nobody now.
        self.running.clear();
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
                    self.on_message(&text)?;
                }
                true
            }
            Poll::Pending => false,
        };
        self.poll_subscriptions(cx)?;
        self.socket.poll_ping(cx)?;
        self.poll_timers(cx)?;
        Ok(heard || !self.socket.is_flushed())
    }

    /// Lets all that run say what they have to say, in turns, until nobody has more or the client
    /// should take it first.
    fn poll_subscriptions(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        let mut silent = 0;
        while silent < self.running.len() && !self.socket.is_full() {
            if self.turn >= self.running.len() {
                self.turn = 0;
            }
            match self.running[self.turn].poll(cx) {
                Poll::Pending => {
                    silent += 1;
                    self.turn += 1;
                }
                Poll::Ready(SocketOutput::More(text)) => {
                    silent = 0;
                    self.turn += 1;
                    self.socket.send_text(text)?;
                }
                Poll::Ready(SocketOutput::Last(text)) => {
                    silent = 0;
                    self.running.remove(self.turn);
                    self.idle.touch();
                    self.socket.send_text(text)?;
                }
            }
        }
        Ok(())
    }

    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        self.is_draining = self.is_draining || self.draining.as_mut().poll(cx).is_ready();
        if !self.running.is_empty() {
            self.idle.touch();
        } else if self.is_draining {
            return Err(CloseReason::Draining);
        }
        match self.idle.poll(cx) {
            Poll::Ready(()) => Err(CloseReason::Idle),
            Poll::Pending => Ok(()),
        }
    }

    fn on_message(&mut self, text: &str) -> Result<(), CloseReason> {
        self.idle.touch();
        let first = !std::mem::replace(&mut self.heard, true);
        let said = message::parse_message(text)
            .map_err(|failure| (None, failure))
            .and_then(|message| self.dispatch(message, first));
        match said {
            Ok(None) => Ok(()),
            Ok(Some(text)) => self.socket.send_text(text),
            Err((id, failure)) => {
                let request_id = RequestId::random();
                self.socket.send_text(message::refused(
                    id.as_deref(),
                    failure.into(),
                    &plain::DIALECT,
                    &request_id,
                ))
            }
        }
    }

    /// Does what a message says; an error that has an id is that id's last message.
    fn dispatch(
        &mut self,
        mut message: ClientMessage<'_>,
        first: bool,
    ) -> Result<Option<String>, (Option<String>, Failure)> {
        let nobody = |failure| (None, failure);
        if message.kind == "auth" {
            return self.auth(message, first).map_err(nobody);
        }
        let id = message.id().map_err(nobody)?;
        let at = self.running.iter().position(|running| running.id == id);
        match (message.kind.as_str(), at) {
            ("start" | "attach", Some(_)) => {
                let message = "this id is that of one that runs; give each one of its own";
                Err(nobody(Failure::invalid("id", message)))
            }
            ("start" | "attach", None) => {
                let begun = self.begin(id.clone(), message);
                begun
                    .map(|running| self.running.push(running))
                    .map_err(|failure| (Some(id), failure))?;
                Ok(None)
            }
            ("cancel", Some(at)) => {
                let last = self.running[at].cancel(&self.service);
                if last.is_some() {
                    self.running.remove(at);
                }
                Ok(last)
            }
            ("leave", Some(at)) => {
                self.running.remove(at);
                Ok(Some(
                    ServerMessage::End {
                        id: &id,
                        status: "left",
                    }
                    .write(),
                ))
            }
            ("cancel" | "leave", None) => {
                let message = "nothing runs under this id; it may just have ended".to_owned();
                Err(nobody(Failure::not_found(message)))
            }
            _ => {
                let message = "`type` should be `start`, `attach`, `cancel`, `leave` or `auth`";
                Err(nobody(Failure::invalid("type", message)))
            }
        }
    }

    fn begin(&self, id: String, message: ClientMessage<'_>) -> Result<SocketSubscription, Failure> {
        let most = self.service.websocket.max_running.get();
        if self.running.len() >= most {
            return Err(Failure::too_many_running(most));
        }
        let host = SocketContext {
            service: &self.service,
            handshake: &self.handshake,
        };
        if message.kind == "start" {
            SocketSubscription::start(id, message, &host)
        } else {
            SocketSubscription::attach(id, message, &host)
        }
    }

    /// Says who the client is, for one that can send no headers: a browser. It holds for all that
    /// follows, so it comes before it.
    fn auth(&mut self, message: ClientMessage<'_>, first: bool) -> Result<Option<String>, Failure> {
        if !first {
            return Err(Failure::invalid(
                "type",
                "`auth` should be the first message",
            ));
        }
        let value = HeaderValue::try_from(require_field("authorization", message.authorization)?);
        let mut value = value.map_err(|_| {
            Failure::invalid("authorization", "`authorization` should fit into a header")
        })?;
        value.set_sensitive(true);
        self.handshake.headers.insert(AUTHORIZATION, value);
        self.handshake.caller = Caller::from_headers(&self.handshake.headers);
        Ok(None)
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
