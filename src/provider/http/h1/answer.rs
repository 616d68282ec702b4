//! One request and its answer on a connection: sent, its head awaited, its body read by whoever polls it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};

use super::head::{Head, Heads};
use super::wire::{Outgoing, Wire, with_scratch};
use super::{Broken, Pool, Unsent};
use http1::Framing;

/// A request that is being sent, until its answer's head is there.
pub(super) struct Exchange {
    wire: Wire,
    heads: Heads,
    /// What is not yet sent of the request.
    outgoing: Option<Outgoing>,
    /// Why no more of it can be sent. An upstream that refuses a request early may take no more of it: its answer counts.
    refused: Option<io::Error>,
}

impl Exchange {
    pub(super) fn new(wire: Wire, outgoing: Outgoing) -> Self {
        Self {
            wire,
            heads: Heads::default(),
            outgoing: Some(outgoing),
            refused: None,
        }
    }

    /// Sends and waits for the head.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Broken>> {
        if let Err(error) = send(&mut self.outgoing, &mut self.wire, cx) {
            if self
                .outgoing
                .as_ref()
                .is_some_and(|outgoing| !outgoing.is_started())
            {
                return Poll::Ready(Err(Broken::Io(error)));
            }
            self.refused = Some(error);
            self.outgoing = None;
        }
        let (wire, heads) = (&mut self.wire, &mut self.heads);
        loop {
            let head = with_scratch(|scratch| {
                let came = match ready!(wire.poll_read(cx, scratch)) {
                    Ok(0) => {
                        return Poll::Ready(Err(self
                            .refused
                            .take()
                            .map_or(Broken::Closed, Broken::Io)));
                    }
                    Ok(came) => came,
                    Err(error) => return Poll::Ready(Err(Broken::Io(error))),
                };
                Poll::Ready(heads.push(&scratch[..came]))
            });
            if let Some(head) = ready!(head)? {
                return Poll::Ready(Ok(head));
            }
        }
    }

    /// What is to be said of a request that got no answer.
    pub(super) fn unsent(self, broken: Broken) -> Unsent {
        match self.outgoing {
            Some(outgoing) if !outgoing.is_started() => Unsent::Back(outgoing),
            _ => Unsent::Lost(broken),
        }
    }

    /// The answer, whose body begins with what came after the head.
    pub(super) fn answer(mut self, head: Head, pool: Pool) -> Result<Response<Answer>, Broken> {
        let Head {
            response,
            mut framing,
            mut keep,
        } = head;
        let rest = self.heads.rest();
        let decoded = framing.decode(rest)?;
        keep &= decoded.used == rest.len() && self.refused.is_none();
        let first = Bytes::copy_from_slice(&rest[decoded.body]);
        let mut answer = Answer {
            link: None,
            first,
            pool,
        };
        let outgoing = self.outgoing.map(Box::new);
        answer.went_on(Link {
            wire: self.wire,
            framing,
            outgoing,
            keep,
        });
        Ok(response.map(|()| answer))
    }
}

/// Sends more of what is left; none is left once all is sent.
fn send(outgoing: &mut Option<Outgoing>, wire: &mut Wire, cx: &mut Context<'_>) -> io::Result<()> {
    if let Some(left) = outgoing {
        match left.poll_send(wire, cx) {
            Poll::Ready(Ok(())) => *outgoing = None,
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => {}
        }
    }
    Ok(())
}

/// A connection whose answer is being read.
#[derive(Debug)]
struct Link {
    wire: Wire,
    framing: Framing,
    /// The rest of a request that was answered before it was read.
    outgoing: Option<Box<Outgoing>>,
    keep: bool,
}

impl Link {
    /// The next bytes of the body, from one read; they may be none.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        if let Some(outgoing) = &mut self.outgoing
            && let Poll::Ready(sent) = outgoing.poll_send(&mut self.wire, cx)
        {
            self.outgoing = None;
            self.keep &= sent.is_ok();
        }
        if let Framing::Broken(malformed) = self.framing {
            return Poll::Ready(Err(malformed.into()));
        }
        with_scratch(|scratch| {
            let came = ready!(self.wire.poll_read(cx, scratch)).map_err(Broken::Io)?;
            if came == 0 {
                return Poll::Ready(if self.framing.may_close() {
                    Ok(None)
                } else {
                    Err(Broken::Cut)
                });
            }
            let decoded = self.framing.decode(&mut scratch[..came])?;
            self.keep &= decoded.used == came;
            Poll::Ready(Ok(Some(Bytes::copy_from_slice(&scratch[decoded.body]))))
        })
    }
}

/// The body of an answer. It drives its own connection, and gives it back when its end has come.
#[derive(Debug)]
pub(in crate::provider::http) struct Answer {
    /// None once the end has come.
    link: Option<Link>,
    /// What came with the head.
    first: Bytes,
    pool: Pool,
}

impl Answer {
    /// The next bytes of the body, none after its end.
    pub(in crate::provider::http) fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Broken>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.first))));
        }
        while let Some(link) = &mut self.link {
            match ready!(link.poll_read(cx)) {
                Ok(Some(bytes)) => {
                    if link.framing.is_ended()
                        && let Some(link) = self.link.take()
                    {
                        self.went_on(link);
                    }
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Ok(None) => self.link = None,
                Err(broken) => {
                    self.link = None;
                    return Poll::Ready(Some(Err(broken)));
                }
            }
        }
        Poll::Ready(None)
    }

    /// Goes on with that connection, unless the answer has ended.
    fn went_on(&mut self, link: Link) {
        if !link.framing.is_ended() {
            self.link = Some(link);
        } else if link.keep && link.outgoing.is_none() {
            self.pool.put(link.wire);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.poll_bytes(cx)
            .map(|bytes| bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.link.is_none() && self.first.is_empty()
    }
}
