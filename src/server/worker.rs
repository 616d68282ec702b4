//! Workers: one thread and one runtime each, with connections and upstreams of their own.
//!
//! A stream is served by the thread that took its connection, and so is its upstream: no token ever changes threads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use axum::Router;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::connection::{self, Limits};

/// Accepted connections that a worker has not begun to serve. It takes them as fast as they come; beyond these the kernel's
/// backlog holds them.
const WAITING: usize = 1024;

/// What all workers share.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) limits: Limits,
    pub(super) drain: CancellationToken,
    /// Ends the workers themselves, whatever they are doing.
    pub(super) end: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// A connection on its way to a worker. The token keeps the server from believing that all is done meanwhile.
type Handover = (std::net::TcpStream, TaskTrackerToken);

/// A worker, from outside.
#[derive(Debug)]
pub(super) struct Worker {
    connections: mpsc::Sender<Handover>,
    open: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a thread that serves connections with that router.
    pub(super) fn start(number: usize, router: Router, common: Common) -> io::Result<Self> {
        let (connections, incoming) = mpsc::channel(WAITING);
        let open = Arc::new(AtomicUsize::new(0));
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let count = open.clone();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || runtime.block_on(work(incoming, count, router, common)))?;
        Ok(Self { connections, open, thread })
    }

    /// How many connections it serves.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Gives it a connection.
    pub(super) async fn serve(&self, stream: TcpStream, tasks: &TaskTracker) {
        self.open.fetch_add(1, Ordering::Relaxed);
        // A socket that can't change runtimes, or a worker that has ended, closes the connection: there is nobody to tell.
        if let Ok(stream) = stream.into_std() {
            let _ = self.connections.send((stream, tasks.token())).await;
        }
    }

    /// Waits for its end, which must have been asked for.
    pub(super) fn join(self) {
        drop(self.connections);
        if self.thread.join().is_err() {
            tracing::error!("a worker has panicked");
        }
    }
}

async fn work(mut incoming: mpsc::Receiver<Handover>, open: Arc<AtomicUsize>, router: Router, common: Common) {
    let Common { limits, drain, end, tasks } = common;
    loop {
        let (stream, token) = tokio::select! {
            biased;
            () = end.cancelled() => return,
            Some(handover) = incoming.recv() => handover,
            // No more will come; what runs goes on until the end.
            else => return end.cancelled().await,
        };
        let count = Open(open.clone());
        if let Ok(stream) = TcpStream::from_std(stream) {
            let serving = connection::serve(stream, router.clone(), limits, drain.clone());
            tasks.spawn(async move {
                let _count = count;
                serving.await;
            });
        }
        drop(token);
    }
}

/// Counts a connection for as long as it lives, however it ends.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
