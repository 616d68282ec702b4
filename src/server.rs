//! The server: a listener, workers that serve its connections, and an end that loses nothing.
//!
//! axum's own `serve` has no timers and waits without limit for open streams, so connections are run here: the first
//! request must come in time, writes must make progress, a client's leaving is seen at once
//! (`connection`), and shutting down has a deadline.

mod connection;
mod http1;
mod http2;
mod socket;
pub mod tls;
mod unread;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::generation::{Cutoff, Draining};
use stream::Streams;

pub use connection::Limits;
use connection::Terms;
use worker::{Common, Load, Workers};

/// The kernel's send buffer of one client. What lies there is out of backpressure's reach; the kernel doubles it.
const SEND_BUFFER: usize = 64 * 1024;
/// After so much silence a client's machine is asked whether it is still there; how long it may take to answer is
/// `timeouts.client_stall`.
const PROBE_AFTER: Duration = Duration::from_secs(15);
/// How often it is asked again.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long streams that were cut at the deadline may take to send their error and close.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Opens the listening socket.
///
/// # Errors
///
/// Whatever the system says, such as that the address is in use.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit these.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_tcp_nodelay(true)?;
    // A peer that vanished while there is nothing to send it is asked for a sign of life.
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(PROBE_AFTER)
            .with_interval(PROBE_EVERY),
    )?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// How a server is told to end.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Accept no more; let what runs finish.
    pub drain: CancellationToken,
    /// End at once.
    pub now: CancellationToken,
}

/// What a server is made of.
#[derive(Debug)]
pub struct Server {
    /// Where clients come in.
    pub listener: TcpListener,
    /// What answers them: one for each worker, with upstream connections of its own.
    pub routers: Vec<Router>,
    /// What a connection may do.
    pub limits: Limits,
    /// How clients are spoken to; in the clear if none.
    pub tls: Option<Arc<ServerConfig>>,
    /// Told when to end.
    pub shutdown: Shutdown,
    /// How long running streams may go on after that.
    pub drain: Duration,
    /// Tells handlers that the end has begun.
    pub draining: Draining,
    /// Ends every stream that is still open at the deadline.
    pub cutoff: Cutoff,
    /// Owns every task.
    pub tasks: TaskTracker,
    /// What outlives its connection: forgotten in time.
    pub streams: Streams,
}

impl Server {
    /// Serves until told to end; returns when every connection is closed, or at the latest shortly after the deadline.
    ///
    /// # Errors
    ///
    /// When the system has no thread for a worker.
    pub async fn run(self) -> io::Result<()> {
        let Self {
            listener,
            routers,
            limits,
            tls,
            shutdown,
            drain,
            draining,
            cutoff,
            tasks,
            streams,
        } = self;
        // As those of `bind` are, this is inherited. A system that doesn't know it leaves it to our own timer.
        let _ = socket2::SockRef::from(&listener).set_tcp_user_timeout(Some(limits.client_stall));
        let terms = Terms {
            limits,
            drain: shutdown.drain.clone(),
            tls: tls.map(TlsAcceptor::from),
            tasks: tasks.clone(),
            // Each worker has its own.
            load: Load::default(),
        };
        let common = Common {
            terms,
            end: CancellationToken::new(),
        };
        let workers = Workers::start(listener, routers, &common)?;
        let sweeper = tokio::spawn(streams.clone().sweep(common.end.clone()));
        shutdown.drain.cancelled().await;
        draining.begin();
        tasks.close();
        tracing::info!(streams_may_finish_for = ?drain, "shutting down");
        finish(&tasks, drain, &cutoff, &shutdown).await;
        common.end.cancel();
        let joined = tokio::task::spawn_blocking(move || workers.join());
        joined.await.map_err(io::Error::other)?;
        streams.close().await;
        sweeper.await.map_err(io::Error::other)
    }
}

/// Waits for what runs: to its end, to the deadline and its last words, or until told to end now.
async fn finish(tasks: &TaskTracker, drain: Duration, cutoff: &Cutoff, shutdown: &Shutdown) {
    tokio::select! {
        () = tasks.wait() => return,
        () = tokio::time::sleep(drain) => cutoff.cut(),
        () = shutdown.now.cancelled() => return,
    }
    tokio::select! {
        () = tasks.wait() => {}
        () = tokio::time::sleep(LAST_WORDS) => {}
        () = shutdown.now.cancelled() => {}
    }
}
