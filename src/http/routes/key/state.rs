//! The state of a key: what is left of its limits, and what it has used.

use serde_json::{Map, Value, json};

use crate::access::limits::{RateStatus, ScopeStatus};
use crate::config::Period;
use crate::service::KeyReport;
use crate::usage::ledger::UsageTotals;

const NANO: u64 = 1_000_000_000;

/// Adds the state of a key to its description.
pub(super) fn add(description: &mut Value, report: &KeyReport) {
    let own = &report.own;
    let [daily, weekly, monthly, total] = own.spent.map(usd);
    let budget = own.budgets.first();
    let left = budget.map(|it| {
        let taken = it.spent.saturating_add(it.reserved);
        it.limit.nano_usd.saturating_sub(taken)
    });
    let used = report.used.iter();
    let used = used.map(|(period, totals)| (period.as_str().to_owned(), totals_json(totals)));
    for (name, value) in [
        ("limit", budget.map(|it| usd(it.limit.nano_usd)).into()),
        ("limit_remaining", left.map(usd).into()),
        (
            "limit_reset",
            budget.and_then(|it| reset_word(it.limit.per)).into(),
        ),
        ("usage", total),
        ("usage_daily", daily),
        ("usage_weekly", weekly),
        ("usage_monthly", monthly),
        ("remaining", status_json(own)),
        ("used", Value::Object(used.collect::<Map<_, _>>())),
    ] {
        description[name] = value;
    }
    if let Some(team) = report.team.as_ref() {
        description["team"]["remaining"] = status_json(team);
    }
}

fn status_json(status: &ScopeStatus) -> Value {
    let rate = |rate: &Option<RateStatus>| {
        rate.as_ref().map(|rate| {
            json!({
                "limit": rate.limit,
                "remaining": rate.remaining,
                "reset_seconds": rate.reset.div_ceil(1000),
            })
        })
    };
    let budgets = status.budgets.iter().map(|budget| {
        json!({
            "limit": usd(budget.limit.nano_usd),
            "per": budget.limit.per.as_str(),
            "spent": usd(budget.spent),
            "reserved": usd(budget.reserved),
            "resets_at": budget.resets_at,
        })
    });
    json!({
        "requests": rate(&status.requests),
        "tokens": rate(&status.tokens),
        "running": status.in_flight,
        "budget": budgets.collect::<Vec<_>>().pop(),
    })
}

fn totals_json(totals: &UsageTotals) -> Value {
    json!({
        "requests": totals.requests,
        "complete": totals.complete,
        "failed": totals.failed,
        "estimated": totals.estimated,
        "input_tokens": totals.input,
        "cached_tokens": totals.cached,
        "cache_written_tokens": totals.cache_written,
        "output_tokens": totals.output,
        "reasoning_tokens": totals.reasoning,
        "cost": usd(totals.nano_usd),
    })
}

/// Returns OpenRouter's word for the end of a budget's period.
fn reset_word(period: Period) -> Option<&'static str> {
    match period {
        Period::Day => Some("daily"),
        Period::Week => Some("weekly"),
        Period::Month => Some("monthly"),
        Period::Total => None,
    }
}

/// Returns an amount in dollars.
fn usd(nano: u64) -> Value {
    if nano.is_multiple_of(NANO) {
        return (nano / NANO).into();
    }
    let text = format!("{}.{:09}", nano / NANO, nano % NANO);
    serde_json::from_str(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_dollars() {
        for (nano, want) in [
            (0, "0"),
            (20 * NANO, "20"),
            (500_000_000, "0.5"),
            (12_345_678_901, "12.345678901"),
        ] {
            assert_eq!(usd(nano).to_string(), want);
        }
    }
}
