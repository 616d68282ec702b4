//! The time after which a busy upstream may be asked again, as it told by headers or in its body.

use std::time::{Duration, SystemTime};

use dialect::failure::{Failure, retry_info};
use http::HeaderMap;

/// Returns the longest of all times that an upstream told. `None` if it told none.
///
/// Read are `retry-after` (RFC 9110, section 10.2.3), `retry-after-ms`, OpenAI's
/// `x-ratelimit-reset-*` and Anthropic's `anthropic-ratelimit-*-reset` of what has nothing left,
/// and the `retryDelay` of Google's `RetryInfo`.
#[must_use]
pub(super) fn told_delay(failure: &Failure, now: SystemTime) -> Option<Duration> {
    let refusal = failure.refusal()?;
    let after = refusal.retry_after.as_deref();
    let after = after.and_then(|text| retry_after(text, now));
    let milliseconds = header(&refusal.headers, "retry-after-ms")
        .and_then(|text| text.trim().parse::<u64>().ok())
        .map(Duration::from_millis);
    [after, milliseconds, retry_info(&refusal.reply)]
        .into_iter()
        .flatten()
        .chain(resets(&refusal.headers, now))
        .max()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Parses seconds, with a fraction as some send it, or a date.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Returns the times at which a limit of which nothing remains is reset.
fn resets(headers: &HeaderMap, now: SystemTime) -> impl Iterator<Item = Duration> {
    headers.iter().filter_map(move |(name, value)| {
        let (name, value) = (name.as_str(), value.to_str().ok()?);
        let (remaining, delay) = if let Some(what) = name.strip_prefix("x-ratelimit-reset-") {
            (format!("x-ratelimit-remaining-{what}"), compound(value)?)
        } else {
            let what = name
                .strip_prefix("anthropic-ratelimit-")?
                .strip_suffix("-reset")?;
            let at = humantime::parse_rfc3339(value).ok()?;
            let delay = at.duration_since(now).unwrap_or_default();
            (format!("anthropic-ratelimit-{what}-remaining"), delay)
        };
        let is_empty = header(headers, &remaining).is_some_and(|left| left.trim() == "0");
        is_empty.then_some(delay)
    })
}

/// Parses a duration such as `6m0s`, `120ms` or `7`, which is seconds.
fn compound(text: &str) -> Option<Duration> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => fractional(text).or_else(|| humantime::parse_duration(text).ok()),
    }
}

/// Parses a duration such as `1m2.5s`, whose last part has a fraction.
fn fractional(text: &str) -> Option<Duration> {
    let seconds = text.strip_suffix('s').filter(|rest| !rest.ends_with('m'))?;
    let start = seconds
        .rfind(|letter: char| letter.is_ascii_alphabetic())
        .map_or(0, |at| at + 1);
    let (before, seconds) = seconds.split_at(start);
    let before = match before {
        "" => Duration::ZERO,
        before => humantime::parse_duration(before).ok()?,
    };
    let seconds = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
    before.checked_add(seconds)
}

#[cfg(test)]
mod tests {
    use dialect::failure::Refusal;

    use super::*;

    fn told(headers: &[(&'static str, &str)], reply: &str) -> Option<u128> {
        let mut refusal = Refusal {
            status: 429,
            reply: reply.to_owned().into(),
            ..Refusal::default()
        };
        for (name, value) in headers {
            if *name == "retry-after" {
                refusal.retry_after = Some((*value).to_owned());
            } else if let Ok(value) = value.parse() {
                refusal.headers.insert(*name, value);
            }
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        told_delay(&Failure::upstream_refused(refusal), now).map(|delay| delay.as_millis())
    }

    #[test]
    fn every_way_to_tell_a_time_is_understood() {
        assert_eq!(told(&[], ""), None);
        assert_eq!(told(&[("retry-after", "7")], ""), Some(7000));
        assert_eq!(told(&[("retry-after", " 0.5 ")], ""), Some(500));
        let date = [("retry-after", "Sun, 09 Sep 2001 01:46:50 GMT")];
        assert_eq!(told(&date, ""), Some(10_000));
        assert_eq!(told(&[("retry-after", "soon")], ""), None);
        assert_eq!(told(&[("retry-after", "-3")], ""), None);
        assert_eq!(told(&[("retry-after-ms", "250")], ""), Some(250));
        for (value, millis) in [
            ("6m0s", 360_000),
            ("120ms", 120),
            ("1m2.5s", 62_500),
            ("9", 9000),
        ] {
            let headers = [
                ("x-ratelimit-reset-tokens", value),
                ("x-ratelimit-remaining-tokens", "0"),
            ];
            assert_eq!(told(&headers, ""), Some(millis), "{value}");
        }
        let headers = [
            (
                "anthropic-ratelimit-input-tokens-reset",
                "2001-09-09T01:47:00Z",
            ),
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
        ];
        assert_eq!(told(&headers, ""), Some(20_000));
        let reply = r#"{"error":{"details":[{"@type":"x"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"13.5s"}]}}"#;
        assert_eq!(told(&[], reply), Some(13_500));
        assert_eq!(told(&[], &format!("[{reply}]")), Some(13_500));
    }

    #[test]
    fn the_longest_counts_and_a_limit_with_something_left_does_not() {
        let headers = [
            ("retry-after", "2"),
            ("retry-after-ms", "3000"),
            ("x-ratelimit-reset-requests", "1h"),
            ("x-ratelimit-remaining-requests", "17"),
        ];
        assert_eq!(told(&headers, ""), Some(3000));
    }
}
