//! The table of failures, and the messages that are filled from it.

use std::collections::HashSet;
use std::time::Duration;

use super::{Blame, CLASSES, Failure, FailureKind, Refusal, Retry};

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
    assert_eq!(seen.len(), 43);
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
fn an_answer_of_another_type_is_logged_only_if_it_is_no_model_s() {
    let logged = |excerpt| {
        let failure = Failure::not_a_stream("a", "text/html", "text/event-stream", excerpt);
        failure.log_message()
    };
    assert!(logged("<h1>Bad gateway</h1>").ends_with("; it began \"<h1>Bad gateway</h1>\""));
    assert!(!logged(" {\"choices\":[]}").contains("choices"));
    assert!(!logged("data: a secret").contains("secret"));
}
