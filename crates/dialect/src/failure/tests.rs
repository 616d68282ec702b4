//! The table of failures, and the messages that are filled from it.

use std::collections::HashSet;
use std::time::Duration;

use super::{Blame, CLASSES, Failure, FailureKind, Refusal, Retry, retry_info};
use crate::ErrorReport;

#[test]
fn codes_are_unique_words() {
    let mut seen = HashSet::new();
    for class in CLASSES {
        assert!(seen.insert(class.code), "{} is there twice", class.code);
        assert!(
            class
                .code
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{}",
            class.code
        );
        assert!((400..600).contains(&class.status), "{}", class.code);
    }
    assert!(seen.len() > 40, "the table is whole");
}

#[test]
fn a_message_is_its_template_filled_once() {
    let failure = Failure::connect_failed("{after}", "refused".into());
    assert_eq!(
        failure.to_string(),
        "could not connect to provider `{after}`"
    );
    assert_eq!(
        failure.log_message(),
        "could not connect to provider `{after}`: refused"
    );
    let failure = Failure::abandoned(Duration::from_secs(90));
    assert!(failure.to_string().contains("for 1m 30s:"), "{failure}");
}

#[test]
fn a_request_is_kept_out_of_the_log() {
    let failure = Failure::invalid("messages", "`messages` is \"a secret\", and no list");
    assert_eq!(failure.log_message(), "the request is wrong at messages");
    assert_eq!(failure.param(), Some("messages"));
}

#[test]
fn an_upstreams_refusal_is_judged_by_its_status() {
    let refused = |status| {
        let failure = Failure::upstream_refused(Refusal {
            status,
            ..Refusal::default()
        });
        (
            failure.kind(),
            failure.status(),
            failure.blame(),
            failure.retry(),
        )
    };
    let later = Retry::BeforeFirstToken;
    assert_eq!(
        refused(429),
        (FailureKind::RateLimit, 429, Blame::Upstream, later)
    );
    assert_eq!(
        refused(503),
        (FailureKind::Overloaded, 503, Blame::Upstream, later)
    );
    assert_eq!(
        refused(400),
        (
            FailureKind::InvalidRequest,
            400,
            Blame::Client,
            Retry::Never
        )
    );
    assert_eq!(
        refused(401),
        (FailureKind::Authentication, 401, Blame::Us, Retry::Never)
    );
}

#[test]
fn a_request_that_was_never_sent_says_so() {
    let broken = || "closed".into();
    assert!(!Failure::upstream_reset(broken()).is_unsent());
    assert!(Failure::request_not_sent(broken()).is_unsent());
    assert_eq!(Failure::request_not_sent(broken()).code(), "upstream_reset");
    assert!(Failure::connect_failed("a", broken()).is_unsent());
}

#[test]
fn an_upstreams_words_are_the_clients_and_not_the_logs() {
    let report = ErrorReport {
        message: "messages[0]: a secret".to_owned(),
        kind: Some("invalid_request_error".to_owned()),
        code: Some("a secret code".to_owned()),
    };
    let reported = Failure::upstream_report(report.clone());
    assert_eq!(reported.to_string(), "messages[0]: a secret");
    assert_eq!(
        reported.log_message(),
        "the upstream reported an error, type `invalid_request_error`, with 21 bytes of message"
    );
    let refused = Failure::upstream_refused(Refusal {
        provider: "up".to_owned(),
        status: 400,
        report: Some(report),
        ..Refusal::default()
    });
    assert!(
        refused
            .to_string()
            .ends_with("answered 400: messages[0]: a secret")
    );
    assert_eq!(
        refused.log_message(),
        "provider `up` answered 400, type `invalid_request_error`, with 21 bytes of message"
    );
    let unexpected = Failure::not_a_stream("up", "text/html", "text/event-stream", 17);
    assert_eq!(
        unexpected.log_message(),
        "provider `up` answered with text/html instead of text/event-stream; 17 bytes were read of it"
    );
}

#[test]
fn a_parser_that_quotes_what_it_parsed_is_not_quoted() {
    let number = serde_json::from_str::<u32>("\"a secret\"");
    let failure = number.map_err(|error| Failure::bad_payload("a number", error.into()));
    let line = failure.map_err(|failure| failure.log_message());
    assert_eq!(
        line,
        Err(
            "the upstream sent something that is not a number: JSON of another shape (line 1, column 10)"
                .to_owned()
        )
    );
}

#[test]
fn a_message_for_the_log_has_a_bound() {
    let failure = Failure::unknown_model(&"m".repeat(1 << 20), &[]);
    assert!(failure.log_message().len() < 1100);
    assert!(failure.log_message().ends_with(" bytes more)"));
}

#[test]
fn a_request_that_is_too_long_is_known_by_the_code_or_the_words() {
    let report = |message: &str, kind: &str, code: &str| ErrorReport {
        message: message.to_owned(),
        kind: (!kind.is_empty()).then(|| kind.to_owned()),
        code: (!code.is_empty()).then(|| code.to_owned()),
    };
    let class_of = |report: &ErrorReport, status: Option<u16>| {
        let failure = match status {
            None => Failure::upstream_report(report.clone()),
            Some(status) => Failure::upstream_refused(Refusal {
                status,
                report: Some(report.clone()),
                ..Refusal::default()
            }),
        };
        (failure.code(), failure.status(), failure.kind())
    };
    let bad = FailureKind::InvalidRequest;
    for report in [
        report(
            "too much",
            "invalid_request_error",
            "context_length_exceeded",
        ),
        report(
            "the request exceeds the available context size",
            "exceed_context_size_error",
            "400",
        ),
        report(
            "the request exceeds the available context size, try increasing it",
            "",
            "",
        ),
        report(
            "This model's maximum context length is 32768 tokens",
            "BadRequestError",
            "400",
        ),
        report(
            "prompt is too long: 208310 tokens > 200000 maximum",
            "invalid_request_error",
            "",
        ),
        report(
            "The input token count (12) exceeds the maximum number of tokens allowed (10).",
            "INVALID_ARGUMENT",
            "400",
        ),
        report(
            "Your input exceeds the context window of this model.",
            "server_error",
            "",
        ),
        report(
            "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000",
            "",
            "",
        ),
        report("Input is too long for requested model.", "", ""),
    ] {
        for status in [None, Some(400)] {
            let class = class_of(&report, status);
            assert_eq!(class, ("context_length_exceeded", 400, bad), "{report:?}");
        }
    }
    let code = report("too much", "", "context_length_exceeded");
    assert_eq!(
        class_of(&code, Some(413)),
        ("context_length_exceeded", 413, bad)
    );
    assert_eq!(
        class_of(&code, Some(500)),
        ("context_length_exceeded", 400, bad)
    );
    let words = report("prompt is too long", "", "");
    for status in [401, 429, 500] {
        assert_eq!(class_of(&words, Some(status)).0, "upstream_refused");
    }
    for other in [
        report("prompt is too long", "rate_limit_error", ""),
        report("context windows are drawn by the client", "", ""),
        report("max_tokens is too large", "invalid_request_error", ""),
    ] {
        assert_eq!(class_of(&other, None).0, "upstream_error", "{other:?}");
    }
    for (code, kind) in [
        ("insufficient_quota", FailureKind::RateLimit),
        ("content_filter", bad),
    ] {
        assert_eq!(class_of(&report("m", "", code), None).0, code);
        assert_eq!(class_of(&report("m", "", code), None).2, kind);
        assert_eq!(class_of(&report("m", code, ""), Some(402)).1, 402);
    }
}

#[test]
fn the_delay_of_a_retry_info_is_read() {
    let error = r#"{"error":{"details":[{"@type":"x"},{"retryDelay":"13.5s"}]}}"#;
    let delay = Some(Duration::from_millis(13_500));
    assert_eq!(retry_info(error.as_bytes()), delay);
    assert_eq!(retry_info(format!("[{error}]").as_bytes()), delay);
    for other in ["", "{}", r#"{"error":{"details":[{"retryDelay":"-1s"}]}}"#] {
        assert_eq!(retry_info(other.as_bytes()), None);
    }
}
