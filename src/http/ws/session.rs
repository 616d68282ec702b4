//! The one task of a socket: it reads the client's messages, drives all that runs, and watches the clock.
//!
//! Nothing is polled while the client has not taken what it was given, so a client that stalls stalls its own generations,
//! and each of their upstreams, and nobody else's. Those that run have turns: one message each, then the next.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::message::{self, Message, Told, needed};
use super::running::{Host, Running, Says};
use crate::disconnect::Disconnect;
use crate::http::Shared;
use crate::transport::websocket::{Over, Socket};
use base::id::RequestId;
use dialect::failure::Failure;
use dialect::plain;

/// So many rounds, then other connections have their turn.
const AT_ONCE: usize = 16;
/// Headers of the handshake that are about the socket, not about what is asked for on it.
const OF_THE_SOCKET: &[&str] = &[
    "idempotency-key",
    "last-event-id",
    "content-type",
    "content-encoding",
    "x-heartbeat",
];

/// An open socket, and all that runs on it.
pub(super) struct Session<S> {
    shared: Arc<Shared>,
    socket: Socket<S>,
    headers: HeaderMap,
    disconnect: Disconnect,
    running: Vec<Running>,
    /// Whose turn it is.
    turn: usize,
    /// Whether a message has come.
    heard: bool,
    idle: Idle,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
    is_draining: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn new(
        shared: Arc<Shared>,
        socket: Socket<S>,
        mut headers: HeaderMap,
        disconnect: Disconnect,
    ) -> Self {
        for name in OF_THE_SOCKET {
            headers.remove(*name);
        }
        let (idle, draining) = (
            Idle::new(shared.websocket.idle),
            Box::pin(shared.draining.begun()),
        );
        let running = Vec::new();
        Self {
            shared,
            socket,
            headers,
            disconnect,
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

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        for _ in 0..AT_ONCE {
            match self.round(cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(over) => return Poll::Ready(over),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether there may be more to do at once.
    fn round(&mut self, cx: &mut Context<'_>) -> Result<bool, Over> {
        match self.socket.poll_room(cx) {
            Poll::Ready(room) => room?,
            Poll::Pending => return Ok(false),
        }
        let heard = match self.socket.poll_heard(cx) {
            Poll::Ready(heard) => {
                if let Some(text) = heard? {
                    self.hear(&text)?;
                }
                true
            }
            Poll::Pending => false,
        };
        self.let_say(cx)?;
        self.socket.watch(cx)?;
        self.look_at_the_clock(cx)?;
        Ok(heard || !self.socket.is_flushed())
    }

    /// Lets all that run say what they have to say, in turns, until nobody has more or the client should take it first.
    fn let_say(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
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
                Poll::Ready(Says::More(text)) => {
                    silent = 0;
                    self.turn += 1;
                    self.socket.say(text)?;
                }
                Poll::Ready(Says::Last(text)) => {
                    silent = 0;
                    self.running.remove(self.turn);
                    self.idle.touch();
                    self.socket.say(text)?;
                }
            }
        }
        Ok(())
    }

    fn look_at_the_clock(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        self.is_draining = self.is_draining || self.draining.as_mut().poll(cx).is_ready();
        if !self.running.is_empty() {
            self.idle.touch();
        } else if self.is_draining {
            return Err(Over::DrainSignal);
        }
        match self.idle.poll(cx) {
            Poll::Ready(()) => Err(Over::Idle),
            Poll::Pending => Ok(()),
        }
    }

    fn hear(&mut self, text: &str) -> Result<(), Over> {
        self.idle.touch();
        let first = !std::mem::replace(&mut self.heard, true);
        let said = message::read(text)
            .map_err(|failure| (None, failure))
            .and_then(|message| self.obey(message, first));
        match said {
            Ok(None) => Ok(()),
            Ok(Some(text)) => self.socket.say(text),
            Err((id, failure)) => {
                let request_id = RequestId::random();
                self.socket.say(message::refused(
                    id.as_deref(),
                    failure.into(),
                    &plain::DIALECT,
                    &request_id,
                ))
            }
        }
    }

    /// Does what a message says; an error that has an id is that id's last message.
    fn obey(
        &mut self,
        mut message: Message<'_>,
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
                let last = self.running[at].cancel(&self.shared);
                if last.is_some() {
                    self.running.remove(at);
                }
                Ok(last)
            }
            ("leave", Some(at)) => {
                self.running.remove(at);
                Ok(Some(
                    Told::End {
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

    fn begin(&self, id: String, message: Message<'_>) -> Result<Running, Failure> {
        let most = self.shared.websocket.max_running;
        if self.running.len() >= most {
            return Err(Failure::too_many_running(most));
        }
        let host = Host {
            shared: &self.shared,
            headers: &self.headers,
            disconnect: &self.disconnect,
        };
        if message.kind == "start" {
            Running::start(id, message, &host)
        } else {
            Running::attach(id, message, &host)
        }
    }

    /// Says who the client is, for one that can send no headers: a browser. It holds for all that follows, so it comes
    /// before it.
    fn auth(&mut self, message: Message<'_>, first: bool) -> Result<Option<String>, Failure> {
        if !first {
            return Err(Failure::invalid(
                "type",
                "`auth` should be the first message",
            ));
        }
        let value = HeaderValue::try_from(needed("authorization", message.authorization)?);
        let mut value = value.map_err(|_| {
            Failure::invalid("authorization", "`authorization` should fit into a header")
        })?;
        value.set_sensitive(true);
        self.headers.insert(AUTHORIZATION, value);
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
