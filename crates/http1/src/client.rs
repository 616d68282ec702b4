//! The client side of HTTP/1.1: one request and its response on a connection, and idle connections
//! kept for the next request.
//!
//! A connection has no task of its own: polling the response body reads the socket. So a token
//! crosses no channel on its way, tokens that arrive together are read together, and dropping a
//! response closes its connection at once.
//!
//! The protocol is implemented here for what a stream costs while it waits: a socket and a few
//! words of state. hyper's client holds a read buffer, a write buffer and a dispatcher for each.
//!
//! Not for: opening sockets, TLS, names, redirects, retries. Not implemented: pipelining, `HEAD`,
//! `CONNECT`, upgrades, trailers, request bodies that stream.
//!
//! ```
//! use http1::client::{ClientConnection, EncodedRequest, FailedWrite, IdlePool};
//! use http_body_util::BodyExt;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let (socket, mut upstream) = tokio::io::duplex(1024);
//! tokio::spawn(async move {
//!     let mut request = [0; 1024];
//!     while upstream.read(&mut request).await.is_ok_and(|length| length > 0) {
//!         upstream
//!             .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
//!             .await
//!             .unwrap();
//!     }
//! });
//!
//! let request = || {
//!     let request = http::Request::post("/v1/messages").body("{}".into()).unwrap();
//!     EncodedRequest::new("upstream:80", request)
//! };
//! let pool = IdlePool::default();
//! let connection = ClientConnection::new(socket, FailedWrite::SendsNothing);
//! let response = pool.send_on(connection, request()).await.unwrap();
//! assert_eq!(response.status(), 200);
//! assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
//!
//! // A response that was read to its end leaves its connection to the next request.
//! assert!(pool.send_on_idle(request()).await.is_ok());
//! # });
//! ```

mod body;
mod connection;
mod error;
mod exchange;
mod head;
mod pool;
mod request;
#[cfg(test)]
mod tests;

pub use body::ResponseBody;
pub use connection::{ClientConnection, FailedWrite};
pub use error::{H1Error, SendError};
pub use pool::IdlePool;
pub use request::EncodedRequest;
