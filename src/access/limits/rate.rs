//! A rate as a leaky meter: what was admitted drains with time.
//!
//! What is admitted within any time Δ is at most `burst + units·Δ/window`. What was reserved and
//! not used is given back first-in-first-out: only as far as it has not drained yet. Giving back
//! more would let in again what has had its time already. What was used beyond the reservation is
//! a debt, which keeps others out until it has drained.

/// A limit on units per window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The units that drain in one window.
    pub units: u64,
    /// The window, in milliseconds.
    pub window: u64,
    /// The most units at once.
    pub burst: u64,
}

impl Rate {
    /// Returns a limit of so many units per minute, all of which may come at once.
    #[must_use]
    pub fn per_minute(units: u64) -> Self {
        Self {
            units,
            window: 60_000,
            burst: units,
        }
    }
}

/// The state of a rate for its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateStatus {
    /// The window, in milliseconds.
    pub window: u64,
    /// The most units at once.
    pub limit: u64,
    /// The units that are left now.
    pub remaining: u64,
    /// The time until all of them are back, in milliseconds.
    pub reset: u64,
}

/// The level of one rate.
#[derive(Debug, Clone, Default)]
pub(super) struct RateMeter {
    /// Units that were admitted and have not drained; above the burst it is in debt.
    used: u64,
    /// The time up to which it has drained, in milliseconds.
    at: u64,
    /// Parts of a unit that have drained, of `window` parts.
    carry: u64,
    /// Units that ever drained or were given back.
    gone: u64,
}

/// The place of a reservation in a meter.
#[derive(Debug, Clone, Copy)]
pub(super) struct RateMark {
    level: u64,
    gone: u64,
}

impl RateMeter {
    /// Drains up to that time, in milliseconds.
    pub(super) fn drain(&mut self, rate: &Rate, now: u64) {
        if now <= self.at {
            return;
        }
        let parts = u128::from(now - self.at) * u128::from(rate.units) + u128::from(self.carry);
        let window = u128::from(rate.window.max(1));
        let drained = narrow(parts / window);
        self.at = now;
        self.gone = self.gone.saturating_add(drained);
        if drained >= self.used {
            (self.used, self.carry) = (0, 0);
        } else {
            self.used -= drained;
            self.carry = narrow(parts % window);
        }
    }

    /// Returns the time until that many units fit, in milliseconds: 0 if they do now. `None` if
    /// they never will. The meter must have been drained.
    pub(super) fn wait(&self, rate: &Rate, cost: u64) -> Option<u64> {
        if cost > rate.burst {
            return None;
        }
        Some(self.time_to_drain(rate, (self.used + cost).saturating_sub(rate.burst)))
    }

    fn time_to_drain(&self, rate: &Rate, units: u64) -> u64 {
        let parts = u128::from(units) * u128::from(rate.window);
        let left = parts.saturating_sub(u128::from(self.carry));
        narrow(left.div_ceil(u128::from(rate.units.max(1))))
    }

    /// Adds units; returns their place.
    pub(super) fn reserve(&mut self, cost: u64) -> RateMark {
        self.used = self.used.saturating_add(cost);
        RateMark {
            level: self.used,
            gone: self.gone,
        }
    }

    /// Replaces a reservation by what was used. The meter must have been drained.
    pub(super) fn settle(&mut self, mark: RateMark, reserved: u64, actual: u64) {
        if actual >= reserved {
            self.used = self.used.saturating_add(actual - reserved);
            return;
        }
        let undrained = mark.level.saturating_sub(self.gone - mark.gone);
        let back = (reserved - actual).min(undrained).min(self.used);
        self.used -= back;
        self.gone = self.gone.saturating_add(back);
    }

    /// Returns the state. The meter must have been drained.
    pub(super) fn status(&self, rate: &Rate) -> RateStatus {
        RateStatus {
            window: rate.window,
            limit: rate.burst,
            remaining: rate.burst.saturating_sub(self.used),
            reset: self.time_to_drain(rate, self.used),
        }
    }
}

fn narrow(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
