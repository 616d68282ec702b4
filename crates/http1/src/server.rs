//! The server side: one request after the other on a connection, each answered before the next is
//! read.
//!
//! The response's body is polled by the task of its connection and by nothing between, all that it
//! has at one moment goes out in one write, and a connection that waits holds no buffer. Not
//! supported: trailers, `CONNECT`, interim responses of handlers, and reading ahead while a
//! response is sent.

mod connection;
mod idle;
mod request_body;
mod request_head;
mod response;
#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use base::wake_flag::WakeFlag;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use crate::upgrade::{OnUpgrade, PendingUpgrade, Upgraded};
pub use connection::RequestBodyError;
use connection::{ServerConnection, lock};
pub use idle::{IdleMark, IdleOrder};
pub use request_body::RequestBody;
use request_head::RequestHead;
pub use request_head::{BadHead, HeadError};
use response::{RequestInfo, ResponseWriter};

/// Signals and timers of a connection, provided by the server that runs it.
#[derive(Debug)]
pub struct ServeOptions<'a, P> {
    /// Resolves when the client has closed its side. Then the response that is being made or sent
    /// is dropped. Polled only after it has woken its task.
    pub peer_closed: Pin<&'a mut P>,
    /// Cancelled when the server drains: the current response is the last, and an idle connection
    /// is closed.
    pub drain: &'a CancellationToken,
    /// Elapses when the first request's head should have arrived. Reset for each later one.
    pub head_deadline: Pin<&'a mut Sleep>,
    /// Longest idle time between two requests, with the time for the later one's head.
    pub idle_timeout: Duration,
    /// Marked as busy while a request is answered, and as idle afterwards. Once it is evicted the
    /// current response is the last, and a connection without one is closed.
    pub idle: &'a IdleMark,
}

/// The state in which a connection is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum ConnectionEnd {
    /// The connection has ended, and its socket may be closed.
    Closed,
    /// The last response has been sent and the sending half shut down, but the client may still be
    /// sending. Its input should be discarded before the socket is closed, or the client may lose
    /// the response: see [`discard_input`](crate::discard_input).
    UnreadInput,
    /// A handler answered 101 and has got the connection from its [`OnUpgrade`].
    Upgraded,
}

/// Serves one connection until it ends or speaks another protocol.
///
/// `respond` answers a request; an error of it closes the connection without an answer. `reject`
/// answers a request whose head is refused. A response's body is dropped as soon as the client
/// closes its side.
///
/// Bodies are framed by their size hint: a known size becomes `content-length`, an unknown one
/// chunks. The handler's own framing headers are ignored.
///
/// ```
/// use std::convert::Infallible;
/// use std::pin::pin;
/// use std::time::Duration;
///
/// use http::{Request, Response, StatusCode};
/// use http1::server::{BadHead, IdleMark, RequestBody, ServeOptions, serve_connection};
/// use http_body_util::{BodyExt, Full};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
/// use tokio_util::sync::CancellationToken;
///
/// async fn respond(
///     request: Request<RequestBody<DuplexStream>>,
/// ) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
///     let body = request.into_body().collect().await.expect("a complete body");
///     Ok(Response::new(Full::new(body.to_bytes())))
/// }
///
/// fn reject(bad: BadHead) -> Response<Full<bytes::Bytes>> {
///     let mut response = Response::new(Full::from(bad.error.to_string()));
///     *response.status_mut() = StatusCode::BAD_REQUEST;
///     response
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let (mut client, server) = tokio::io::duplex(1024);
/// let serving = async {
///     let options = ServeOptions {
///         peer_closed: pin!(std::future::pending()),
///         drain: &CancellationToken::new(),
///         head_deadline: pin!(tokio::time::sleep(Duration::from_secs(10))),
///         idle_timeout: Duration::from_secs(75),
///         idle: &IdleMark::default(),
///     };
///     serve_connection(server, options, respond, reject).await
/// };
/// let asking = async {
///     client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n").await?;
///     client.write_all(b"content-length: 5\r\n\r\nhello").await?;
///     let mut answer = String::new();
///     client.read_to_string(&mut answer).await?;
///     Ok::<_, std::io::Error>(answer)
/// };
/// let (_end, answer) = tokio::join!(serving, asking);
/// let answer = answer?;
/// assert!(answer.starts_with("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n"));
/// assert!(answer.ends_with("\r\n\r\nhello"));
/// # Ok::<_, std::io::Error>(())
/// # })?;
/// # Ok::<_, std::io::Error>(())
/// ```
pub fn serve_connection<S, P, F, E, B>(
    socket: S,
    options: ServeOptions<'_, P>,
    mut respond: impl FnMut(Request<RequestBody<S>>) -> F,
    reject: impl Fn(BadHead) -> Response<B>,
) -> impl Future<Output = ConnectionEnd>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    P: Future<Output = ()>,
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut serving = Serving {
        connection: Arc::new(Mutex::new(ServerConnection::new(socket))),
        options,
        wake_flag: WakeFlag::new(),
    };
    // What is moved in here is not held twice, as the arguments of an `async fn` would be.
    async move {
        loop {
            let Some(head) = serving.receive_head().await else {
                return ConnectionEnd::Closed;
            };
            let head_is_valid = head.is_ok();
            serving.options.idle.set_busy();
            let (response, request, upgrade) = match head {
                Ok(head) => {
                    let (request, info, upgrade) = begin_request(head, &serving.connection);
                    // Dropping it drops what was begun: nobody waits for it any more.
                    let response = Box::pin(respond(request));
                    let Some(Ok(response)) = serving.unless_closed(response).await else {
                        return ConnectionEnd::Closed;
                    };
                    (response, info, upgrade)
                }
                Err(bad) => (reject(bad), RequestInfo::UNKNOWN, None),
            };
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                let Some(upgrade) = upgrade else {
                    return ConnectionEnd::Closed;
                };
                return switch_protocols(response, request, upgrade, serving.connection).await;
            }
            if let Some(end) = serving.send(response, request, head_is_valid).await {
                return end;
            }
        }
    }
}

/// A connection that is being served.
struct Serving<'a, S, P> {
    connection: Arc<Mutex<ServerConnection<S>>>,
    options: ServeOptions<'a, P>,
    /// Keeps `peer_closed` from being polled for every token.
    wake_flag: WakeFlag,
}

impl<S, P> Serving<'_, S, P>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Future<Output = ()>,
{
    /// Receives the next request's head. Returns `None` if the connection is to be closed.
    async fn receive_head(&mut self) -> Option<Result<RequestHead, BadHead>> {
        let connection = &self.connection;
        tokio::select! {
            biased;
            head = poll_fn(|cx| lock(connection).poll_head(cx)) => head.ok().flatten(),
            () = self.options.head_deadline.as_mut() => None,
            () = self.options.drain.cancelled(), if lock(connection).is_idle() => None,
            // Its client may be one that sends heads byte by byte, to keep others out.
            () = self.options.idle.evicted() => None,
        }
    }

    /// Runs `work`. Returns `None` if the client leaves first.
    async fn unless_closed<W: Future + Unpin>(&mut self, mut work: W) -> Option<W::Output> {
        poll_fn(|cx| {
            if let Poll::Ready(done) = Pin::new(&mut work).poll(cx) {
                return Poll::Ready(Some(done));
            }
            match self.wake_flag.take_waker(cx) {
                Some(waker) => {
                    let peer_closed = self.options.peer_closed.as_mut();
                    peer_closed
                        .poll(&mut Context::from_waker(&waker))
                        .map(|()| None)
                }
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Sends a response. Returns `None` if another request may follow.
    async fn send<B>(
        &mut self,
        response: Response<B>,
        request: RequestInfo,
        head_is_valid: bool,
    ) -> Option<ConnectionEnd>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let connection = self.connection.clone();
        // Skip what has arrived of an unread body; the rest would precede the next request.
        let skipped = head_is_valid && lock(&connection).skip_body();
        let is_last = self.options.drain.is_cancelled() || self.options.idle.is_evicted();
        let keep_alive = request.keep_alive && skipped && !is_last;
        let mut writer = ResponseWriter::new(response, request.with_keep_alive(keep_alive));
        let written = self.unless_closed(poll_fn(|cx| writer.poll_write(&connection, cx)));
        match written.await {
            Some(Ok(())) => {}
            // The client is to see what came before the break, and that there is no end.
            Some(Err(_)) if writer.is_broken() => {
                return Some(shut_down(&connection, skipped).await);
            }
            // Errors here are the client's way of leaving.
            Some(Err(_)) | None => return Some(ConnectionEnd::Closed),
        }
        if !(writer.keeps_alive() && lock(&connection).framing().is_ended()) {
            return Some(shut_down(&connection, skipped).await);
        }
        if self.options.drain.is_cancelled() && lock(&connection).is_idle() {
            return Some(ConnectionEnd::Closed);
        }
        let deadline = Instant::now() + self.options.idle_timeout;
        self.options.head_deadline.as_mut().reset(deadline);
        self.options.idle.set_idle();
        None
    }
}

/// Returns the request with that head, and as much of its body as has arrived.
fn begin_request<S>(
    head: RequestHead,
    connection: &Arc<Mutex<ServerConnection<S>>>,
) -> (Request<RequestBody<S>>, RequestInfo, Option<PendingUpgrade>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let info = RequestInfo {
        is_head: head.request.method() == Method::HEAD,
        is_http11: head.request.version() == Version::HTTP_11,
        keep_alive: head.keep_alive,
    };
    let mut request = head.request.map(|()| RequestBody::receive(connection));
    let upgrade = head.offers_upgrade.then(|| {
        let (on_upgrade, pending) = OnUpgrade::new();
        request.extensions_mut().insert(on_upgrade);
        pending
    });
    (request, info, upgrade)
}

/// Sends a 101 and gives the connection to the handler that answered so.
async fn switch_protocols<S, B>(
    response: Response<B>,
    request: RequestInfo,
    upgrade: PendingUpgrade,
    connection: Arc<Mutex<ServerConnection<S>>>,
) -> ConnectionEnd
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut writer = ResponseWriter::new(response, request);
    let written = poll_fn(|cx| writer.poll_write(&connection, cx)).await;
    // A handler that still had the request's body would go on reading HTTP from the connection.
    let (Ok(()), Some(connection)) = (written, Arc::into_inner(connection)) else {
        return ConnectionEnd::Closed;
    };
    let connection = connection
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let (socket, ahead) = connection.into_parts();
    upgrade.fulfill(Upgraded::new(socket, ahead));
    ConnectionEnd::Upgraded
}

/// Ends a connection after its last response.
async fn shut_down<S>(connection: &Mutex<ServerConnection<S>>, body_is_read: bool) -> ConnectionEnd
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let is_unread = !body_is_read || !lock(connection).is_idle();
    let shut_down = poll_fn(|cx| lock(connection).poll_shutdown(cx)).await;
    if shut_down.is_ok() && is_unread {
        ConnectionEnd::UnreadInput
    } else {
        ConnectionEnd::Closed
    }
}
