//! What both sides of HTTP/1.1 share: where a message's body ends, and which heads leave no doubt of it.
//!
//! No I/O: the upstreams' connections are in `provider`, the clients' in `server`.

mod fields;
mod framing;
mod scratch;

pub use fields::{framed, has, is, tokens};
pub use framing::{Chunked, Decoded, Framing};
pub use scratch::Scratch;

/// What two readers might read differently, so that one connection's messages could become somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Where the first head in these bytes ends: after its first empty line. None ends before `from`.
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

#[cfg(test)]
mod tests;
