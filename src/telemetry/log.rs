//! The log's observer: one line for each generation.

use std::time::Duration;

use crate::outcome::{Observer, Outcome};

/// Writes the outcome of each generation as one line of the log.
#[derive(Debug)]
pub struct OutcomeLog;

impl Observer for OutcomeLog {
    fn on_outcome(&self, outcome: &Outcome) {
        let last = outcome.attempts.last();
        tracing::info!(
            request_id = %outcome.request_id,
            route = outcome.route,
            model = outcome.model,
            provider = last.map_or("", |attempt| attempt.provider.as_str()),
            upstream_model = last.map_or("", |attempt| attempt.upstream_model.as_str()),
            status = outcome.status,
            tokens = outcome.usage.map_or(outcome.payloads, |usage| usage.output),
            ttft_ms = outcome.time_to_first_token.map(millis),
            duration_ms = millis(outcome.duration),
            ended = outcome.end.code(),
            error = outcome.end.details(),
            "generation"
        );
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
