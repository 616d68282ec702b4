//! Logs, where they go and in what form, and [metrics]. What is logged is decided where it happens:
//! one line per generation, one per refused request, never a prompt, a token or a key.

mod line;
pub mod log;
pub mod metrics;
pub mod repeats;
mod writer;

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

pub use writer::LogGuard;

/// Libraries that log messages with all that is in them, at levels that nobody needs of them.
const QUIET: [&str; 2] = ["tungstenite=info", "tokio_tungstenite=info"];

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// An error of starting the log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is no [filter](tracing_subscriber::filter::EnvFilter).
    #[error(transparent)]
    Level(#[from] ParseError),
    /// The system gives no thread, or no file descriptor.
    #[error("can't start the log: {0}")]
    Start(#[from] io::Error),
}

/// Sends logs to stderr; stdout is for what a person asked to see. They are written by a thread of
/// their own until the guard is dropped.
///
/// # Errors
///
/// When `level` is no [filter](tracing_subscriber::filter::EnvFilter), or the thread can't be
/// started.
pub fn init(format: Format, level: &str) -> Result<LogGuard, LogError> {
    let mut filter = EnvFilter::builder().parse(level)?;
    for directive in QUIET {
        filter = filter.add_directive(directive.parse()?);
    }
    // A descriptor of its own: the one of `std` has a lock, which a writer that blocks would hold.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let (writer, guard) = writer::start_writer(stderr, format)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // They would go to stderr, past the writer, and panic when that fails.
        .log_internal_errors(false)
        .with_target(false);
    // A second call, as tests may make, changes nothing.
    let _ = match format {
        Format::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    std::panic::set_hook(Box::new(log_panic));
    Ok(guard)
}

/// Logs where a panic was. Its words are left out: they may quote a request.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string);
    tracing::error!(at, thread = std::thread::current().name(), "panic");
}
