//! One exchange on a connection: sends the request, waits for the response head.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::{BodyReader, ResponseBody};
use super::connection::{ClientConnection, with_read_buffer};
use super::error::{H1Error, SendError};
use super::head::{HeadParser, ResponseHead};
use super::pool::IdlePool;
use super::request::EncodedRequest;

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> IdlePool<S> {
    /// Sends a request on an idle connection. It comes back, not sent, if none is usable.
    ///
    /// # Errors
    ///
    /// [`SendError::NotSent`] without a usable connection, [`SendError::Unknown`] if the one that
    /// took the request broke before the response.
    pub async fn send_on_idle(
        &self,
        mut request: EncodedRequest,
    ) -> Result<Response<ResponseBody<S>>, SendError> {
        while let Some(connection) = self.take() {
            match self.send_on(connection, request).await {
                // The server had just closed it, and nothing was sent.
                Err(SendError::NotSent(unsent)) => request = unsent,
                result => return result,
            }
        }
        Err(SendError::NotSent(request))
    }

    /// Sends a request on `connection`, which joins the pool after the response.
    ///
    /// # Errors
    ///
    /// If the connection breaks before the response, or the response is not HTTP/1.1.
    pub async fn send_on(
        &self,
        connection: ClientConnection<S>,
        request: EncodedRequest,
    ) -> Result<Response<ResponseBody<S>>, SendError> {
        let mut exchange = Exchange {
            connection,
            parser: HeadParser::default(),
            request: Some(request),
            write_error: None,
        };
        match poll_fn(|cx| exchange.poll_head(cx)).await {
            Ok(head) => exchange
                .into_response(head, self.clone())
                .map_err(SendError::Unknown),
            Err(error) => Err(exchange.into_send_error(error)),
        }
    }
}

/// A request on its way, until the response head is there.
struct Exchange<S> {
    connection: ClientConnection<S>,
    parser: HeadParser,
    /// The rest of the request, `None` once all is sent.
    request: Option<EncodedRequest>,
    /// The reason that no more of the request can be sent. A server that refuses a request early
    /// may stop reading it: its response counts.
    write_error: Option<io::Error>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Exchange<S> {
    /// Polls for the response head, while sending the request.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, H1Error>> {
        if let Some(request) = &mut self.request {
            match request.poll_send(&mut self.connection, cx) {
                Poll::Ready(Ok(())) => self.request = None,
                Poll::Ready(Err(error)) if !request.is_started() => {
                    return Poll::Ready(Err(H1Error::Io(error)));
                }
                Poll::Ready(Err(error)) => {
                    self.write_error = Some(error);
                    self.request = None;
                }
                Poll::Pending => {}
            }
        }
        loop {
            let head = with_read_buffer(|buffer| {
                let length = ready!(self.connection.poll_read(cx, buffer)).map_err(H1Error::Io)?;
                if length == 0 {
                    let write_error = self.write_error.take();
                    return Poll::Ready(Err(write_error.map_or(H1Error::Closed, H1Error::Io)));
                }
                Poll::Ready(self.parser.push(&buffer[..length]))
            });
            if let Some(head) = ready!(head)? {
                return Poll::Ready(Ok(head));
            }
        }
    }

    /// Classifies the failure of a request that got no response.
    fn into_send_error(self, error: H1Error) -> SendError {
        match self.request {
            Some(request) if !request.is_started() => SendError::NotSent(request),
            _ => SendError::Unknown(error),
        }
    }

    /// Makes the response, whose body begins with the bytes that followed the head.
    fn into_response(
        mut self,
        head: ResponseHead,
        pool: IdlePool<S>,
    ) -> Result<Response<ResponseBody<S>>, H1Error> {
        let ResponseHead {
            response,
            mut framing,
            reusable,
        } = head;
        let rest = self.parser.rest();
        let decoded = framing.decode(rest)?;
        let reusable = reusable && decoded.used == rest.len() && self.write_error.is_none();
        let first = Bytes::copy_from_slice(&rest[decoded.body]);
        let reader = BodyReader {
            connection: self.connection,
            framing,
            unsent: self.request.map(Box::new),
            reusable,
        };
        Ok(response.map(|()| ResponseBody::new(reader, first, pool)))
    }
}
