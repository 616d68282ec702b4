//! Workers: one thread and one runtime each, with connections and upstreams of their own.
//!
//! A stream is served by the thread that took its connection, and so is its upstream: no token ever changes threads.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::connection::{self, Terms};

/// Accepted connections that a worker has been given and has not begun to serve. It takes them as fast as they come; beyond
/// these the one that accepts serves them itself.
const WAITING: usize = 1024;
/// How long to wait when the system has no more sockets to give.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(50);

/// What all workers share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) terms: Terms,
    /// Ends the workers themselves, whatever they are doing.
    pub(super) end: CancellationToken,
}

/// A connection on its way to a worker. The token keeps the server from believing that all is done meanwhile.
type Handover = (std::net::TcpStream, TaskTrackerToken, One);

/// A worker, as those who hand connections to it know it.
#[derive(Debug, Clone)]
struct Line {
    connections: mpsc::Sender<Handover>,
    load: Load,
}

/// All workers, from outside.
#[derive(Debug)]
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts a thread for each of those routers. The first accepts connections besides, so that where there is no other
    /// worker none changes threads.
    pub(super) fn start(
        listener: TcpListener,
        routers: Vec<Router>,
        common: &Common,
    ) -> io::Result<Self> {
        let listener = listener.into_std()?;
        let mut lines = Vec::new();
        let mut ends = Vec::new();
        for router in routers {
            let (connections, incoming) = mpsc::channel(WAITING);
            lines.push(Line {
                connections,
                load: Load::default(),
            });
            ends.push((router, incoming));
        }
        let mut accepting = Some((listener, lines.clone()));
        let mut threads = Vec::new();
        for (number, ((router, incoming), line)) in ends.into_iter().zip(lines).enumerate() {
            let mut terms = common.terms.clone();
            terms.load = line.load;
            let work = Work {
                incoming,
                router,
                terms,
                end: common.end.clone(),
            };
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let doors = match accepting.take() {
                Some((listener, lines)) => {
                    let _its_reactor = runtime.enter();
                    Some(Doors {
                        listener: TcpListener::from_std(listener)?,
                        lines,
                    })
                }
                None => None,
            };
            let thread = std::thread::Builder::new().name(format!("worker-{number}"));
            threads.push(thread.spawn(move || runtime.block_on(work.run(doors)))?);
        }
        Ok(Self { threads })
    }

    /// Waits for their end, which must have been asked for.
    pub(super) fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker has panicked");
            }
        }
    }
}

/// Where connections come in, and who may serve them: the first is the worker that accepts them.
struct Doors {
    listener: TcpListener,
    lines: Vec<Line>,
}

impl Doors {
    /// The next connection that the accepting worker is to serve itself: each goes to the one that has the least to do.
    async fn next(&self, terms: &Terms) -> (TcpStream, One) {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _peer)) => stream,
                // The connection was gone before we took it; the next may not be.
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    tracing::error!(%error, "can't accept connections");
                    tokio::time::sleep(OUT_OF_SOCKETS).await;
                    continue;
                }
            };
            let chosen = self
                .lines
                .iter()
                .enumerate()
                .min_by_key(|(_, line)| line.load.now());
            // One that doesn't keep up is not waited for.
            let room = chosen.filter(|(number, _)| *number > 0);
            let room = room.and_then(|(_, line)| {
                Some((line.connections.try_reserve().ok()?, line.load.one()))
            });
            match room {
                // A socket that can't change runtimes is closed: there is nobody to tell.
                Some((room, counted)) => {
                    if let Ok(stream) = stream.into_std() {
                        room.send((stream, terms.tasks.token(), counted));
                    }
                }
                None => return (stream, terms.load.one()),
            }
        }
    }
}

/// What a worker does.
struct Work {
    incoming: mpsc::Receiver<Handover>,
    router: Router,
    terms: Terms,
    end: CancellationToken,
}

impl Work {
    /// Serves what comes in, until the end.
    async fn run(mut self, mut doors: Option<Doors>) {
        loop {
            let accepted = async {
                match &doors {
                    Some(doors) => doors.next(&self.terms).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.end.cancelled() => return,
                // No more will come; what runs goes on until the end.
                () = self.terms.drain.cancelled(), if doors.is_some() => doors = None,
                Some((stream, token, counted)) = self.incoming.recv() => {
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        self.serve(stream, counted);
                    }
                    drop(token);
                }
                (stream, counted) = accepted => self.serve(stream, counted),
            }
        }
    }

    fn serve(&self, stream: TcpStream, counted: One) {
        let serving = connection::serve(stream, self.router.clone(), self.terms.clone(), counted);
        self.terms.tasks.spawn(serving);
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
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
