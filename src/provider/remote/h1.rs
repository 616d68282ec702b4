//! HTTP/1.1 connections to one upstream, kept for the next request.
//!
//! A connection has no task of its own: whoever reads its answer drives it. So a token crosses no channel to another task
//! on its way, many that arrive together are read together, and dropping the answer closes the connection there and then.
//!
//! The protocol is our own, for what a stream costs while it waits: a socket and a few words of state. hyper's client
//! holds a read buffer, a write buffer and a dispatcher for each. What it does not do: pipelining, `HEAD`, `CONNECT`,
//! upgrades, trailers, request bodies that stream.

mod connection;
mod exchange;
mod head;
#[cfg(test)]
mod tests;

pub(super) use connection::{ClientConnection, EncodedRequest};
pub(super) use exchange::ResponseBody;

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Response;
use tokio_util::task::AbortOnDropHandle;

use exchange::Exchange;

use http1::Malformed;

/// IdleConnections connections are closed before a typical upstream's own 60 s, so that we seldom send on one that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// How often idle connections are looked at.
const REAP_INTERVAL: Duration = Duration::from_secs(5);

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum H1Error {
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
    #[error("the answer's head is longer than {} bytes", head::MAX_HEAD_BYTES)]
    HeadTooLarge,
    #[error("the answer can't be read: {0}")]
    Framing(#[from] Malformed),
}

/// A request that was not answered.
#[derive(Debug)]
pub(super) enum SendError {
    /// Not a byte of it was written.
    NotSent(EncodedRequest),
    /// It may have been read.
    Unknown(H1Error),
}

/// IdleConnections connections, the one that was used last on top.
#[derive(Clone, Default)]
pub(super) struct IdlePool {
    // A plain mutex: held for a moment, never across an await.
    idle: Arc<Mutex<IdleConnections>>,
}

#[derive(Default)]
struct IdleConnections {
    connections: Vec<(Instant, ClientConnection)>,
    /// Closes what has been idle for long. It ends with the pool, or when nothing is idle.
    reaper: Option<AbortOnDropHandle<()>>,
}

impl std::fmt::Debug for IdlePool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdlePool")
    }
}

impl IdlePool {
    /// Sends a request on an idle connection, if there is one: otherwise it comes back.
    pub(super) async fn send_on_idle(
        &self,
        mut request: EncodedRequest,
    ) -> Result<Response<ResponseBody>, SendError> {
        while let Some(connection) = self.take() {
            match self.send_on(connection, request).await {
                // It had just been closed, and nothing was written: that is no second sending.
                Err(SendError::NotSent(back)) => request = back,
                result => return result,
            }
        }
        Err(SendError::NotSent(request))
    }

    /// Sends a request on that connection, which becomes one of the pool's.
    pub(super) async fn send_on(
        &self,
        connection: ClientConnection,
        request: EncodedRequest,
    ) -> Result<Response<ResponseBody>, SendError> {
        let mut exchange = Exchange::new(connection, request);
        match poll_fn(|cx| exchange.poll_head(cx)).await {
            Ok(head) => exchange
                .answer(head, self.clone())
                .map_err(SendError::Unknown),
            Err(error) => Err(exchange.unsent(error)),
        }
    }

    fn take(&self) -> Option<ClientConnection> {
        loop {
            let (since, mut connection) = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .connections
                .pop()?;
            if since.elapsed() < IDLE_TIMEOUT && connection.is_usable() {
                return Some(connection);
            }
        }
    }

    fn put(&self, mut connection: ClientConnection) {
        if !connection.is_usable() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.connections.push((Instant::now(), connection));
        if idle
            .reaper
            .as_ref()
            .is_none_or(AbortOnDropHandle::is_finished)
        {
            let pool = Arc::downgrade(&self.idle);
            idle.reaper = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                loop {
                    tokio::time::sleep(REAP_INTERVAL).await;
                    let Some(pool) = pool.upgrade() else { return };
                    let mut idle = pool.lock().unwrap_or_else(PoisonError::into_inner);
                    idle.connections.retain_mut(|(since, connection)| {
                        since.elapsed() < IDLE_TIMEOUT && connection.is_usable()
                    });
                    if idle.connections.is_empty() {
                        return;
                    }
                }
            })));
        }
    }
}
