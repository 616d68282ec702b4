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

use super::connection::{self, Terms};

/// Accepted connections that a worker has not begun to serve. It takes them as fast as they come; beyond these the kernel's
/// backlog holds them.
const WAITING: usize = 1024;

/// What all workers share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) terms: Terms,
    /// Ends the workers themselves, whatever they are doing.
    pub(super) end: CancellationToken,
}

/// A connection on its way to a worker. The token keeps the server from believing that all is done meanwhile.
type Handover = (std::net::TcpStream, TaskTrackerToken, One);

/// A worker, from outside.
#[derive(Debug)]
pub(super) struct Worker {
    connections: mpsc::Sender<Handover>,
    load: Load,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a thread that serves connections with that router.
    pub(super) fn start(number: usize, router: Router, mut common: Common) -> io::Result<Self> {
        let (connections, incoming) = mpsc::channel(WAITING);
        let load = Load::default();
        common.terms.load = load.clone();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || runtime.block_on(work(incoming, router, common)))?;
        Ok(Self { connections, load, thread })
    }

    /// How much it has to do.
    pub(super) fn load(&self) -> usize {
        self.load.now()
    }

    /// Gives it a connection.
    pub(super) async fn serve(&self, stream: TcpStream, tasks: &TaskTracker) {
        let counted = self.load.one();
        // A socket that can't change runtimes, or a worker that has ended, closes the connection: there is nobody to tell.
        if let Ok(stream) = stream.into_std() {
            let _ = self.connections.send((stream, tasks.token(), counted)).await;
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

async fn work(mut incoming: mpsc::Receiver<Handover>, router: Router, common: Common) {
    let Common { terms, end } = common;
    loop {
        let (stream, token, counted) = tokio::select! {
            biased;
            () = end.cancelled() => return,
            Some(handover) = incoming.recv() => handover,
            // No more will come; what runs goes on until the end.
            else => return end.cancelled().await,
        };
        if let Ok(stream) = TcpStream::from_std(stream) {
            let serving = connection::serve(stream, router.clone(), terms.clone(), counted);
            terms.tasks.spawn(serving);
        }
        drop(token);
    }
}

/// How much a worker has to do: how many connections it serves, and how many streams of those that have many.
#[derive(Debug, Clone, Default)]
pub(super) struct Load(Arc<AtomicUsize>);

impl Load {
    pub(super) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, for as long as that lives, however it ends.
    pub(super) fn one(&self) -> One {
        self.0.fetch_add(1, Ordering::Relaxed);
        One(self.0.clone())
    }
}

/// Something that counts as work while it lives.
#[derive(Debug)]
pub(super) struct One(Arc<AtomicUsize>);

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
