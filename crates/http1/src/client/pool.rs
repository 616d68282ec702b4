//! Idle connections to one server, kept for the next request.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use super::connection::ClientConnection;

/// Age at which an idle connection is closed: before a typical server's own 60 s, so that a request
/// seldom meets a connection that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Pause between two searches for connections to close.
const REAP_INTERVAL: Duration = Duration::from_secs(5);

/// Idle connections to one server, the most recently used one first in line. Clones share them.
pub struct IdlePool<S> {
    // A plain mutex: held for a moment, never across an await.
    idle: Arc<Mutex<IdleConnections<S>>>,
}

struct IdleConnections<S> {
    connections: Vec<(Instant, ClientConnection<S>)>,
    /// Closes old connections. Ends with the pool, or when nothing is idle.
    reaper: Option<AbortOnDropHandle<()>>,
}

impl<S> Clone for IdlePool<S> {
    fn clone(&self) -> Self {
        Self {
            idle: self.idle.clone(),
        }
    }
}

impl<S> Default for IdlePool<S> {
    fn default() -> Self {
        Self {
            idle: Arc::new(Mutex::new(IdleConnections {
                connections: Vec::new(),
                reaper: None,
            })),
        }
    }
}

impl<S> fmt::Debug for IdlePool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdlePool")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> IdlePool<S> {
    /// Takes the most recently used connection that is still usable.
    pub(super) fn take(&self) -> Option<ClientConnection<S>> {
        loop {
            let (since, mut connection) = lock(&self.idle).connections.pop()?;
            if since.elapsed() < IDLE_TIMEOUT && connection.is_usable() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request, if it is still usable.
    pub(super) fn put(&self, mut connection: ClientConnection<S>) {
        if !connection.is_usable() {
            return;
        }
        let mut idle = lock(&self.idle);
        idle.connections.push((Instant::now(), connection));
        if idle
            .reaper
            .as_ref()
            .is_none_or(AbortOnDropHandle::is_finished)
        {
            #[expect(
                clippy::disallowed_methods,
                reason = "aborted when the pool is dropped"
            )]
            let task = tokio::spawn(reap(Arc::downgrade(&self.idle)));
            idle.reaper = Some(AbortOnDropHandle::new(task));
        }
    }
}

/// Closes idle connections that are old or that the server closed, until none is left.
async fn reap<S: AsyncRead + AsyncWrite + Unpin>(idle: Weak<Mutex<IdleConnections<S>>>) {
    loop {
        tokio::time::sleep(REAP_INTERVAL).await;
        let Some(idle) = idle.upgrade() else { return };
        let mut idle = lock(&idle);
        idle.connections.retain_mut(|(since, connection)| {
            since.elapsed() < IDLE_TIMEOUT && connection.is_usable()
        });
        if idle.connections.is_empty() {
            return;
        }
    }
}

fn lock<S>(idle: &Mutex<IdleConnections<S>>) -> MutexGuard<'_, IdleConnections<S>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
