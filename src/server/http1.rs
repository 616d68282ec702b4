//! HTTP/1.1 for clients: one request after the other, each answered before the next is read.
//!
//! The protocol is our own, for what it costs a stream: an answer's body is polled by the task of its connection and by
//! nothing between, what it has goes out in one write, and a connection that waits holds no buffer. What it does not do:
//! trailers, `CONNECT`, interim answers of handlers, reading on while an answer is sent.

mod body;
mod head;
mod link;
mod outgoing;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{Method, Request, Response, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::context::{ConnectionContext, IDLE_TIMEOUT, peer_closed, respond};
use super::socket::SharedInput;
use crate::http;
use crate::transport::upgrade::{OnUpgrade, Upgraded, Upgrading};
use base::wake_flag::WakeFlag;
use body::Incoming;
use head::{Head, Unreadable};
use link::Link;
use outgoing::{Asked, Outgoing};

/// Serves one connection until it is closed, or speaks another protocol.
pub(super) async fn serve_http1<S>(socket: S, context: ConnectionContext<'_>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ConnectionContext {
        stream,
        router,
        worker: terms,
        disconnect: left,
        first_request: mut due,
    } = context;
    let link = Arc::new(Mutex::new(Link::new(socket)));
    let mut gone = Gone {
        hung_up: pin!(peer_closed(stream)),
        wake_flag: WakeFlag::new(),
    };
    loop {
        let head = tokio::select! {
            biased;
            head = poll_fn(|cx| lock(&link).poll_head(cx)) => head,
            () = due.as_mut() => return,
            () = terms.drain.cancelled(), if lock(&link).is_idle() => return,
        };
        let Ok(Some(head)) = head else { return };
        let is_read = head.is_ok();
        let (response, asked, upgrading) = match head {
            Ok(head) => {
                let (request, asked, upgrading) = request(head, &link);
                // Dropping it drops what was begun: nobody waits for it.
                let response = gone
                    .or(Box::pin(respond(router.clone(), request, left.clone())))
                    .await;
                let Some(Ok(response)) = response else { return };
                (response, asked, upgrading)
            }
            Err(Unreadable { failure, path }) => (
                http::error::unreadable(failure, &path),
                Asked {
                    head: false,
                    current: true,
                    keep: false,
                },
                None,
            ),
        };
        if response.status().as_u16() == 101 {
            if let Some(upgrading) = upgrading {
                switch(response, asked, upgrading, link).await;
            }
            return;
        }
        // Of a body that nobody has read, and nobody will, what has come is passed over; the rest stands before the next
        // request.
        let skipped =
            is_read && lock(&link).take_body().is_ok() && lock(&link).framing().is_ended();
        let keep = asked.keep && skipped && !terms.drain.is_cancelled();
        let mut outgoing = Outgoing::new(response, Asked { keep, ..asked });
        let sent = gone.or(poll_fn(|cx| outgoing.poll(&link, cx))).await;
        // Errors here are the client's way of leaving: each generation logs its own end.
        let Some(Ok(())) = sent else { return };
        if !(outgoing.keeps() && lock(&link).framing().is_ended()) {
            let unread = !skipped || !lock(&link).is_idle();
            if poll_fn(|cx| lock(&link).poll_shutdown(cx)).await.is_ok() && unread {
                http1::discard_input(SharedInput(stream), terms.limits.request_body).await;
            }
            return;
        }
        if terms.drain.is_cancelled() && lock(&link).is_idle() {
            return;
        }
        due.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
    }
}

/// The client's leaving, which ends whatever is done for it.
struct Gone<F> {
    hung_up: F,
    wake_flag: WakeFlag,
}

impl<F: Future<Output = ()> + Unpin> Gone<F> {
    /// Does that, unless the client leaves before it is done.
    async fn or<W: Future + Unpin>(&mut self, mut work: W) -> Option<W::Output> {
        poll_fn(|cx| {
            if let Poll::Ready(done) = Pin::new(&mut work).poll(cx) {
                return Poll::Ready(Some(done));
            }
            match self.wake_flag.take_waker(cx) {
                Some(waker) => Pin::new(&mut self.hung_up)
                    .poll(&mut Context::from_waker(&waker))
                    .map(|()| None),
                None => Poll::Pending,
            }
        })
        .await
    }
}

fn lock<S>(link: &Mutex<Link<S>>) -> std::sync::MutexGuard<'_, Link<S>> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The request with that head, of which as much of its body as has come with it.
fn request<S>(head: Head, link: &Arc<Mutex<Link<S>>>) -> (Request<Body>, Asked, Option<Upgrading>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Head {
        request,
        keep,
        upgrades,
        ..
    } = head;
    let asked = Asked {
        head: request.method() == Method::HEAD,
        current: request.version() == Version::HTTP_11,
        keep,
    };
    let (first, whole) = {
        let mut link = lock(link);
        // What is wrong with it is told to who reads on.
        let first = link.take_body().unwrap_or_default();
        (first, link.framing().is_ended())
    };
    let body = if whole {
        Body::from(first)
    } else {
        Body::new(Incoming::new(link.clone(), first))
    };
    let mut request = request.map(|()| body);
    let upgrading = upgrades.then(|| {
        let (on_upgrade, upgrading) = OnUpgrade::new();
        request.extensions_mut().insert(on_upgrade);
        upgrading
    });
    (request, asked, upgrading)
}

/// Answers that another protocol is spoken from now on, and gives the connection to who speaks it.
async fn switch<S>(
    response: Response<Body>,
    asked: Asked,
    upgrading: Upgrading,
    link: Arc<Mutex<Link<S>>>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut outgoing = Outgoing::new(response, asked);
    if poll_fn(|cx| outgoing.poll(&link, cx)).await.is_err() {
        return;
    }
    // Whoever still had the request's body would read on in it.
    if let Some(link) = Arc::into_inner(link) {
        let (socket, ahead) = link
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .into_parts();
        upgrading.done(Upgraded::new(socket, ahead));
    }
}
