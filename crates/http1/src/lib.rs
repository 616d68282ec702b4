//! HTTP/1.1 for a proxy of token streams: a server connection, a client connection, and the message
//! framing that both share.
//!
//! Input that two implementations might read differently is refused ([`MalformedMessage`]), even
//! where RFC 9112 permits guessing. A connection that waits holds no buffer. The crate's README has
//! the reasons for not using hyper, with figures.
//!
//! Not here: listening, TLS, routing, HTTP/2.

pub mod client;
mod discard;
mod fields;
mod framing;
mod grammar;
pub mod server;
mod thread_buffer;
mod upgrade;
mod websocket;

pub use discard::{MAX_DISCARDED_BYTES, discard_input};
pub use fields::{body_framing, eq_token, list_contains, list_items};
pub use framing::{ChunkedReader, Decoded, Framing};
pub use grammar::is_valid_host;
pub use thread_buffer::ThreadBuffer;
pub use upgrade::{OnUpgrade, Upgraded};
pub use websocket::{HandshakeError, websocket_accept};

/// A message that implementations might read differently, so that bytes of one message could be
/// taken for another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedMessage(pub &'static str);

/// Returns the end of the first head in `bytes`, which is behind its first empty line. The search
/// begins at `from`, before which no head may end.
#[must_use]
pub fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &bytes[from..])
        .map(|at| from + at)
        .find_map(|at| match bytes[at + 1..] {
            [b'\n', ..] => Some(at + 2),
            [b'\r', b'\n', ..] => Some(at + 3),
            _ => None,
        })
}

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests;
