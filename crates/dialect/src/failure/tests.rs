//! The table of failures, and the messages that are filled from it.

use std::collections::HashSet;
use std::time::Duration;

use super::{Blame, CLASSES, Failure, FailureKind, Refusal, Retry};
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
    assert_eq!(seen.len(), 44);
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
