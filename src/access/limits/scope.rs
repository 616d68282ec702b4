//! A holder of limits: a key, a team or a provider.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::budget::{BudgetMeter, BudgetStatus};
use super::rate::{Rate, RateMark, RateMeter, RateStatus};
use super::refusal::LimitKind;
use crate::config::{Budget, Limits, Period};

/// The time after which a request that found no place is worth another try, in milliseconds.
const PLACE_WAIT: u64 = 1000;

/// A point in time, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds by a clock that only goes forward, for rates.
    pub steady: u64,
    /// Seconds since 1970, for the calendar.
    pub unix: u64,
}

impl Moment {
    /// Returns the present.
    #[must_use]
    pub fn now() -> Self {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            steady: u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX),
            unix: unix.map_or(0, |since| since.as_secs()),
        }
    }
}

/// The kind of a scope. A request takes its scopes in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeKind {
    /// A key.
    Key,
    /// A team.
    Team,
    /// A provider.
    Provider,
}

/// The limits of one scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeLimits {
    /// Requests per window.
    pub requests: Option<Rate>,
    /// Tokens per window.
    pub tokens: Option<Rate>,
    /// Requests at a time.
    pub concurrent: Option<u64>,
    /// Money.
    pub budgets: Vec<Budget>,
}

impl From<&Limits> for ScopeLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            requests: limits.requests_per_minute.map(Rate::per_minute),
            tokens: limits.tokens_per_minute.map(Rate::per_minute),
            concurrent: limits.concurrent,
            budgets: limits.budget.into_iter().collect(),
        }
    }
}

/// Tokens and money, reserved or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reservation {
    /// Tokens of input and output.
    pub tokens: u64,
    /// Money, in billionths of a dollar.
    pub nano: u64,
}

/// A request's share of one scope.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) scope: Arc<Scope>,
    /// The place of its tokens, if they are limited.
    tokens: Option<RateMark>,
    /// The numbers of the periods in which its money is reserved.
    periods: [u64; Period::ALL.len()],
}

/// A holder of limits.
#[derive(Debug)]
pub struct Scope {
    kind: ScopeKind,
    name: String,
    limits: ScopeLimits,
    /// Held for a moment, never across an await; of several scopes in the order of their kinds.
    /// Shared with the same scope under other limits.
    state: Arc<Mutex<ScopeState>>,
}

/// The amounts taken of one scope's limits.
#[derive(Debug, Default, Clone)]
pub(super) struct ScopeState {
    requests: RateMeter,
    tokens: RateMeter,
    in_flight: u64,
    /// By the number of the period in [`Period::ALL`]. Counted with a budget and without one.
    money: [BudgetMeter; Period::ALL.len()],
}

/// The state of a scope's limits for its holder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeStatus {
    /// Requests per window.
    pub requests: Option<RateStatus>,
    /// Tokens per window.
    pub tokens: Option<RateStatus>,
    /// The requests that run now.
    pub in_flight: u64,
    /// Money.
    pub budgets: Vec<BudgetStatus>,
    /// The money that was spent in the periods of [`Period::ALL`], in billionths of a dollar.
    pub spent: [u64; Period::ALL.len()],
}

impl Scope {
    /// Returns a scope of which nothing has been taken.
    #[must_use]
    pub fn new(kind: ScopeKind, name: impl Into<String>, limits: ScopeLimits) -> Self {
        Self {
            kind,
            name: name.into(),
            limits,
            state: Arc::default(),
        }
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> ScopeKind {
        self.kind
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the limits.
    #[must_use]
    pub fn limits(&self) -> &ScopeLimits {
        &self.limits
    }

    /// Returns the same scope under other limits: as much has been taken of it.
    #[must_use]
    pub fn with_limits(&self, name: &str, limits: ScopeLimits) -> Self {
        Self {
            kind: self.kind,
            name: name.to_owned(),
            limits,
            state: self.state.clone(),
        }
    }

    /// Returns the state of the limits at a time.
    #[must_use]
    pub fn status(&self, now: Moment) -> ScopeStatus {
        let mut state = self.lock();
        self.advance(&mut state, now);
        self.status_of(&state)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ScopeState> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the state up to a time.
    pub(super) fn advance(&self, state: &mut ScopeState, now: Moment) {
        if let Some(rate) = &self.limits.requests {
            state.requests.drain(rate, now.steady);
        }
        if let Some(rate) = &self.limits.tokens {
            state.tokens.drain(rate, now.steady);
        }
        for (per, budget) in Period::ALL.into_iter().zip(&mut state.money) {
            budget.turn(per, now.unix);
        }
    }

    fn status_of(&self, state: &ScopeState) -> ScopeStatus {
        let requests = self.limits.requests.as_ref();
        let tokens = self.limits.tokens.as_ref();
        let budgets = self.budgets(state);
        ScopeStatus {
            requests: requests.map(|rate| state.requests.status(rate)),
            tokens: tokens.map(|rate| state.tokens.status(rate)),
            in_flight: state.in_flight,
            budgets: budgets.map(|(it, limit)| it.status(limit)).collect(),
            spent: state.money.each_ref().map(BudgetMeter::spent),
        }
    }

    /// Returns each budget, and what was taken of it.
    fn budgets<'a>(
        &'a self,
        state: &'a ScopeState,
    ) -> impl Iterator<Item = (&'a BudgetMeter, &'a Budget)> {
        let budgets = self.limits.budgets.iter();
        budgets.map(|limit| (&state.money[limit.per as usize], limit))
    }

    /// Returns each limit that has no room for a request, and the time after which it may have.
    pub(super) fn refusals(
        &self,
        state: &ScopeState,
        asked: &Reservation,
        now: Moment,
    ) -> impl Iterator<Item = (LimitKind, Option<u64>)> {
        let requests = self.limits.requests.and_then(|rate| {
            let wait = state.requests.wait(&rate, 1);
            (wait != Some(0)).then_some((LimitKind::Requests(rate), wait))
        });
        let tokens =
            self.limits
                .tokens
                .and_then(|rate| match state.tokens.wait(&rate, asked.tokens) {
                    Some(0) => None,
                    None => {
                        let (cost, most) = (asked.tokens, rate.burst);
                        Some((LimitKind::TooLarge { cost, most }, None))
                    }
                    wait => Some((LimitKind::Tokens(rate), wait)),
                });
        let concurrent = self.limits.concurrent.and_then(|most| {
            let is_full = state.in_flight >= most;
            is_full.then_some((LimitKind::Concurrent(most), Some(PLACE_WAIT)))
        });
        let budget = self
            .budgets(state)
            .filter(|(budget, limit)| {
                let room = budget.room(limit);
                room == 0 || asked.nano > room
            })
            .map(|(budget, limit)| {
                let end = limit.per.end(budget.period());
                let wait = end.map(|end| end.saturating_sub(now.unix).saturating_mul(1000));
                (LimitKind::Budget(*limit), wait)
            })
            .max_by_key(|(_, wait)| wait.unwrap_or(u64::MAX));
        [requests, tokens, concurrent, budget].into_iter().flatten()
    }

    /// Takes a request's share.
    pub(super) fn take(self: &Arc<Self>, state: &mut ScopeState, asked: &Reservation) -> Claim {
        if self.limits.requests.is_some() {
            state.requests.reserve(1);
        }
        let tokens = self.limits.tokens.is_some();
        let tokens = tokens.then(|| state.tokens.reserve(asked.tokens));
        state.in_flight += 1;
        for budget in &mut state.money {
            budget.reserve(asked.nano);
        }
        Claim {
            scope: self.clone(),
            tokens,
            periods: state.money.each_ref().map(BudgetMeter::period),
        }
    }

    /// Returns the budget of a claim's periods that has the least money left, and how much that is.
    /// A period that has passed has no limit any more.
    pub(super) fn room(
        &self,
        state: &mut ScopeState,
        claim: &Claim,
        now: Moment,
    ) -> Option<(u64, Budget)> {
        self.advance(state, now);
        let current = self
            .budgets(state)
            .filter(|(budget, limit)| budget.period() == claim.periods[limit.per as usize]);
        current
            .map(|(budget, limit)| (budget.room(limit), *limit))
            .min_by_key(|(room, _)| *room)
    }

    /// Reserves money on top of a claim.
    pub(super) fn reserve_more(state: &mut ScopeState, claim: &Claim, nano: u64) {
        for (budget, period) in state.money.iter_mut().zip(claim.periods) {
            if budget.period() == period {
                budget.reserve(nano);
            }
        }
    }

    /// Replaces a claim by what was used.
    pub(super) fn settle(
        &self,
        claim: &Claim,
        reserved: &Reservation,
        used: &Reservation,
        now: Moment,
    ) {
        let mut state = self.lock();
        self.advance(&mut state, now);
        state.in_flight = state.in_flight.saturating_sub(1);
        if let Some(mark) = claim.tokens {
            state.tokens.settle(mark, reserved.tokens, used.tokens);
        }
        for (budget, period) in state.money.iter_mut().zip(claim.periods) {
            budget.settle(period, reserved.nano, used.nano);
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ScopeKind::Key => "key",
            ScopeKind::Team => "team",
            ScopeKind::Provider => "provider",
        };
        write!(f, "{kind} `{}`", self.name)
    }
}
