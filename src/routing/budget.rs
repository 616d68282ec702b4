//! The budget of retries: a share of the requests of the last seconds, and some a second besides.
//!
//! Tower's has whole retries for each request, or whole requests for each retry, so that 60 % is
//! the same there as 100 %. This one counts thousandths.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::RetryBudget;

/// The seconds for which a request and a retry count.
const WINDOW_SECONDS: usize = 10;
/// The price of a retry.
const RETRY: i64 = 1000;

/// The budget of retries that all requests for a model share, on all workers.
#[derive(Debug)]
pub(super) struct Budget {
    /// The retries that a request allows, in thousandths.
    share: i64,
    /// The retries that are allowed without any request.
    reserve: i64,
    /// Locked for each request, and for each retry.
    seconds: Mutex<Seconds>,
}

/// The balance of each of the last seconds.
#[derive(Debug)]
struct Seconds {
    balances: [i64; WINDOW_SECONDS],
    current: usize,
    began: Instant,
}

impl Seconds {
    /// Forgets the seconds that are over.
    fn pass(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.began).as_secs();
        self.began += Duration::from_secs(passed);
        for _ in 0..passed.min(WINDOW_SECONDS as u64) {
            self.current = (self.current + 1) % WINDOW_SECONDS;
            self.balances[self.current] = 0;
        }
    }
}

impl Budget {
    /// Returns a budget of which nothing was used yet.
    pub(super) fn new(rules: RetryBudget) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most a thousand percent"
        )]
        let share = (f64::from(rules.share) * 1000.0).round() as i64;
        Self {
            share,
            reserve: i64::from(rules.per_second) * WINDOW_SECONDS as i64 * RETRY,
            seconds: Mutex::new(Seconds {
                balances: [0; WINDOW_SECONDS],
                current: 0,
                began: Instant::now(),
            }),
        }
    }

    /// Counts a request.
    pub(super) fn deposit(&self) {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        seconds.pass(Instant::now());
        let current = seconds.current;
        seconds.balances[current] += self.share;
    }

    /// Takes a retry. Returns false if there is none left.
    pub(super) fn withdraw(&self) -> bool {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        seconds.pass(Instant::now());
        let balance: i64 = seconds.balances.iter().sum();
        let is_enough = balance + self.reserve >= RETRY;
        if is_enough {
            let current = seconds.current;
            seconds.balances[current] -= RETRY;
        }
        is_enough
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "tests")]

    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    /// A step: a request, a wish to send one again, or time that passes.
    #[derive(Debug, Clone)]
    enum Step {
        Deposit,
        Withdraw,
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Deposit),
            4 => Just(Step::Withdraw),
            1 => (1_u64..12).prop_map(Step::Pass),
        ];
        proptest::collection::vec(step, 1..200)
    }

    /// Compares a budget with the sums of all that happened within its seconds.
    async fn compare(percent: u16, per_second: u32, steps: Vec<Step>) {
        let budget = Budget::new(RetryBudget {
            share: f32::from(percent) / 100.0,
            per_second,
        });
        let (mut requests, mut retries, mut second) = (Vec::new(), Vec::new(), 0_u64);
        for step in steps {
            let recent = |seconds: &[u64]| seconds.iter().filter(|at| **at + 10 > second).count();
            match step {
                Step::Pass(seconds) => {
                    advance(Duration::from_secs(seconds)).await;
                    second += seconds;
                }
                Step::Deposit => {
                    budget.deposit();
                    requests.push(second);
                }
                Step::Withdraw => {
                    let allowed =
                        recent(&requests) * usize::from(percent) + per_second as usize * 10 * 100;
                    let is_left = allowed >= (recent(&retries) + 1) * 100;
                    assert_eq!(budget.withdraw(), is_left);
                    if is_left {
                        retries.push(second);
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_retry_is_left_if_the_last_seconds_say_so(
            percent in 0_u16..300,
            per_second in 0_u32..3,
            steps in steps(),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime");
            runtime.block_on(compare(percent, per_second, steps));
        }
    }
}
