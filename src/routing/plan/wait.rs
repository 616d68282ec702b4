//! Waits of a request: for a target that is closed to open, or for a place at one that is full.

use std::time::Duration;

use dialect::failure::Failure;
use tokio::time::Instant;

use super::{Next, Plan};
use crate::routing::RoutingRules;
use crate::routing::admission::Places;
use crate::routing::health::{Availability, Closed};

/// The longest wait for a breaker's next probe: whoever waits longer is better told.
const MAX_PROBE_WAIT: Duration = Duration::from_millis(100);

impl Plan {
    /// Waits for a target that is closed to open, or for a place at one that is full.
    pub(super) fn wait(&mut self, now: Instant, latest: Instant) -> Next {
        let rules = &self.model.rules;
        // Of several waits together, too.
        let began = *self.waits_since.get_or_insert(now);
        let earliest = self.earliest(now);
        let opens = earliest.and_then(|(reason, until)| {
            let is_near = until < latest && until <= began + longest_wait(rules, reason);
            is_near.then_some(until)
        });
        let trial = self.next_trial(now).filter(|from| *from < latest);
        let opens = opens.map(|opens| trial.map_or(opens, |trial| opens.min(trial)));
        let full = self.full(now, latest);
        let patience = latest.min(began + rules.max_wait);
        let until = match (opens, full.is_empty() || patience <= now) {
            (opens, true) => opens,
            (opens, false) => Some(opens.map_or(patience, |opens| opens.min(patience))),
        };
        let Some(until) = until else {
            let has_waited = earliest.is_none() && self.waiting.is_some();
            return match has_waited || !full.is_empty() {
                true => self.fail_with(Failure::queue_timeout(rules.max_wait)),
                false => self.fail(earliest, now),
            };
        };
        if self.waiting.is_none() {
            let limits = self.model.limits.as_ref();
            self.waiting = limits.and_then(|limits| limits.queue.enter());
        }
        let Some(waiting) = &mut self.waiting else {
            return self.fail_with(Failure::queue_full(rules.max_wait));
        };
        tracing::debug!(
            upstream_model = self.model.targets[0].upstream_model,
            at_most = ?until.saturating_duration_since(now),
            "waiting for a target"
        );
        waiting.wait_for(&full);
        Next::Wait(until)
    }

    /// Returns the targets that could be asked if their providers had a place.
    fn full(&self, now: Instant, latest: Instant) -> Vec<(usize, Places)> {
        let targets = self.asked.iter().zip(&self.model.targets).enumerate();
        targets
            .filter(|(_, (asked, target))| {
                let may_be_asked =
                    self.is_open(target, now) && self.is_in_time(target, now, latest);
                asked.is_some() && may_be_asked
            })
            .filter_map(|(number, (_, target))| Some((number, target.places.clone()?)))
            .filter(|(_, places)| !places.has_room())
            .collect()
    }

    /// Returns the time at which the first of the closed targets may be asked.
    fn earliest(&self, now: Instant) -> Option<(Closed, Instant)> {
        let targets = self.asked.iter().zip(&self.model.targets);
        targets
            .filter(|(asked, _)| asked.is_some())
            .filter_map(|(_, target)| match target.health.availability(now) {
                Availability::Closed(reason, until) => Some((reason, until)),
                Availability::Open | Availability::Probe => None,
            })
            .min_by_key(|(_, until)| *until)
    }
}

/// Returns the longest time for which a request waits for targets that are closed.
fn longest_wait(rules: &RoutingRules, reason: Closed) -> Duration {
    match reason {
        Closed::Broken => MAX_PROBE_WAIT,
        Closed::Busy => rules.max_wait,
        Closed::Quota | Closed::Key => Duration::ZERO,
    }
}
