//! Answers as upstreams send them, and as none should: in pieces, cut, and made to be read in two
//! ways.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod connections;
mod heads;
