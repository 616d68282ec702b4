//! tokenrill: prompts in, tokens out, and nothing lost between.
//!
//! ```text
//! client request ─ dialect reads ─▶ Request ─ route ─▶ provider (dialect writes ─ HTTP ─ SSE reader) ─▶ frames or events
//!                                                                                                            │
//! client response ◀─ transport (SSE body) ◀──────────── relay (same dialect: as they are; else dialect) ◀────┘
//!              or ◀─ transport ◀─ reader ◀─ stream (a log) ◀─ generation that lingers ◀────────────────────┘
//! ```
//!
//! The floors; each uses only those below it, and siblings on a floor don't know each other:
//!
//! | floor | modules |
//! | --- | --- |
//! | composition | `main` → [`cli`] → [`app`], [`server`]: configuration to running service; sockets, connections, shutdown |
//! | 4 edge | [`http`]: routes, handlers, failure to status; [`transport`]: frames to bytes on the wire |
//! | 3 decisions | [`generation`]: drives one request: route, relay, timeouts, cancellation, its line in the log |
//! | 2 siblings | [`provider`]: opens an upstream: the embedded mock, or HTTP; [`::stream`]: logs, here or in Redis, their readers, offsets and ends |
//! | 1 tools | [`::dialect`]: codecs, and the vocabulary in which they meet; [`http1`]: where messages end; [`prompts`], [`config`], [`telemetry`] |
//! | 0 | [`base`]: random ids, wakers, suggestions |
//!
//! What holds, always:
//! 1. Dialects meet only in [`dialect::request`] and [`dialect::event`]: N readers and M writers, not N × M translators.
//! 2. Every generation ends with exactly one terminal event and one line in the log. `[DONE]` means complete: an upstream
//!    that ends without its own end mark is truncated, and said to be.
//! 3. No request is sent upstream twice.
//! 4. Dropping the response's body drops the upstream's, and that *is* cancellation. No generation has a task of its own,
//!    and none changes threads: a worker has its clients' connections and its upstreams'. (HTTP/2 is an
//!    exception: a client's stream has a task beside its connection's, and an upstream's one that reads it ahead, within a
//!    bound; and a WebSocket has one for all that runs on it. So is a generation that lingers: its task ends with it, and it ends when nobody has read it for so
//!    long, or, in the background, by its own time alone.)
//! 5. One writer per log. A reader owns its offset and nothing else; one that asks for what is gone is told so, never
//!    skipped over.
//! 6. A client that stops reading stops our reading; every buffer between has a cap.
//! 7. Timers and counts live in the body, not in a middleware's future, which ends when the head is sent.

pub mod app;
pub mod cli;
pub mod config;
pub mod disconnect;
pub mod generation;
pub mod http;
pub mod outcome;
pub mod prompts;
pub mod provider;
pub mod routing;
pub mod server;
pub mod shutdown;
pub mod telemetry;
pub mod transport;
