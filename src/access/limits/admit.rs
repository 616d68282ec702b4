//! Admission by several scopes at once: all or none.

use std::sync::{Arc, MutexGuard};

use super::permit::Permit;
use super::refusal::LimitRefusal;
use super::scope::{Claim, Moment, Reservation, Scope, ScopeState};

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
    debug_assert!(
        scopes
            .windows(2)
            .all(|pair| pair[0].kind() < pair[1].kind())
    );
    let mut states: Vec<MutexGuard<'_, ScopeState>> =
        scopes.iter().map(|scope| scope.lock()).collect();
    let now = clock();
    let mut refusal: Option<LimitRefusal> = None;
    for (scope, state) in scopes.iter().zip(&mut states) {
        scope.advance(state, now);
        for (limit, wait) in scope.refusals(state, &asked, now) {
            let scope = scope.to_string();
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
