//! The refusal of a request by a limit.

use std::fmt;

use super::rate::Rate;
use crate::config::{Budget, Period};

/// A limit that refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// Requests per window.
    Requests(Rate),
    /// Tokens per window.
    Tokens(Rate),
    /// One request has more tokens than may ever come at once.
    TooLarge {
        /// The tokens that it may cost.
        cost: u64,
        /// The most at once.
        most: u64,
    },
    /// Requests at a time.
    Concurrent(u64),
    /// Money.
    Budget(Budget),
}

/// The refusal of a request, which has taken nothing of any limit.
#[derive(Debug, Clone)]
pub struct LimitRefusal {
    /// The scope whose limit it is, in words.
    pub scope: String,
    /// The limit.
    pub limit: LimitKind,
    /// The time after which the request may be admitted, in milliseconds; never if `None`.
    pub wait: Option<u64>,
}

impl LimitRefusal {
    /// Returns whether this one is the better reason to give: the one that lasts longer.
    pub(super) fn outlasts(&self, other: &Self) -> bool {
        match (self.wait, other.wait) {
            (None, Some(_)) => true,
            (Some(own), Some(other)) => own > other,
            (_, None) => false,
        }
    }
}

impl fmt::Display for LimitRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = &self.scope;
        match &self.limit {
            LimitKind::Requests(rate) => write_rate(f, scope, rate, "requests"),
            LimitKind::Tokens(rate) => write_rate(f, scope, rate, "tokens"),
            LimitKind::TooLarge { cost, most } => write!(
                f,
                "this request may take {cost} tokens, with its input and `max_tokens`; {scope} may \
                 have at most {most} at once: ask for less"
            ),
            LimitKind::Concurrent(most) => {
                write!(f, "{scope} has {most} requests running, its limit")
            }
            LimitKind::Budget(budget) => {
                write!(
                    f,
                    "{scope} has used up its budget of {}",
                    Usd(budget.nano_usd)
                )?;
                match budget.per {
                    Period::Total => Ok(()),
                    per => write!(f, " per {}", per.as_str()),
                }
            }
        }
    }
}

fn write_rate(f: &mut fmt::Formatter<'_>, scope: &str, rate: &Rate, units: &str) -> fmt::Result {
    let most = rate.units;
    match rate.window {
        60_000 => write!(
            f,
            "{scope} has reached its limit of {most} {units} per minute"
        ),
        window => write!(
            f,
            "{scope} has reached its limit of {most} {units} per {window} ms"
        ),
    }
}

/// An amount of money, in billionths of a dollar.
#[derive(Debug, Clone, Copy)]
struct Usd(u64);

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, parts) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        match parts {
            0 => write!(f, "${whole}"),
            parts => {
                let digits = format!("{parts:09}");
                let digits = digits.trim_end_matches('0');
                write!(f, "${whole}.{digits:0<2}")
            }
        }
    }
}
