//! Logs: where they go and in what form. What is logged is decided where it happens: one line per
//! generation, one per refused request, never a prompt, a token or a key.

pub mod log;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Sends logs to stderr; stdout is for what a person asked to see.
///
/// # Errors
///
/// When `level` is no [filter](tracing_subscriber::filter::EnvFilter).
pub fn init(format: Format, level: &str) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(level)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    // A second call, as tests may make, changes nothing.
    let _ = match format {
        Format::Text => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
