//! The log's observer: one line for each generation.

use std::time::Duration;

use base::shorten::shorten;

use crate::outcome::{Observer, Outcome};

/// Longest name of a model in the log, in bytes: a client may ask for any.
const MAX_LOGGED_NAME: usize = 256;

/// Writes the outcome of each generation as one line of the log.
#[derive(Debug)]
pub struct OutcomeLog;

impl Observer for OutcomeLog {
    fn on_outcome(&self, outcome: &Outcome) {
        let last = outcome.attempts.last();
        tracing::info!(
            request_id = %outcome.request_id,
            route = outcome.route,
            model = &*shorten(&outcome.model, MAX_LOGGED_NAME),
            provider = last.map_or("", |attempt| attempt.provider.as_str()),
            upstream_model = last.map(|attempt| shorten(&attempt.upstream_model, MAX_LOGGED_NAME)).as_deref().unwrap_or_default(),
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
