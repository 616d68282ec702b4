//! `/admin/v1/usage`: what was used by each key, team and model, as JSON or as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::http::error::Rejection;
use crate::http::json::json as json_response;
use crate::http::operator::Viewer;
use crate::service::Service;
use crate::usage::format_decimal;
use crate::usage::ledger::{LedgerRow, UsageTotals, today};
use dialect::failure::Failure;

const SECONDS_OF_DAY: u64 = 86_400;
/// The days that are told unless the query says which.
const DEFAULT_DAYS: u64 = 30;
/// The columns by which rows may be grouped, in their order.
const GROUPS: [&str; 4] = ["day", "key", "team", "model"];

/// The question of a query.
struct UsageQuery {
    /// Days since 1970.
    days: RangeInclusive<u64>,
    /// For each of [`GROUPS`], whether it was asked for.
    groups: [bool; GROUPS.len()],
}

/// The texts of the groups of a row; `None` where it was not asked for.
type GroupTexts = [Option<String>; GROUPS.len()];

/// Answers in JSON.
pub(super) async fn json_table(
    _: Viewer,
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Rejection> {
    let query = parse(query.as_deref())?;
    let rows = sums(&service, &query).into_iter().map(|(groups, totals)| {
        let texts = GROUPS.iter().zip(groups);
        let mut row: Map<String, Value> = texts
            .filter_map(|(name, text)| Some(((*name).to_owned(), text?.into())))
            .collect();
        for (name, number) in numbers(&totals) {
            row.insert(name.to_owned(), number.into());
        }
        row.insert("usd".to_owned(), format_decimal(totals.nano_usd).into());
        Value::Object(row)
    });
    let rows: Vec<Value> = rows.collect();
    let (from, to) = (date(*query.days.start()), date(*query.days.end()));
    Ok(json_response(
        &json!({ "object": "usage", "from": from, "to": to, "rows": rows }),
    ))
}

/// Answers with a table for a spreadsheet (RFC 4180).
pub(super) async fn csv_table(
    _: Viewer,
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Rejection> {
    let query = parse(query.as_deref())?;
    let asked = GROUPS.iter().zip(query.groups);
    let names = asked.filter_map(|(name, is_asked)| is_asked.then_some(*name));
    let counts = numbers(&UsageTotals::default()).map(|(name, _)| name);
    let header: Vec<&str> = names.chain(counts).chain(["usd"]).collect();
    let mut table = header.join(",");
    table.push_str("\r\n");
    for (groups, totals) in sums(&service, &query) {
        for text in groups.into_iter().flatten() {
            table.push_str(&cell(&text));
            table.push(',');
        }
        for (_, number) in numbers(&totals) {
            // Writing to a string can't fail.
            let _ = write!(table, "{number},");
        }
        table.push_str(&format_decimal(totals.nano_usd));
        table.push_str("\r\n");
    }
    Ok((
        [(CONTENT_TYPE, "text/csv; charset=utf-8; header=present")],
        table,
    )
        .into_response())
}

fn sums(service: &Service, query: &UsageQuery) -> BTreeMap<GroupTexts, UsageTotals> {
    let group = |day: u64, row: &LedgerRow| {
        let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
        let texts = [
            date(day),
            text(&row.key),
            text(&row.team),
            row.model.to_string(),
        ];
        let mut asked = query.groups.into_iter();
        texts.map(|text| asked.next().unwrap_or_default().then_some(text))
    };
    service.ledger.sums(query.days.clone(), |_| true, group)
}

/// Returns the counts of a row with their names.
fn numbers(totals: &UsageTotals) -> [(&'static str, u64); 10] {
    [
        ("requests", totals.requests),
        ("complete", totals.complete),
        ("failed", totals.failed),
        ("estimated", totals.estimated),
        ("unpriced", totals.unpriced),
        ("input_tokens", totals.input),
        ("cached_tokens", totals.cached),
        ("cache_written_tokens", totals.cache_written),
        ("output_tokens", totals.output),
        ("reasoning_tokens", totals.reasoning),
    ]
}

fn parse(query: Option<&str>) -> Result<UsageQuery, Failure> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query.unwrap_or_default())
        .map_err(|error| Failure::invalid_request(format!("the query can't be read: {error}")))?;
    let (mut from, mut to, mut groups) = (None, None, None);
    for (name, value) in &pairs {
        match name.as_str() {
            "from" => from = Some(parse_day("from", value)?),
            "to" => to = Some(parse_day("to", value)?),
            "group" => groups = Some(parse_groups(value)?),
            other => {
                let message = format!("`{other}` is no parameter; there are: from, to, group");
                return Err(Failure::invalid_request(message));
            }
        }
    }
    let to = to.unwrap_or_else(today);
    let from = from.unwrap_or(to.saturating_sub(DEFAULT_DAYS));
    if from > to {
        return Err(Failure::invalid("from", "`from` should not be after `to`"));
    }
    Ok(UsageQuery {
        days: from..=to,
        // Of each key and model.
        groups: groups.unwrap_or([false, true, false, true]),
    })
}

fn parse_groups(text: &str) -> Result<[bool; GROUPS.len()], Failure> {
    let mut groups = [false; GROUPS.len()];
    for name in text.split(',') {
        match GROUPS.iter().position(|group| *group == name) {
            Some(at) => groups[at] = true,
            None => {
                let message = "`group` should be some of day, key, team and model, with commas";
                return Err(Failure::invalid("group", message));
            }
        }
    }
    Ok(groups)
}

/// Parses a date as the number of its day since 1970.
fn parse_day(name: &str, text: &str) -> Result<u64, Failure> {
    let time = humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok();
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let day = since.map(|since| since.as_secs() / SECONDS_OF_DAY);
    day.ok_or_else(|| Failure::invalid(name, format!("`{name}` should be a day, as in 2027-03-01")))
}

/// Returns the date of a day since 1970.
fn date(day: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(day.saturating_mul(SECONDS_OF_DAY));
    let mut text = humantime::format_rfc3339_seconds(time).to_string();
    text.truncate(10);
    text
}

/// Returns a text as a cell. One that a spreadsheet would take for a formula begins with a quote.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = match is_formula {
        true => format!("'{text}"),
        false => text.to_owned(),
    };
    match text.contains(['"', ',', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_cell_is_text_and_no_formula() {
        for (text, cell_text) in [
            ("gpt-5", "gpt-5"),
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("a,\"b\"", "\"a,\"\"b\"\"\""),
            ("-x\n", "\"'-x\n\""),
            ("", ""),
        ] {
            assert_eq!(cell(text), cell_text, "{text:?}");
        }
    }

    #[test]
    fn days_are_dates_and_a_wrong_question_says_what_would_be_right() {
        let query = parse(Some("from=1970-01-02&to=1970-01-11&group=day,team")).unwrap();
        assert_eq!(query.days, 1..=10);
        assert_eq!(query.groups, [true, false, true, false]);
        assert_eq!(
            (date(0), date(59)),
            ("1970-01-01".into(), "1970-03-01".into())
        );
        let month = parse(None).unwrap();
        assert_eq!(month.days.end() - month.days.start(), DEFAULT_DAYS);
        for wrong in [
            "from=1.1.2027",
            "from=2027-02-30",
            "group=user",
            "to=1969-12-31",
            "x=1",
        ] {
            assert!(parse(Some(wrong)).is_err(), "{wrong}");
        }
        assert!(parse(Some("from=2027-01-02&to=2027-01-01")).is_err());
    }
}
