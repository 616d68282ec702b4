//! Accepting: which worker gets a new connection, and what happens when there are too many.
//!
//! The first worker accepts, so that a single worker hands none over to another thread. While it
//! stands still, the standby accepts in its place and hands over to the others.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::coop::unconstrained;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

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
/// A worker that leaves a new connection waiting for so long stands still: no computation may hold
/// it for longer.
const STALL_TIMEOUT: Duration = Duration::from_millis(5);
/// Time that a worker has to take a connection from the standby.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(1);
/// The most connections that the standby takes over before it looks again.
const MAX_TAKEN_OVER: usize = 64;
/// Reads of what a client has sent already, before it is told that it is not served.
const MAX_BUSY_READS: usize = 16;
/// The answer to a connection beyond the limit, over plain TCP.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
content-type: application/json\r\ncontent-length: 93\r\n\r\n\
{\"error\":{\"message\":\"too many connections (max_connections); try again\",\"code\":\"overloaded\"}}";

/// A connection on its way to a worker. The token keeps the server from seeing itself as idle
/// meanwhile.
pub(super) type Handover = (std::net::TcpStream, TaskTrackerToken, Admission);

/// A worker as those see it who hand connections to it.
#[derive(Debug, Clone)]
pub(super) struct WorkerHandle {
    connections: mpsc::Sender<Handover>,
    load: Load,
    /// The time since which connections have been seen waiting for it.
    behind_since: Cell<Option<Instant>>,
}

impl WorkerHandle {
    /// Returns the handle of a worker, and the connections that are handed over by it.
    pub(super) fn new(load: Load) -> (Self, mpsc::Receiver<Handover>) {
        let (connections, handed_over) = mpsc::channel(MAX_QUEUED_CONNECTIONS);
        let handle = Self {
            connections,
            load,
            behind_since: Cell::new(None),
        };
        (handle, handed_over)
    }

    /// Returns true if connections have waited for this worker for too long.
    fn stands_still(&self) -> bool {
        if self.connections.capacity() == self.connections.max_capacity() {
            self.behind_since.set(None);
            return false;
        }
        let since = self.behind_since.get().unwrap_or_else(|| {
            let now = Instant::now();
            self.behind_since.set(Some(now));
            now
        });
        since.elapsed() >= STALL_TIMEOUT
    }
}

/// Returns the number of the worker that should get the next connection.
fn least_loaded(workers: &[WorkerHandle]) -> Option<usize> {
    let order = |number: &usize| {
        let worker = &workers[*number];
        (worker.stands_still(), worker.load.current())
    };
    (0..workers.len()).min_by_key(order)
}

/// Errors of accepting: there may be many a second, while the system is out of sockets.
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

/// The listener, and the workers that may serve its connections; the first of them is the one that
/// accepts.
pub(super) struct Acceptor {
    listener: TcpListener,
    workers: Vec<WorkerHandle>,
    connections: Connections,
    errors: AcceptErrors,
    /// A connection that is not admitted yet.
    accepted: Option<TcpStream>,
}

impl Acceptor {
    /// Registers the listener with the runtime of the accepting worker.
    pub(super) fn new(
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
            accepted: None,
        })
    }

    /// Accepts connections and hands each to the worker with the least load. Returns the first one
    /// that the accepting worker is to serve itself. Cancelled, it loses no connection.
    pub(super) async fn next_own(&mut self, context: &WorkerContext) -> (TcpStream, Admission) {
        loop {
            self.accept().await;
            if let Some(own) = self.admit_accepted(context).await {
                return own;
            }
        }
    }

    /// Returns the next connection that the accepting worker is to serve itself, of those that the
    /// kernel has queued already: it would refuse them when the listener is closed.
    pub(super) async fn queued(
        &mut self,
        context: &WorkerContext,
    ) -> Option<(TcpStream, Admission)> {
        loop {
            unconstrained(self.accept()).now_or_never()?;
            if let Some(own) = self.admit_accepted(context).await {
                return Some(own);
            }
        }
    }

    /// Accepts a connection, unless there is one that is not admitted yet.
    async fn accept(&mut self) {
        while self.accepted.is_none() {
            match self.listener.accept().await {
                Ok((stream, _peer)) => self.accepted = Some(stream),
                // This connection was gone before we took it; the next one may not be.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.errors.log(&error);
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    /// Admits the accepted connection. Returns it if the accepting worker is to serve it.
    async fn admit_accepted(&mut self, context: &WorkerContext) -> Option<(TcpStream, Admission)> {
        let admitted = self.connections.admit().await;
        let stream = self.accepted.take()?;
        let Some(connection) = admitted else {
            self.errors.log(&too_many());
            if context.tls.is_none() {
                // It is closed in any case.
                let _ = stream.into_std().and_then(say_busy);
            }
            return None;
        };
        let connection = Arc::new(connection);
        // A worker that doesn't keep up is not waited for.
        let other = least_loaded(&self.workers).filter(|number| *number > 0);
        let slot = other.and_then(|number| {
            let worker = &self.workers[number];
            let slot = worker.connections.try_reserve().ok()?;
            Some((slot, worker.load.acquire()))
        });
        match slot {
            // A socket that can't change runtimes is closed: there is nobody to tell.
            Some((slot, load_guard)) => {
                if let Ok(stream) = stream.into_std() {
                    let admission = (connection, load_guard);
                    slot.send((stream, context.tasks.token(), admission));
                }
                None
            }
            None => Some((stream, (connection, context.load.acquire()))),
        }
    }
}

/// Accepts what the accepting worker leaves waiting, and hands it to the other workers. Runs beside
/// the workers, on a runtime that has nothing else to do.
pub(super) struct Standby {
    listener: std::net::TcpListener,
    /// The same socket again. Tokio tells of a stream that it is readable, and of a listener not.
    readiness: TcpStream,
    /// All but the one that accepts.
    workers: Vec<WorkerHandle>,
    connections: Connections,
    tasks: TaskTracker,
    /// Set if clients speak TLS: then none can be told that it isn't served.
    tls: bool,
    errors: AcceptErrors,
}

impl Standby {
    /// Watches a listener that is in non-blocking mode.
    pub(super) fn new(
        listener: std::net::TcpListener,
        workers: Vec<WorkerHandle>,
        connections: Connections,
        context: &WorkerContext,
    ) -> io::Result<Self> {
        let same = OwnedFd::from(listener.try_clone()?);
        Ok(Self {
            listener,
            readiness: TcpStream::from_std(same.into())?,
            workers,
            connections,
            tasks: context.tasks.clone(),
            tls: context.tls.is_some(),
            errors: AcceptErrors::default(),
        })
    }

    /// Takes connections over until the server drains.
    pub(super) async fn run(mut self, drain: CancellationToken) {
        loop {
            let readiness = &self.readiness;
            let left_waiting = async {
                // An error is the end of the runtime.
                readiness.readable().await.ok()?;
                // The accepting worker is quicker, unless it stands still.
                tokio::time::sleep(STALL_TIMEOUT).await;
                Some(())
            };
            tokio::select! {
                () = drain.cancelled() => return,
                is_waiting = left_waiting => if is_waiting.is_none() {
                    return;
                },
            }
            // Not under the drain's select: what was accepted is handed over.
            for _ in 0..MAX_TAKEN_OVER {
                let accept = || self.listener.accept();
                match self.readiness.try_io(Interest::READABLE, accept) {
                    Ok((stream, _peer)) => self.hand_over(stream).await,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(error) => {
                        self.errors.log(&error);
                        tokio::time::sleep(ACCEPT_BACKOFF).await;
                    }
                }
            }
        }
    }

    async fn hand_over(&mut self, stream: std::net::TcpStream) {
        let Some(connection) = self.connections.admit().await else {
            self.errors.log(&too_many());
            if !self.tls && stream.set_nonblocking(true).is_ok() {
                // It is closed in any case.
                let _ = say_busy(stream);
            }
            return;
        };
        let Some(number) = least_loaded(&self.workers) else {
            return;
        };
        let (sender, load) = {
            let worker = &self.workers[number];
            (worker.connections.clone(), worker.load.acquire())
        };
        let handover = (stream, self.tasks.token(), (Arc::new(connection), load));
        if handover.0.set_nonblocking(true).is_ok() {
            // A worker that has ended, or takes nothing, serves nobody.
            let _ = sender.send_timeout(handover, HANDOVER_TIMEOUT).await;
        }
    }
}

fn too_many() -> io::Error {
    io::Error::other("too many connections, none of them idle")
}

/// Answers a connection that is not served, as far as its socket takes the answer at once.
fn say_busy(mut stream: std::net::TcpStream) -> io::Result<()> {
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
    #![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

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

    #[tokio::test]
    async fn the_standby_hands_over_what_the_accepting_worker_leaves_waiting() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (full, _stands_still) = WorkerHandle::new(Load::default());
        let (worker, mut handed_over) = WorkerHandle::new(Load::default());
        let drain = CancellationToken::new();
        let standby = Standby {
            readiness: TcpStream::from_std(OwnedFd::from(listener.try_clone().unwrap()).into())
                .unwrap(),
            listener,
            workers: vec![full.clone(), worker],
            connections: Connections::new(10),
            tasks: TaskTracker::new(),
            tls: false,
            errors: AcceptErrors::default(),
        };
        let running = tokio::spawn(standby.run(drain.clone()));
        let mut clients = Vec::new();
        // Half of them go to the worker that never takes any.
        for _ in 0..4 {
            clients.push(std::net::TcpStream::connect(address).unwrap());
        }
        let (stream, _token, _admission) = handed_over.recv().await.unwrap();
        assert_eq!(stream.local_addr().unwrap(), address);
        drain.cancel();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn a_worker_that_leaves_connections_waiting_gets_no_more() {
        let (stands_still, mut handed_over) = WorkerHandle::new(Load::default());
        let (other, _others) = WorkerHandle::new(Load::default());
        let _busy = other.load.acquire();
        let workers = [stands_still, other];
        assert_eq!(least_loaded(&workers), Some(0));
        let slot = workers[0].connections.try_reserve().unwrap();
        assert_eq!(least_loaded(&workers), Some(0));
        let long_ago = Instant::now().checked_sub(STALL_TIMEOUT).unwrap();
        workers[0].behind_since.set(Some(long_ago));
        assert_eq!(least_loaded(&workers), Some(1));
        // It has taken all.
        drop(slot);
        assert!(handed_over.try_recv().is_err());
        assert_eq!(least_loaded(&workers), Some(0));
    }
}
