//! Counts of the last half minute.

use std::time::Duration;

use tokio::time::Instant;

/// The length of the window in which the share of failures counts, and its parts.
const WINDOW_PARTS: usize = 10;
const WINDOW_PART: Duration = Duration::from_secs(3);
/// Attempts within the window below which their share says nothing.
pub(super) const MIN_SAMPLES: u32 = 20;
/// The part of them that may be busy answers that tell no time, without a rest after each.
const BUSY_PART: u32 = 4;

/// The attempts of the last half minute.
#[derive(Debug)]
pub(super) struct Window {
    parts: [(u32, u32); WINDOW_PARTS],
    /// The part that is being counted, and the time at which it began.
    current: usize,
    began: Instant,
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            parts: [(0, 0); WINDOW_PARTS],
            current: 0,
            began: now,
        }
    }

    /// Forgets what is too old.
    fn pass(&mut self, now: Instant) {
        let mut parts = 0;
        while now.saturating_duration_since(self.began) >= WINDOW_PART && parts < WINDOW_PARTS {
            self.current = (self.current + 1) % WINDOW_PARTS;
            self.parts[self.current] = (0, 0);
            self.began += WINDOW_PART;
            parts += 1;
        }
        if parts == WINDOW_PARTS {
            self.began = now;
        }
    }

    pub(super) fn add(&mut self, is_good: bool, now: Instant) {
        self.pass(now);
        let (good, bad) = &mut self.parts[self.current];
        *if is_good { good } else { bad } += 1;
    }

    /// Returns the sums of those that went well, and of those that did not.
    fn sums(&self) -> (u32, u32) {
        let sum = |(good, bad), part: &(u32, u32)| (good + part.0, bad + part.1);
        self.parts.iter().fold((0, 0), sum)
    }

    /// Returns the number of the last two parts alone.
    pub(super) fn latest(&mut self, now: Instant) -> u32 {
        self.pass(now);
        let before = (self.current + WINDOW_PARTS - 1) % WINDOW_PARTS;
        self.parts[self.current].0 + self.parts[before].0
    }

    /// Returns true if most of enough attempts failed, even if all that run go well.
    pub(super) fn is_failing(&self, running: u32) -> bool {
        let (good, bad) = self.sums();
        good + bad >= MIN_SAMPLES && good + running < bad
    }

    /// Returns true if few of enough attempts failed, of which some still run.
    pub(super) fn is_mostly_good(&self, running: u32) -> bool {
        let (good, bad) = self.sums();
        let all = good + bad + running;
        all >= MIN_SAMPLES && bad * BUSY_PART < all
    }
}
