//! The log's observer: one line for each generation.

use std::time::Duration;

use base::shorten::shorten;

use crate::outcome::{GenerationEnd, Observer, Outcome};

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
            key = outcome.key.as_deref(),
            route = outcome.route,
            model = &*shorten(&outcome.model, MAX_LOGGED_NAME),
            provider = last.map_or("", |attempt| attempt.provider.as_str()),
            upstream_model = last.map(|attempt| shorten(&attempt.upstream_model, MAX_LOGGED_NAME)).as_deref().unwrap_or_default(),
            status = outcome.status,
            tokens = tokens(outcome),
            ttft_ms = outcome.time_to_first_token.map(millis),
            hedged = outcome.hedged(),
            resumed = (outcome.resumed > 0).then_some(outcome.resumed),
            continued = outcome.continued.as_ref().map(|continued| continued.by),
            seam = outcome.continued.as_ref().map(|continued| continued.at),
            duration_ms = millis(outcome.duration),
            ended = outcome.end.code(),
            error = outcome.end.details(),
            "generation"
        );
    }
}

/// Returns the number of output tokens. What an upstream reports before the end is less than what
/// came, if the answer was left or broke.
fn tokens(outcome: &Outcome) -> u64 {
    match (outcome.usage, &outcome.end) {
        (Some(usage), GenerationEnd::Complete) => usage.output,
        (Some(usage), _) => usage.output.max(outcome.payloads),
        (None, _) => outcome.payloads,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
