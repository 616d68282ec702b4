//! Trials: where every target rests, one request may try whether one that told no time still is
//! busy. Those that it has refused before leave that to others.

use tokio::time::Instant;

use super::Plan;
use crate::routing::health::{Exchange, TRIAL_INTERVAL};

impl Plan {
    /// Begins an exchange with a target that rests only since it was busy and told no time, if
    /// somebody may try whether it still is.
    pub(super) fn begin_trial(
        &mut self,
        now: Instant,
        latest: Instant,
    ) -> Option<(usize, Exchange)> {
        let mut targets = self.asked.iter().zip(&self.model.targets).enumerate();
        let number = targets.find_map(|(number, (asked, target))| {
            let is_due = target.health.trial(now).is_some_and(|from| from <= now);
            let may_be_asked = *asked == Some(0) && self.is_in_time(target, now, latest);
            (is_due && may_be_asked && self.has_room(number)).then_some(number)
        })?;
        let place = self.take_place(number)?;
        let exchange = self.model.targets[number].health.begin_trial(now)?;
        Some((number, exchange.with_place(place)))
    }

    /// Returns the time at which the request looks again at targets that somebody may try.
    pub(super) fn next_trial(&self, now: Instant) -> Option<Instant> {
        let targets = self.asked.iter().zip(&self.model.targets);
        let asked = targets.filter(|(asked, _)| asked.is_some());
        let trials = asked.filter_map(|(_, target)| target.health.trial(now));
        // One that is due is left to others.
        let next = |from: Instant| {
            if from > now {
                from
            } else {
                now + TRIAL_INTERVAL
            }
        };
        trials.map(next).min()
    }
}
