//! The errors of an exchange: a response that broke, a request without a response.

use std::io;

use super::request::EncodedRequest;
use crate::MalformedMessage;

/// The reason that there is no response, or no more of it. The connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum H1Error {
    /// The socket failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// The server closed the connection without a response.
    #[error("the connection was closed before the response")]
    Closed,
    /// The server closed the connection within the response body.
    #[error("the connection was closed before the end of the response body")]
    Truncated,
    /// The response head cannot be parsed (RFC 9112, section 4).
    #[error("malformed response head")]
    Head(#[source] httparse::Error),
    /// The server speaks something else.
    #[error("the response is not HTTP/1.1")]
    NotHttp,
    /// The response head, with interim responses before it, exceeds the bound.
    #[error("the response head is longer than {limit} bytes")]
    HeadTooLarge {
        /// The bound, in bytes.
        limit: usize,
    },
    /// The end of the body is ambiguous or invalid.
    #[error("malformed response: {0}")]
    Framing(#[from] MalformedMessage),
}

/// A request that got no response.
#[derive(Debug)]
pub enum SendError {
    /// No byte of the request was sent: it is safe to send it again, on another connection.
    NotSent(EncodedRequest),
    /// The server may have received and processed the request.
    Unknown(H1Error),
}
