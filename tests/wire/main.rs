//! What crosses the wire: the real binary between a scripted upstream and a client that sees every byte.

#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cancel;
mod cli;
mod dialects;
mod flow;
mod http2;
mod lossless;
mod openai;
mod plain;
mod refusals;
mod responses;
mod resume;
mod shutdown;
mod support;
mod timeouts;
mod upstream_faults;
