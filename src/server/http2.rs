//! HTTP/2: many streams over one connection, each with what HTTP/1.1 gives a connection of its own.
//!
//! hyper hands every stream to an executor as one future; here it gets a task, and in it a guard: a stream whose client
//! takes nothing for too long is reset, and its neighbours go on. Dropping that future resets the stream and drops the
//! generation. The limits on resets, settings and control frames are h2's own.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_util::task::TaskTracker;

use super::connection::{IDLE, Limits, Visit, answer, hung_up};
use super::unread::{Rest, Watched};
use super::worker::{Load, One};
use crate::generation::Left;

/// Streams of one connection at once.
const STREAMS: u32 = 250;
/// What one stream may hold back for a client that doesn't take it; h2 goes beyond it by one piece.
const SEND_BUFFER: usize = 64 * 1024;
/// The largest piece of a body that is handed to h2 at once. It never splits one, so a whole answer would be held by it.
const PIECE: usize = 16 * 1024;
/// Headers beyond it are refused by h2 itself, without a word; those within get an answer that says why. It counts 32
/// bytes for each header besides its text.
const HEADER_BYTES: u32 = 64 * 1024;
/// How long a connection without streams may take to close once it was told to.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves one connection until it is closed.
pub(super) async fn serve(socket: impl AsyncRead + AsyncWrite + Unpin, visit: Visit<'_>) {
    let Visit {
        stream,
        router,
        terms,
        left,
        first_request: mut look,
    } = visit;
    let streams = Streams {
        tasks: terms.tasks.clone(),
        load: terms.load.clone(),
        count: Arc::default(),
        left: left.clone(),
        limits: terms.limits,
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            // The executor has put it there.
            let flow = FLOW.try_with(Arc::clone).unwrap_or_default();
            let kept = flow.clone();
            let watch = |body| Body::new(Watched::new(body, move |rest| kept.rest.keep(rest)));
            let response = answer(router, request.map(watch), flow.left.clone()).await?;
            Ok::<Response<Metered>, Infallible>(response.map(|body| Metered {
                body,
                rest: Bytes::new(),
                flow,
            }))
        }
    });
    let mut connection =
        pin!(builder(streams.clone()).serve_connection(TokioIo::new(socket), service));
    let mut hung_up = pin!(hung_up(stream));
    let (mut accepting, mut seen) = (true, 0);
    loop {
        tokio::select! {
            biased;
            // Errors here are the client's way of leaving: each generation has logged its own end.
            _ = connection.as_mut() => return,
            () = hung_up.as_mut() => return,
            () = terms.drain.cancelled(), if accepting => {
                if streams.count.begun() == 0 {
                    return;
                }
                accepting = false;
                connection.as_mut().graceful_shutdown();
                look.as_mut().reset(Instant::now() + FAREWELL);
            }
            // A connection is idle if it had no stream at all since the last look. The first look is when the first
            // request should have come.
            () = look.as_mut() => {
                let begun = streams.count.begun();
                if streams.count.open() == 0 && begun == seen {
                    if begun == 0 || !accepting {
                        return;
                    }
                    accepting = false;
                    connection.as_mut().graceful_shutdown();
                }
                seen = if streams.count.open() == 0 { begun } else { usize::MAX };
                look.as_mut().reset(Instant::now() + if accepting { IDLE } else { FAREWELL });
            }
        }
    }
}

fn builder(streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEADER_BYTES);
    builder
}

/// The streams of one connection: hyper's executor for them.
#[derive(Debug, Clone)]
struct Streams {
    tasks: TaskTracker,
    load: Load,
    count: Arc<Count>,
    /// Why the connection was given up, if it was.
    left: Left,
    limits: Limits,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let flow = Arc::new(Flow {
            left: self.left.of_stream(),
            ..Flow::default()
        });
        // To a worker a stream is as much work as a connection.
        let counted = (self.count.begin(), self.load.one());
        let limits = self.limits;
        self.tasks.spawn(FLOW.scope(flow.clone(), async move {
            let _counted = counted;
            guard(stream, &flow, limits).await;
            // What still holds the stream would keep it from being reset.
            flow.rest.give_up();
        }));
    }
}

tokio::task_local! {
    /// The flow of the stream that a task serves: it leads from hyper's executor to the body, which hyper keeps apart.
    static FLOW: Arc<Flow>;
}

/// Whether a stream's client takes what it is given.
#[derive(Debug, Default)]
struct Flow {
    /// Counts up when a piece of the body is handed to hyper, and when hyper asks again: odd while it is full.
    handed: AtomicU64,
    left: Left,
    /// What the handler left of the request's body.
    rest: Rest,
}

/// Runs a stream to its end, or until its client has taken nothing for too long.
async fn guard(stream: impl Future<Output = ()>, flow: &Flow, limits: Limits) {
    let stall = limits.client_stall;
    let mut stream = pin!(Some(stream));
    let mut full_since: Option<(u64, Instant)> = None;
    // Made when the client first lets us wait; most never do.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        let ended = stream
            .as_mut()
            .as_pin_mut()
            .is_none_or(|stream| stream.poll(cx).is_ready());
        let discarded = flow.rest.poll_discard(cx).is_ready();
        if ended {
            // With it goes all that the answer held, though the client may still be sending.
            if stream.is_some() {
                stream.set(None);
                timer = None;
            }
            let timer =
                timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limits.request_body)));
            return if discarded {
                Poll::Ready(())
            } else {
                timer.as_mut().poll(cx)
            };
        }
        let handed = flow.handed.load(Ordering::Relaxed);
        if handed.is_multiple_of(2) {
            return Poll::Pending;
        }
        let since = match full_since {
            Some((same, since)) if same == handed => since,
            _ => full_since.insert((handed, Instant::now())).1,
        };
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(since + stall)));
        // It fires at the earliest time it once knew, looks again, and goes back to sleep.
        while timer.as_mut().poll(cx).is_ready() {
            if since + stall <= Instant::now() {
                flow.left.stalled();
                return Poll::Ready(());
            }
            timer.as_mut().reset(since + stall);
        }
        Poll::Pending
    })
    .await;
}

/// A response's body in pieces, which tells the guard when one can't be got rid of.
struct Metered {
    body: Body,
    /// What the body gave and hyper has not taken yet.
    rest: Bytes,
    flow: Arc<Flow>,
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let asked = this.flow.handed.load(Ordering::Relaxed).next_multiple_of(2);
        this.flow.handed.store(asked, Ordering::Relaxed);
        if this.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        this.flow.handed.store(asked + 1, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked before the first piece is taken, or not at all.
        self.body.size_hint()
    }
}

/// How many streams a connection has, and had.
#[derive(Debug, Default)]
struct Count {
    begun: AtomicUsize,
    open: Load,
}

impl Count {
    fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    fn open(&self) -> usize {
        self.open.now()
    }

    fn begin(&self) -> One {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.open.one()
    }
}
