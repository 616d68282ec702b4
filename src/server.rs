//! The HTTP server: a listener, workers that serve its connections, and a shutdown that loses
//! nothing.
//!
//! axum's own `serve` has no timers and waits without limit for open streams, so connections are
//! served here: the first request must arrive in time, writes must make progress, a client's
//! leaving is noticed at once, and shutting down has a deadline. Not here: routes, and the HTTP/1.1
//! protocol itself (crate `http1`).

mod acceptor;
mod connection;
mod connections;
mod context;
mod discard;
mod http1;
mod http2;
pub mod listener;
mod load;
mod paced;
mod presence;
mod protocol;
mod socket;
pub mod tls;
mod worker;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::KeysWatch;
use crate::shutdown::{AbortSignal, DrainSignal};
use stream::Streams;

pub use crate::config::ConnectionLimits;
use connections::Connections;
pub use connections::room as room_for_connections;
use context::WorkerContext;
use load::Load;
use worker::{Workers, WorkersShared};

/// Time that streams aborted at the deadline have to send their error and close.
const ABORT_GRACE: Duration = Duration::from_secs(2);
/// The same when the server is told to end at once.
const END_GRACE: Duration = Duration::from_millis(200);

/// The signals that end a server.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled to accept no more and let running requests finish.
    pub drain: CancellationToken,
    /// Cancelled to end at once.
    pub now: CancellationToken,
}

/// A server that is about to run.
#[derive(Debug)]
pub struct Server {
    /// The socket that accepts clients, in non-blocking mode.
    pub listener: TcpListener,
    /// The routes, once for each worker, with upstream connections of their own.
    pub routers: Vec<Router>,
    /// The time limits of a connection.
    pub limits: ConnectionLimits,
    /// The most connections of clients.
    pub max_connections: usize,
    /// TLS for clients; `None` for plain TCP.
    pub tls: Option<Arc<ServerConfig>>,
    /// The signals that end the server.
    pub shutdown: Shutdown,
    /// Time between the signal and the drain, in which the server says that it is not ready.
    pub drain_delay: Duration,
    /// Longest time that running streams may go on after the drain began.
    pub drain: Duration,
    /// Tells handlers that the server drains.
    pub draining: DrainSignal,
    /// Aborts every stream that is still open at the deadline.
    pub abort: AbortSignal,
    /// The watch over the clients' keys, if they have any.
    pub keys: Option<KeysWatch>,
    /// The owner of every task.
    pub tasks: TaskTracker,
    /// The streams that outlive connections; expired ones are swept.
    pub streams: Streams,
}

impl Server {
    /// Serves until told to end. Returns when every connection is closed, or at the latest shortly
    /// after the drain's deadline.
    ///
    /// # Errors
    ///
    /// When a worker's thread or runtime can't be created.
    pub async fn run(self) -> io::Result<()> {
        let Self {
            listener,
            routers,
            limits,
            max_connections,
            tls,
            shutdown,
            drain_delay,
            drain,
            draining,
            abort,
            tasks,
            streams,
            keys,
        } = self;
        let drained = CancellationToken::new();
        let context = WorkerContext {
            limits,
            drain: drained.clone(),
            tls: tls.map(TlsAcceptor::from),
            tasks: tasks.clone(),
            // Replaced by each worker's own.
            load: Load::default(),
        };
        let shared = WorkersShared {
            context,
            connections: Connections::new(max_connections),
            end: CancellationToken::new(),
        };
        let (workers, standby) = Workers::start(listener, routers, &shared)?;
        if let Some(standby) = standby {
            #[expect(
                clippy::disallowed_methods,
                reason = "ends with the drain, and is waited for"
            )]
            tasks.spawn(standby.run(drained.clone()));
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "ends with shared.end, and is waited for"
        )]
        let sweeper = tokio::spawn(streams.clone().sweep(shared.end.clone()));
        #[expect(
            clippy::disallowed_methods,
            reason = "ends with shared.end, and is waited for"
        )]
        let watch = keys.map(|keys| tokio::spawn(keys.run(shared.end.clone())));
        shutdown.drain.cancelled().await;
        if !drain_delay.is_zero() {
            tracing::info!(drain_in = ?drain_delay, "told to end: not ready any more");
            draining.announce();
            tokio::select! {
                () = tokio::time::sleep(drain_delay) => {}
                () = shutdown.now.cancelled() => {}
            }
        }
        drained.cancel();
        draining.begin();
        tasks.close();
        tracing::info!(streams_may_finish_for = ?drain, "shutting down");
        wait_for_tasks(&tasks, drain, &abort, &shutdown).await;
        shared.end.cancel();
        #[expect(
            clippy::disallowed_methods,
            reason = "joins the worker threads; waited for"
        )]
        let joined = tokio::task::spawn_blocking(move || workers.join());
        joined.await.map_err(io::Error::other)?;
        streams.close().await;
        if let Some(watch) = watch {
            watch.await.map_err(io::Error::other)?;
        }
        sweeper.await.map_err(io::Error::other)
    }
}

/// Waits until all tasks have ended, until they were aborted at the deadline and had time to say
/// so, or until told to end at once.
async fn wait_for_tasks(
    tasks: &TaskTracker,
    drain: Duration,
    abort: &AbortSignal,
    shutdown: &Shutdown,
) {
    let deadline = async {
        tokio::time::sleep(drain).await;
        abort.abort();
        tokio::time::sleep(ABORT_GRACE).await;
    };
    tokio::select! {
        () = tasks.wait() => return,
        () = deadline => return,
        () = shutdown.now.cancelled() => abort.abort(),
    }
    tracing::warn!("told to end at once: what still runs is aborted");
    let _ = tokio::time::timeout(END_GRACE, tasks.wait()).await;
}
