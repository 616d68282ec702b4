//! Tests of the limits: against a replay of what was admitted, and with many threads at once.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::cell::Cell;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::rate::RateMeter;
use super::*;
use crate::config::{Budget, Period};

thread_local! {
    static NOW: Cell<Moment> = const { Cell::new(Moment { steady: 0, unix: 0 }) };
}

fn clock() -> Moment {
    NOW.get()
}

/// Sets both clocks, in milliseconds.
fn set_clock(ms: u64) {
    NOW.set(Moment {
        steady: ms,
        unix: ms / 1000,
    });
}

fn key(limits: ScopeLimits) -> Arc<Scope> {
    Arc::new(Scope::new(ScopeKind::Key, "ci", limits))
}

fn tokens(rate: Rate) -> ScopeLimits {
    ScopeLimits {
        tokens: Some(rate),
        ..ScopeLimits::default()
    }
}

fn usd(nano_usd: u64, per: Period) -> ScopeLimits {
    ScopeLimits {
        budgets: vec![Budget { nano_usd, per }],
        ..ScopeLimits::default()
    }
}

fn cost(tokens: u64, nano: u64) -> Reservation {
    Reservation { tokens, nano }
}

/// Returns the most that a bucket of that rate holds if it gets what was admitted, when it was.
fn highest_level(rate: &Rate, admitted: &[(u64, u64)]) -> u128 {
    let (mut level, mut at, mut highest) = (0_u128, 0, 0);
    for (time, units) in admitted {
        // In parts of a unit, so that nothing is rounded.
        let drained = u128::from(time - at) * u128::from(rate.units);
        level = level.saturating_sub(drained) + u128::from(units * rate.window);
        at = *time;
        highest = highest.max(level);
    }
    highest
}

/// Runs the case in which refunds of what has drained long ago would let almost twice the burst in.
#[test]
fn refunds_bring_back_only_what_has_not_drained() {
    let rate = Rate::per_minute(100_000);
    let mut meter = RateMeter::default();
    let mut admitted = Vec::new();
    let mut admit = |meter: &mut RateMeter, now: u64, reserved: u64, actual: u64| {
        meter.drain(&rate, now);
        if meter.wait(&rate, reserved) != Some(0) {
            return None;
        }
        admitted.push((now, actual));
        Some(meter.reserve(reserved))
    };
    let old: Vec<_> = (0..25)
        .map(|_| admit(&mut meter, 0, 4000, 50).unwrap())
        .collect();
    for _ in 0..25 {
        assert!(admit(&mut meter, 60_100, 4000, 4000).is_some());
    }
    meter.drain(&rate, 60_500);
    for mark in old {
        meter.settle(mark, 4000, 50);
    }
    while admit(&mut meter, 60_600, 4000, 4000).is_some() {}
    let most = u128::from(rate.burst * rate.window);
    assert!(highest_level(&rate, &admitted) <= most);
    let late: u64 = admitted
        .iter()
        .filter(|it| it.0 > 60_000)
        .map(|it| it.1)
        .sum();
    assert_eq!(late, 100_000);
}

#[test]
fn debt_keeps_others_out_until_it_has_drained() {
    set_clock(0);
    let scope = key(tokens(Rate::per_minute(6000)));
    let mut permit = admit(slice::from_ref(&scope), cost(1000, 0), clock).unwrap();
    permit.set_used(cost(12_000, 0));
    drop(permit);
    let refused = admit(slice::from_ref(&scope), cost(1000, 0), clock).unwrap_err();
    assert_eq!(refused.wait, Some(70_000));
    set_clock(69_999);
    assert!(admit(slice::from_ref(&scope), cost(1000, 0), clock).is_err());
    set_clock(70_000);
    assert!(admit(slice::from_ref(&scope), cost(1000, 0), clock).is_ok());
}

#[test]
fn a_refused_request_takes_nothing_of_any_scope() {
    set_clock(0);
    let own = key(ScopeLimits {
        requests: Some(Rate::per_minute(2)),
        concurrent: Some(5),
        ..tokens(Rate::per_minute(1000))
    });
    let limits = usd(100, Period::Day);
    let team = Arc::new(Scope::new(ScopeKind::Team, "search", limits));
    let scopes = [own.clone(), team.clone()];
    for _ in 0..1000 {
        let refused = admit(&scopes, cost(10, 101), clock).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "team `search` has used up its budget of $0.0000001 per day"
        );
        assert_eq!(refused.wait, Some(86_400_000));
    }
    let untouched = own.status(clock());
    assert_eq!(untouched.requests.unwrap().remaining, 2);
    assert_eq!(untouched.tokens.unwrap().remaining, 1000);
    assert_eq!(
        (untouched.in_flight, team.status(clock()).in_flight),
        (0, 0)
    );
    assert!(admit(&scopes, cost(10, 100), clock).is_ok());
}

#[test]
fn a_request_that_never_fits_is_told_so() {
    set_clock(0);
    let scope = key(tokens(Rate::per_minute(1000)));
    let refused = admit(slice::from_ref(&scope), cost(1001, 0), clock).unwrap_err();
    assert_eq!(refused.wait, None);
    let text = refused.to_string();
    assert!(
        text.contains("1001 tokens") && text.contains("most 1000"),
        "{text}"
    );
}

#[test]
fn a_dropped_permit_gives_back_all_but_the_request() {
    set_clock(0);
    let scope = key(ScopeLimits {
        requests: Some(Rate::per_minute(5)),
        tokens: Some(Rate::per_minute(1000)),
        concurrent: Some(1),
        ..usd(100, Period::Total)
    });
    drop(admit(slice::from_ref(&scope), cost(1000, 100), clock).unwrap());
    let status = scope.status(clock());
    assert_eq!(status.requests.unwrap().remaining, 4);
    assert_eq!(status.tokens.unwrap().remaining, 1000);
    assert_eq!(status.in_flight, 0);
    assert_eq!(
        (status.budgets[0].spent, status.budgets[0].reserved),
        (0, 0)
    );
}

#[test]
fn money_is_reserved_topped_up_to_the_last_and_settled() {
    set_clock(0);
    let scope = key(usd(1000, Period::Day));
    let mut first = admit(slice::from_ref(&scope), cost(0, 600), clock).unwrap();
    let second = admit(slice::from_ref(&scope), cost(0, 300), clock).unwrap();
    assert!(admit(slice::from_ref(&scope), cost(0, 101), clock).is_err());
    assert_eq!(first.reserve_more(70).unwrap(), 70);
    assert_eq!(first.reserve_more(70).unwrap(), 30);
    let refused = first.reserve_more(70).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "key `ci` has used up its budget of $0.000001 per day"
    );
    first.set_used(cost(0, 700));
    drop(first);
    drop(second);
    let status = &scope.status(clock()).budgets[0];
    assert_eq!((status.spent, status.reserved), (700, 0));
    assert_eq!(status.resets_at, Some(86_400));
}

#[test]
fn a_request_over_midnight_belongs_to_the_day_before() {
    set_clock(86_399_000);
    let scope = key(usd(1000, Period::Day));
    let mut permit = admit(slice::from_ref(&scope), cost(0, 900), clock).unwrap();
    set_clock(86_400_000);
    let next = admit(slice::from_ref(&scope), cost(0, 1000), clock).unwrap();
    // The day before has no limit any more that it could pass.
    assert_eq!(permit.reserve_more(500).unwrap(), 500);
    permit.set_used(cost(0, 1400));
    drop(permit);
    let status = scope.status(clock()).budgets[0];
    assert_eq!((status.spent, status.reserved), (0, 1000));
    drop(next);
    // A clock that is set back gives no money back.
    let mut permit = admit(slice::from_ref(&scope), cost(0, 1000), clock).unwrap();
    permit.set_used(cost(0, 1000));
    drop(permit);
    set_clock(86_399_000);
    assert!(admit(slice::from_ref(&scope), cost(0, 1), clock).is_err());
}

#[test]
fn changed_limits_keep_what_was_taken() {
    set_clock(0);
    let scope = key(ScopeLimits {
        requests: Some(Rate::per_minute(2)),
        ..usd(1000, Period::Day)
    });
    let mut permit = admit(slice::from_ref(&scope), cost(0, 600), clock).unwrap();
    permit.set_used(cost(0, 600));
    let changed = scope.with_limits(
        "new",
        ScopeLimits {
            requests: Some(Rate::per_minute(3)),
            ..usd(2000, Period::Day)
        },
    );
    // What began under the old limits ends under the new ones.
    drop(permit);
    let status = changed.status(clock());
    assert_eq!(status.requests.unwrap().remaining, 2);
    assert_eq!(status.budgets[0].spent, 600);
    assert_eq!(status.spent, [600; 4]);
}

#[test]
fn two_hundred_at_once_on_a_budget_for_ten() {
    let scope = key(usd(10_000, Period::Total));
    let (admitted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let barrier = std::sync::Barrier::new(200);
    std::thread::scope(|threads| {
        for _ in 0..200 {
            threads.spawn(|| {
                barrier.wait();
                match admit(slice::from_ref(&scope), cost(7, 1000), clock) {
                    Ok(mut permit) => {
                        admitted.fetch_add(1, Ordering::Relaxed);
                        permit.set_used(cost(7, 1000));
                    }
                    Err(_) => {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!((admitted.into_inner(), refused.into_inner()), (10, 190));
    let status = &scope.status(clock()).budgets[0];
    assert_eq!((status.spent, status.reserved), (10_000, 0));
}

/// One thing that happens to a meter.
#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Admit { reserved: u64, used: u64 },
    Settle(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..30_000_u64).prop_map(Step::Wait),
        (1..600_u64, 0..600_u64).prop_map(|(reserved, used)| Step::Admit {
            reserved,
            used: used.min(reserved),
        }),
        (0..8_usize).prop_map(Step::Settle),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// What is admitted in any window is at most the burst and what drains in it; and who waits as
    /// long as told is admitted, not a moment earlier.
    #[test]
    fn no_window_admits_more_than_the_rate(
        units in 1..2000_u64,
        window in 1..70_000_u64,
        burst in 1..2000_u64,
        steps in steps(),
    ) {
        let rate = Rate { units, window, burst };
        let (mut meter, mut now) = (RateMeter::default(), 0);
        let (mut admitted, mut running) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Wait(time) => now += time,
                Step::Admit { reserved, used } => {
                    meter.drain(&rate, now);
                    match meter.wait(&rate, reserved) {
                        Some(0) => {
                            running.push((meter.reserve(reserved), reserved, used));
                            admitted.push((now, used));
                        }
                        Some(wait) => {
                            let mut later = meter.clone();
                            later.drain(&rate, now + wait - 1);
                            prop_assert_ne!(later.wait(&rate, reserved), Some(0));
                            later.drain(&rate, now + wait);
                            prop_assert_eq!(later.wait(&rate, reserved), Some(0));
                        }
                        None => prop_assert!(reserved > burst),
                    }
                }
                Step::Settle(at) if !running.is_empty() => {
                    let (mark, reserved, used) = running.remove(at % running.len());
                    meter.drain(&rate, now);
                    meter.settle(mark, reserved, used);
                }
                Step::Settle(_) => {}
            }
        }
        let most = u128::from(burst) * u128::from(window);
        prop_assert!(highest_level(&rate, &admitted) <= most);
    }
}
