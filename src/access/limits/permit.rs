//! The permit of an admitted request: what it holds of each scope until it is settled.

use std::sync::Arc;
use std::sync::MutexGuard;

use super::refusal::{LimitKind, LimitRefusal};
use super::scope::{Claim, Moment, Reservation, Scope, ScopeState};

/// The permit of an admitted request. Dropping it settles it with what is known to have been used,
/// which is nothing at first: then all is given back but the request itself.
#[derive(Debug)]
pub struct Permit {
    claims: Vec<Claim>,
    reserved: Reservation,
    used: Reservation,
    clock: fn() -> Moment,
}

impl Permit {
    pub(super) fn new(claims: Vec<Claim>, reserved: Reservation, clock: fn() -> Moment) -> Self {
        Self {
            claims,
            reserved,
            used: Reservation::default(),
            clock,
        }
    }

    /// Returns what is reserved.
    #[must_use]
    pub fn reserved(&self) -> Reservation {
        self.reserved
    }

    /// Returns the scopes that have admitted the request.
    pub fn scopes(&self) -> impl Iterator<Item = &Arc<Scope>> {
        self.claims.iter().map(|claim| &claim.scope)
    }

    /// Sets what was used so far, or in all. It is what counts when the permit is dropped.
    pub fn set_used(&mut self, used: Reservation) {
        self.used = used;
    }

    /// Returns whether money is limited.
    #[must_use]
    pub fn has_budget(&self) -> bool {
        self.scopes()
            .any(|scope| !scope.limits().budgets.is_empty())
    }

    /// Returns whether what was used decides over later requests.
    #[must_use]
    pub fn limits_usage(&self) -> bool {
        self.has_budget() || self.scopes().any(|scope| scope.limits().tokens.is_some())
    }

    /// Reserves more money for a request that runs, up to `nano`; returns how much it was. Where a
    /// budget has less, it is all that it has.
    ///
    /// # Errors
    ///
    /// The budget that has nothing left.
    pub fn reserve_more(&mut self, nano: u64) -> Result<u64, Box<LimitRefusal>> {
        let mut states: Vec<MutexGuard<'_, ScopeState>> =
            self.claims.iter().map(|claim| claim.scope.lock()).collect();
        let now = (self.clock)();
        let mut granted = nano;
        for (claim, state) in self.claims.iter().zip(&mut states) {
            let Some((room, limit)) = claim.scope.room(state, claim, now) else {
                continue;
            };
            if room == 0 && nano > 0 {
                return Err(Box::new(LimitRefusal {
                    scope: claim.scope.to_string(),
                    limit: LimitKind::Budget(limit),
                    wait: None,
                }));
            }
            granted = granted.min(room);
        }
        for (claim, state) in self.claims.iter().zip(&mut states) {
            Scope::reserve_more(state, claim, granted);
        }
        self.reserved.nano = self.reserved.nano.saturating_add(granted);
        Ok(granted)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = (self.clock)();
        for claim in &self.claims {
            claim.scope.settle(claim, &self.reserved, &self.used, now);
        }
    }
}
