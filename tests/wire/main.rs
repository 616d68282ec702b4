//! What crosses the wire: the real binary between a scripted upstream and a client that sees every
//! byte.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests"
)]

mod budget;
mod cancel;
mod cli;
mod clients_http1;
mod clients_http2;
mod cors;
mod dialects;
mod durable;
mod flow;
mod h2_client;
mod http2;
mod log;
mod log_content;
mod lossless;
mod names;
mod openai;
mod plain;
mod refusals;
mod responses;
mod resume;
mod shutdown;
mod support;
mod tail;
mod timeouts;
mod tls;
mod upstream_faults;
mod upstream_tls;
mod websocket;
mod websocket_faults;
mod ws_client;
