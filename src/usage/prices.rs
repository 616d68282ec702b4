//! Prices of models, in billionths of a dollar per million tokens, from a file of our own form:
//!
//! ```toml
//! [models."gpt-5"]
//! input_usd_per_million = 1.25
//! cached_input_usd_per_million = 0.125
//! output_usd_per_million = 10
//! ```
//!
//! A price is read digit by digit, and multiplied as a whole number: there is nothing to round
//! until the sum, which is rounded up.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use sha2::{Digest, Sha256};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::amount::parse_decimal;
use base::suggest::did_you_mean;
use dialect::event::Usage;

/// The largest file of prices, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// The tokens that a price is for.
const PER_MILLION: u128 = 1_000_000;

/// The names of a model's prices in a file.
pub(super) const INPUT: &str = "input_usd_per_million";
pub(super) const OUTPUT: &str = "output_usd_per_million";
pub(super) const CACHED_INPUT: &str = "cached_input_usd_per_million";
pub(super) const CACHE_WRITE: &str = "cache_write_usd_per_million";
pub(super) const REASONING: &str = "reasoning_usd_per_million";
const NAMES: &[&str] = &[INPUT, OUTPUT, CACHED_INPUT, CACHE_WRITE, REASONING];

/// The prices of one model, in billionths of a dollar per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Price {
    /// Of input tokens.
    pub input: u64,
    /// Of output tokens.
    pub output: u64,
    /// Of input tokens that are read from a cache, if it is another one.
    pub cached_input: Option<u64>,
    /// Of input tokens that are written to a cache, if it is another one.
    pub cache_write: Option<u64>,
    /// Of output tokens spent on reasoning, if it is another one.
    pub reasoning: Option<u64>,
}

impl Price {
    /// Returns the cost of a usage in billionths of a dollar, rounded up.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> u64 {
        let cached = usage.cached.unwrap_or(0).min(usage.input);
        let written = usage.cache_written.unwrap_or(0).min(usage.input - cached);
        let reasoning = usage.reasoning.unwrap_or(0).min(usage.output);
        total([
            (usage.input - cached - written, self.input),
            (cached, self.cached_input.unwrap_or(self.input)),
            (written, self.cache_write.unwrap_or(self.input)),
            (usage.output - reasoning, self.output),
            (reasoning, self.reasoning.unwrap_or(self.output)),
        ])
    }

    /// Returns prices that are no lower than these and others.
    #[must_use]
    pub fn highest(self, other: &Self) -> Self {
        let of_both = |own: Option<u64>, plain: u64, others: Option<u64>, others_plain: u64| {
            let either = own.is_some() || others.is_some();
            either.then(|| own.unwrap_or(plain).max(others.unwrap_or(others_plain)))
        };
        Self {
            input: self.input.max(other.input),
            output: self.output.max(other.output),
            cached_input: of_both(
                self.cached_input,
                self.input,
                other.cached_input,
                other.input,
            ),
            cache_write: of_both(self.cache_write, self.input, other.cache_write, other.input),
            reasoning: of_both(self.reasoning, self.output, other.reasoning, other.output),
        }
    }

    /// Returns the most that so many tokens may cost, in billionths of a dollar.
    #[must_use]
    pub fn highest_cost(&self, input: u64, output: u64) -> u64 {
        let of_input = self.input.max(self.cached_input.unwrap_or(0));
        let of_input = of_input.max(self.cache_write.unwrap_or(0));
        let of_output = self.output.max(self.reasoning.unwrap_or(0));
        total([(input, of_input), (output, of_output)])
    }
}

fn total<const N: usize>(parts: [(u64, u64); N]) -> u64 {
    let products = parts
        .iter()
        .map(|(tokens, price)| u128::from(*tokens) * u128::from(*price));
    let sum = products.fold(0_u128, u128::saturating_add);
    u64::try_from(sum.div_ceil(PER_MILLION)).unwrap_or(u64::MAX)
}

/// The prices of all models.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Prices {
    models: BTreeMap<String, Price>,
    version: String,
}

/// Everything that is wrong with a file of prices, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PricesError(Vec<String>);

impl fmt::Display for PricesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for PricesError {}

impl Prices {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn load(file: &Path) -> Result<Self, PricesError> {
        let name = file.display();
        let unreadable = |error: &dyn fmt::Display| {
            PricesError(vec![format!("{name}: can't read the prices: {error}")])
        };
        let length = std::fs::metadata(file).map_err(|error| unreadable(&error))?;
        if length.len() > MAX_FILE_BYTES {
            return Err(unreadable(&"the file is larger than 16 MiB"));
        }
        let text = std::fs::read_to_string(file).map_err(|error| unreadable(&error))?;
        Self::parse(&name.to_string(), &text)
    }

    /// Parses the text of a file of that name.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn parse(file: &str, text: &str) -> Result<Self, PricesError> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut reading = Reading {
            file,
            text,
            problems: Vec::new(),
        };
        for error in errors.iter().take(1) {
            let at = error.span().map_or(0, |span| span.start);
            reading.report(at, error.message());
        }
        let mut models = BTreeMap::new();
        if errors.is_empty() {
            reading.read_models(table.get_ref(), &mut models);
        }
        if !reading.problems.is_empty() {
            return Err(PricesError(reading.problems));
        }
        Ok(Self {
            models,
            version: format!("sha256:{:x}", Sha256::digest(text)),
        })
    }

    /// Returns the digest of the file, by which it is known which prices were in force.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the price of a provider's model: by both names, by the model's there, or by the one
    /// that the client asked for.
    #[must_use]
    pub fn find(&self, provider: &str, upstream_model: &str, model: &str) -> Option<&Price> {
        if self.models.is_empty() {
            return None;
        }
        let of_provider = self.models.get(&format!("{provider}/{upstream_model}"));
        of_provider
            .or_else(|| self.models.get(upstream_model))
            .or_else(|| self.models.get(model))
    }

    /// Returns the number of models with a price.
    #[must_use]
    pub fn count(&self) -> usize {
        self.models.len()
    }
}

/// The reading of one file.
struct Reading<'a> {
    file: &'a str,
    text: &'a str,
    problems: Vec<String>,
}

impl Reading<'_> {
    fn report(&mut self, at: usize, problem: impl fmt::Display) {
        let line = self.text[..at.min(self.text.len())].matches('\n').count() + 1;
        self.problems
            .push(format!("{}:{line}: {problem}", self.file));
    }

    fn read_models(&mut self, table: &DeTable<'_>, models: &mut BTreeMap<String, Price>) {
        for (key, value) in table {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("models", DeValue::Table(all)) => {
                    for (name, model) in all {
                        if let Some(price) = self.read_model(name, model) {
                            models.insert(name.get_ref().to_string(), price);
                        }
                    }
                }
                (name, _) => self.report(
                    key.span().start,
                    format!("`{name}` should be a table `[models.\"NAME\"]`"),
                ),
            }
        }
    }

    fn read_model(
        &mut self,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        model: &Spanned<DeValue<'_>>,
    ) -> Option<Price> {
        let at = name.span().start;
        let name = name.get_ref();
        let DeValue::Table(fields) = model.get_ref() else {
            self.report(at, format!("models.{name} should be a table of prices"));
            return None;
        };
        let mut read: BTreeMap<&str, u64> = BTreeMap::new();
        for (key, value) in fields {
            let field = key.get_ref().as_ref();
            let Some(known) = NAMES.iter().find(|known| **known == field) else {
                let hint = did_you_mean(field, NAMES)
                    .map_or(String::new(), |known| format!("; did you mean `{known}`?"));
                let problem = format!("models.{name}: unknown key `{field}`{hint}");
                self.report(key.span().start, problem);
                continue;
            };
            match price(value.get_ref()) {
                Some(price) => {
                    read.insert(known, price);
                }
                None => self.report(
                    value.span().start,
                    format!(
                        "models.{name}.{field} should be dollars per million tokens, such as 1.25, \
                         with at most 9 digits after the point"
                    ),
                ),
            }
        }
        for needed in [INPUT, OUTPUT] {
            if !fields.iter().any(|(key, _)| key.get_ref() == needed) {
                self.report(at, format!("models.{name}.{needed} is missing"));
            }
        }
        Some(Price {
            input: *read.get(INPUT)?,
            output: *read.get(OUTPUT)?,
            cached_input: read.get(CACHED_INPUT).copied(),
            cache_write: read.get(CACHE_WRITE).copied(),
            reasoning: read.get(REASONING).copied(),
        })
    }
}

fn price(value: &DeValue<'_>) -> Option<u64> {
    let text = match value {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
        DeValue::Float(number) => number.as_str(),
        DeValue::String(text) => text,
        _ => return None,
    };
    parse_decimal(text, 9)
}

#[cfg(test)]
mod tests;
