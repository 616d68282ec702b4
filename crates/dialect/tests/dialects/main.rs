//! Dialects as bytes in and bytes out, without a network: every one against every other.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod agents;
mod carried;
mod chat_tools;
mod converse;
mod custom_tools;
mod ends;
mod failures;
mod families;
mod files;
mod folded;
mod golden;
mod held;
mod hostile;
mod lenient;
mod logprobs;
mod names;
mod ollama;
mod probes;
mod properties;
mod recordings;
mod replayed;
mod said;
mod seals;
mod shapes;
mod table;
mod translations;
