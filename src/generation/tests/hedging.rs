//! A second target beside one that is slow to begin, in time that the tests let pass.

use std::sync::Arc;
use std::time::Duration;

use dialect::request::{Loss, Unsupported};
use tokio::time::Instant;

use super::fake::{Answer, Fake};
use super::*;
use crate::routing::{
    Affinity, Choose, ModelLimits, ModelTargets, Places, RetryBudget, RoutingRules,
};

/// The requests after which it is known how quick a model is, and the time in which those begin.
const KNOWN: u32 = 20;
const USUAL: Duration = Duration::from_millis(200);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn rules() -> RoutingRules {
    RoutingRules {
        choose: Choose::First,
        attempts: 2,
        retry_budget: RetryBudget {
            share: 1.0,
            per_second: 0,
        },
        retry_uncertain: true,
        affinity: Affinity::None,
        max_wait: Duration::ZERO,
        max_waiting: 0,
        hedge: true,
        continuation: None,
    }
}

/// A model with two targets. The first answers in the usual time until that is known.
struct Pair {
    one: Arc<Fake>,
    two: Arc<Fake>,
    model: Arc<ModelTargets>,
    notebook: Arc<Notebook>,
}

/// The facts of one answer.
#[derive(Debug, PartialEq, Eq)]
struct Answered {
    /// The target that is named in the head, or the code of the failure.
    by: String,
    after: u128,
    /// The requests that the two targets got.
    asked: (u32, u32),
}

impl Pair {
    async fn known(one: Answer, two: Answer, rules: RoutingRules) -> Self {
        Self::of(one, two, rules, |_, _| {}).await
    }

    /// The same with changes to the targets, by their number.
    async fn of(
        one: Answer,
        two: Answer,
        rules: RoutingRules,
        change: impl Fn(usize, &mut Target),
    ) -> Self {
        let one = Fake::new("one", move |number| match number {
            0..KNOWN => Answer::Text(USUAL),
            _ => one,
        });
        let pair = Self::begin(one, Fake::new("two", move |_| two), rules, change);
        for asked in 1..=KNOWN {
            let usual = answered("one/real", USUAL, (asked, 0));
            assert_eq!(pair.ask().await, usual);
        }
        pair.notebook.take();
        pair
    }

    fn begin(
        one: Arc<Fake>,
        two: Arc<Fake>,
        rules: RoutingRules,
        change: impl Fn(usize, &mut Target),
    ) -> Self {
        let targets = [&one, &two].into_iter().enumerate().map(|(number, fake)| {
            let mut target = Target::new(Arc::<Fake>::clone(fake), "real");
            change(number, &mut target);
            target
        });
        let limits = Arc::new(ModelLimits::new(&rules));
        Self {
            model: Arc::new(ModelTargets::new(targets.collect(), rules, limits)),
            one,
            two,
            notebook: Arc::default(),
        }
    }

    fn plan(&self) -> Plan {
        Plan::new(self.model.clone())
    }

    fn params(&self, plan: Plan) -> GenerationParams {
        params_of(plan, &self.notebook, &Disconnect::default())
    }

    async fn ask(&self) -> Answered {
        self.ask_with(self.params(self.plan())).await
    }

    /// Asks until the answer has begun, looks that nobody works on it any more, and reads it.
    async fn ask_with(&self, params: GenerationParams) -> Answered {
        let began = Instant::now();
        let mut generation = Generation::start(params);
        let opened = generation.opened().await;
        let after = began.elapsed().as_millis();
        let by = match opened {
            Ok(headers) => {
                // What is shown is whole by then.
                assert_eq!(self.one.running() + self.two.running(), 0);
                let text = read_all(&mut generation).await;
                assert_eq!(text.matches("good").count(), 1, "{text}");
                assert!(text.ends_with("[DONE]\n\n"), "{text}");
                headers["x-tokenrill-target"].to_str().unwrap().to_owned()
            }
            Err(failure) => {
                RefusedGeneration::from(generation).record(&failure, failure.status());
                assert_eq!(self.one.running() + self.two.running(), 0);
                failure.code().to_owned()
            }
        };
        Answered {
            by,
            after,
            asked: (self.one.asked(), self.two.asked()),
        }
    }

    /// Asks once more than until it is known how quick the model is.
    async fn answer(one: Answer, two: Answer) -> (Answered, Vec<Option<&'static str>>) {
        let pair = Self::known(one, two, rules()).await;
        let answered = pair.ask().await;
        let [noted] = pair.notebook.take().try_into().unwrap();
        (answered, noted.attempts)
    }
}

fn answered(by: &str, after: Duration, asked: (u32, u32)) -> Answered {
    Answered {
        by: by.to_owned(),
        after: after.as_millis(),
        asked,
    }
}

const NEVER: Answer = Answer::Text(Duration::from_secs(50));

fn text(after: u64) -> Answer {
    Answer::Text(millis(after))
}

#[tokio::test(start_paused = true)]
async fn the_first_of_two_that_says_something_is_shown() {
    for (one, two, by, after) in [
        (NEVER, text(50), "two/real", 250),
        (text(300), NEVER, "one/real", 300),
        // Both at once.
        (text(300), text(100), "one/real", 300),
    ] {
        let (answer, attempts) = Pair::answer(one, two).await;
        let both = (KNOWN + 1, 1);
        assert_eq!(answer, answered(by, millis(after), both));
        assert_eq!(attempts, [None, None]);
    }
    // One that is as quick as usual is asked alone.
    let (answer, attempts) = Pair::answer(text(199), text(0)).await;
    assert_eq!(answer, answered("one/real", millis(199), (KNOWN + 1, 0)));
    assert_eq!(attempts, [None]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_beside_the_first_unless_all_rules_allow_it() {
    let off = [
        RoutingRules {
            hedge: false,
            ..rules()
        },
        RoutingRules {
            retry_uncertain: false,
            ..rules()
        },
        RoutingRules {
            retry_budget: RetryBudget {
                share: 0.0,
                per_second: 0,
            },
            ..rules()
        },
    ];
    let alone = answered("one/real", millis(1000), (KNOWN + 1, 0));
    for rules in off {
        let pair = Pair::known(text(1000), text(0), rules).await;
        assert_eq!(pair.ask().await, alone);
    }
    // All attempts have been made.
    let pair = Pair::known(Answer::Refused(500), text(1000), rules()).await;
    let second = answered("two/real", millis(1000), (KNOWN + 1, 1));
    assert_eq!(pair.ask().await, second);
    // A client that repeats a request has taken the last of the budget.
    let rules = RoutingRules {
        retry_budget: RetryBudget {
            share: 0.05,
            per_second: 0,
        },
        ..rules()
    };
    let pair = Pair::known(text(1000), text(0), rules).await;
    let mut repeated = pair.plan();
    repeated.count_client_retry();
    assert_eq!(pair.ask_with(pair.params(repeated)).await, alone);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_beside_the_first_until_enough_is_known() {
    let one = Fake::new("one", |_| text(1000));
    let pair = Pair::begin(one, Fake::new("two", |_| NEVER), rules(), |_, _| {});
    for asked in 1..=KNOWN {
        let alone = answered("one/real", millis(1000), (asked, 0));
        assert_eq!(pair.ask().await, alone);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_concerns_one_provider_or_runs_its_tools_is_asked_once() {
    let alone = answered("one/real", millis(1000), (KNOWN + 1, 0));
    for loss in [Loss::Essential, Loss::HostedTool] {
        let pair = Pair::known(text(1000), text(0), rules()).await;
        let mut params = pair.params(pair.plan());
        let mut request = Request::prompt("Hello");
        request.unsupported.push(Unsupported {
            param: "previous_response_id".to_owned(),
            kind: None,
            loss,
        });
        params.request = Arc::new(request);
        assert_eq!(pair.ask_with(params).await, alone);
    }
}

#[tokio::test(start_paused = true)]
async fn whole_answers_are_not_hedged_and_say_nothing_of_the_time_to_a_first_token() {
    let one = Fake::new("one", |number| match number {
        0..KNOWN => Answer::Text(USUAL),
        _ => text(1000),
    });
    let pair = Pair::begin(one, Fake::new("two", |_| NEVER), rules(), |_, _| {});
    let whole = async || {
        let answer = CompleteGeneration::start(pair.params(pair.plan())).answer();
        answer.await.unwrap();
        (pair.one.asked(), pair.two.asked())
    };
    for asked in 1..=KNOWN {
        assert_eq!(whole().await, (asked, 0));
    }
    let alone = answered("one/real", millis(1000), (KNOWN + 1, 0));
    assert_eq!(pair.ask().await, alone);
    let pair = Pair::known(text(1000), NEVER, rules()).await;
    let whole = CompleteGeneration::start(pair.params(pair.plan()));
    whole.answer().await.unwrap();
    assert_eq!((pair.one.asked(), pair.two.asked()), alone.asked);
}

#[tokio::test(start_paused = true)]
async fn a_second_target_that_is_full_or_rests_is_not_asked() {
    let places = Places::new(1);
    let limit_second = |number: usize, target: &mut Target| {
        target.places = (number == 1).then(|| places.clone());
    };
    let pair = Pair::of(text(1000), NEVER, rules(), limit_second).await;
    let nobody = Fake::new("one", |_| Answer::Unreachable);
    let others = Pair::begin(nobody, pair.two.clone(), rules(), limit_second);
    let mut other = Generation::start(others.params(others.plan()));
    assert!(tokio::time::timeout(USUAL, other.opened()).await.is_err());
    let mut generation = Generation::start(pair.params(pair.plan()));
    let began = Instant::now();
    let headers = generation.opened().await.unwrap();
    assert_eq!(headers["x-tokenrill-target"], "one/real");
    assert_eq!(began.elapsed(), millis(1000));
    assert_eq!((pair.one.asked(), pair.two.asked()), (KNOWN + 1, 1));
    drop((generation, other));
    // It has given its place back, and so does one that loses.
    let pair = Pair::of(text(300), NEVER, rules(), limit_second).await;
    for asked in 1..3 {
        let both = (KNOWN + asked, asked);
        assert_eq!(pair.ask().await, answered("one/real", millis(300), both));
    }
    // And with a rest.
    let pair = Pair::known(text(1000), Answer::Refused(402), rules()).await;
    let by_one = |asked| answered("one/real", millis(1000), asked);
    assert_eq!(pair.ask().await, by_one((KNOWN + 1, 1)));
    assert_eq!(pair.ask().await, by_one((KNOWN + 2, 1)));
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_leaves_it_to_the_other() {
    let both = (KNOWN + 1, 1);
    let reset = Some("upstream_reset");
    for (one, two, by, after) in [
        (Answer::BrokenAfter(millis(300)), text(500), "two/real", 700),
        (text(500), Answer::BrokenAfter(millis(50)), "one/real", 500),
        (text(500), Answer::Broken, "one/real", 500),
    ] {
        let (answer, attempts) = Pair::answer(one, two).await;
        assert_eq!(answer, answered(by, millis(after), both));
        assert_eq!(attempts, [reset, None]);
    }
    let (one, two) = (
        Answer::BrokenAfter(millis(300)),
        Answer::BrokenAfter(millis(50)),
    );
    let (answer, attempts) = Pair::answer(one, two).await;
    assert_eq!(answer, answered("upstream_reset", millis(300), both));
    assert_eq!(attempts, [reset; 2]);
    // If a third attempt is allowed, it follows when both have failed.
    let rules = RoutingRules {
        attempts: 3,
        ..rules()
    };
    let pair = Pair::known(one, two, rules).await;
    assert_eq!(pair.ask().await.asked, (KNOWN + 2, 1));
    let [noted] = pair.notebook.take().try_into().unwrap();
    assert_eq!(noted.attempts, [reset; 3]);
}

#[tokio::test(start_paused = true)]
async fn the_clients_own_fault_is_told_if_the_first_target_tells_it() {
    let wrong = Answer::RefusedAfter(millis(300), 400);
    let (answer, _) = Pair::answer(wrong, NEVER).await;
    let both = (KNOWN + 1, 1);
    assert_eq!(answer, answered("upstream_refused", millis(300), both));
    let (answer, attempts) = Pair::answer(text(600), wrong).await;
    assert_eq!(answer, answered("one/real", millis(600), both));
    assert_eq!(attempts, [Some("upstream_refused"), None]);
}

#[tokio::test(start_paused = true)]
async fn each_of_two_has_its_own_time_for_its_first_token() {
    let late = Some("first_token_timeout");
    for (limited, one, two, by, after) in [
        (0, NEVER, text(1000), "two/real", 1200),
        (1, text(1000), NEVER, "one/real", 1000),
    ] {
        let pair = Pair::of(one, two, rules(), |number, target| {
            target.first_token = (number == limited).then_some(millis(300));
        })
        .await;
        let both = (KNOWN + 1, 1);
        assert_eq!(pair.ask().await, answered(by, millis(after), both));
        let [noted] = pair.notebook.take().try_into().unwrap();
        assert_eq!(noted.attempts, [late, None]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_requests_time_ends_both_and_says_nothing_of_them() {
    let pair = Pair::known(NEVER, NEVER, rules()).await;
    for asked in 1..9 {
        let mut params = pair.params(pair.plan());
        params.timeouts.total = Duration::from_secs(2);
        let ended = answered(
            "total_timeout",
            Duration::from_secs(2),
            (KNOWN + asked, asked),
        );
        assert_eq!(pair.ask_with(params).await, ended);
    }
}

#[tokio::test(start_paused = true)]
async fn who_loses_or_is_left_is_asked_again_as_if_nothing_had_been() {
    let pair = Pair::known(NEVER, text(50), rules()).await;
    let health = pair.plan().targets()[0].health.clone();
    let cost = health.cost(Instant::now());
    for asked in 1..=8 {
        let mut left = Generation::start(pair.params(pair.plan()));
        let leaving = tokio::time::timeout(millis(249), left.opened()).await;
        assert!(leaving.is_err());
        assert_eq!((pair.one.running(), pair.two.running()), (1, 1));
        drop(left);
        assert_eq!((pair.one.running(), pair.two.running()), (0, 0));
        assert_eq!((pair.one.asked(), pair.two.asked()), (KNOWN + asked, asked));
    }
    for asked in 9..=16 {
        assert_eq!(pair.ask().await.asked, (KNOWN + asked, asked));
        assert_eq!(health.in_flight(), 0);
    }
    let since = health.cost(Instant::now());
    assert!(since >= cost && since < 2.0 * cost, "{cost} {since}");
}

#[tokio::test(start_paused = true)]
async fn the_slow_ones_that_lose_still_count_so_that_few_are_asked_twice() {
    fastrand::seed(14);
    let spread = |_| text(fastrand::u64(500..2500));
    let (one, two) = (Fake::new("one", spread), Fake::new("two", |_| text(10)));
    let pair = Pair::begin(one, two, rules(), |_, _| {});
    for _ in 0..4000 {
        pair.ask().await;
    }
    let hedged = pair.two.asked();
    assert!((160..=360).contains(&hedged), "{hedged} of 4000");
}

#[tokio::test(start_paused = true)]
async fn whatever_both_do_each_answer_comes_once_and_nothing_is_left_behind() {
    fastrand::seed(14);
    let anything = |_| {
        let after = millis(fastrand::u64(..900));
        match fastrand::u32(..10) {
            0 => Answer::BrokenAfter(after),
            1 => Answer::RefusedAfter(after, 500),
            2 => Answer::RefusedAfter(after, 400),
            3 => Answer::Unreachable,
            4 => NEVER,
            _ => Answer::Text(after),
        }
    };
    let rules = RoutingRules {
        attempts: 4,
        ..rules()
    };
    let [one, two] = ["one", "two"].map(|name| Fake::new(name, anything));
    let limit = |_, target: &mut Target| target.first_token = Some(millis(2000));
    let pair = Arc::new(Pair::begin(one, two, rules, limit));
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..2000 {
        let pair = pair.clone();
        requests.spawn(async move {
            tokio::time::sleep(millis(number * 20)).await;
            let mut generation = Generation::start(pair.params(pair.plan()));
            if number % 7 == 0 {
                let patience = tokio::time::timeout(millis(500), generation.opened());
                return u32::from(matches!(patience.await, Ok(Ok(_))));
            }
            if generation.opened().await.is_err() {
                return 0;
            }
            let text = read_all(&mut generation).await;
            assert_eq!(text.matches("good").count(), 1, "{text}");
            1
        });
    }
    let answers: u32 = requests.join_all().await.into_iter().sum();
    assert!(answers > 1000, "{answers}");
    for (fake, target) in [&pair.one, &pair.two].iter().zip(pair.plan().targets()) {
        assert_eq!((fake.running(), target.health.in_flight()), (0, 0));
    }
    let attempts: Vec<u32> = pair
        .notebook
        .take()
        .iter()
        .map(|noted| u32::try_from(noted.attempts.len()).unwrap())
        .collect();
    assert_eq!(attempts.len(), 2000);
    assert!(attempts.iter().all(|count| *count <= 4));
    let asked = pair.one.asked() + pair.two.asked();
    assert_eq!(attempts.iter().sum::<u32>(), asked);
}
