//! The series of generations: which number stands for which model, provider and event.

use std::collections::HashMap;
use std::time::Duration;

use dialect::event::Usage;
use dialect::failure::{Blame, FailureClass, FailureKind};

use super::CountedModel;
use crate::outcome::{GenerationEnd, Outcome, PAUSE_BOUNDS};

/// The upper bounds of the buckets of times to a token and to the end, in microseconds: those of
/// OpenTelemetry, 10 ms times powers of two.
pub(super) const TIME_BOUNDS: [u64; 14] = [
    10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000, 2_560_000, 5_120_000,
    10_240_000, 20_480_000, 40_960_000, 81_920_000,
];

/// The label for a model of which the configuration knows nothing.
const OTHER: &str = "other";
/// The label for generations that no provider was asked for.
const NO_PROVIDER: &str = "none";

/// The ways in which generations end.
pub(super) const OUTCOMES: [&str; 9] = [
    "done",
    "cancelled",
    "stalled",
    "upstream_error",
    "timeout",
    "limit",
    "revoked",
    "client_error",
    "server_error",
];

/// The kinds of tokens.
pub(super) const TOKEN_KINDS: [&str; 5] =
    ["input", "cached", "cache_written", "output", "reasoning"];

/// The ways in which attempts end.
pub(super) const ATTEMPT_ENDS: [&str; 2] = ["ok", "failed"];

/// The cells of a histogram: its buckets, and the sum in microseconds.
pub(super) const fn histogram_cells(bounds: usize) -> usize {
    bounds + 2
}

// The cells of a pair, from its first one.
const OUTCOME: usize = 0;
pub(super) const TOKENS: usize = OUTCOME + OUTCOMES.len();
pub(super) const ATTEMPTS: usize = TOKENS + TOKEN_KINDS.len();
pub(super) const COST: usize = ATTEMPTS + ATTEMPT_ENDS.len();
pub(super) const FIRST_TOKEN: usize = COST + 1;
pub(super) const PAUSES: usize = FIRST_TOKEN + histogram_cells(TIME_BOUNDS.len());
pub(super) const DURATION: usize = PAUSES + histogram_cells(PAUSE_BOUNDS.len());
const PAIR_CELLS: usize = DURATION + histogram_cells(TIME_BOUNDS.len());

/// A model, and a provider that may answer for it.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) model: String,
    pub(super) provider: String,
    /// Its first cell.
    pub(super) first: usize,
}

/// All series of generations.
#[derive(Debug)]
pub(super) struct Series {
    pairs: Vec<Pair>,
    /// The pairs of each model, which follow one another, and the cell of its starts.
    models: HashMap<String, ModelSeries>,
    other: ModelSeries,
}

#[derive(Debug, Clone)]
struct ModelSeries {
    pairs: std::ops::Range<usize>,
    started: usize,
}

impl Series {
    pub(super) fn new(models: Vec<CountedModel>) -> Self {
        let mut pairs = Vec::new();
        let mut by_name = HashMap::new();
        let other = CountedModel {
            name: OTHER.to_owned(),
            providers: Vec::new(),
        };
        let mut other_series = ModelSeries {
            pairs: 0..0,
            started: 0,
        };
        let mut cells = 0;
        for CountedModel { name, providers } in models.into_iter().chain([other]) {
            let from = pairs.len();
            for provider in providers.into_iter().chain([NO_PROVIDER.to_owned()]) {
                if pairs[from..]
                    .iter()
                    .any(|pair: &Pair| pair.provider == provider)
                {
                    continue;
                }
                pairs.push(Pair {
                    model: name.clone(),
                    provider,
                    first: cells,
                });
                cells += PAIR_CELLS;
            }
            other_series = ModelSeries {
                pairs: from..pairs.len(),
                started: cells,
            };
            cells += 1;
            by_name.insert(name, other_series.clone());
        }
        Self {
            pairs,
            models: by_name,
            other: other_series,
        }
    }

    /// Returns the number of cells.
    pub(super) fn cells(&self) -> usize {
        self.other.started + 1
    }

    /// Returns all pairs.
    pub(super) fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Returns the models, each with the cell of its starts and its pairs, in the order of names.
    pub(super) fn models(&self) -> Vec<(&str, usize, &[Pair])> {
        let models = self.models.iter().map(|(name, series)| {
            let pairs = self.pairs.get(series.pairs.clone()).unwrap_or_default();
            (name.as_str(), series.started, pairs)
        });
        let mut models: Vec<_> = models.collect();
        models.sort_unstable_by_key(|(name, ..)| *name);
        models
    }

    /// Returns the cells of models and providers that another table has too, each with its cell
    /// there.
    pub(super) fn shared_cells(&self, other: &Self) -> Vec<(usize, usize)> {
        let mut cells = Vec::new();
        for (name, before) in &self.models {
            // Those of a model that is gone would make running generations of it end twice.
            let Some(after) = other.models.get(name) else {
                continue;
            };
            cells.push((before.started, after.started));
            for pair in self.pairs.get(before.pairs.clone()).unwrap_or_default() {
                let pairs = other.pairs.get(after.pairs.clone()).unwrap_or_default();
                // What a provider that is gone has counted is nobody's then, and has ended.
                let same = pairs.iter().find(|other| other.provider == pair.provider);
                let Some(same) = same.or(pairs.last()) else {
                    continue;
                };
                let offsets = 0..PAIR_CELLS;
                cells.extend(offsets.map(|offset| (pair.first + offset, same.first + offset)));
            }
        }
        cells
    }

    fn model(&self, name: &str) -> &ModelSeries {
        let fallback = || self.models.get("*").unwrap_or(&self.other);
        self.models.get(name).unwrap_or_else(fallback)
    }

    /// Returns the cell in which the starts of a model's generations are counted.
    pub(super) fn started(&self, model: &str) -> usize {
        self.model(model).started
    }

    /// Counts a generation: `add` gets cells, and what is added to each.
    pub(super) fn count(&self, outcome: &Outcome, mut add: impl FnMut(usize, u64)) {
        let model = self.model(&outcome.model);
        let pairs = self.pairs.get(model.pairs.clone()).unwrap_or_default();
        let Some(none) = pairs.last() else {
            return;
        };
        let pair = |provider: &str| {
            let pair = pairs.iter().find(|pair| pair.provider == provider);
            pair.unwrap_or(none).first
        };
        let (last, earlier) = match outcome.attempts.split_last() {
            Some((last, earlier)) => (pair(&last.provider), earlier),
            None => (none.first, &[][..]),
        };
        for attempt in earlier {
            add(pair(&attempt.provider) + ATTEMPTS + 1, 1);
        }
        if let Some(attempt) = outcome.attempts.last() {
            add(last + ATTEMPTS + usize::from(attempt.failure.is_some()), 1);
        }
        add(last + OUTCOME + end_index(&outcome.end), 1);
        if let Some(usage) = outcome.usage {
            for (kind, count) in token_counts(usage).into_iter().enumerate() {
                add(last + TOKENS + kind, count);
            }
        }
        if let Some(nano_usd) = outcome.spent.nano_usd {
            add(last + COST, nano_usd);
        }
        if let Some(time) = outcome.time_to_first_token {
            add_time(last + FIRST_TOKEN, time, &mut add);
        }
        add_time(last + DURATION, outcome.duration, &mut add);
        if let Some(pauses) = &outcome.pauses {
            for (bucket, count) in pauses.counts.iter().enumerate().filter(|(_, n)| **n > 0) {
                add(last + PAUSES + bucket, u64::from(*count));
            }
            add(last + PAUSES + pauses.counts.len(), pauses.sum);
        }
    }
}

fn add_time(histogram: usize, time: Duration, add: &mut impl FnMut(usize, u64)) {
    let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let bucket = TIME_BOUNDS
        .iter()
        .take_while(|bound| time > **bound)
        .count();
    add(histogram + bucket, 1);
    add(histogram + TIME_BOUNDS.len() + 1, time);
}

/// Returns the counts in the order of [`TOKEN_KINDS`].
fn token_counts(usage: Usage) -> [u64; TOKEN_KINDS.len()] {
    [
        usage.input,
        usage.cached.unwrap_or_default(),
        usage.cache_written.unwrap_or_default(),
        usage.output,
        usage.reasoning.unwrap_or_default(),
    ]
}

/// Returns the place of an end in [`OUTCOMES`].
fn end_index(end: &GenerationEnd) -> usize {
    let word = match end {
        GenerationEnd::Complete => "done",
        GenerationEnd::Cancelled | GenerationEnd::ClientLeft => "cancelled",
        GenerationEnd::ClientStalled => "stalled",
        GenerationEnd::Aborted => "server_error",
        GenerationEnd::Failed { class, .. } => failure_word(class),
    };
    let place = OUTCOMES.iter().position(|outcome| *outcome == word);
    place.unwrap_or(OUTCOMES.len() - 1)
}

fn failure_word(class: &FailureClass) -> &'static str {
    match class.code {
        "cancelled" => return "cancelled",
        "key_revoked" | "key_expired" => return "revoked",
        _ => {}
    }
    match (class.kind, class.blame) {
        (FailureKind::Timeout, _) => "timeout",
        (FailureKind::RateLimit, Blame::Client | Blame::Us) => "limit",
        (_, Blame::Client) => "client_error",
        (_, Blame::Upstream) => "upstream_error",
        (_, Blame::Us) => "server_error",
    }
}
