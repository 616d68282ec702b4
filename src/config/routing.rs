//! The rules by which the targets of a model are asked: part of `[[models]]` and of its targets.

use std::time::Duration;

use http::HeaderName;
use toml::{Table, Value};

use super::Target;
use super::continuation::{ContinuationRules, continuation_rules};
use super::key::Default::{Said, Value as Is};
use super::key::{Key, Kind};
use super::reader::{Reader, wrong};

/// The way in which one of several equal targets is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choose {
    /// The first in the configuration's order.
    #[default]
    First,
    /// One by chance, in proportion to the weights.
    Weighted,
    /// The cheaper of two that are drawn by chance.
    LeastLoaded,
}

/// The common property of requests that prefer the same target, whose prompt cache then knows what
/// they share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Affinity {
    /// None: each request is on its own.
    #[default]
    None,
    /// The beginning of the conversation, which all of its turns repeat.
    Conversation,
    /// The value of a header.
    Header(HeaderName),
}

/// The budget of retries that all requests for a model share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryBudget {
    /// Retries for each request, as a share.
    pub share: f32,
    /// Retries a second besides.
    pub per_second: u32,
}

/// The settings of a breaker, which closes a target that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerOptions {
    /// Hard failures in a row that open it.
    pub failures: u32,
    /// The time for which it opens first.
    pub min_open: Duration,
    /// The longest time for which it opens.
    pub max_open: Duration,
}

impl Default for BreakerOptions {
    /// Returns the defaults. With five failures in a row a target that fails one request of five
    /// would be closed now and then; with seven it almost never is.
    fn default() -> Self {
        Self {
            failures: 7,
            min_open: Duration::from_secs(1),
            max_open: Duration::from_secs(60),
        }
    }
}

/// The rules by which the targets of a model are asked.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutingRules {
    /// The choice among equal targets.
    pub choose: Choose,
    /// Attempts for one request, all reasons together.
    pub attempts: u32,
    /// The budget of retries.
    pub retry_budget: RetryBudget,
    /// A request may be sent again although an upstream may have worked on it.
    pub retry_uncertain: bool,
    /// The common property of requests that prefer the same target.
    pub affinity: Affinity,
    /// The longest wait for a target that is busy, or whose places are all taken.
    pub max_wait: Duration,
    /// The most requests that wait at a time.
    pub max_waiting: usize,
    /// A second target is asked when the first is slower than almost all answers were.
    pub hedge: bool,
    /// The rules by which an answer that breaks is continued, if it is.
    pub continuation: Option<ContinuationRules>,
}

/// The requests of a model that wait at most, and how long they do, where it says nothing else.
const QUEUE_DEFAULTS: (usize, Duration) = (200, Duration::from_secs(5));
/// The longest queue that may be configured: each request in it holds its body.
const MAX_QUEUE: usize = 100_000;

/// Attempts for one request where a model has several targets and says nothing else.
const ATTEMPTS_OF_SEVERAL: u32 = 3;

pub(super) const CHOOSE: Key = Key::new(
    "choose",
    Kind::Word(&["first", "weighted", "least-loaded"]),
    Is("first"),
    "the choice among the targets of a tier: the first of the list, one by chance and weight, or the quicker of two",
);
pub(super) const ATTEMPTS: Key = Key::new(
    "attempts",
    Kind::Number(1, 20),
    Said("`3` with several targets, `continue` or `resume`, else `1`"),
    "how often a request may be sent, to all targets together, also to go on with its answer or to ask for the rest of it",
);
pub(super) const RETRY_BUDGET: Key = Key::new(
    "retry_budget",
    Kind::Text,
    Is("30% + 1/s"),
    "how many of all requests for the model may be sent again: a share of them, and some a second besides",
);
pub(super) const RETRY_UNCERTAIN: Key = Key::new(
    "retry_uncertain",
    Kind::Flag,
    Is("true"),
    "also send a request again that an upstream may have worked on, and may bill",
);
pub(super) const AFFINITY: Key = Key::new(
    "affinity",
    Kind::Text,
    Is("none"),
    "what goes to the same target, for its prompt cache: `\"conversation\"`, or `\"header:x-session-id\"`",
);
pub(super) const QUEUE: Key = Key::new(
    "queue",
    Kind::Table,
    Said("`{ most = 200, wait = \"5s\" }`"),
    "how many requests wait at most, and for how long, when every target is busy or has as many as it may have (`max_in_flight`)",
);
pub(super) const HEDGE: Key = Key::new(
    "hedge",
    Kind::Word(&["off", "p95"]),
    Is("off"),
    "`\"p95\"`: a stream that is slower to begin than 95 % of the model's last ones is asked of a second target too; see [routing.md](routing.md#hedging)",
);
pub(super) const TIER: Key = Key::new(
    "tier",
    Kind::Number(0, 9),
    Is("0"),
    "targets of a higher tier are asked when none of a lower one can be",
);
pub(super) const WEIGHT: Key = Key::new(
    "weight",
    Kind::Number(0, 1000),
    Is("1"),
    "the share of requests within the tier",
);
pub(super) const BREAKER: Key = Key::new(
    "breaker",
    Kind::Table,
    Said("`{ failures = 7, open = \"1s..60s\" }`"),
    "after so many failures in a row it is not asked for a while, which doubles each time",
);

pub(super) const MAX_IN_FLIGHT: Key = Key::new(
    "max_in_flight",
    Kind::Number(1, 1_000_000),
    Said("no bound"),
    "how many requests it has at a time, of all models together; more go to other targets, or wait: see `queue`",
);

/// Reads the rules of a model with those targets.
pub(super) fn routing_rules(reader: &mut Reader<'_>, targets: &[Target]) -> RoutingRules {
    let attempts = reader
        .number(&ATTEMPTS)
        .and_then(|attempts| u32::try_from(attempts).ok());
    let (max_waiting, max_wait) = queue(reader);
    let continuation = continuation_rules(reader);
    let is_resumed = targets.iter().any(|target| target.resume.is_some());
    let is_one = targets.len() == 1 && continuation.is_none() && !is_resumed;
    let attempts = attempts.unwrap_or(if is_one { 1 } else { ATTEMPTS_OF_SEVERAL });
    let retry_uncertain = reader.flag(&RETRY_UNCERTAIN);
    let hedge = is_hedged(reader, (targets.len(), attempts, retry_uncertain));
    RoutingRules {
        choose: match reader.word(&CHOOSE) {
            Some("weighted") => Choose::Weighted,
            Some("least-loaded") => Choose::LeastLoaded,
            _ => Choose::First,
        },
        attempts,
        retry_budget: reader
            .parsed_by(&RETRY_BUDGET, "such as \"30% + 1/s\"", retry_budget)
            .unwrap_or(RetryBudget {
                share: 0.3,
                per_second: 1,
            }),
        retry_uncertain,
        affinity: reader
            .parsed_by(
                &AFFINITY,
                "\"none\", \"conversation\" or such as \"header:x-session-id\"",
                affinity,
            )
            .unwrap_or_default(),
        max_wait,
        max_waiting,
        hedge,
        continuation,
    }
}

/// Reads if a second target is asked beside the first, which other keys must allow.
fn is_hedged(
    reader: &mut Reader<'_>,
    (targets, attempts, retry_uncertain): (usize, u32, bool),
) -> bool {
    let is_hedged = reader.word(&HEDGE) == Some("p95");
    let is_lone = targets == 1 && reader.is_sound(&format!("{}.targets", reader.section()));
    if is_hedged && (is_lone || attempts == 1 || !retry_uncertain) {
        let problem = "asks a second target beside the first, which needs at least two `targets`, \
                       two `attempts` and `retry_uncertain`";
        reader.report(&reader.path(&HEDGE), problem);
    }
    is_hedged
}

/// Reads a target's tier and weight.
pub(super) fn tier_and_weight(reader: &mut Reader<'_>) -> (u8, u32) {
    let tier = reader
        .number(&TIER)
        .and_then(|tier| u8::try_from(tier).ok());
    let weight = reader.number(&WEIGHT);
    let weight = weight.and_then(|weight| u32::try_from(weight).ok());
    (tier.unwrap_or_default(), weight.unwrap_or(1))
}

/// Reads a provider's breaker.
pub(super) fn breaker(reader: &mut Reader<'_>) -> BreakerOptions {
    const WANT: &str = "such as { failures = 7, open = \"1s..60s\" }";
    let breaker = reader.read(&BREAKER, |value| {
        let table = table_of(value, &["failures", "open"]).ok_or_else(|| wrong(WANT, value))?;
        let mut breaker = BreakerOptions::default();
        if let Some(failures) = table.get("failures") {
            let failures = failures.as_integer().and_then(|n| u32::try_from(n).ok());
            breaker.failures = failures
                .filter(|failures| (1..=1000).contains(failures))
                .ok_or_else(|| wrong(WANT, value))?;
        }
        if let Some(open) = table.get("open") {
            let (least, most) = open
                .as_str()
                .and_then(time_range)
                .ok_or_else(|| wrong(WANT, value))?;
            (breaker.min_open, breaker.max_open) = (least, most);
        }
        Ok(breaker)
    });
    breaker.unwrap_or_default()
}

/// Reads the bound of a model's queue, and the longest wait in it.
fn queue(reader: &mut Reader<'_>) -> (usize, Duration) {
    const WANT: &str = "such as { most = 200, wait = \"5s\" }";
    let queue = reader.read(&QUEUE, |value| {
        let (mut most, mut wait) = QUEUE_DEFAULTS;
        let table = table_of(value, &["most", "wait"]).ok_or_else(|| wrong(WANT, value))?;
        if let Some(value) = table.get("most") {
            most = value
                .as_integer()
                .and_then(|most| usize::try_from(most).ok())
                .filter(|most| *most <= MAX_QUEUE)
                .ok_or_else(|| wrong(WANT, value))?;
        }
        if let Some(value) = table.get("wait") {
            wait = value
                .as_str()
                .and_then(|wait| humantime::parse_duration(wait).ok())
                .filter(|wait| *wait <= Duration::from_secs(3600))
                .ok_or_else(|| wrong(WANT, value))?;
        }
        Ok((most, wait))
    });
    queue.unwrap_or(QUEUE_DEFAULTS)
}

/// Returns a table that has no other keys than these.
fn table_of<'a>(value: &'a Value, keys: &[&str]) -> Option<&'a Table> {
    let table = value.as_table()?;
    let is_known = |key: &String| keys.contains(&key.as_str());
    table.keys().all(is_known).then_some(table)
}

/// Parses `1s..60s`.
fn time_range(text: &str) -> Option<(Duration, Duration)> {
    let (least, most) = text.split_once("..")?;
    let least = humantime::parse_duration(least.trim()).ok()?;
    let most = humantime::parse_duration(most.trim()).ok()?;
    let bounds = Duration::from_millis(1)..=Duration::from_secs(86_400);
    (bounds.contains(&least) && bounds.contains(&most) && least <= most).then_some((least, most))
}

/// Parses `30% + 1/s`; each part may be missing.
fn retry_budget(text: &str) -> Option<RetryBudget> {
    let mut budget = RetryBudget {
        share: 0.0,
        per_second: 0,
    };
    for part in text.split('+') {
        let part = part.trim();
        if let Some(percent) = part.strip_suffix('%') {
            let percent: f32 = percent.trim().parse().ok()?;
            budget.share = (0.0..=1000.0)
                .contains(&percent)
                .then_some(percent / 100.0)?;
        } else {
            budget.per_second = part.strip_suffix("/s")?.trim().parse().ok()?;
            if budget.per_second > 10_000 {
                return None;
            }
        }
    }
    Some(budget)
}

fn affinity(text: &str) -> Option<Affinity> {
    Some(match text {
        "none" => Affinity::None,
        "conversation" => Affinity::Conversation,
        _ => Affinity::Header(text.strip_prefix("header:")?.trim().parse().ok()?),
    })
}
