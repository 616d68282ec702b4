//! Logs what a client does not get: content for which its dialect has no place, and any content of
//! an answer that has none.

use base::shorten::shorten;
use dialect::Dialect;
use dialect::event::Event;

use crate::telemetry::repeats::is_warning_due;

/// Longest name of a kind in the log, in bytes.
const MAX_LOGGED_KIND: usize = 128;

/// Logs an event that clients of that dialect don't get: as a warning once a minute for each kind,
/// else as a message for debugging.
#[inline]
pub(super) fn log_omitted(client: &Dialect, event: &Event<'_>) {
    if let Event::Image(_) | Event::Unsupported(_) = event
        && let Some(kind) = client.omitted(event)
    {
        log_kind(client.name, &shorten(&kind, MAX_LOGGED_KIND));
    }
}

#[cold]
fn log_kind(client: &str, kind: &str) {
    if is_warning_due(&format!("{client} {kind}")) {
        tracing::warn!(client, kind, "not sent to the client");
    } else {
        tracing::debug!(client, kind, "not sent to the client");
    }
}

/// Logs a complete answer without any content: as a warning once a minute.
pub(super) fn log_empty(model: &str) {
    let model = &*shorten(model, MAX_LOGGED_KIND);
    if is_warning_due("empty answer") {
        tracing::warn!(model, "the answer has no content");
    } else {
        tracing::debug!(model, "the answer has no content");
    }
}
