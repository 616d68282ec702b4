//! The counter of requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A route as the router has it, the dialect of its errors, and a status.
type Answer = (String, &'static str, u16);

/// The requests of one worker, by the way in which they were answered. Locked by that worker for
/// each request, and by a scrape.
#[derive(Debug, Clone, Default)]
pub struct RequestCounter(Arc<Mutex<BTreeMap<Answer, u64>>>);

impl RequestCounter {
    /// Counts a request. `route` is one of the router's own.
    pub fn count(&self, route: &str, dialect: &'static str, status: u16) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = (route.to_owned(), dialect, status);
        *counts.entry(answer).or_default() += 1;
    }
}

/// Returns the counts of all workers.
pub(super) fn sum(counters: &[RequestCounter]) -> BTreeMap<Answer, u64> {
    let mut sums: BTreeMap<Answer, u64> = BTreeMap::new();
    for counter in counters {
        let counts = counter.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (answer, count) in counts.iter() {
            *sums.entry(answer.clone()).or_default() += count;
        }
    }
    sums
}
