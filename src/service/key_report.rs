//! The report on a key: its limits, what is left of them, and what it has used.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::Service;
use crate::access::Key;
use crate::access::limits::{Moment, ScopeKind, ScopeStatus};
use crate::config::Period;
use crate::usage::ledger::{UsageTotals, today};

/// The report on one key.
#[derive(Debug)]
pub struct KeyReport {
    /// The state of its own limits.
    pub own: ScopeStatus,
    /// The state of its team's limits, which its keys share.
    pub team: Option<ScopeStatus>,
    /// The usage of today, in this week and in this month.
    pub used: [(Period, UsageTotals); 3],
}

/// Returns the report on a key; `None` where nothing is counted.
#[must_use]
pub fn key_report(service: &Service, key: &Key) -> Option<KeyReport> {
    let accounting = service.accounting.as_ref()?;
    let scopes = accounting.scopes_of(key);
    let now = Moment::now();
    let status = |kind: ScopeKind| {
        let scope = scopes.iter().find(|scope| scope.kind() == kind);
        scope.map(|scope| scope.status(now))
    };
    let used = [Period::Day, Period::Week, Period::Month].map(|period| {
        let is_own = |id: &Option<Arc<str>>| id.as_deref() == Some(key.id.as_str());
        let days = days_of(period, now.unix);
        let sums = service.ledger.sums(days, |row| is_own(&row.key), |_, _| ());
        (period, sums.get(&()).copied().unwrap_or_default())
    });
    Some(KeyReport {
        own: status(ScopeKind::Key).unwrap_or_default(),
        team: status(ScopeKind::Team),
        used,
    })
}

/// Returns the days of the current period so far.
fn days_of(period: Period, unix: u64) -> RangeInclusive<u64> {
    const DAY: u64 = 86_400;
    let before = period.number(unix).saturating_sub(1);
    let first = period.end(before).map_or(0, |end| end / DAY);
    first..=today()
}
