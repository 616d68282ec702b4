//! Dialects as bytes in and bytes out, without a network: every one against every other.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod failures;
mod golden;
mod hostile;
mod probes;
mod properties;
mod recordings;
mod said;
mod seals;
mod table;
mod translations;
