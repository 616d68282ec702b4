//! The ledger: what was used by each key, team and model on each day, in memory and within bounds.
//!
//! It observes the outcome of each generation, whatever that was. It keeps the last days; rows
//! beyond a bound are counted together as `other`, so that no model's name, which a client may
//! invent, makes it grow.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use dialect::event::Usage;

use crate::outcome::{GenerationEnd, Observer, Outcome, UsageSource};

/// The days that are kept: a month, and the longest week that reaches into it.
const MAX_DAYS: usize = 40;
/// The rows of one day.
const MAX_ROWS: usize = 1000;
/// The longest name in a row, in bytes.
const MAX_NAME_BYTES: usize = 200;
/// The model of the rows beyond the bound.
pub const OTHER: &str = "other";
const SECONDS_OF_DAY: u64 = 86_400;

/// Whose usage a row counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LedgerRow {
    /// The key's id, where keys are known.
    pub key: Option<Arc<str>>,
    /// The key's team.
    pub team: Option<Arc<str>>,
    /// The model that the client asked for.
    pub model: Arc<str>,
}

/// Sums of generations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageTotals {
    /// Generations.
    pub requests: u64,
    /// Those that were complete.
    pub complete: u64,
    /// Those that failed or were refused.
    pub failed: u64,
    /// Those whose usage was not reported of the whole, and is a part or an estimate.
    pub estimated: u64,
    /// Those without a price.
    pub unpriced: u64,
    /// Input tokens, with cached ones.
    pub input: u64,
    /// Input tokens read from a cache.
    pub cached: u64,
    /// Input tokens written to a cache.
    pub cache_written: u64,
    /// Output tokens, with reasoning.
    pub output: u64,
    /// Output tokens spent on reasoning.
    pub reasoning: u64,
    /// The cost in billionths of a dollar.
    pub nano_usd: u64,
}

impl UsageTotals {
    /// Adds other sums.
    pub fn add(&mut self, other: &Self) {
        for (sum, number) in [
            (&mut self.requests, other.requests),
            (&mut self.complete, other.complete),
            (&mut self.failed, other.failed),
            (&mut self.estimated, other.estimated),
            (&mut self.unpriced, other.unpriced),
            (&mut self.input, other.input),
            (&mut self.cached, other.cached),
            (&mut self.cache_written, other.cache_written),
            (&mut self.output, other.output),
            (&mut self.reasoning, other.reasoning),
            (&mut self.nano_usd, other.nano_usd),
        ] {
            *sum = sum.saturating_add(number);
        }
    }
}

impl From<&Outcome> for UsageTotals {
    fn from(outcome: &Outcome) -> Self {
        let Usage {
            input,
            output,
            cached,
            cache_written,
            reasoning,
        } = outcome.spent.usage;
        let is_estimated = match outcome.spent.source {
            UsageSource::Nothing | UsageSource::Reported => false,
            UsageSource::Partial | UsageSource::Estimated => true,
        };
        let is_unpriced = outcome.spent.source != UsageSource::Nothing;
        let is_unpriced = is_unpriced && outcome.spent.nano_usd.is_none();
        Self {
            requests: 1,
            complete: u64::from(matches!(outcome.end, GenerationEnd::Complete)),
            failed: u64::from(matches!(outcome.end, GenerationEnd::Failed { .. })),
            estimated: u64::from(is_estimated),
            unpriced: u64::from(is_unpriced),
            input,
            cached: cached.unwrap_or(0),
            cache_written: cache_written.unwrap_or(0),
            output,
            reasoning: reasoning.unwrap_or(0),
            nano_usd: outcome.spent.nano_usd.unwrap_or(0),
        }
    }
}

/// The usage of the last days.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By the day since 1970. Held for a moment, once per generation.
    days: Mutex<BTreeMap<u64, HashMap<LedgerRow, UsageTotals>>>,
}

impl Ledger {
    /// Returns the sums of the rows that `is_wanted`, from one day since 1970 to another,
    /// grouped by what `group` makes of the day and the row.
    pub fn sums<G: Ord>(
        &self,
        days: std::ops::RangeInclusive<u64>,
        is_wanted: impl Fn(&LedgerRow) -> bool,
        group: impl Fn(u64, &LedgerRow) -> G,
    ) -> BTreeMap<G, UsageTotals> {
        let mut sums: BTreeMap<G, UsageTotals> = BTreeMap::new();
        for (day, rows) in self.lock().range(days) {
            for (row, totals) in rows.iter().filter(|(row, _)| is_wanted(row)) {
                sums.entry(group(*day, row)).or_default().add(totals);
            }
        }
        sums
    }

    /// Adds the usage of a generation that ended on that day.
    fn record(&self, day: u64, outcome: &Outcome) {
        let totals = UsageTotals::from(outcome);
        let mut days = self.lock();
        let rows = days.entry(day).or_default();
        let model = base::shorten::shorten(&outcome.model, MAX_NAME_BYTES);
        let mut row = LedgerRow {
            key: outcome.key.clone(),
            team: outcome.team.clone(),
            model: model.as_ref().into(),
        };
        if rows.len() >= MAX_ROWS && !rows.contains_key(&row) {
            row = LedgerRow {
                model: OTHER.into(),
                ..row
            };
            if rows.len() >= 2 * MAX_ROWS {
                (row.key, row.team) = (None, None);
            }
        }
        rows.entry(row).or_default().add(&totals);
        while days.len() > MAX_DAYS {
            days.pop_first();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, HashMap<LedgerRow, UsageTotals>>> {
        // Nothing panics while it is held.
        self.days.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the number of the present day since 1970.
#[must_use]
pub fn today() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() / SECONDS_OF_DAY)
}

impl Observer for Ledger {
    fn on_outcome(&self, outcome: &Outcome) {
        self.record(today(), outcome);
    }
}
