//! One connection, from accept to close. HTTP/1.1: how a stalled client is noticed rests on one stream a connection.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::socket::Socket;
use crate::generation::Left;

/// How much of one connection hyper may buffer, in either direction; also the longest head.
const BUFFER: usize = 32 * 1024;
/// Heads with more headers are refused by hyper itself, without a word; those with fewer get an answer that says why.
const HEADERS: usize = 512;
/// How long a kept connection may be idle, and how long a later request's head may take.
const IDLE: Duration = Duration::from_secs(75);

/// What a connection may do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The first request's head must have come by then.
    pub request_head: Duration,
    /// A client that takes nothing for so long, though there is something to take, is dropped.
    pub client_stall: Duration,
}

/// Serves one connection until it is closed.
pub(super) async fn serve(stream: TcpStream, router: Router, limits: Limits, drain: CancellationToken) {
    // A socket that is already dead refuses its options; serving it then ends at once.
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(limits.client_stall));
    let stream = Arc::new(stream);
    let left = Left::default();
    let asked = Arc::new(AtomicBool::new(false));
    let service = {
        let (left, asked) = (left.clone(), asked.clone());
        service_fn(move |request: Request<Incoming>| answer(router.clone(), request, left.clone(), &asked))
    };
    let socket = TokioIo::new(Socket::new(stream.clone(), limits.client_stall, left));
    let mut connection = pin!(builder().serve_connection(socket, service).with_upgrades());
    let mut first_request = pin!(tokio::time::sleep(limits.request_head));
    let mut hung_up = pin!(hung_up(&stream));
    let (mut waiting, mut accepting) = (true, true);
    loop {
        tokio::select! {
            biased;
            // Errors here are the client's way of leaving: each generation has logged its own end.
            _ = connection.as_mut() => return,
            // hyper looks for a client's end only while its own read buffer is empty; one stray byte hides it.
            () = hung_up.as_mut() => return,
            () = first_request.as_mut(), if waiting => {
                if !asked.load(Ordering::Acquire) {
                    return;
                }
                waiting = false;
            }
            () = drain.cancelled(), if accepting => {
                accepting = false;
                connection.as_mut().graceful_shutdown();
                if !asked.load(Ordering::Acquire) {
                    return;
                }
            }
        }
    }
}

fn answer(
    router: Router,
    request: Request<Incoming>,
    left: Left,
    asked: &AtomicBool,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + use<> {
    asked.store(true, Ordering::Release);
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(left);
    router.oneshot(request)
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(BUFFER).max_headers(HEADERS);
    builder
}

/// Resolves when the client has closed its side. A client that closes only its sending half counts as gone: nearly none
/// does, and to wait for it would be to run a model for nobody.
async fn hung_up(stream: &TcpStream) {
    loop {
        match stream.ready(Interest::PRIORITY).await {
            Ok(ready) if !ready.is_read_closed() => {
                // Urgent data, which nobody sends: take the readiness back, or it would wake us forever.
                let _ = stream.try_io(Interest::PRIORITY, || Err::<(), _>(std::io::ErrorKind::WouldBlock.into()));
            }
            _ => return,
        }
    }
}
