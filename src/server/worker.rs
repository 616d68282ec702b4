//! Workers: threads, each with a runtime, connections and upstream connections of its own.
//!
//! A stream is served by the thread that took its connection, and so is its upstream: no token ever
//! changes threads.

use std::future::pending;
use std::io;
use std::net::TcpListener;
use std::thread::JoinHandle;

use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::acceptor::{Acceptor, Handover, Standby, WorkerHandle};
use super::connection::serve_connection;
use super::connections::{Admission, Connections};
use super::context::WorkerContext;
use super::load::Load;
use super::router_cell::RouterCell;

/// Settings and signals that all workers share.
#[derive(Clone)]
pub(super) struct WorkersShared {
    pub(super) context: WorkerContext,
    /// The connections of all clients.
    pub(super) connections: Connections,
    /// Ends the workers themselves, with everything that still runs on them.
    pub(super) end: CancellationToken,
}

/// The threads of all workers.
#[derive(Debug)]
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts a thread for each of the routers, from within a runtime. The first one accepts
    /// connections as well; if it isn't alone, the standby returned accepts while it stands still.
    pub(super) fn start(
        listener: TcpListener,
        routers: Vec<RouterCell>,
        shared: &WorkersShared,
    ) -> io::Result<(Self, Option<Standby>)> {
        let mut handles = Vec::new();
        let mut workers = Vec::new();
        for router in routers {
            let load = Load::default();
            let (handle, handed_over) = WorkerHandle::new(load.clone());
            workers.push(Worker {
                handed_over,
                router,
                context: WorkerContext {
                    load,
                    ..shared.context.clone()
                },
                end: shared.end.clone(),
            });
            handles.push(handle);
        }
        let others = handles.get(1..).filter(|others| !others.is_empty());
        let standby = others
            .map(|others| {
                let (listener, connections) = (listener.try_clone()?, shared.connections.clone());
                Standby::new(listener, others.to_vec(), connections, &shared.context)
            })
            .transpose()?;
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
        Ok((Self { threads }, standby))
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

/// The loop of one worker.
struct Worker {
    handed_over: mpsc::Receiver<Handover>,
    router: RouterCell,
    context: WorkerContext,
    end: CancellationToken,
}

impl Worker {
    /// Serves connections until told to end.
    async fn run(mut self, mut acceptor: Option<Acceptor>) {
        loop {
            let accepts = acceptor.is_some();
            let accepted = async {
                match &mut acceptor {
                    Some(acceptor) => acceptor.next_own(&self.context).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.end.cancelled() => return,
                // Accepts no more; running connections go on until the end.
                () = self.context.drain.cancelled(), if accepts => {
                    if let Some(mut acceptor) = acceptor.take() {
                        let context = &self.context;
                        while let Some((stream, admission)) = acceptor.queued(context).await {
                            self.spawn_connection(stream, admission);
                        }
                    }
                }
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
