//! The meaning of an upstream's report for a client: causes that clients act upon by themselves,
//! and the time to wait. Not for the words of a report, which are `error_report`'s.

use std::time::Duration;

use serde_json::Value;

use super::FailureKind;
use super::classes::{self, FailureClass};
use crate::error_report::ErrorReport;

/// Codes and types for a request with too many tokens, in lower case.
const CONTEXT_CODES: &[&str] = &[
    "context_length_exceeded",
    "exceed_context_size_error",
    "context_window_exceeded",
    "contextwindowexceedederror",
    "model_max_prompt_tokens_exceeded",
    "tokens_limit_reached",
    "prompt_too_long",
];

/// Words for the same.
const CONTEXT_WORDS: &[&str] = &[
    "maximum context length",
    "maximum prompt length",
    "prompt is too long",
    "input is too long",
    "exceeds the maximum number of tokens",
    "exceed context limit",
    "contextwindowexceeded",
    "exceeded model token limit",
    "reduce the length of the messages",
];

/// Words for the context of a model, and words that say that it does not suffice.
const CONTEXT_NAMES: &[&str] = &["context window", "context size", "context length"];
const EXCESS_WORDS: &[&str] = &[
    "exceed",
    "too long",
    "too large",
    "larger",
    "longer",
    "greater",
    "overflow",
    "out of",
    "maximum",
    "does not fit",
    "token",
];

/// Returns the class of a report whose cause clients act upon: they shorten the conversation, or do
/// not try again. `status` is that of a refusal.
pub(super) fn class_of(report: &ErrorReport, status: Option<u16>) -> Option<&'static FailureClass> {
    let named = [&report.code, &report.kind].into_iter().flatten();
    let has_code = |codes: &[&str]| {
        let mut named = named.clone();
        named.any(|word| codes.iter().any(|code| word.eq_ignore_ascii_case(code)))
    };
    if has_code(CONTEXT_CODES) || may_be_request(report, status) && says_too_long(&report.message) {
        return Some(&classes::CONTEXT_LENGTH_EXCEEDED);
    }
    if has_code(&["insufficient_quota"]) {
        return Some(&classes::INSUFFICIENT_QUOTA);
    }
    has_code(&["content_filter"]).then_some(&classes::CONTENT_FILTER)
}

/// Returns true if the report may concern the request, and not the account or the server.
fn may_be_request(report: &ErrorReport, status: Option<u16>) -> bool {
    let named = [&report.code, &report.kind].into_iter().flatten();
    let kinds = || named.filter_map(|word| FailureKind::from_code(word));
    match status {
        Some(status) => matches!(status, 400 | 413 | 422),
        None => kinds().all(|kind| {
            let of_request = [FailureKind::InvalidRequest, FailureKind::TooLarge];
            of_request.contains(&kind) || kind == FailureKind::Server
        }),
    }
}

fn says_too_long(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|words| message.contains(words));
    has(CONTEXT_WORDS) || has(CONTEXT_NAMES) && has(EXCESS_WORDS)
}

/// Returns the delay of a `google.rpc.RetryInfo` in the details of an error's body.
#[must_use]
pub fn retry_info(body: &[u8]) -> Option<Duration> {
    let body: Value = serde_json::from_slice(body).ok()?;
    // Streams without `alt=sse` have the error in a list.
    let error = body.get("error").or_else(|| body.get(0)?.get("error"))?;
    let details = error.get("details")?.as_array()?;
    let delay = details
        .iter()
        .find_map(|detail| detail.get("retryDelay")?.as_str())?;
    let seconds = delay.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}
