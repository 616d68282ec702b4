//! HTTP/1.1 connections to one upstream, kept for the next request.
//!
//! A connection has no task of its own: whoever reads its answer drives it. So a token crosses no channel to another task
//! on its way, many that arrive together are read together, and dropping the answer closes the connection there and then.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use tokio_util::task::AbortOnDropHandle;

use super::client::Io;

/// How much one connection reads ahead of what its client has taken: some hundred tokens.
const READ_AHEAD: usize = 16 * 1024;
/// Idle connections are closed before a typical upstream's own 60 s, so that we seldom send on one that is being closed.
const IDLE: Duration = Duration::from_secs(50);
/// How often idle connections are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// A connection, and the handle that sends requests on it.
struct Link {
    sender: SendRequest<Full<Bytes>>,
    connection: Pin<Box<http1::Connection<Io, Full<Bytes>>>>,
    ended: bool,
}

impl Link {
    /// Lets the connection read and write what it can.
    fn drive(&mut self, cx: &mut Context<'_>) {
        // What went wrong with it is told to whoever waits for the answer.
        self.ended = self.ended || self.connection.as_mut().poll(cx).is_ready();
    }

    /// Whether another request can be sent on it; an upstream may have closed it meanwhile.
    fn is_usable(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.ended && self.sender.is_ready()
    }
}

/// Idle connections, the one that was used last on top.
#[derive(Clone, Default)]
pub(super) struct Pool {
    // A plain mutex: held for a moment, never across an await.
    idle: Arc<Mutex<Idle>>,
}

#[derive(Default)]
struct Idle {
    links: Vec<(Instant, Link)>,
    /// Closes what has been idle for long. It ends with the pool, or when nothing is idle.
    keeper: Option<AbortOnDropHandle<()>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pool")
    }
}

/// A request that was not answered.
pub(super) enum Unsent {
    /// Not a byte of it was written.
    Back(Box<Request<Full<Bytes>>>),
    /// It may have been read.
    Lost(hyper::Error),
}

impl Pool {
    /// Sends a request on an idle connection, if there is one: otherwise it comes back.
    pub(super) async fn send_on_idle(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Answer>, Unsent> {
        while let Some(link) = self.take() {
            match self.send_on(link, request).await {
                // It had just been closed, and nothing was written: that is no second sending.
                Err(Unsent::Back(back)) => request = *back,
                result => return result,
            }
        }
        Err(Unsent::Back(Box::new(request)))
    }

    /// Sends a request on a new connection.
    pub(super) async fn send_on_new(&self, io: Io, request: Request<Full<Bytes>>) -> Result<Response<Answer>, Unsent> {
        let handshake = http1::Builder::new().max_buf_size(READ_AHEAD).handshake(io).await;
        let (sender, connection) = handshake.map_err(Unsent::Lost)?;
        self.send_on(Link { sender, connection: Box::pin(connection), ended: false }, request).await
    }

    async fn send_on(&self, mut link: Link, request: Request<Full<Bytes>>) -> Result<Response<Answer>, Unsent> {
        let mut answer = Box::pin(link.sender.try_send_request(request));
        let result = poll_fn(|cx| {
            if let Poll::Ready(result) = answer.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            link.ended = link.ended || link.connection.as_mut().poll(cx).is_ready();
            answer.as_mut().poll(cx)
        })
        .await;
        drop(answer);
        match result {
            Ok(response) => Ok(response.map(|incoming| Answer { incoming, link: Some(link), pool: self.clone() })),
            Err(mut error) => Err(match error.take_message() {
                Some(request) => Unsent::Back(Box::new(request)),
                None => Unsent::Lost(error.into_error()),
            }),
        }
    }

    fn take(&self) -> Option<Link> {
        loop {
            let (since, mut link) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).links.pop()?;
            if since.elapsed() < IDLE && link.is_usable() {
                return Some(link);
            }
        }
    }

    fn put(&self, mut link: Link) {
        if !link.is_usable() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.links.push((Instant::now(), link));
        if idle.keeper.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
            let pool = Arc::downgrade(&self.idle);
            idle.keeper = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                loop {
                    tokio::time::sleep(LOOK).await;
                    let Some(pool) = pool.upgrade() else { return };
                    let mut idle = pool.lock().unwrap_or_else(PoisonError::into_inner);
                    idle.links.retain_mut(|(since, link)| since.elapsed() < IDLE && link.is_usable());
                    if idle.links.is_empty() {
                        return;
                    }
                }
            })));
        }
    }
}

/// The body of an answer, which drives its own connection, and gives it back when it was read to its end.
pub(super) struct Answer {
    incoming: Incoming,
    link: Option<Link>,
    pool: Pool,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let frame = match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                if let Some(link) = &mut this.link {
                    link.drive(cx);
                }
                std::task::ready!(Pin::new(&mut this.incoming).poll_frame(cx))
            }
        };
        match &frame {
            Some(Ok(_)) => {}
            Some(Err(_)) => this.link = None,
            None => {
                if let Some(link) = this.link.take() {
                    this.pool.put(link);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        // Only its end, once read, gives the connection back.
        self.link.is_none() && self.incoming.is_end_stream()
    }
}
