//! Hedging: a second target that is asked beside the first, because that one takes longer to say
//! something than almost all answers of its model did. The two change places with each other in
//! the plan, so that each is the current one while its turn lasts.

use std::time::Duration;

use dialect::failure::Failure;
use tokio::time::Instant;

use super::{Judged, Plan};
use crate::routing::choose::choose;
use crate::routing::first_tokens::FirstTokenTimes;
use crate::routing::health::{Availability, Exchange};
use crate::routing::{Target, Verdict};

/// The shortest time after which a second target is asked. An answer that begins sooner is not
/// worth two.
const MIN_DELAY: Duration = Duration::from_millis(100);

impl Plan {
    /// Returns the time after which a second target may be asked, unless the current one has said
    /// something by then. `None` if nobody else may be asked beside it.
    #[must_use]
    pub fn hedge_delay(&self) -> Option<Duration> {
        let times = self.first_token_times()?;
        let is_allowed = self.model.rules.retry_uncertain && !self.is_repeat && self.may_go_on();
        let mut others = self.asked.iter().enumerate();
        let has_other = others.any(|(number, asked)| number != self.current && asked.is_some());
        let delay = (is_allowed && has_other).then(|| times.p95())??;
        Some(delay.max(MIN_DELAY))
    }

    /// Begins an attempt at a second target, which becomes the current one. Returns false if none
    /// can be asked now, or the budget is used up: nobody waits for that, and no breaker is probed.
    pub fn begin_hedge(&mut self, latest: Instant) -> bool {
        let now = Instant::now();
        let mut candidates = self.candidates(now, latest);
        candidates.retain(|number| {
            let is_open = self.model.targets[*number].health.availability(now);
            *number != self.current && is_open == Availability::Open
        });
        let how = self.model.rules.choose;
        // The conversation stays at the first one.
        let affinity = self.affinity.as_ref().map(|key| (key, None));
        let chosen = choose(&self.model.targets, &candidates, how, affinity, now);
        let Some((number, exchange)) =
            chosen.and_then(|number| Some((number, self.admit(number, now)?)))
        else {
            return false;
        };
        if !self.may_repeat() {
            return false;
        }
        self.rival = Some((self.current, self.exchange.replace(exchange)));
        self.current = number;
        self.attempts += 1;
        if let Some(asked) = &mut self.asked[number] {
            *asked += 1;
        }
        true
    }

    /// Exchanges the current target and the one that is asked beside it.
    pub fn swap_rival(&mut self) {
        if let Some((number, exchange)) = &mut self.rival {
            std::mem::swap(number, &mut self.current);
            std::mem::swap(exchange, &mut self.exchange);
        }
    }

    /// Judges a failure of the current target, beside which another one is asked.
    pub fn judge_beside(&mut self, failure: &Failure) -> Judged {
        let judged = self.record(failure);
        if judged.verdict == Verdict::Final {
            self.asked[self.current] = None;
        }
        judged
    }

    /// Returns the target that is asked beside the current one.
    #[must_use]
    pub fn rival(&self) -> Option<&Target> {
        let (number, _) = self.rival.as_ref()?;
        Some(&self.model.targets[*number])
    }

    /// Gives back what the target holds that is asked beside the current one: that says nothing of
    /// its health.
    pub fn drop_rival(&mut self) {
        self.rival = None;
    }

    /// Takes note that the current target says something. Where two were asked, the time of the
    /// first one counts although it would have taken longer: without the slow ones the rest would
    /// seem quicker and quicker, and more and more would be asked twice.
    pub fn note_first_token(&mut self) {
        let Some(times) = self.first_token_times() else {
            return;
        };
        let rival = self
            .rival
            .as_ref()
            .and_then(|(_, exchange)| exchange.as_ref());
        let began = self.exchange.iter().chain(rival).map(Exchange::began).min();
        if let Some(began) = began {
            times.add(began.elapsed());
        }
    }

    fn first_token_times(&self) -> Option<&FirstTokenTimes> {
        self.model.limits.as_ref()?.first_tokens.as_ref()
    }
}
