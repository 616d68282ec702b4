//! tokenrill, an LLM token-streaming proxy: prompts in over HTTP, tokens out as Server-Sent Events.
//!
//! ```text
//! request  ─▶ server ─▶ http ─▶ service ─▶ generation ─▶ provider ─▶ upstream
//! response ◀─ server ◀─ http ◀──────────── generation ◀─ provider ◀─ upstream
//!                          ◀─ reader ◀─ log ◀─┘ with linger
//! ```
//!
//! `ARCHITECTURE.md` has the map, the way of a request and of a token, the tasks and their owners.
//! A module uses only those below it, and modules of one line don't use each other:
//!
//! | floor | modules |
//! | --- | --- |
//! | composition | `main`, [`cli`], [`app`]: arguments, configuration, the running service |
//! | connections | [`server`]: listeners, workers, TLS, HTTP/2, shutdown |
//! | adapters | [`http`]: routes, responses, errors, sockets |
//! | front door | [`service`]: starts, attaches, cancels, for any adapter |
//! | decisions | [`generation`]: drives one request; then [`routing`]: targets for a model's name |
//! | parts | [`access`]: keys, callers, limits; [`usage`]: prices, what was used; [`provider`] |
//! | tools | [`config`], [`prompts`], [`telemetry`] |
//! | shared | [`outcome`], [`disconnect`], [`shutdown`], [`memory`], [`compute`] |
//! | crates | [`stream`], [`store`], [`http1`], [`dialect`], [`base`] |
//!
//! What always holds:
//! 1. Dialects meet only in [`dialect::request`] and [`dialect::event`]: N readers and M writers,
//!    not N × M translators.
//! 2. Every generation ends with exactly one terminal event and one outcome. `[DONE]` means
//!    complete.
//! 3. Nothing is sent upstream a second time once a client has seen a part of the answer, unless
//!    the model's answers are continued.
//! 4. Dropping a generation cancels its upstream. It has no task of its own, except with linger.
//! 5. One writer per log. A reader that asks for what is gone gets an error, never a gap.
//! 6. Every buffer has a bound. A client that stops reading stops the reading of its upstream.
//! 7. Per token: no lock, no channel, and no allocation where the dialect is the same.

pub mod access;
pub mod app;
pub mod cli;
pub mod compute;
pub mod config;
pub mod disconnect;
pub mod generation;
pub mod http;
pub mod memory;
pub mod outcome;
pub mod prompts;
pub mod provider;
pub mod routing;
pub mod server;
pub mod service;
pub mod shutdown;
pub mod telemetry;
pub mod usage;
