//! The headers in which a key's holder is told of its limits, in the words of each dialect.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::access::limits::{RateStatus, ScopeStatus};
use dialect::{Dialect, anthropic, gemini, plain};

/// Returns the headers of a response to the holder of a key whose limits stand so.
pub(super) fn limit_headers(dialect: &Dialect, status: &ScopeStatus) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let rates = [("requests", &status.requests), ("tokens", &status.tokens)];
    let rates = rates
        .into_iter()
        .filter_map(|(units, rate)| Some((units, rate.as_ref()?)));
    if *dialect == gemini::DIALECT {
        // Its clients know no such headers, only the details of an error.
        return headers;
    }
    if *dialect == plain::DIALECT {
        add_drafted(&mut headers, rates.collect());
        return headers;
    }
    for (units, rate) in rates {
        let values = [
            ("limit", rate.limit.to_string()),
            ("remaining", rate.remaining.to_string()),
        ];
        let (prefix, reset) = match *dialect == anthropic::DIALECT {
            true => (format!("anthropic-ratelimit-{units}-"), at(rate.reset)),
            false => ("x-ratelimit-".to_owned(), in_words(rate.reset)),
        };
        for (word, value) in values.into_iter().chain([("reset", reset)]) {
            let name = match *dialect == anthropic::DIALECT {
                true => format!("{prefix}{word}"),
                false => format!("{prefix}{word}-{units}"),
            };
            insert(&mut headers, &name, &value);
        }
    }
    headers
}

/// Adds the fields of the IETF's draft on rate limits.
fn add_drafted(headers: &mut HeaderMap, rates: Vec<(&str, &RateStatus)>) {
    let seconds = |ms: u64| ms.div_ceil(1000);
    let (mut policy, mut state) = (Vec::new(), Vec::new());
    for (units, rate) in rates {
        let (name, unit) = match units {
            "tokens" => ("key-tokens", ";qu=\"tokens\""),
            _ => ("key", ""),
        };
        policy.push(format!(
            "\"{name}\";q={}{unit};w={}",
            rate.limit,
            rate.window / 1000
        ));
        let (left, reset) = (rate.remaining, seconds(rate.reset));
        state.push(format!("\"{name}\";r={left};t={reset}"));
    }
    if !policy.is_empty() {
        insert(headers, "ratelimit-policy", &policy.join(", "));
        insert(headers, "ratelimit", &state.join(", "));
    }
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::try_from(name).ok();
    if let Some((name, value)) = name.zip(HeaderValue::try_from(value).ok()) {
        headers.insert(name, value);
    }
}

/// Returns the time in so many milliseconds, as RFC 3339 has it.
fn at(ms: u64) -> String {
    let time = SystemTime::now() + Duration::from_millis(ms);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Returns so many milliseconds as OpenAI writes them: `20ms`, `1.5s`, `6m0s`, `1h0m0s`.
fn in_words(ms: u64) -> String {
    let (minutes, rest) = (ms / 60_000, ms % 60_000);
    let seconds = match rest % 1000 {
        0 => format!("{}s", rest / 1000),
        parts => {
            let parts = format!("{parts:03}");
            format!("{}.{}s", rest / 1000, parts.trim_end_matches('0'))
        }
    };
    match (minutes / 60, minutes % 60) {
        (0, 0) if ms > 0 && ms < 1000 => format!("{ms}ms"),
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_each_dialect_has_them() {
        for (ms, want) in [
            (0, "0s"),
            (20, "20ms"),
            (1000, "1s"),
            (1500, "1.5s"),
            (1030, "1.03s"),
            (360_000, "6m0s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(in_words(ms), want);
        }
    }
}
