//! What crosses the wire: the real binary between a scripted upstream and a client that sees every
//! byte.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests"
)]

mod admission;
mod agents;
mod answer_bytes;
mod budget;
mod cancel;
mod cli;
mod clients_http1;
mod clients_http2;
mod compression;
mod continuation;
mod cors;
mod dialects;
mod durable;
mod endpoints;
mod ends;
mod families;
mod flavors;
mod flow;
mod h2_client;
mod hedging;
mod http2;
mod keys;
mod keys_file;
mod keys_live;
mod keys_socket;
mod keys_support;
mod keys_tickets;
mod lenient;
mod limits;
mod limits_money;
mod limits_usage;
mod log;
mod log_content;
mod lossless;
mod names;
mod openai;
mod pass_through;
mod plain;
mod refusals;
mod responses;
mod resume;
mod routing;
mod routing_faults;
mod routing_forwarded;
mod shapes;
mod shutdown;
mod stored;
mod successor;
mod support;
mod tail;
mod timeouts;
mod tls;
mod token_counts;
mod tool_names;
mod upstream_faults;
mod upstream_tls;
mod verdicts;
mod verdicts_http2;
mod websocket;
mod websocket_faults;
mod websocket_responses;
mod websocket_streams;
mod ws_client;
