//! `/v1/key`: the caller's own key, its limits and its usage, as OpenRouter has it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::access::limits::{RateStatus, ScopeStatus};
use crate::config::Period;
use crate::http::context::RequestHead;
use crate::http::error::Rejection;
use crate::service::{KeyReport, Service, key_report};
use crate::usage::ledger::UsageTotals;
use dialect::failure::Failure;

const NANO: u64 = 1_000_000_000;

/// Tells the caller of its own key.
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    head: RequestHead,
) -> Result<Response, Rejection> {
    let report = key_report(&service, &head.context).ok_or_else(|| {
        Failure::not_found("there are no keys here: everyone may ask (auth.keys_file)")
    })?;
    let body = json!({ "data": report_json(&report) }).to_string();
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

fn report_json(report: &KeyReport) -> Value {
    let KeyReport {
        key,
        own,
        team,
        used,
    } = report;
    let [daily, weekly, monthly, total] = own.spent.map(usd);
    let budget = own.budgets.first();
    let left = budget.map(|it| it.limit.nano_usd.saturating_sub(it.spent + it.reserved));
    let expires = key
        .expires
        .map(|time| humantime::format_rfc3339_seconds(time).to_string());
    let mut tokens = serde_json::Map::new();
    for (period, totals) in used {
        tokens.insert(period.as_str().to_owned(), totals_json(totals));
    }
    json!({
        "id": key.id,
        "label": key.name,
        "team": key.team.as_ref().map(|team| &team.name),
        "expires_at": expires,
        "limit": budget.map(|it| usd(it.limit.nano_usd)),
        "limit_remaining": left.map(usd),
        "limit_reset": budget.and_then(|it| reset_word(it.limit.per)),
        "usage": total,
        "usage_daily": daily,
        "usage_weekly": weekly,
        "usage_monthly": monthly,
        "limits": status_json(own, key.limits.concurrent),
        "team_limits": team.as_ref().zip(key.team.as_ref())
            .map(|(status, team)| status_json(status, team.limits.concurrent)),
        "used": tokens,
    })
}

fn status_json(status: &ScopeStatus, concurrent: Option<u64>) -> Value {
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
        "concurrent": { "limit": concurrent, "running": status.in_flight },
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
    if nano % NANO == 0 {
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
