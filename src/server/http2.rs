//! HTTP/2: many streams over one connection, each with the guards that HTTP/1.1 gives a connection.
//!
//! hyper hands every stream to an executor as one future; here it gets a task, and in it a guard: a
//! stream whose client takes nothing for too long is reset, and its neighbours go on. Dropping that
//! future resets the stream and drops the generation. The limits on resets, settings and control
//! frames are h2's own.

mod paced_body;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::HOST;
use axum::http::{Request, Response};
use dialect::failure::Failure;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_util::task::TaskTracker;

use super::connections::Connection;
use super::context::{ConnectionContext, IDLE_TIMEOUT, peer_closed, respond};
use super::discard::{Discard, TrackedBody};
use super::load::{Load, LoadGuard};
use crate::config::ConnectionLimits;
use crate::disconnect::Disconnect;
use paced_body::PacedBody;

/// Concurrent streams of one connection.
const MAX_STREAMS: u32 = 250;
/// Bytes that h2 may hold for a stream whose client doesn't take them; it goes beyond by one piece.
const SEND_BUFFER: usize = 64 * 1024;
/// Headers beyond this are refused by h2 itself, without a message; those within get an answer that
/// says why. It counts 32 bytes for each header besides its text.
const MAX_HEADER_BYTES: u32 = 64 * 1024;
/// Longest time in which a connection without streams has to close after a `GOAWAY`.
const GOAWAY_GRACE: Duration = Duration::from_secs(5);

/// Serves one connection until it is closed.
pub(super) async fn serve_http2(
    socket: impl AsyncRead + AsyncWrite + Unpin,
    context: ConnectionContext<'_>,
) {
    let ConnectionContext {
        stream,
        router,
        worker,
        disconnect,
        first_request: mut idle_timer,
        connection: place,
    } = context;
    let executor = StreamExecutor {
        tasks: worker.tasks.clone(),
        load: worker.load.clone(),
        streams: Arc::new(StreamCount::new(place.clone())),
        disconnect,
        limits: worker.limits,
    };
    let streams = executor.streams.clone();
    let service = service_fn(move |request| respond_on_stream(router.current(), request));
    let mut connection =
        pin!(connection_builder(executor).serve_connection(TokioIo::new(socket), service));
    let mut peer_closed = pin!(peer_closed(stream));
    let mut ending = pin!(async {
        tokio::select! {
            () = worker.drain.cancelled() => {}
            () = place.mark().evicted() => {}
        }
    });
    let (mut accepting, mut begun_before) = (true, 0);
    loop {
        tokio::select! {
            biased;
            // Errors here are the client's way of leaving; each generation has logged its own end.
            _ = connection.as_mut() => return,
            () = peer_closed.as_mut() => return,
            () = ending.as_mut(), if accepting => {
                if streams.begun() == 0 {
                    return;
                }
                accepting = false;
                connection.as_mut().graceful_shutdown();
                idle_timer.as_mut().reset(Instant::now() + GOAWAY_GRACE);
            }
            () = idle_timer.as_mut() => {
                let Some((wait, goes_on)) = streams.next_wait(accepting, &mut begun_before) else {
                    return;
                };
                if accepting && !goes_on {
                    connection.as_mut().graceful_shutdown();
                }
                accepting = goes_on;
                idle_timer.as_mut().reset(Instant::now() + wait);
            }
        }
    }
}

fn connection_builder(executor: StreamExecutor) -> http2::Builder<StreamExecutor> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(MAX_HEADER_BYTES);
    builder
}

/// Answers the request of the stream whose task this is polled in.
async fn respond_on_stream(
    router: Router,
    request: Request<Incoming>,
) -> Result<Response<PacedBody>, Infallible> {
    if !has_valid_host(&request) {
        let failure = Failure::invalid_request("malformed request head: invalid host");
        let refusal = crate::http::error::unreadable(failure, request.uri().path());
        return Ok(refusal.map(|body| PacedBody::new(body, Arc::default())));
    }
    // The executor has set it.
    let state = STREAM_STATE.try_with(Arc::clone).unwrap_or_default();
    let for_rest = state.clone();
    let tracked = |body| {
        Body::new(TrackedBody::new(body, move |rest| {
            for_rest.discard.set_body(rest);
        }))
    };
    let response = respond(router, request.map(tracked), state.disconnect.clone()).await?;
    Ok(response.map(|body| PacedBody::new(body, state.handed.clone())))
}

/// Tells if there is an authority, or a `host`, in the form that it should have; of both, they are
/// the same (RFC 9113, section 8.3.1).
fn has_valid_host(request: &Request<Incoming>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next().map(|host| host.as_bytes());
    let authority = request.uri().authority();
    let authority = authority.map(|authority| authority.as_str().as_bytes());
    let is_one = match (host, authority) {
        (Some(host), Some(authority)) => host.eq_ignore_ascii_case(authority),
        (host, authority) => host.is_some() || authority.is_some(),
    };
    is_one && hosts.next().is_none() && host.or(authority).is_some_and(http1::is_valid_host)
}

/// The executor of one connection, to which hyper hands each stream as a future.
#[derive(Debug, Clone)]
struct StreamExecutor {
    tasks: TaskTracker,
    load: Load,
    streams: Arc<StreamCount>,
    /// The reason for which the connection ended, if it did.
    disconnect: Disconnect,
    limits: ConnectionLimits,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    #[expect(
        clippy::disallowed_methods,
        reason = "an HTTP/2 stream ends with its connection"
    )]
    fn execute(&self, stream: F) {
        let state = Arc::new(StreamState {
            disconnect: self.disconnect.for_stream(),
            ..StreamState::default()
        });
        // To a worker a stream is as much load as a connection.
        let guards = (StreamCount::begin(&self.streams), self.load.acquire());
        let limits = self.limits;
        self.tasks
            .spawn(STREAM_STATE.scope(state.clone(), async move {
                let _guards = guards;
                run_guarded(stream, &state, limits).await;
                // An unread body would keep the stream from being reset.
                state.discard.release();
            }));
    }
}

tokio::task_local! {
    /// The state of the stream that a task serves. It leads from hyper's executor to the body,
    /// which hyper keeps apart.
    static STREAM_STATE: Arc<StreamState>;
}

/// The state of one stream, shared by its task, its response body and its generation.
#[derive(Debug, Default)]
struct StreamState {
    /// Counts up when a piece of the body is handed to hyper, and when hyper asks again: odd while
    /// h2's buffer is full.
    handed: Arc<AtomicU64>,
    disconnect: Disconnect,
    /// The part of the request's body that the handler left unread.
    discard: Discard,
}

/// Runs a stream to its end, or until its client has taken nothing for too long.
async fn run_guarded(
    stream: impl Future<Output = ()>,
    state: &StreamState,
    limits: ConnectionLimits,
) {
    let stall_timeout = limits.client_stall;
    let mut stream = pin!(Some(stream));
    let mut full_since: Option<(u64, Instant)> = None;
    // Created when the client first keeps us waiting; most never do.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        let ended = stream
            .as_mut()
            .as_pin_mut()
            .is_none_or(|stream| stream.poll(cx).is_ready());
        let discarded = state.discard.poll_discard(cx).is_ready();
        if ended {
            // Releases all that the answer held, though the client may still be sending.
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
        let handed = state.handed.load(Ordering::Relaxed);
        if handed.is_multiple_of(2) {
            return Poll::Pending;
        }
        let since = match full_since {
            Some((same, since)) if same == handed => since,
            _ => full_since.insert((handed, Instant::now())).1,
        };
        let deadline = since + stall_timeout;
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        // It fires at the earliest deadline that it once had, and is then set to the current one.
        while timer.as_mut().poll(cx).is_ready() {
            if deadline <= Instant::now() {
                state.disconnect.set_stalled();
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    })
    .await;
}

/// The streams of one connection: all that have begun, and those that are open.
#[derive(Debug)]
struct StreamCount {
    begun: AtomicUsize,
    open: Load,
    /// The connection's place among all.
    place: Arc<Connection>,
}

impl StreamCount {
    fn new(place: Arc<Connection>) -> Self {
        Self {
            begun: AtomicUsize::new(0),
            open: Load::default(),
            place,
        }
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    fn open(&self) -> usize {
        self.open.current()
    }

    /// Returns how long to wait for the next look, and whether new streams are taken meanwhile;
    /// `None` if the connection is to be closed. It is idle if it had no stream at all since the
    /// last look. The first look is when the first request should have arrived.
    fn next_wait(&self, accepting: bool, begun_before: &mut usize) -> Option<(Duration, bool)> {
        let (begun, is_open) = (self.begun(), self.open() > 0);
        let is_idle = !is_open && begun == *begun_before;
        if is_idle && (begun == 0 || !accepting) {
            return None;
        }
        *begun_before = if is_open { usize::MAX } else { begun };
        let goes_on = accepting && !is_idle;
        Some((if goes_on { IDLE_TIMEOUT } else { GOAWAY_GRACE }, goes_on))
    }

    fn begin(this: &Arc<Self>) -> OpenStream {
        this.begun.fetch_add(1, Ordering::Relaxed);
        this.place.mark().set_busy();
        OpenStream {
            guard: Some(this.open.acquire()),
            count: this.clone(),
        }
    }
}

/// A stream that is open while this lives.
struct OpenStream {
    guard: Option<LoadGuard>,
    count: Arc<StreamCount>,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.guard = None;
        if self.count.open() == 0 {
            self.count.place.mark().set_idle();
        }
    }
}
