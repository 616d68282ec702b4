//! Streams as all others use them, in memory and in a real Redis: what a replica that is not the writer sees, and what is left
//! when something breaks.
//!
//! The tests of Redis need `redis-server` (7 or later). Without one they say so and test nothing; `tests/run` installs it.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests"
)]

mod cancel_safety;
mod faults;
mod model;
mod processes;
mod replicas;
mod resume;
mod room;
mod support;
mod topology;
