//! A holder of limits, a key, a team or a provider, and the admission by several of them.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::budget::{BudgetLimit, BudgetMeter, BudgetStatus};
use super::permit::{Claim, Permit, Reservation};
use super::rate::{Rate, RateMeter, RateStatus};
use super::refusal::{LimitKind, LimitRefusal};

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
    pub budgets: Vec<BudgetLimit>,
}

/// A holder of limits.
#[derive(Debug)]
pub struct Scope {
    kind: ScopeKind,
    name: String,
    limits: ScopeLimits,
    /// Held for a moment, never across an await; of several scopes in the order of their kinds.
    state: Mutex<ScopeState>,
}

/// What has been taken of one scope's limits.
#[derive(Debug, Default, Clone)]
pub(super) struct ScopeState {
    requests: RateMeter,
    tokens: RateMeter,
    in_flight: u64,
    budgets: Vec<BudgetMeter>,
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
}

impl Scope {
    /// Returns a scope of which nothing has been taken.
    #[must_use]
    pub fn new(kind: ScopeKind, name: impl Into<String>, limits: ScopeLimits) -> Self {
        let state = ScopeState {
            budgets: vec![BudgetMeter::default(); limits.budgets.len()],
            ..ScopeState::default()
        };
        Self {
            kind,
            name: name.into(),
            limits,
            state: Mutex::new(state),
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

    /// Returns a scope with other limits, of which as much has been taken as of this one.
    #[must_use]
    pub fn with_limits(&self, limits: ScopeLimits) -> Self {
        let old = self.lock().clone();
        let budgets = limits.budgets.iter().map(|budget| {
            let same = self
                .limits
                .budgets
                .iter()
                .position(|it| it.per == budget.per);
            same.and_then(|at| old.budgets.get(at).cloned())
                .unwrap_or_default()
        });
        let state = ScopeState {
            budgets: budgets.collect(),
            ..old
        };
        Self {
            kind: self.kind,
            name: self.name.clone(),
            limits,
            state: Mutex::new(state),
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
    fn advance(&self, state: &mut ScopeState, now: Moment) {
        if let Some(rate) = &self.limits.requests {
            state.requests.drain(rate, now.steady);
        }
        if let Some(rate) = &self.limits.tokens {
            state.tokens.drain(rate, now.steady);
        }
        for (budget, limit) in state.budgets.iter_mut().zip(&self.limits.budgets) {
            budget.turn(limit, now.unix);
        }
    }

    fn status_of(&self, state: &ScopeState) -> ScopeStatus {
        let requests = self.limits.requests.as_ref();
        let tokens = self.limits.tokens.as_ref();
        let budgets = state.budgets.iter().zip(&self.limits.budgets);
        ScopeStatus {
            requests: requests.map(|rate| state.requests.status(rate)),
            tokens: tokens.map(|rate| state.tokens.status(rate)),
            in_flight: state.in_flight,
            budgets: budgets.map(|(it, limit)| it.status(limit)).collect(),
        }
    }

    /// Returns each limit that has no room for a request, and the time after which it may have.
    fn refusals(
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
        let budgets = state.budgets.iter().zip(&self.limits.budgets);
        let budget = budgets
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
    fn take(self: &Arc<Self>, state: &mut ScopeState, asked: &Reservation) -> Claim {
        if self.limits.requests.is_some() {
            state.requests.reserve(1);
        }
        let tokens = self.limits.tokens.is_some();
        let tokens = tokens.then(|| state.tokens.reserve(asked.tokens));
        state.in_flight += 1;
        for budget in &mut state.budgets {
            budget.reserve(asked.nano);
        }
        Claim {
            scope: self.clone(),
            tokens,
            periods: state.budgets.iter().map(BudgetMeter::period).collect(),
        }
    }

    /// Returns the money that may be reserved on top in the periods of a claim; no limit is `None`.
    /// A period that has passed has no limit any more.
    pub(super) fn room(&self, state: &mut ScopeState, claim: &Claim, now: Moment) -> Option<u64> {
        self.advance(state, now);
        let budgets = state.budgets.iter().zip(&self.limits.budgets);
        let current = budgets.zip(&claim.periods);
        let current = current.filter(|((budget, _), period)| budget.period() == **period);
        current.map(|((budget, limit), _)| budget.room(limit)).min()
    }

    /// Reserves money on top of a claim.
    pub(super) fn reserve_more(&self, state: &mut ScopeState, claim: &Claim, nano: u64) {
        for (budget, period) in state.budgets.iter_mut().zip(&claim.periods) {
            if budget.period() == *period {
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
        for (budget, period) in state.budgets.iter_mut().zip(&claim.periods) {
            budget.settle(*period, reserved.nano, used.nano);
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

/// Admits a request by all of its scopes, at most one of each kind and in the order of the kinds.
///
/// # Errors
///
/// The refusal that lasts longest. Nothing was taken then.
pub fn admit(
    scopes: &[Arc<Scope>],
    asked: Reservation,
    clock: fn() -> Moment,
) -> Result<Permit, Box<LimitRefusal>> {
    debug_assert!(scopes.windows(2).all(|pair| pair[0].kind < pair[1].kind));
    let mut states: Vec<MutexGuard<'_, ScopeState>> =
        scopes.iter().map(|scope| scope.lock()).collect();
    let now = clock();
    let mut refusal: Option<LimitRefusal> = None;
    for (scope, state) in scopes.iter().zip(&mut states) {
        scope.advance(state, now);
        for (limit, wait) in scope.refusals(state, &asked, now) {
            let scope = scope.clone();
            let found = LimitRefusal { scope, limit, wait };
            if refusal.as_ref().is_none_or(|it| found.outlasts(it)) {
                refusal = Some(found);
            }
        }
    }
    if let Some(refusal) = refusal {
        return Err(Box::new(refusal));
    }
    let taken = scopes.iter().zip(&mut states);
    let claims: Vec<Claim> = taken
        .map(|(scope, state)| scope.take(state, &asked))
        .collect();
    Ok(Permit::new(claims, asked, clock))
}
