//! Imports prices from the files of others into our own form: LiteLLM's
//! `model_prices_and_context_window.json`, and the `data.json` of genai-prices.
//!
//! Both write prices as decimal numbers, which are read digit by digit. Tiers for long inputs and
//! for times of the day have no place in our form: the first price is taken, and a comment says so.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::amount::{format_decimal, parse_decimal_up};
use super::prices::{CACHE_WRITE, CACHED_INPUT, INPUT, OUTPUT, REASONING};

/// An error of a file that has prices in no known form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    Json(String),
    /// It has no prices that are known here.
    #[error(
        "there are no prices in it: it should be LiteLLM's model_prices_and_context_window.json, or \
         the data.json of genai-prices"
    )]
    Unknown,
}

/// The prices of a model as they are imported, in billionths of a dollar per million tokens.
#[derive(Debug, Default)]
struct ImportedPrice {
    prices: BTreeMap<&'static str, u64>,
    has_tiers: bool,
}

/// Returns the prices of a file in our own form.
///
/// # Errors
///
/// When it has none.
pub fn import_prices(text: &str) -> Result<String, ImportError> {
    let wrong = |error: serde_json::Error| ImportError::Json(error.to_string());
    let whole: &RawValue = serde_json::from_str(text).map_err(wrong)?;
    let models = match whole.get().as_bytes().first() {
        Some(b'[') => genai_models(whole.get()),
        _ => litellm_models(whole.get()),
    };
    if models.is_empty() {
        return Err(ImportError::Unknown);
    }
    let mut out = String::from("# Dollars per million tokens.\n");
    for (name, model) in models {
        let name = toml::Value::from(name);
        let _ = writeln!(out, "\n[models.{name}]");
        if model.has_tiers {
            out.push_str("# It has tiers of prices; this is the first.\n");
        }
        for (field, price) in model.prices {
            let _ = writeln!(out, "{field} = {}", format_decimal(price));
        }
    }
    Ok(out)
}

type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// LiteLLM's names: dollars per token.
const LITELLM: &[(&str, &str)] = &[
    ("input_cost_per_token", INPUT),
    ("output_cost_per_token", OUTPUT),
    ("cache_read_input_token_cost", CACHED_INPUT),
    ("cache_creation_input_token_cost", CACHE_WRITE),
    ("output_cost_per_reasoning_token", REASONING),
];

fn litellm_models(text: &str) -> BTreeMap<String, ImportedPrice> {
    let models: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
    let read = models.into_iter().filter_map(|(name, model)| {
        let fields: Fields<'_> = serde_json::from_str(model.get()).ok()?;
        let mut imported = ImportedPrice {
            has_tiers: fields.keys().any(|name| name.contains("_above_")),
            ..ImportedPrice::default()
        };
        for (theirs, ours) in LITELLM {
            // Per token, and here it is per million.
            let price = fields.get(*theirs);
            let price = price.and_then(|raw| parse_decimal_up(raw.get(), 15));
            imported.prices.extend(price.map(|price| (*ours, price)));
        }
        (name != "sample_spec" && imported.is_whole()).then_some((name, imported))
    });
    read.collect()
}

/// The names of genai-prices: dollars per million tokens.
const GENAI: &[(&str, &str)] = &[
    ("input_mtok", INPUT),
    ("output_mtok", OUTPUT),
    ("cache_read_mtok", CACHED_INPUT),
    ("cache_write_mtok", CACHE_WRITE),
    ("output_reasoning_mtok", REASONING),
];

#[derive(Deserialize)]
struct GenaiProvider<'a> {
    id: String,
    #[serde(borrow, default)]
    models: Vec<GenaiModel<'a>>,
}

#[derive(Deserialize)]
struct GenaiModel<'a> {
    id: String,
    #[serde(borrow)]
    prices: &'a RawValue,
}

/// Prices that hold from a date on, or at times of the day.
#[derive(Deserialize)]
struct GenaiCondition<'a> {
    #[serde(borrow, default)]
    constraint: Option<Fields<'a>>,
    #[serde(borrow)]
    prices: Fields<'a>,
}

/// A price that depends on the length of the input.
#[derive(Deserialize)]
struct GenaiTiers<'a> {
    #[serde(borrow)]
    base: &'a RawValue,
}

fn genai_models(text: &str) -> BTreeMap<String, ImportedPrice> {
    let providers: Vec<GenaiProvider<'_>> = serde_json::from_str(text).unwrap_or_default();
    let mut models = BTreeMap::new();
    for provider in providers {
        for model in provider.models {
            let Some(imported) = genai_price(model.prices).filter(ImportedPrice::is_whole) else {
                continue;
            };
            // The first one has the plain name.
            let name = match models.contains_key(&model.id) {
                true => format!("{}/{}", provider.id, model.id),
                false => model.id,
            };
            models.insert(name, imported);
        }
    }
    models
}

fn genai_price(prices: &RawValue) -> Option<ImportedPrice> {
    let mut imported = ImportedPrice::default();
    let fields: Fields<'_> = match serde_json::from_str(prices.get()) {
        Ok(fields) => fields,
        Err(_) => {
            let all: Vec<GenaiCondition<'_>> = serde_json::from_str(prices.get()).ok()?;
            let (date, clock) = ("start_date", "start_time");
            let has = |it: &GenaiCondition<'_>, name: &str| {
                it.constraint
                    .as_ref()
                    .is_some_and(|fields| fields.contains_key(name))
            };
            imported.has_tiers = all.iter().any(|it| has(it, clock));
            // The last one that holds at any time of the day is in force.
            let now = all
                .into_iter()
                .rfind(|it| it.constraint.is_none() || has(it, date));
            now?.prices
        }
    };
    for (theirs, ours) in GENAI {
        let Some(raw) = fields.get(*theirs) else {
            continue;
        };
        let tiers = serde_json::from_str::<GenaiTiers<'_>>(raw.get()).ok();
        imported.has_tiers |= tiers.is_some();
        let raw = tiers.map_or(raw.get(), |tiers| tiers.base.get());
        let price = parse_decimal_up(raw, 9);
        imported.prices.extend(price.map(|price| (*ours, price)));
    }
    Some(imported)
}

impl ImportedPrice {
    /// Returns whether it has what a model must have.
    fn is_whole(&self) -> bool {
        self.prices.contains_key(INPUT) && self.prices.contains_key(OUTPUT)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::usage::prices::Prices;

    #[test]
    fn litellm_s_prices_are_imported_exactly() {
        let text = r#"{
            "sample_spec": {"input_cost_per_token": 0, "output_cost_per_token": 0},
            "gpt-5": {"input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05,
                "cache_read_input_token_cost": 1.25e-07, "mode": "chat", "supports": ["x"]},
            "vertex_ai/x \"y\"": {"input_cost_per_token": 3.0000000000000001e-06, "output_cost_per_token": 2e-5,
                "input_cost_per_token_above_200k_tokens": 6e-06},
            "embed": {"input_cost_per_token": 1e-8},
            "other": 7
        }"#;
        let imported = import_prices(text).unwrap();
        assert_eq!(
            imported,
            "# Dollars per million tokens.\n\n[models.\"gpt-5\"]\n\
             cached_input_usd_per_million = 0.125\ninput_usd_per_million = 1.25\noutput_usd_per_million = 10\n\
             \n[models.'vertex_ai/x \"y\"']\n# It has tiers of prices; this is the first.\n\
             input_usd_per_million = 3.000000001\noutput_usd_per_million = 20\n"
        );
        assert_eq!(Prices::parse("p", &imported).unwrap().count(), 2);
    }

    #[test]
    fn genai_prices_are_imported_as_they_are_now() {
        let text = r#"[
            {"id": "anthropic", "models": [
                {"id": "claude", "match": {"equals": "claude"}, "prices": {
                    "input_mtok": {"base": 3, "tiers": [{"start": 200000, "price": 6}]}, "output_mtok": 15,
                    "cache_read_mtok": 0.3, "cache_write_mtok": 3.75}},
                {"id": "old", "prices": [
                    {"prices": {"input_mtok": 9, "output_mtok": 9}},
                    {"constraint": {"start_date": "2025-01-01"}, "prices": {"input_mtok": 1, "output_mtok": 2}},
                    {"constraint": {"start_time": "00:00", "end_time": "08:00"}, "prices": {"input_mtok": 0.5, "output_mtok": 1}}]}]},
            {"id": "aws", "models": [{"id": "claude", "prices": {"input_mtok": 3.3, "output_mtok": 16.5}}]}
        ]"#;
        let imported = import_prices(text).unwrap();
        let prices = Prices::parse("p", &imported).unwrap();
        let input = |name: &str| prices.find("", name, "").unwrap().input;
        assert_eq!(input("claude"), 3_000_000_000);
        assert_eq!(input("old"), 1_000_000_000);
        assert_eq!(input("aws/claude"), 3_300_000_000);
        assert_eq!(imported.matches("It has tiers").count(), 2);
        assert_eq!(
            prices.find("", "claude", "").unwrap().cache_write,
            Some(3_750_000_000)
        );
    }

    #[test]
    fn other_files_have_no_prices() {
        assert_eq!(import_prices("{}"), Err(ImportError::Unknown));
        assert_eq!(import_prices("[1]"), Err(ImportError::Unknown));
        assert!(matches!(import_prices("{"), Err(ImportError::Json(_))));
    }
}
