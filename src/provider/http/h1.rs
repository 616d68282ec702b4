//! HTTP/1.1 connections to one upstream, kept for the next request.
//!
//! A connection has no task of its own: whoever reads its answer drives it. So a token crosses no channel to another task
//! on its way, many that arrive together are read together, and dropping the answer closes the connection there and then.
//!
//! The protocol is our own, for what a stream costs while it waits: a socket and a few words of state. hyper's client
//! holds a read buffer, a write buffer and a dispatcher for each. What it does not do: pipelining, `HEAD`, `CONNECT`,
//! upgrades, trailers, request bodies that stream.

mod answer;
mod head;
#[cfg(test)]
mod tests;
mod wire;

pub(super) use answer::Answer;
pub(super) use wire::{Outgoing, Wire};

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Response;
use tokio_util::task::AbortOnDropHandle;

use answer::Exchange;

use http1::Malformed;

/// Idle connections are closed before a typical upstream's own 60 s, so that we seldom send on one that is being closed.
const IDLE: Duration = Duration::from_secs(50);
/// How often idle connections are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the connection failed")]
    Io(#[source] io::Error),
    #[error("the connection was closed before the answer")]
    Closed,
    #[error("the connection was closed before the answer's end")]
    Cut,
    #[error("the answer's head can't be read")]
    Head(#[source] httparse::Error),
    #[error("the answer is not HTTP/1.1")]
    NotHttp,
    #[error("the answer's head is longer than {} bytes", head::LONGEST)]
    HeadTooLarge,
    #[error("the answer can't be read: {0}")]
    Framing(#[from] Malformed),
}

/// A request that was not answered.
#[derive(Debug)]
pub(super) enum Unsent {
    /// Not a byte of it was written.
    Back(Outgoing),
    /// It may have been read.
    Lost(Broken),
}

/// Idle connections, the one that was used last on top.
#[derive(Clone, Default)]
pub(super) struct Pool {
    // A plain mutex: held for a moment, never across an await.
    idle: Arc<Mutex<Idle>>,
}

#[derive(Default)]
struct Idle {
    wires: Vec<(Instant, Wire)>,
    /// Closes what has been idle for long. It ends with the pool, or when nothing is idle.
    keeper: Option<AbortOnDropHandle<()>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pool")
    }
}

impl Pool {
    /// Sends a request on an idle connection, if there is one: otherwise it comes back.
    pub(super) async fn send_on_idle(
        &self,
        mut request: Outgoing,
    ) -> Result<Response<Answer>, Unsent> {
        while let Some(wire) = self.take() {
            match self.send_on(wire, request).await {
                // It had just been closed, and nothing was written: that is no second sending.
                Err(Unsent::Back(back)) => request = back,
                result => return result,
            }
        }
        Err(Unsent::Back(request))
    }

    /// Sends a request on that connection, which becomes one of the pool's.
    pub(super) async fn send_on(
        &self,
        wire: Wire,
        request: Outgoing,
    ) -> Result<Response<Answer>, Unsent> {
        let mut exchange = Exchange::new(wire, request);
        match poll_fn(|cx| exchange.poll_head(cx)).await {
            Ok(head) => exchange.answer(head, self.clone()).map_err(Unsent::Lost),
            Err(broken) => Err(exchange.unsent(broken)),
        }
    }

    fn take(&self) -> Option<Wire> {
        loop {
            let (since, mut wire) = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .wires
                .pop()?;
            if since.elapsed() < IDLE && wire.is_usable() {
                return Some(wire);
            }
        }
    }

    fn put(&self, mut wire: Wire) {
        if !wire.is_usable() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.wires.push((Instant::now(), wire));
        if idle
            .keeper
            .as_ref()
            .is_none_or(AbortOnDropHandle::is_finished)
        {
            let pool = Arc::downgrade(&self.idle);
            idle.keeper = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                loop {
                    tokio::time::sleep(LOOK).await;
                    let Some(pool) = pool.upgrade() else { return };
                    let mut idle = pool.lock().unwrap_or_else(PoisonError::into_inner);
                    idle.wires
                        .retain_mut(|(since, wire)| since.elapsed() < IDLE && wire.is_usable());
                    if idle.wires.is_empty() {
                        return;
                    }
                }
            })));
        }
    }
}
