//! The account of a generation: what it may use, what it has used, and what that costs.
//!
//! Its permit is settled when the generation ends, whatever happened. A stream that says more than
//! was reserved for it gets a further allowance of money ahead of time, and ends when there is
//! none. Per token a sum is compared with a number.
//!
//! Not here: whether a request is admitted, which is the front door's.

use std::sync::Arc;
use std::time::Duration;

use dialect::event::Usage;
use dialect::failure::Failure;

use crate::access::limits::{LimitRefusal, Permit, Reservation};
use crate::outcome::{GenerationEnd, Outcome, Spent, UsageSource};
use crate::usage::prices::Prices;

/// The tokens of a further allowance.
const ALLOWANCE: u64 = 768;
/// The tokens before the end of an allowance at which the next one is asked for.
const MARGIN: u64 = 256;
/// Bytes of text to a token, where nothing is reported.
const BYTES_PER_TOKEN: usize = 4;

/// The account of a generation.
#[derive(Debug, Default)]
pub struct Account {
    /// The permit, where there are limits.
    pub permit: Option<Permit>,
    /// The key that pays, by its id.
    pub key: Option<Arc<str>>,
    /// The team of the key.
    pub team: Option<Arc<str>>,
    /// The prices.
    pub prices: Arc<Prices>,
    /// About the tokens of the input, for a generation whose upstream does not say.
    pub input: u64,
    /// The output tokens that are paid for by the reservation.
    pub allowance: u64,
    /// Set if the client limits the output itself: no upstream says more, and it is not estimated.
    pub is_bounded: bool,
    /// The price of the dearest target's output, in billionths of a dollar per million tokens.
    pub output_price: u64,
}

impl Account {
    /// Returns the number of tokens said from which on [`Account::extend`] is to be called.
    pub(super) fn first_check(&self) -> u64 {
        let has_budget = self.permit.as_ref().is_some_and(Permit::has_budget);
        match has_budget && self.output_price > 0 {
            true if self.is_bounded => self.allowance,
            true => self.allowance.saturating_sub(MARGIN),
            false => u64::MAX,
        }
    }

    /// Pays for further tokens, of an answer that has said so many. Returns the number from which
    /// on it is to be called again.
    ///
    /// # Errors
    ///
    /// The failure of an answer that has said what it could pay for.
    pub(super) fn extend(&mut self, said: u64) -> Result<u64, Failure> {
        let Some(permit) = &mut self.permit else {
            return Ok(u64::MAX);
        };
        let price = u128::from(self.output_price.max(1));
        let nano = u64::try_from((price * u128::from(ALLOWANCE)).div_ceil(1_000_000));
        let nano = nano.unwrap_or(u64::MAX);
        loop {
            match permit.reserve_more(nano) {
                Ok(granted) => {
                    let tokens = u128::from(granted) * 1_000_000 / price;
                    let tokens = u64::try_from(tokens).unwrap_or(u64::MAX);
                    self.allowance = self.allowance.saturating_add(tokens);
                    let is_last = granted < nano;
                    if said <= self.allowance {
                        let margin = if is_last { 0 } else { MARGIN };
                        return Ok(self.allowance.saturating_sub(margin).max(said));
                    }
                }
                Err(_) if said <= self.allowance => return Ok(self.allowance),
                Err(refusal) => return Err(out_of_money(&refusal)),
            }
        }
    }

    /// Settles the permit with what a generation has used, and writes that into its outcome.
    pub(super) fn settle(mut self, outcome: &mut Outcome, said: u64) {
        let most = match self.is_bounded {
            true => self.allowance.max(outcome.payloads),
            false => u64::MAX,
        };
        let mut spent = spent(outcome, said.min(most), self.input);
        spent.nano_usd = self.cost(outcome, &spent.usage);
        if let Some(mut permit) = self.permit.take() {
            permit.set_used(Reservation {
                tokens: spent.usage.input.saturating_add(spent.usage.output),
                nano: spent.nano_usd.unwrap_or(0),
            });
        }
        outcome.key = self.key;
        outcome.team = self.team;
        outcome.spent = spent;
    }

    fn cost(&self, outcome: &Outcome, usage: &Usage) -> Option<u64> {
        let target = outcome.attempts.last()?;
        let (provider, upstream_model) = (&target.provider, &target.upstream_model);
        let price = self.prices.find(provider, upstream_model, &outcome.model);
        price.map(|price| price.cost(usage))
    }
}

/// Returns the failure of an answer whose money is spent.
fn out_of_money(refusal: &LimitRefusal) -> Failure {
    let message = format!("{refusal}: the answer ends here, incomplete");
    Failure::budget_exceeded(message, refusal.wait.map(Duration::from_millis))
}

/// Returns what a generation has used: what its upstream reported and, for an answer that is not
/// whole or whose upstream reports nothing, its input and what it said.
pub(super) fn spent(outcome: &Outcome, said: u64, input: u64) -> Spent {
    let is_complete = matches!(outcome.end, GenerationEnd::Complete);
    let reported = outcome.usage;
    let (usage, source) = match reported {
        Some(usage) if is_complete => (usage, UsageSource::Reported),
        // Nobody bills what was refused, or broke before it began.
        None if outcome.attempts.is_empty() || has_failed_unsaid(outcome) => {
            (Usage::default(), UsageSource::Nothing)
        }
        _ => {
            let known = reported.unwrap_or_default();
            let usage = Usage {
                input: if known.input == 0 { input } else { known.input },
                output: known.output.max(said),
                ..known
            };
            let source = match is_complete {
                true => UsageSource::Estimated,
                false => UsageSource::Partial,
            };
            (usage, source)
        }
    };
    let is_nothing = usage == Usage::default();
    Spent {
        usage,
        source: if is_nothing {
            UsageSource::Nothing
        } else {
            source
        },
        nano_usd: None,
    }
}

fn has_failed_unsaid(outcome: &Outcome) -> bool {
    outcome.payloads == 0 && matches!(outcome.end, GenerationEnd::Failed { .. })
}

/// The tokens of an answer so far. A payload is one at least; a longer one is about as many as its
/// text has, as far as it is longer than the shortest.
#[derive(Debug)]
pub(super) struct SaidTokens {
    tokens: u64,
    shortest: usize,
}

impl Default for SaidTokens {
    fn default() -> Self {
        Self {
            tokens: 0,
            shortest: usize::MAX,
        }
    }
}

impl SaidTokens {
    /// Adds a payload of that many bytes; returns its tokens.
    #[inline]
    pub(super) fn add(&mut self, bytes: usize) -> u64 {
        self.shortest = self.shortest.min(bytes);
        let tokens = 1 + ((bytes - self.shortest) / BYTES_PER_TOKEN) as u64;
        self.tokens += tokens;
        tokens
    }

    /// Takes the upstream's own count of the output.
    #[inline]
    pub(super) fn raise(&mut self, reported: u64) {
        self.tokens = self.tokens.max(reported);
    }

    /// Takes an upper bound of the output.
    pub(super) fn lower(&mut self, most: u64) {
        self.tokens = self.tokens.min(most);
    }

    /// Takes tokens back that the client does not get.
    pub(super) fn take_back(&mut self, tokens: u64) {
        self.tokens -= tokens.min(self.tokens);
    }

    #[inline]
    pub(super) fn count(&self) -> u64 {
        self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_payloads_are_more_than_one_token() {
        let mut said = SaidTokens::default();
        let tokens: Vec<u64> = [100, 101, 140, 98, 98].map(|bytes| said.add(bytes)).into();
        assert_eq!(tokens, [1, 1, 11, 1, 1]);
        assert_eq!(said.count(), 15);
        said.raise(12);
        assert_eq!(said.count(), 15);
        said.raise(20);
        said.take_back(1);
        assert_eq!(said.count(), 19);
    }
}
