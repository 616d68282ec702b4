//! Workers: threads, each with a runtime, connections and upstream connections of its own.
//!
//! A stream is served by the thread that took its connection, and so is its upstream: no token ever
//! changes threads.

use std::cell::Cell;
use std::future::pending;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Runtime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::connection::serve_connection;
use super::connections::{Admission, Connections};
use super::context::WorkerContext;
use super::load::Load;

/// Accepted connections that may wait for a worker to take them over. A worker takes them as fast
/// as they come; beyond these the accepting worker serves them itself.
const MAX_QUEUED_CONNECTIONS: usize = 1024;
/// Pause when the system has no more sockets to give.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// Shortest time between two lines of the log about that.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Settings and signals that all workers share.
#[derive(Clone)]
pub(super) struct WorkersShared {
    pub(super) context: WorkerContext,
    /// The connections of all clients.
    pub(super) connections: Connections,
    /// Ends the workers themselves, with everything that still runs on them.
    pub(super) end: CancellationToken,
}

/// A connection on its way to a worker. The token keeps the server from seeing itself as idle
/// meanwhile.
type Handover = (std::net::TcpStream, TaskTrackerToken, Admission);

/// Reads of what a client has sent already, before it is told that it is not served.
const MAX_BUSY_READS: usize = 16;
/// The answer to a connection beyond the limit, over plain TCP.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
content-type: application/json\r\ncontent-length: 93\r\n\r\n\
{\"error\":{\"message\":\"too many connections (max_connections); try again\",\"code\":\"overloaded\"}}";

/// A worker as the acceptor sees it.
#[derive(Debug, Clone)]
struct WorkerHandle {
    connections: mpsc::Sender<Handover>,
    load: Load,
}

/// The threads of all workers.
#[derive(Debug)]
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts a thread for each of the routers. The first one accepts connections as well, so that
    /// a single worker hands none over to another thread.
    pub(super) fn start(
        listener: TcpListener,
        routers: Vec<Router>,
        shared: &WorkersShared,
    ) -> io::Result<Self> {
        let listener = listener.into_std()?;
        let mut handles = Vec::new();
        let mut workers = Vec::new();
        for router in routers {
            let (connections, handed_over) = mpsc::channel(MAX_QUEUED_CONNECTIONS);
            let load = Load::default();
            workers.push(Worker {
                handed_over,
                router,
                context: WorkerContext {
                    load: load.clone(),
                    ..shared.context.clone()
                },
                end: shared.end.clone(),
            });
            handles.push(WorkerHandle { connections, load });
        }
        let mut accepting = Some((listener, handles));
        let mut threads = Vec::new();
        for (number, worker) in workers.into_iter().enumerate() {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let acceptor = accepting
                .take()
                .map(|(listener, handles)| {
                    Acceptor::new(&runtime, listener, handles, shared.connections.clone())
                })
                .transpose()?;
            let thread = std::thread::Builder::new().name(format!("worker-{number}"));
            #[expect(clippy::disallowed_methods, reason = "joined by Workers::join")]
            threads.push(thread.spawn(move || runtime.block_on(worker.run(acceptor)))?);
        }
        Ok(Self { threads })
    }

    /// Waits until all threads have ended, which `WorkersShared::end` must have told them to.
    pub(super) fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker has panicked");
            }
        }
    }
}

/// The listener and the workers that may serve its connections; the first of them is the one that
/// accepts.
struct Acceptor {
    listener: TcpListener,
    workers: Vec<WorkerHandle>,
    connections: Connections,
    errors: AcceptErrors,
}

/// The errors of accepting: there may be many a second, while the system is out of sockets.
#[derive(Default)]
struct AcceptErrors {
    logged_at: Cell<Option<Instant>>,
    /// Errors since then.
    unlogged: Cell<u64>,
}

impl AcceptErrors {
    /// Logs an error, or counts it if another was logged a moment ago.
    fn log(&self, error: &io::Error) {
        let logged_at = self.logged_at.get();
        if logged_at.is_some_and(|at| at.elapsed() < ACCEPT_LOG_INTERVAL) {
            self.unlogged.set(self.unlogged.get() + 1);
            return;
        }
        self.logged_at.set(Some(Instant::now()));
        let before = self.unlogged.take();
        tracing::error!(%error, not_logged_before = before, "can't accept connections");
    }
}

impl Acceptor {
    /// Registers the listener with the runtime of the accepting worker.
    fn new(
        runtime: &Runtime,
        listener: std::net::TcpListener,
        workers: Vec<WorkerHandle>,
        connections: Connections,
    ) -> io::Result<Self> {
        let _entered = runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        Ok(Self {
            listener,
            workers,
            connections,
            errors: AcceptErrors::default(),
        })
    }

    /// Accepts connections and hands each to the worker with the least load. Returns the first one
    /// that the accepting worker is to serve itself.
    async fn next_own(&self, context: &WorkerContext) -> (TcpStream, Admission) {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _peer)) => stream,
                // This connection was gone before we took it; the next one may not be.
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    self.errors.log(&error);
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            };
            let least_loaded = self
                .workers
                .iter()
                .enumerate()
                .min_by_key(|(_, worker)| worker.load.current());
            // A worker that doesn't keep up is not waited for.
            let other = least_loaded.filter(|(number, _)| *number > 0);
            let slot = other.and_then(|(_, worker)| {
                Some((
                    worker.connections.try_reserve().ok()?,
                    worker.load.acquire(),
                ))
            });
            let Some(connection) = self.connections.admit().await else {
                self.errors
                    .log(&io::Error::other("too many connections, none of them idle"));
                if context.tls.is_none() {
                    // It is closed in any case.
                    let _ = say_busy(stream);
                }
                continue;
            };
            let connection = Arc::new(connection);
            match slot {
                // A socket that can't change runtimes is closed: there is nobody to tell.
                Some((slot, load_guard)) => {
                    if let Ok(stream) = stream.into_std() {
                        let admission = (connection, load_guard);
                        slot.send((stream, context.tasks.token(), admission));
                    }
                }
                None => return (stream, (connection, context.load.acquire())),
            }
        }
    }
}

/// The loop of one worker.
struct Worker {
    handed_over: mpsc::Receiver<Handover>,
    router: Router,
    context: WorkerContext,
    end: CancellationToken,
}

impl Worker {
    /// Serves connections until told to end.
    async fn run(mut self, mut acceptor: Option<Acceptor>) {
        loop {
            let accepted = async {
                match &acceptor {
                    Some(acceptor) => acceptor.next_own(&self.context).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.end.cancelled() => return,
                // Accepts no more; running connections go on until the end.
                () = self.context.drain.cancelled(), if acceptor.is_some() => acceptor = None,
                Some((stream, token, admission)) = self.handed_over.recv() => {
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        self.spawn_connection(stream, admission);
                    }
                    drop(token);
                }
                (stream, admission) = accepted => self.spawn_connection(stream, admission),
            }
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a connection ends with its peer, or by the shutdown"
    )]
    fn spawn_connection(&self, stream: TcpStream, admission: Admission) {
        let (router, context) = (self.router.clone(), self.context.clone());
        let serving = serve_connection(stream, router, context, admission);
        self.context.tasks.spawn(serving);
    }
}

/// Answers a connection that is not served, as far as its socket takes the answer at once.
fn say_busy(stream: TcpStream) -> io::Result<()> {
    let mut stream = stream.into_std()?;
    // Closing a socket with unread input would reset it, and the client might lose the answer.
    let mut input = [0; 4096];
    for _ in 0..MAX_BUSY_READS {
        match stream.read(&mut input) {
            Ok(length) if length > 0 => {}
            _ => break,
        }
    }
    stream.write_all(BUSY)?;
    stream.shutdown(Shutdown::Write)
}

/// Returns true for errors of `accept` that concern one connection and not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn many_errors_of_accepting_are_one_line_and_the_next_one_counts_them() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        let errors = AcceptErrors::default();
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..3 {
                errors.log(&io::ErrorKind::Other.into());
            }
            // As if a while had passed.
            errors.logged_at.set(None);
            errors.log(&io::ErrorKind::Other.into());
        });
        let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(log.lines().count(), 2, "{log}");
        assert!(log.ends_with("not_logged_before=2\n"), "{log}");
    }
}
