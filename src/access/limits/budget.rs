//! A budget of money, in billionths of a dollar, for a period of the calendar.

use crate::config::{Budget, Period};

/// The state of a budget for its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetStatus {
    /// The budget.
    pub limit: Budget,
    /// The money that was spent, in billionths of a dollar.
    pub spent: u64,
    /// The money that running requests may still spend.
    pub reserved: u64,
    /// The time at which it begins anew, in seconds since 1970.
    pub resets_at: Option<u64>,
}

/// The money that was spent of one budget, and what is reserved.
#[derive(Debug, Clone, Default)]
pub(super) struct BudgetMeter {
    /// The number of the period.
    period: u64,
    spent: u64,
    reserved: u64,
}

impl BudgetMeter {
    /// Begins anew if a period has passed. A clock that is set back changes nothing.
    pub(super) fn turn(&mut self, per: Period, unix: u64) {
        let period = per.number(unix);
        if period > self.period {
            *self = Self {
                period,
                ..Self::default()
            };
        }
    }

    /// Returns the number of the period, which a reservation belongs to.
    pub(super) fn period(&self) -> u64 {
        self.period
    }

    /// Returns the money that is neither spent nor reserved.
    pub(super) fn room(&self, limit: &Budget) -> u64 {
        let taken = self.spent.saturating_add(self.reserved);
        limit.nano_usd.saturating_sub(taken)
    }

    pub(super) fn reserve(&mut self, nano: u64) {
        self.reserved = self.reserved.saturating_add(nano);
    }

    /// Replaces a reservation of that period by what was spent. Of a period that has passed nothing
    /// is known any more.
    pub(super) fn settle(&mut self, period: u64, reserved: u64, actual: u64) {
        if period == self.period {
            self.reserved = self.reserved.saturating_sub(reserved);
            self.spent = self.spent.saturating_add(actual);
        }
    }

    /// Returns the money that was spent.
    pub(super) fn spent(&self) -> u64 {
        self.spent
    }

    pub(super) fn status(&self, limit: &Budget) -> BudgetStatus {
        BudgetStatus {
            limit: *limit,
            spent: self.spent,
            reserved: self.reserved,
            resets_at: limit.per.end(self.period),
        }
    }
}
