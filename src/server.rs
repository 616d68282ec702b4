//! The server: a listener, its connections, and an end that loses nothing.
//!
//! axum's own `serve` has no timers and waits without limit for open streams, so connections are run here: the first
//! request must come in time, writes must make progress, a client's leaving is seen whatever hyper is doing
//! (`connection`), and shutting down has a deadline.

mod connection;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::generation::Cutoff;
use crate::http::Draining;

pub use connection::Limits;

/// The kernel's send buffer of one client. What lies there is out of backpressure's reach; the kernel doubles it.
const SEND_BUFFER: usize = 64 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long streams that were cut at the deadline may take to send their error and close.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long to wait when the system has no more sockets to give.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(50);

/// Opens the listening socket.
///
/// # Errors
///
/// Whatever the system says, such as that the address is in use.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
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
    /// What answers them.
    pub router: Router,
    /// What a connection may do.
    pub limits: Limits,
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
}

impl Server {
    /// Serves until told to end; returns when every connection is closed, or at the latest shortly after the deadline.
    pub async fn run(self) {
        let Self { listener, router, limits, shutdown, drain, draining, cutoff, tasks } = self;
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.drain.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _peer)) => {
                    tasks.spawn(connection::serve(stream, router.clone(), limits, shutdown.drain.clone()));
                }
                // The connection was gone before we took it; the next may not be.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "can't accept connections");
                    tokio::time::sleep(OUT_OF_SOCKETS).await;
                }
            }
        }
        draining.begin();
        drop(listener);
        tasks.close();
        tracing::info!(streams_may_finish_for = ?drain, "shutting down");
        let finished = tokio::select! {
            () = tasks.wait() => true,
            () = tokio::time::sleep(drain) => false,
            () = shutdown.now.cancelled() => return,
        };
        if !finished {
            cutoff.cut();
            tokio::select! {
                () = tasks.wait() => {}
                () = tokio::time::sleep(LAST_WORDS) => {}
                () = shutdown.now.cancelled() => {}
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
