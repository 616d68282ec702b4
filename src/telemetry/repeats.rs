//! Warnings that would come with every request: each kind is logged once a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shortest time between two warnings of one kind.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Maximum number of kinds that are told apart. All further ones count as one kind: clients choose
/// some of their names.
const MAX_KINDS: usize = 512;

static WARNINGS: Mutex<Option<WarningTimes>> = Mutex::new(None);

/// Returns true if a warning of this kind is due, and counts it as logged.
pub fn is_warning_due(kind: &str) -> bool {
    let mut warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    let times = warnings.get_or_insert_with(WarningTimes::default);
    times.is_due(kind, Instant::now())
}

/// The times of the last warnings, by kind.
#[derive(Debug, Default)]
struct WarningTimes(HashMap<Box<str>, Instant>);

impl WarningTimes {
    fn is_due(&mut self, kind: &str, now: Instant) -> bool {
        let is_past = |last: &Instant| now.saturating_duration_since(*last) >= WARNING_INTERVAL;
        if let Some(last) = self.0.get_mut(kind) {
            let is_due = is_past(last);
            if is_due {
                *last = now;
            }
            return is_due;
        }
        if self.0.len() >= MAX_KINDS {
            self.0.retain(|_, last| !is_past(last));
        }
        if self.0.len() >= MAX_KINDS && !kind.is_empty() {
            // The kind of all that have no room.
            return self.is_due("", now);
        }
        self.0.insert(kind.into(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_due_once_a_minute() {
        let mut times = WarningTimes::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(times.is_due("a", start));
        assert!(!times.is_due("a", after(59)));
        assert!(times.is_due("b", after(59)));
        assert!(times.is_due("a", after(60)));
        assert!(!times.is_due("a", after(119)));
    }

    #[test]
    fn too_many_kinds_count_as_one() {
        let mut times = WarningTimes::default();
        let start = Instant::now();
        for kind in 0..MAX_KINDS {
            assert!(times.is_due(&kind.to_string(), start));
        }
        assert!(times.is_due("one more", start));
        assert!(!times.is_due("another", start));
        assert!(times.0.len() <= MAX_KINDS + 1);
        let later = start + WARNING_INTERVAL;
        assert!(times.is_due("another", later));
        assert!(times.0.len() <= 2);
    }
}
