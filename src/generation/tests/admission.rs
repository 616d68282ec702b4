//! Providers have no more requests than they may have; others wait their turn, in time that the
//! tests let pass.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::fake::{Answer, Fake};
use super::*;
use crate::routing::{
    Affinity, Choose, ModelLimits, ModelTargets, Places, RetryBudget, RoutingRules,
};

const SECOND: Duration = Duration::from_secs(1);

/// A model whose targets are these providers, each with so many places. Each request is sent once.
fn model(fakes: &[(&Arc<Fake>, usize)], most: usize, wait: Duration) -> Arc<ModelTargets> {
    model_with_attempts(1, fakes, most, wait)
}

fn model_with_attempts(
    attempts: u32,
    fakes: &[(&Arc<Fake>, usize)],
    most: usize,
    wait: Duration,
) -> Arc<ModelTargets> {
    let rules = RoutingRules {
        choose: Choose::First,
        attempts,
        retry_budget: RetryBudget {
            share: 0.0,
            per_second: 0,
        },
        retry_uncertain: true,
        affinity: Affinity::None,
        max_wait: wait,
        max_waiting: most,
        hedge: false,
        continuation: None,
    };
    let targets = fakes.iter().map(|(fake, places)| Target {
        places: Some(Places::new(*places)),
        ..Target::new(Arc::<Fake>::clone(fake), "real")
    });
    let limits = Arc::new(ModelLimits::new(&rules));
    Arc::new(ModelTargets::new(targets.collect(), rules, limits))
}

fn stream(model: &Arc<ModelTargets>) -> Generation {
    let notebook = Arc::new(Notebook::default());
    let plan = Plan::new(model.clone());
    Generation::start(params_of(plan, &notebook, &Disconnect::default()))
}

/// Asks for an answer, streamed or whole. Returns the code of the failure, if there is one.
async fn ask(model: &Arc<ModelTargets>, streams: bool) -> Result<(), (&'static str, u64)> {
    let told = |failure: &Failure| {
        let after = failure.retry_after().map_or(0, |after| after.as_secs());
        (failure.code(), after)
    };
    if streams {
        let mut generation = stream(model);
        let opened = generation.opened().await;
        opened.map_err(|failure| told(&failure))?;
        let text = read_all(&mut generation).await;
        let is_whole = text.contains("good") && text.ends_with("[DONE]\n\n");
        return is_whole.then_some(()).ok_or(("broken", 0));
    }
    let notebook = Arc::new(Notebook::default());
    let params = params_of(Plan::new(model.clone()), &notebook, &Disconnect::default());
    let answer = CompleteGeneration::start(params).answer().await;
    answer.map(drop).map_err(|(failure, _)| told(&failure))
}

/// Returns true if a generation has been accepted by its target.
fn is_open(generation: &mut Generation) -> bool {
    generation.opened().now_or_never().is_some()
}

#[tokio::test(start_paused = true)]
async fn at_three_times_the_capacity_nearly_all_of_it_is_used_and_the_rest_is_told_in_time() {
    // Four answers a second, for a minute; twelve requests a second.
    let fake = Fake::new("one", |_| Answer::Text(SECOND));
    let model = model(&[(&fake, 4)], 8, SECOND * 3);
    let began = Instant::now();
    let mut requests = JoinSet::new();
    for number in 0..720 {
        let model = model.clone();
        requests.spawn(async move {
            let asked = Instant::now();
            let answer = ask(&model, number % 2 == 0).await;
            (answer, asked.elapsed(), began.elapsed())
        });
        sleep(SECOND / 12).await;
    }
    let mut good = 0;
    while let Some(done) = requests.join_next().await {
        let (answer, took, at) = done.unwrap();
        match answer {
            Ok(()) => good += u32::from(at <= SECOND * 60),
            Err((code, after)) => {
                assert!(matches!(code, "queue_full" | "queue_timeout"), "{code}");
                assert!(after >= 3, "{after}");
            }
        }
        // Nobody waits for longer than it may, or is served after that.
        assert!(took <= SECOND * 4, "{took:?}");
    }
    assert!(good >= 216, "{good} of 240");
    assert_eq!((fake.most_running(), fake.running()), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_longest_comes_first_and_who_leaves_frees_its_place_at_once() {
    let fake = Fake::new("one", |_| Answer::Text(SECOND));
    let model = model(&[(&fake, 1)], 2, SECOND * 60);
    let mut first = stream(&model);
    let [mut left, mut second] = [stream(&model), stream(&model)];
    assert!(is_open(&mut first));
    assert!(!is_open(&mut left) && !is_open(&mut second));
    // The queue is full.
    let refused = stream(&model).opened().await.unwrap_err();
    assert_eq!((refused.code(), refused.status()), ("queue_full", 503));
    assert!(refused.retry_after().is_some());
    drop(left);
    let mut third = stream(&model);
    assert!(!is_open(&mut third));
    assert_eq!(fake.asked(), 1);
    read_all(&mut first).await;
    // Given back with the last frame, although the first is still there.
    assert!(!is_open(&mut third));
    assert!(is_open(&mut second));
    assert_eq!(fake.asked(), 2);
    // A client that leaves in the middle of its answer gives its place back too.
    drop(second);
    assert!(is_open(&mut third));
    assert_eq!(fake.asked(), 3);
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_was_given_to_who_leaves_goes_to_the_next() {
    let fake = Fake::new("one", |_| Answer::Text(SECOND));
    let model = model(&[(&fake, 1)], 9, SECOND * 60);
    let mut first = stream(&model);
    assert!(is_open(&mut first));
    let [mut second, mut third] = [stream(&model), stream(&model)];
    assert!(!is_open(&mut second) && !is_open(&mut third));
    // The second has it now, and leaves before it sees that.
    drop(first);
    drop(second);
    assert!(is_open(&mut third));
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_is_told_when_the_queue_says_so() {
    let fake = Fake::new("one", |_| Answer::Text(SECOND * 60));
    let model = model(&[(&fake, 1)], 9, SECOND * 5);
    let mut first = stream(&model);
    assert!(is_open(&mut first));
    for streams in [true, false] {
        let began = Instant::now();
        assert_eq!(ask(&model, streams).await, Err(("queue_timeout", 6)));
        assert_eq!(began.elapsed().as_secs(), 5);
    }
    assert_eq!(fake.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_target_is_passed_over_and_the_first_place_that_is_free_is_taken() {
    let [one, two] = ["one", "two"].map(|name| Fake::new(name, |_| Answer::Text(SECOND)));
    let model = model(&[(&one, 1), (&two, 1)], 9, SECOND * 60);
    let [mut first, mut second, mut third] = [0; 3].map(|_| stream(&model));
    assert!(is_open(&mut first) && is_open(&mut second) && !is_open(&mut third));
    assert_eq!((one.asked(), two.asked()), (1, 1));
    drop(second);
    assert!(is_open(&mut third));
    assert_eq!((one.asked(), two.asked()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn failures_give_places_back() {
    for answer in [
        Answer::Refused(500),
        Answer::Refused(400),
        Answer::Unreachable,
        Answer::Broken,
    ] {
        let fake = Fake::new("one", move |number| match number {
            0..20 => answer,
            _ => Answer::Text(SECOND),
        });
        let model = model(&[(&fake, 1)], 0, SECOND);
        for number in 0..20 {
            let failed = ask(&model, number % 2 == 0).await;
            assert!(failed.is_err_and(|(code, _)| code != "queue_full"));
        }
        assert_eq!(ask(&model, true).await, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_stopped_gives_its_place_back_at_once() {
    let fake = Fake::new("one", |_| Answer::Text(SECOND));
    let model = model(&[(&fake, 1)], 1, SECOND * 9);
    let mut first = stream(&model);
    assert!(is_open(&mut first));
    let mut second = stream(&model);
    assert!(!is_open(&mut second));
    let _ = first.stop(Failure::cancelled());
    assert!(is_open(&mut second));
    // One that waits leaves the queue.
    let mut third = stream(&model);
    assert!(!is_open(&mut third));
    let _ = third.stop(Failure::cancelled());
    assert!(!is_open(&mut stream(&model)));
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_is_not_sent_where_no_answer_can_come_in_time() {
    let fake = Fake::new("one", |_| Answer::Text(SECOND * 4));
    let model = model_with_attempts(2, &[(&fake, 1)], 9, SECOND * 5);
    assert_eq!(ask(&model, true).await, Ok(()));
    // The next place is free after 3 s; 2 s are left, and an answer takes 4 s.
    let mut first = stream(&model);
    let reading = tokio::spawn(async move { read_all(&mut first).await });
    sleep(SECOND).await;
    let notebook = Arc::new(Notebook::default());
    let mut params = params_of(Plan::new(model.clone()), &notebook, &Disconnect::default());
    params.client_timeout = Some(SECOND * 5);
    let mut late = Generation::start(params);
    let failure = late.opened().await.unwrap_err();
    assert_eq!(failure.code(), "queue_timeout");
    reading.await.unwrap();
    assert_eq!(fake.asked(), 2);
}
