//! `limits`: the limits of a key or a team, as a table within its entry.

use std::fmt;

use toml::{Table, Value};

use super::key::Default::{Required, Said};
use super::key::{Key, Kind};
use super::problems::Problems;
use super::reader::{Reader, wrong};
use super::source::Source;
use super::unknown::{check_table, paths};

/// The limits of a key or a team; what is not given is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests a minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens a minute, those of prompts and answers together.
    pub tokens_per_minute: Option<u64>,
    /// Generations at a time.
    pub concurrent: Option<u64>,
    /// Money.
    pub budget: Option<Budget>,
}

/// The money that may be spent in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// In billionths of a US dollar.
    pub nano_usd: u64,
    /// The period.
    pub per: Period,
}

/// A period of the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// A day.
    Day,
    /// A week, from Monday on.
    Week,
    /// A month.
    Month,
    /// All time.
    Total,
}

impl Period {
    /// Returns the word for it in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
    }
}

impl Limits {
    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Lists the limits: `60 requests a minute, 20 USD a day`, or `no limits`.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u64>, words| number.map(|number| format!("{number} {words}"));
        let budget = self.budget.map(|budget| match budget.per {
            Period::Total => format!("{} USD in all", usd(budget.nano_usd)),
            per => format!("{} USD a {}", usd(budget.nano_usd), per.as_str()),
        });
        let all = [
            number(self.requests_per_minute, "requests a minute"),
            number(self.tokens_per_minute, "tokens a minute"),
            number(self.concurrent, "at a time"),
            budget,
        ];
        let all: Vec<String> = all.into_iter().flatten().collect();
        match all.is_empty() {
            true => f.write_str("no limits"),
            false => f.write_str(&all.join(", ")),
        }
    }
}

/// Returns an amount of billionths of a US dollar as decimal text.
///
/// ```
/// use tokenrill::config::usd;
///
/// assert_eq!(usd(20_000_000_000), "20");
/// assert_eq!(usd(500_000_001), "0.500000001");
/// ```
#[must_use]
pub fn usd(nano: u64) -> String {
    let text = format!("{}.{:09}", nano / NANO_PER_USD, nano % NANO_PER_USD);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// One US dollar in billionths.
const NANO_PER_USD: u64 = 1_000_000_000;
/// The largest budget, in US dollars: larger ones are typing errors.
const MAX_USD: u64 = 1_000_000_000;
/// The largest rate.
const MAX_RATE: usize = 1_000_000_000;

pub(super) const LIMITS: Key = Key::new(
    "limits",
    Kind::Table,
    Said("none"),
    "its [limits](#limits), such as `{ requests_per_minute = 60, concurrent = 10 }`",
);

pub(super) const LIMIT_KEYS: &[Key] = &[REQUESTS, TOKENS, CONCURRENT, BUDGET];

const REQUESTS: Key = Key::new(
    "limits.requests_per_minute",
    Kind::Number(1, MAX_RATE),
    Said("none"),
    "the most requests a minute",
);
const TOKENS: Key = Key::new(
    "limits.tokens_per_minute",
    Kind::Number(1, MAX_RATE),
    Said("none"),
    "the most tokens a minute, of prompts and answers together",
);
const CONCURRENT: Key = Key::new(
    "limits.concurrent",
    Kind::Number(1, 1_000_000),
    Said("none"),
    "the most generations at a time",
);
const BUDGET: Key = Key::new(
    "limits.budget",
    Kind::Table,
    Said("none"),
    "the money that may be spent: `{ usd = \"20\", per = \"day\" }`",
);

pub(super) const BUDGET_KEYS: &[Key] = &[USD, PER];

const USD: Key = Key::new(
    "limits.budget.usd",
    Kind::Text,
    Required,
    "US dollars, as text: `\"20\"`, `\"0.50\"`",
);
const PER: Key = Key::new(
    "limits.budget.per",
    Kind::Word(&["day", "week", "month", "total"]),
    Required,
    "the period, in UTC; a week begins on Monday, `\"total\"` never ends",
);

/// Reads the limits of the entry that the reader reads.
pub(super) fn limits(reader: &mut Reader<'_>) -> Limits {
    if !reader.has_table(&LIMITS, "{ requests_per_minute = 60 }") {
        return Limits::default();
    }
    let number = |reader: &mut Reader<'_>, key| reader.number(key).map(|number| number as u64);
    Limits {
        requests_per_minute: number(reader, &REQUESTS),
        tokens_per_minute: number(reader, &TOKENS),
        concurrent: number(reader, &CONCURRENT),
        budget: budget(reader),
    }
}

fn budget(reader: &mut Reader<'_>) -> Option<Budget> {
    if !reader.has_table(&BUDGET, "{ usd = \"20\", per = \"day\" }") {
        return None;
    }
    let nano_usd = reader.read(&USD, |value| {
        const WANT: &str = "US dollars as text, such as \"20\" or \"0.50\"";
        let amount = value.as_str().and_then(parse_usd);
        amount.ok_or_else(|| wrong(WANT, value))
    });
    let per = reader.word(&PER);
    for (key, is_missing, such_as) in [
        (&USD, nano_usd.is_none(), "usd = \"20\""),
        (&PER, per.is_none(), "per = \"day\""),
    ] {
        let path = reader.path(key);
        if is_missing && reader.is_sound(&path) {
            let budget = reader.path(&BUDGET);
            let name = key.path.rsplit('.').next().unwrap_or_default();
            reader.report(&budget, format!("`{name}` is missing, as in {such_as}"));
        }
    }
    Some(Budget {
        nano_usd: nano_usd?,
        per: match per? {
            "day" => Period::Day,
            "week" => Period::Week,
            "month" => Period::Month,
            _ => Period::Total,
        },
    })
}

/// Parses an amount of US dollars into billionths: digits, and nine of them at most after a point.
fn parse_usd(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 9 {
        return None;
    }
    let whole: u64 = whole.parse().ok().filter(|usd| *usd <= MAX_USD)?;
    let part: u64 = format!("{part:0<9}").parse().ok()?;
    Some(whole * NANO_PER_USD + part)
}

/// Reports the unknown keys of an entry's limits.
pub(super) fn check_limits(source: &Source, at: &str, entry: &Table, problems: &mut Problems) {
    let Some(Value::Table(limits)) = entry.get("limits") else {
        return;
    };
    let within = |keys, section: &str| -> Vec<&'static str> {
        let strip = |path: &'static str| path.strip_prefix(section);
        paths(keys).into_iter().filter_map(strip).collect()
    };
    let at = format!("{at}.limits");
    let keys = within(source.keys.limits, "limits.");
    check_table(source, &at, limits, &keys, problems);
    if let Some(Value::Table(budget)) = limits.get("budget") {
        let keys = within(source.keys.budget, "limits.budget.");
        check_table(source, &format!("{at}.budget"), budget, &keys, problems);
    }
}

#[cfg(test)]
mod tests {
    use super::parse_usd;

    #[test]
    fn amounts_are_exact() {
        assert_eq!(parse_usd("20"), Some(20_000_000_000));
        assert_eq!(parse_usd("0.50"), Some(500_000_000));
        assert_eq!(parse_usd("0.000000001"), Some(1));
        for wrong in [
            "",
            ".5",
            "1.",
            "-1",
            "1e3",
            "0.0000000001",
            "20 USD",
            "1000000001",
        ] {
            assert_eq!(parse_usd(wrong), None, "{wrong}");
        }
    }
}
