//! The times between the tokens of one answer, as a histogram.

use std::time::Duration;

/// The upper bounds of the buckets, in microseconds; the last bucket has none.
pub const PAUSE_BOUNDS: [u64; 13] = [
    1_000, 2_500, 5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000,
    5_120_000, 30_000_000,
];

/// The times between the tokens of one answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pauses {
    /// The number of pauses in each bucket: one more than there are [bounds](PAUSE_BOUNDS).
    pub counts: [u32; PAUSE_BOUNDS.len() + 1],
    /// The sum of all pauses, in microseconds.
    pub sum: u64,
}

impl Pauses {
    /// Counts the pause before some tokens that came at once: there was none between them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tokenrill::outcome::Pauses;
    ///
    /// let mut pauses = Pauses::default();
    /// pauses.add(Duration::from_millis(30), 2);
    /// assert_eq!((pauses.counts[0], pauses.counts[5], pauses.sum), (1, 1, 30_000));
    /// ```
    pub fn add(&mut self, pause: Duration, tokens: u32) {
        let pause = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        let bucket = PAUSE_BOUNDS.iter().take_while(|bound| pause > **bound);
        if let Some(count) = self.counts.get_mut(bucket.count()) {
            *count = count.saturating_add(1);
        }
        self.counts[0] = self.counts[0].saturating_add(tokens.saturating_sub(1));
        self.sum = self.sum.saturating_add(pause);
    }
}
