//! One request and its answer on a connection: sent, its head awaited, its body read by whoever polls it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};

use super::connection::{ClientConnection, EncodedRequest, with_read_buffer};
use super::head::{HeadParser, ResponseHead};
use super::{H1Error, IdlePool, SendError};
use http1::Framing;

/// A request that is being sent, until its answer's head is there.
pub(super) struct Exchange {
    connection: ClientConnection,
    heads: HeadParser,
    /// What is not yet sent of the request.
    outgoing: Option<EncodedRequest>,
    /// Why no more of it can be sent. An upstream that refuses a request early may take no more of it: its answer counts.
    refused: Option<io::Error>,
}

impl Exchange {
    pub(super) fn new(connection: ClientConnection, outgoing: EncodedRequest) -> Self {
        Self {
            connection,
            heads: HeadParser::default(),
            outgoing: Some(outgoing),
            refused: None,
        }
    }

    /// Sends and waits for the head.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, H1Error>> {
        if let Err(error) = send(&mut self.outgoing, &mut self.connection, cx) {
            if self
                .outgoing
                .as_ref()
                .is_some_and(|outgoing| !outgoing.is_started())
            {
                return Poll::Ready(Err(H1Error::Io(error)));
            }
            self.refused = Some(error);
            self.outgoing = None;
        }
        let (connection, heads) = (&mut self.connection, &mut self.heads);
        loop {
            let head = with_read_buffer(|buffer| {
                let came = match ready!(connection.poll_read(cx, buffer)) {
                    Ok(0) => {
                        return Poll::Ready(Err(self
                            .refused
                            .take()
                            .map_or(H1Error::Closed, H1Error::Io)));
                    }
                    Ok(came) => came,
                    Err(error) => return Poll::Ready(Err(H1Error::Io(error))),
                };
                Poll::Ready(heads.push(&buffer[..came]))
            });
            if let Some(head) = ready!(head)? {
                return Poll::Ready(Ok(head));
            }
        }
    }

    /// What is to be said of a request that got no answer.
    pub(super) fn unsent(self, error: H1Error) -> SendError {
        match self.outgoing {
            Some(outgoing) if !outgoing.is_started() => SendError::NotSent(outgoing),
            _ => SendError::Unknown(error),
        }
    }

    /// The answer, whose body begins with what came after the head.
    pub(super) fn answer(
        mut self,
        head: ResponseHead,
        pool: IdlePool,
    ) -> Result<Response<ResponseBody>, H1Error> {
        let ResponseHead {
            response,
            mut framing,
            mut keep,
        } = head;
        let rest = self.heads.rest();
        let decoded = framing.decode(rest)?;
        keep &= decoded.used == rest.len() && self.refused.is_none();
        let first = Bytes::copy_from_slice(&rest[decoded.body]);
        let mut answer = ResponseBody {
            reader: None,
            first,
            pool,
        };
        let outgoing = self.outgoing.map(Box::new);
        answer.continue_or_recycle(BodyReader {
            connection: self.connection,
            framing,
            outgoing,
            keep,
        });
        Ok(response.map(|()| answer))
    }
}

/// Sends more of what is left; none is left once all is sent.
fn send(
    outgoing: &mut Option<EncodedRequest>,
    connection: &mut ClientConnection,
    cx: &mut Context<'_>,
) -> io::Result<()> {
    if let Some(left) = outgoing {
        match left.poll_send(connection, cx) {
            Poll::Ready(Ok(())) => *outgoing = None,
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => {}
        }
    }
    Ok(())
}

/// A connection whose answer is being read.
#[derive(Debug)]
struct BodyReader {
    connection: ClientConnection,
    framing: Framing,
    /// The rest of a request that was answered before it was read.
    outgoing: Option<Box<EncodedRequest>>,
    keep: bool,
}

impl BodyReader {
    /// The next bytes of the body, from one read; they may be none.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, H1Error>> {
        if let Some(outgoing) = &mut self.outgoing
            && let Poll::Ready(sent) = outgoing.poll_send(&mut self.connection, cx)
        {
            self.outgoing = None;
            self.keep &= sent.is_ok();
        }
        if let Framing::Broken(malformed) = self.framing {
            return Poll::Ready(Err(malformed.into()));
        }
        with_read_buffer(|buffer| {
            let came = ready!(self.connection.poll_read(cx, buffer)).map_err(H1Error::Io)?;
            if came == 0 {
                return Poll::Ready(if self.framing.allows_close() {
                    Ok(None)
                } else {
                    Err(H1Error::Cut)
                });
            }
            let decoded = self.framing.decode(&mut buffer[..came])?;
            self.keep &= decoded.used == came;
            Poll::Ready(Ok(Some(Bytes::copy_from_slice(&buffer[decoded.body]))))
        })
    }
}

/// The body of an answer. It drives its own connection, and gives it back when its end has come.
#[derive(Debug)]
pub(in crate::provider::remote) struct ResponseBody {
    /// None once the end has come.
    reader: Option<BodyReader>,
    /// What came with the head.
    first: Bytes,
    pool: IdlePool,
}

impl ResponseBody {
    /// The next bytes of the body, none after its end.
    pub(in crate::provider::remote) fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, H1Error>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.first))));
        }
        while let Some(reader) = &mut self.reader {
            match ready!(reader.poll_read(cx)) {
                Ok(Some(bytes)) => {
                    if reader.framing.is_ended()
                        && let Some(reader) = self.reader.take()
                    {
                        self.continue_or_recycle(reader);
                    }
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Ok(None) => self.reader = None,
                Err(error) => {
                    self.reader = None;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }

    /// Goes on with that connection, unless the answer has ended.
    fn continue_or_recycle(&mut self, reader: BodyReader) {
        if !reader.framing.is_ended() {
            self.reader = Some(reader);
        } else if reader.keep && reader.outgoing.is_none() {
            self.pool.put(reader.connection);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = H1Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, H1Error>>> {
        self.poll_bytes(cx)
            .map(|bytes| bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.reader.is_none() && self.first.is_empty()
    }
}
