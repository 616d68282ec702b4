//! The times within which the answers of a model began of late. Not for: those of one target,
//! which are its health's.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The times that are kept: those of the last requests.
const KEPT: usize = 200;
/// The times below which they say nothing.
const MIN_KNOWN: usize = 20;

/// The latest times to the first token of a model, on all workers.
#[derive(Debug)]
pub(super) struct FirstTokenTimes {
    /// Locked twice for each request.
    times: Mutex<LatestTimes>,
}

#[derive(Debug)]
struct LatestTimes {
    /// In milliseconds, rounded up.
    millis: [u32; KEPT],
    /// The number of them that are known.
    known: usize,
    /// The place of the next one; once all are known it is that of the oldest.
    next: usize,
}

impl FirstTokenTimes {
    /// Returns a record without any times.
    pub(super) fn new() -> Self {
        Self {
            times: Mutex::new(LatestTimes {
                millis: [0; KEPT],
                known: 0,
                next: 0,
            }),
        }
    }

    /// Adds a time.
    pub(super) fn add(&self, time: Duration) {
        let millis = u32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u32::MAX);
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let next = times.next;
        times.millis[next] = millis;
        times.next = (next + 1) % KEPT;
        times.known = (times.known + 1).min(KEPT);
    }

    /// Returns the time within which 95 of 100 answers began; `None` until enough are known.
    pub(super) fn p95(&self) -> Option<Duration> {
        let (mut millis, known) = {
            let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
            (times.millis, times.known)
        };
        if known < MIN_KNOWN {
            return None;
        }
        let rank = (known * 95).div_ceil(100) - 1;
        let (_, time, _) = millis[..known].select_nth_unstable(rank);
        Some(Duration::from_millis(u64::from(*time)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(millis: impl IntoIterator<Item = u64>) -> FirstTokenTimes {
        let times = FirstTokenTimes::new();
        for millis in millis {
            times.add(Duration::from_millis(millis));
        }
        times
    }

    fn p95(millis: impl IntoIterator<Item = u64>) -> Option<u128> {
        times(millis).p95().map(|time| time.as_millis())
    }

    #[test]
    fn it_is_the_time_that_five_of_a_hundred_exceed_whatever_their_order() {
        assert_eq!(p95(1..=100), Some(95));
        assert_eq!(p95((1..=100).rev()), Some(95));
        assert_eq!(p95(1..=200), Some(190));
        assert_eq!(p95(std::iter::repeat_n(7, 150)), Some(7));
    }

    #[test]
    fn nothing_is_said_until_enough_are_known() {
        assert_eq!(p95([]), None);
        assert_eq!(p95(1..=19), None);
        assert_eq!(p95(1..=20), Some(19));
    }

    #[test]
    fn only_the_latest_count() {
        let slow = std::iter::repeat_n(9000, 1000);
        assert_eq!(p95(slow.clone().chain(1..=189)), Some(9000));
        assert_eq!(p95(slow.clone().chain(1..=190)), Some(190));
        assert_eq!(p95(slow.chain(1..=200)), Some(190));
    }

    #[test]
    fn a_time_is_never_rounded_down_nor_lost() {
        let times = times(std::iter::repeat_n(0, 18));
        times.add(Duration::MAX);
        times.add(Duration::from_nanos(1_000_001_000));
        assert_eq!(times.p95(), Some(Duration::from_millis(1001)));
    }
}
