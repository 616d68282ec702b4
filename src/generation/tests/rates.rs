//! Faults at a rate: what clients see of them, and how much more the upstreams are asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::fake::{Answer, Fake};
use super::*;
use crate::routing::{Affinity, Choose, ModelLimits, ModelTargets, RetryBudget, RoutingRules};

const REQUESTS: u32 = 10_000;
/// The time from one request to the next.
const INTERVAL: Duration = Duration::from_millis(10);

fn model(targets: &[&Arc<Fake>], attempts: u32) -> Arc<ModelTargets> {
    let rules = RoutingRules {
        choose: Choose::Weighted,
        attempts,
        retry_budget: RetryBudget {
            share: 0.3,
            per_second: 1,
        },
        retry_uncertain: true,
        affinity: Affinity::None,
        max_wait: Duration::from_secs(5),
        max_waiting: 200,
        hedge: false,
        continuation: None,
    };
    let targets = targets
        .iter()
        .map(|fake| Target::new(Arc::<Fake>::clone(fake), "real"));
    let limits = Arc::new(ModelLimits::new(&rules));
    Arc::new(ModelTargets::new(targets.collect(), rules, limits))
}

/// Asks for an answer, streamed or whole. Returns the code of the failure, if there is one.
async fn ask(model: &Arc<ModelTargets>, streams: bool) -> Option<&'static str> {
    let notebook = Arc::new(Notebook::default());
    let params = params_of(Plan::new(model.clone()), &notebook, &Disconnect::default());
    if !streams {
        let answer = CompleteGeneration::start(params).answer().await;
        return answer.err().map(|(failure, _)| failure.code());
    }
    let mut generation = Generation::start(params);
    if let Err(failure) = generation.opened().await {
        return Some(failure.code());
    }
    let text = read_all(&mut generation).await;
    assert!(text.ends_with("[DONE]\n\n"), "{text}");
    None
}

/// The time at which a request was sent, the time that it took, and the code of its failure.
type Asked = (Duration, Duration, Option<&'static str>);

/// Sends all requests, a hundred a second. Returns for each the time at which it was sent, the
/// time that it took, and the code of the failure, if there was one.
async fn ask_all(model: &Arc<ModelTargets>) -> Vec<Asked> {
    let began = Instant::now();
    let mut requests = JoinSet::new();
    let mut done = Vec::new();
    for number in 0..REQUESTS {
        let model = model.clone();
        requests.spawn(async move {
            let asked = Instant::now();
            let failure = ask(&model, number % 2 == 0).await;
            (asked - began, asked.elapsed(), failure)
        });
        sleep(INTERVAL).await;
        while let Some(ended) = requests.try_join_next() {
            done.push(ended.unwrap());
        }
    }
    while let Some(ended) = requests.join_next().await {
        done.push(ended.unwrap());
    }
    done
}

/// Returns the time and the code of each failure.
fn errors(done: &[Asked]) -> Vec<(Duration, &'static str)> {
    let failure = |(sent, _, failure): &Asked| Some((*sent, (*failure)?));
    done.iter().filter_map(failure).collect()
}

#[tokio::test(start_paused = true)]
async fn one_request_of_five_failing_is_seen_by_nobody() {
    fastrand::seed(14);
    let flaky = |_| match fastrand::u32(..20) {
        0 => Answer::Refused(500),
        1 => Answer::Refused(503),
        2 => Answer::Unreachable,
        3 => Answer::Broken,
        _ => Answer::Text(Duration::from_millis(50)),
    };
    let (one, two) = (Fake::new("one", flaky), Fake::new("two", flaky));
    let done = ask_all(&model(&[&one, &two], 8)).await;
    assert_eq!(errors(&done), []);
    let asked = one.asked() + two.asked();
    assert!(asked <= REQUESTS * 13 / 10, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn one_of_two_being_down_is_seen_by_nobody_and_costs_little() {
    for fault in [Answer::Refused(500), Answer::Unreachable, Answer::Broken] {
        fastrand::seed(14);
        let one = Fake::new("one", move |_| fault);
        let two = Fake::new("two", |_| Answer::Text(Duration::from_millis(50)));
        let done = ask_all(&model(&[&one, &two], 8)).await;
        assert_eq!(errors(&done), [], "{fault:?}");
        // Those that open its breaker, and the probes of a hundred seconds.
        assert!(one.asked() <= 20, "{fault:?}: {}", one.asked());
        assert_eq!(two.asked(), REQUESTS, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_both_down_all_are_told_at_once_and_nobody_is_asked_but_by_probes() {
    fastrand::seed(14);
    let [one, two] = ["one", "two"].map(|name| Fake::new(name, |_| Answer::Refused(500)));
    let done = ask_all(&model(&[&one, &two], 8)).await;
    assert_eq!(errors(&done).len(), REQUESTS as usize);
    for (sent, took, _) in done {
        assert!(took <= Duration::from_millis(100), "{took:?} at {sent:?}");
    }
    let asked = one.asked() + two.asked();
    assert!(asked <= 60, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_bad_requests_closes_nobody() {
    let [one, two] = ["one", "two"].map(|name| {
        Fake::new(name, |number| match number {
            0..5000 => Answer::Refused(400),
            _ => Answer::Text(Duration::ZERO),
        })
    });
    let model = model(&[&one, &two], 8);
    while one.asked() < 5000 || two.asked() < 5000 {
        let before = one.asked() + two.asked();
        ask(&model, before % 2 == 0).await;
        // Nobody else is asked, and nobody rests.
        assert_eq!(one.asked() + two.asked(), before + 1);
    }
    assert_eq!(
        (ask(&model, true).await, ask(&model, false).await),
        (None, None)
    );
}
