//! Verdicts: what a failed attempt says of its target, and whether another one may follow.
//!
//! Not for: the failures themselves, which are `dialect`'s, nor what the verdicts do to a target,
//! which is [`health`](super::health)'s.

use dialect::failure::{Failure, FailureKind, classes};

/// The meaning of a failed attempt for its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: any target would fail alike, or the client is at fault. The failure is told as it
    /// is, and nobody else is asked.
    Final,
    /// Its dialect can't say what the request says. Another one's may.
    Unsupported,
    /// It is alive and has too much to do: it rests for a while.
    Busy,
    /// The account has nothing left: it rests for long.
    Quota,
    /// It is broken, or the way to it: its breaker counts that.
    Hard,
    /// It rejects our key, or has no such model: it is closed for a minute.
    Key,
}

/// The fate of a failed attempt's request, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It never reached the upstream.
    Unsent,
    /// The upstream refused it.
    Refused,
    /// The upstream may have worked on it, and may bill it.
    Uncertain,
}

impl Verdict {
    /// Returns the word for the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Unsupported => "unsupported",
            Self::Busy => "busy",
            Self::Quota => "quota",
            Self::Hard => "hard",
            Self::Key => "key",
        }
    }
}

impl Sent {
    /// Returns the word for the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Refused => "refused",
            Self::Uncertain => "uncertain",
        }
    }
}

/// Codes and types that say that an account has nothing left, in lower case.
const QUOTA_CODES: &[&str] = &[
    "insufficient_quota",
    "insufficient_balance",
    "billing_hard_limit_reached",
    "billing_not_active",
    "billing_error",
];

/// Texts that say the same. Only refusals that concern the account are searched for them: others
/// repeat what the client wrote.
const QUOTA_TEXTS: &[&str] = &[
    "credit balance",
    "insufficient balance",
    "insufficient credits",
    "exceeded your current quota",
    "per day",
    "perday",
];

/// The beginning of Anthropic's message for an account without money, which is a bad request there.
const NO_CREDIT: &str = "your credit balance is too low";

/// Codes and types that say that the upstream has no such model, in lower case.
const MODEL_CODES: &[&str] = &["model_not_found", "deploymentnotfound", "not_found_error"];

/// Judges the failure of an attempt whose client has seen nothing of its answer.
///
/// ```
/// use dialect::failure::Failure;
/// use tokenrill::routing::{Sent, Verdict, judge};
///
/// let failure = Failure::connect_failed("openai", "refused".into());
/// assert_eq!(judge(&failure), (Verdict::Hard, Sent::Unsent));
/// ```
#[must_use]
pub fn judge(failure: &Failure) -> (Verdict, Sent) {
    if failure.refusal().is_some() {
        return (refusal_verdict(failure), refusal_sent(failure));
    }
    let is_any = |of: &[&'static _]| of.iter().any(|class| failure.is(class));
    if is_any(&[
        &classes::CONNECT_FAILED,
        &classes::DNS_FAILED,
        &classes::TLS_FAILED,
        &classes::CONNECT_TIMEOUT,
    ]) {
        return (Verdict::Hard, Sent::Unsent);
    }
    if is_any(&[
        &classes::UPSTREAM_RESET,
        &classes::UPSTREAM_TRUNCATED,
        &classes::UPSTREAM_BAD_PAYLOAD,
        &classes::UPSTREAM_NOT_A_STREAM,
        &classes::FIRST_TOKEN_TIMEOUT,
        // Nothing follows it: something was said. But the target is not well.
        &classes::BETWEEN_TOKENS_TIMEOUT,
    ]) {
        let sent = match failure.is_unsent() {
            true => Sent::Unsent,
            false => Sent::Uncertain,
        };
        return (Verdict::Hard, sent);
    }
    if failure.is(&classes::INSUFFICIENT_QUOTA) {
        return (Verdict::Quota, Sent::Refused);
    }
    if is_any(&[&classes::CONTEXT_LENGTH_EXCEEDED, &classes::CONTENT_FILTER]) {
        return (Verdict::Final, Sent::Refused);
    }
    if failure.is(&classes::UPSTREAM_ERROR) {
        let verdict = reported_verdict(failure);
        let sent = match verdict {
            Verdict::Hard => Sent::Uncertain,
            _ => Sent::Refused,
        };
        return (verdict, sent);
    }
    if failure.is(&classes::INVALID_REQUEST) {
        return (Verdict::Unsupported, Sent::Unsent);
    }
    (Verdict::Final, Sent::Uncertain)
}

/// Words of an upstream that ends an answer for what it says.
const FILTER_WORDS: &[&str] = &[
    "content_filter",
    "content filter",
    "content_policy",
    "content policy",
    "content management policy",
    "moderat",
    "flagged",
    "safety",
    "prohibited",
    "recitation",
    "guardrail",
];

/// Returns whether an answer that broke for this reason may be continued: not if it is our own
/// limit or the client's fault, and never past a filter.
#[must_use]
pub fn may_be_continued(failure: &Failure) -> bool {
    let (verdict, _) = judge(failure);
    if matches!(verdict, Verdict::Final | Verdict::Unsupported) {
        return false;
    }
    let words = format!("{failure} {}", failure.log_message()).to_ascii_lowercase();
    !failure.is(&classes::UPSTREAM_ERROR) || !FILTER_WORDS.iter().any(|word| words.contains(word))
}

/// Returns whether a failure is one of the way to an answer, which its upstream may still have.
#[must_use]
pub fn breaks_off(failure: &Failure) -> bool {
    [
        &classes::UPSTREAM_RESET,
        &classes::UPSTREAM_TRUNCATED,
        &classes::BETWEEN_TOKENS_TIMEOUT,
    ]
    .into_iter()
    .any(|class| failure.is(class))
}

/// The verdict on an upstream's refusal with a status.
fn refusal_verdict(failure: &Failure) -> Verdict {
    let status = failure.status();
    if has_code(failure, QUOTA_CODES) || says_no_quota(failure, status) {
        return Verdict::Quota;
    }
    match status {
        402 => Verdict::Quota,
        429 | 503 | 529 => Verdict::Busy,
        401 | 403 | 410 => Verdict::Key,
        404 if has_code(failure, MODEL_CODES) => Verdict::Key,
        408 | 500..=599 => Verdict::Hard,
        _ if failure_kind(failure) == Some(FailureKind::Overloaded) => Verdict::Busy,
        _ => Verdict::Final,
    }
}

fn refusal_sent(failure: &Failure) -> Sent {
    match failure.status() {
        500..=502 | 504 | 520..=528 => Sent::Uncertain,
        _ => Sent::Refused,
    }
}

/// The verdict on an error that an upstream reports within its stream.
fn reported_verdict(failure: &Failure) -> Verdict {
    match failure.kind() {
        FailureKind::RateLimit | FailureKind::Overloaded => Verdict::Busy,
        FailureKind::Billing => Verdict::Quota,
        FailureKind::Authentication | FailureKind::Permission => Verdict::Key,
        FailureKind::InvalidRequest | FailureKind::TooLarge => Verdict::Final,
        FailureKind::NotFound => Verdict::Key,
        FailureKind::Timeout | FailureKind::Server => Verdict::Hard,
    }
}

/// Returns true if the upstream's text says that the account has nothing left.
fn says_no_quota(failure: &Failure, status: u16) -> bool {
    let Some(report) = failure
        .refusal()
        .and_then(|refusal| refusal.report.as_ref())
    else {
        return false;
    };
    let text = report.message.to_ascii_lowercase();
    match status {
        400 => text.starts_with(NO_CREDIT),
        402 | 403 | 429 => QUOTA_TEXTS.iter().any(|words| text.contains(words)),
        _ => false,
    }
}

/// Returns true if the upstream named one of these codes or types, which are in lower case.
fn has_code(failure: &Failure, codes: &[&str]) -> bool {
    let report = failure
        .refusal()
        .and_then(|refusal| refusal.report.as_ref());
    let named = report
        .into_iter()
        .flat_map(|report| [&report.code, &report.kind]);
    named
        .flatten()
        .any(|named| codes.iter().any(|code| named.eq_ignore_ascii_case(code)))
}

fn failure_kind(failure: &Failure) -> Option<FailureKind> {
    let report = failure.refusal()?.report.as_ref()?;
    [&report.code, &report.kind]
        .into_iter()
        .find_map(|word| FailureKind::from_code(word.as_deref()?))
}

#[cfg(test)]
mod tests {
    use dialect::ErrorReport;
    use dialect::failure::Refusal;

    use super::*;

    #[test]
    fn a_cause_that_clients_act_upon_is_theirs_wherever_it_is_told() {
        for (code, verdict) in [
            ("context_length_exceeded", Verdict::Final),
            ("content_filter", Verdict::Final),
            ("insufficient_quota", Verdict::Quota),
        ] {
            let report = ErrorReport {
                code: Some(code.to_owned()),
                ..ErrorReport::default()
            };
            let refused = Failure::upstream_refused(Refusal {
                status: 400,
                report: Some(report.clone()),
                ..Refusal::default()
            });
            for failure in [Failure::upstream_report(report), refused] {
                assert_eq!(judge(&failure), (verdict, Sent::Refused), "{code}");
            }
        }
    }
}
