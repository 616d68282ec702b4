//! The rules of breakers, rests and probes, at times that the tests choose.

#![expect(clippy::expect_used, clippy::panic, reason = "tests")]

mod model;

use super::*;

fn health() -> (Arc<Health>, Instant) {
    (
        Arc::new(Health::new(BreakerOptions::default())),
        Instant::now(),
    )
}

fn begin(health: &Arc<Health>, now: Instant) -> Exchange {
    health.begin(now).expect("it may be asked")
}

fn succeed(health: &Arc<Health>, now: Instant, then: Instant) {
    let mut exchange = begin(health, now);
    exchange.answered(then);
    exchange.completed(then);
}

fn fail(health: &Arc<Health>, verdict: Verdict, told: Option<u64>, now: Instant) {
    let told = told.map(Duration::from_secs);
    begin(health, now).failed(verdict, told, 0.0, now);
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn seven_failures_in_a_row_open_the_breaker_and_each_failed_probe_doubles_its_time() {
    let (health, mut now) = health();
    for _ in 0..6 {
        fail(&health, Verdict::Hard, None, now);
    }
    assert_eq!(health.availability(now), Availability::Open);
    succeed(&health, now, now);
    for _ in 0..7 {
        assert_eq!(health.availability(now), Availability::Open);
        fail(&health, Verdict::Hard, None, now);
    }
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        let until = now + SECOND * seconds;
        let closed = Availability::Closed(Closed::Broken, until);
        assert_eq!(health.availability(now), closed);
        now = until;
        assert_eq!(health.availability(now), Availability::Probe);
        let mut probe = begin(&health, now);
        // Only one.
        assert!(matches!(health.availability(now), Availability::Closed(..)));
        assert!(health.begin(now).is_none());
        probe.failed(Verdict::Hard, None, 0.0, now);
    }
    now += SECOND * 60;
    succeed(&health, now, now);
    assert_eq!(health.availability(now), Availability::Open);
}

#[test]
fn a_probe_whose_client_leaves_says_nothing_and_frees_its_place() {
    let (health, now) = health();
    for _ in 0..7 {
        fail(&health, Verdict::Hard, None, now);
    }
    let later = now + SECOND;
    drop(begin(&health, later));
    assert_eq!(health.availability(later), Availability::Probe);
    // Nor does one that the client's own fault ends.
    fail(&health, Verdict::Final, None, later);
    assert_eq!(health.availability(later), Availability::Probe);
    assert_eq!(health.in_flight(), 0);
}

#[test]
fn most_of_many_failing_open_the_breaker_although_some_go_well() {
    let (health, mut now) = health();
    for number in 0..19 {
        now += SECOND;
        match number % 3 {
            0 => succeed(&health, now, now),
            _ => fail(&health, Verdict::Hard, None, now),
        }
        assert_eq!(health.availability(now), Availability::Open, "{number}");
    }
    fail(&health, Verdict::Hard, None, now);
    assert!(matches!(health.availability(now), Availability::Closed(..)));
}

#[test]
fn failures_that_come_before_the_answers_of_as_many_open_nothing() {
    let (health, now) = health();
    let mut running: Vec<Exchange> = (0..100).map(|_| begin(&health, now)).collect();
    for mut exchange in running.drain(..49) {
        exchange.failed(Verdict::Hard, None, 0.0, now);
    }
    assert_eq!(health.availability(now), Availability::Open);
    // Those that are silent for long are no hope.
    let later = now + SECOND * 10;
    for mut exchange in running.drain(..2) {
        exchange.failed(Verdict::Hard, None, 0.0, later);
    }
    assert!(matches!(
        health.availability(later),
        Availability::Closed(..)
    ));
}

#[test]
fn what_clients_do_wrong_closes_nobody() {
    let (health, now) = health();
    for _ in 0..400 {
        fail(&health, Verdict::Final, None, now);
        fail(&health, Verdict::Unsupported, None, now);
    }
    assert_eq!(health.availability(now), Availability::Open);
}

#[test]
fn a_busy_target_rests_for_the_longest_time_that_it_told() {
    let (health, now) = health();
    fail(&health, Verdict::Busy, Some(16), now);
    fail(&health, Verdict::Busy, Some(4), now);
    let closed = Availability::Closed(Closed::Busy, now + SECOND * 16);
    assert_eq!(health.availability(now), closed);
    assert_eq!(health.availability(now + SECOND * 16), Availability::Open);
    // Nobody is believed for long.
    fail(&health, Verdict::Busy, Some(86_400), now);
    assert_eq!(health.availability(now + SECOND * 60), Availability::Open);
}

#[test]
fn one_that_tells_no_time_rests_for_longer_each_time() {
    let (health, mut now) = health();
    for millis in [500, 1000, 2000, 4000, 8000, 15_000, 15_000] {
        fail(&health, Verdict::Busy, None, now);
        let until = now + Duration::from_millis(millis);
        assert_eq!(
            health.availability(now),
            Availability::Closed(Closed::Busy, until)
        );
        now = until;
    }
    succeed(&health, now, now);
    fail(&health, Verdict::Busy, None, now);
    let until = now + Duration::from_millis(500);
    assert_eq!(
        health.availability(now),
        Availability::Closed(Closed::Busy, until)
    );
}

#[test]
fn one_busy_answer_of_many_is_no_reason_to_rest_unless_it_tells_a_time() {
    let (health, now) = health();
    for _ in 0..40 {
        succeed(&health, now, now);
    }
    for _ in 0..13 {
        fail(&health, Verdict::Busy, None, now);
        assert_eq!(health.availability(now), Availability::Open);
    }
    fail(&health, Verdict::Busy, None, now);
    assert!(matches!(health.availability(now), Availability::Closed(..)));
    let later = now + SECOND;
    fail(&health, Verdict::Busy, Some(4), later);
    let closed = Availability::Closed(Closed::Busy, later + SECOND * 4);
    assert_eq!(health.availability(later), closed);
}

#[test]
fn accounts_without_money_rest_for_an_hour_and_bad_keys_for_a_minute() {
    let (health, now) = health();
    fail(&health, Verdict::Key, None, now);
    let closed = Availability::Closed(Closed::Key, now + KEY_REST);
    assert_eq!(health.availability(now), closed);
    fail(&health, Verdict::Quota, None, now);
    let closed = Availability::Closed(Closed::Quota, now + QUOTA_REST);
    assert_eq!(health.availability(now), closed);
}

#[test]
fn one_that_fails_at_once_is_not_cheap_and_one_that_comes_back_is_spared() {
    let (quick, now) = health();
    let (failing, _) = health();
    succeed(&quick, now, now + Duration::from_millis(300));
    fail(&failing, Verdict::Hard, None, now);
    assert!(quick.cost(now) < failing.cost(now));
    let _one = begin(&quick, now);
    assert!(quick.cost(now) > 0.5);
}

#[test]
fn answers_that_begin_and_always_break_open_the_breaker_too() {
    let (health, now) = health();
    for _ in 0..7 {
        let mut exchange = begin(&health, now);
        exchange.answered(now);
        exchange.failed(Verdict::Hard, None, 0.0, now);
    }
    assert!(matches!(health.availability(now), Availability::Closed(..)));
}

#[test]
fn one_request_tries_whether_a_target_that_told_no_time_still_is_busy() {
    let (health, now) = health();
    let after = |seconds: f64| now + Duration::from_secs_f64(seconds);
    fail(&health, Verdict::Busy, None, now);
    // Half a second, by chance; it may be tried after a tenth of that.
    assert_eq!(health.trial(now), Some(after(0.05)));
    let mut trial = health.begin_trial(after(0.05)).expect("the first");
    assert!(health.begin_trial(after(0.05)).is_none());
    assert_eq!(
        health.trial(after(0.1)),
        Some(after(0.2)),
        "others look later"
    );
    // It still is: it rests for twice as long.
    trial.failed(Verdict::Busy, None, 0.0, after(0.1));
    drop(trial);
    let closed = Availability::Closed(Closed::Busy, after(1.1));
    assert_eq!(health.availability(after(0.1)), closed);
    assert_eq!(health.trial(after(0.1)), Some(after(0.2)));
    // A client that leaves says nothing, and leaves it to the next.
    drop(health.begin_trial(after(0.2)));
    let mut trial = health.begin_trial(after(0.3)).expect("the next");
    assert_eq!(health.availability(after(0.3)), closed);
    trial.answered(after(0.4));
    assert_eq!(health.availability(after(0.4)), Availability::Open);
    assert_eq!(health.trial(after(0.4)), None);
    // What was told is kept to.
    fail(&health, Verdict::Busy, Some(5), after(0.5));
    assert_eq!(health.trial(after(1.0)), None);
}
