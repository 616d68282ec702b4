//! `[limits]`, `[usage]` and `[prices]`: what is reserved and counted, and what it costs. The
//! limits themselves stand with those whom they bind.

use std::path::PathBuf;

use super::key::Default::{Said, Value};
use super::key::{Key, Kind};
use super::reader::Reader;

/// The accounting of what generations use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageAccounting {
    /// The output that is reserved for a request which does not limit it, in tokens.
    pub output_reserve: u64,
    /// Upstreams are asked for the usage of every answer.
    pub wants_usage: bool,
    /// The file of prices.
    pub prices_file: Option<PathBuf>,
    /// A model without a price costs nothing; else a budget refuses it.
    pub unpriced_is_free: bool,
}

pub(super) const KEYS: &[Key] = &[OUTPUT_RESERVE, USAGE_ENABLED, PRICES_FILE, UNPRICED];

const OUTPUT_RESERVE: Key = Key::new(
    "limits.output_reserve",
    Kind::Number(1, 10_000_000),
    Value("4096"),
    "the output tokens that a request which does not limit them reserves of its key's and team's limits; what it does not use is given back: see [limits.md](limits.md)",
);
const USAGE_ENABLED: Key = Key::new(
    "usage.enabled",
    Kind::Flag,
    Value("false"),
    "every upstream is asked for the usage of its answers; a client that has not asked does not see it. It is asked for in any case where tokens or money are limited",
);
const PRICES_FILE: Key = Key::new(
    "prices.file",
    Kind::Text,
    Said("none: nothing has a price"),
    "the [prices](limits.md#prices) of models",
);
const UNPRICED: Key = Key::new(
    "prices.unpriced",
    Kind::Word(&["refuse", "free"]),
    Value("refuse"),
    "whether a model without a price is refused where there is a budget, or costs nothing",
);

pub(super) fn accounting(reader: &mut Reader<'_>) -> UsageAccounting {
    UsageAccounting {
        output_reserve: reader.number(&OUTPUT_RESERVE).unwrap_or_default() as u64,
        wants_usage: reader.flag(&USAGE_ENABLED),
        prices_file: reader.text(&PRICES_FILE).map(PathBuf::from),
        unpriced_is_free: reader.word(&UNPRICED) == Some("free"),
    }
}
