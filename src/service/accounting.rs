//! Admission: a request reserves what it may use before it begins, by all scopes of its caller or
//! not at all.
//!
//! Here alone it is decided whether a generation or a request that is passed on may begin.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::Service;
use super::context::RequestContext;
use super::error::StartError;
use super::limit_headers::limit_headers;
use crate::access::Key;
use crate::access::limits::{
    self, LimitBook, LimitKind, LimitRefusal, Moment, Permit, Reservation, Scope, ScopeKind,
    ScopeLimits,
};
use crate::generation::Account;
use crate::routing::Plan;
use crate::usage::prices::{Price, Prices};
use dialect::Dialect;
use dialect::failure::Failure;
use dialect::request::{InputSize, Operation, Request};

/// The limits and prices that admission decides by, shared by all workers.
#[derive(Debug, Default)]
pub struct Accounting {
    /// The scopes.
    pub book: LimitBook,
    /// The prices.
    pub prices: Arc<Prices>,
    /// Set if a model without a price costs nothing; else a budget refuses it.
    pub unpriced_is_free: bool,
    /// The output that is reserved for a request which does not limit it, in tokens.
    pub output_reserve: u64,
    /// Set if upstreams are asked for the usage of every answer.
    pub wants_usage: bool,
}

/// The facts of a request on which admission depends.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) dialect: &'static Dialect,
    /// The model that the client asked for; empty if it names none.
    pub(super) model: &'a str,
    pub(super) plan: &'a Plan,
    pub(super) input: InputSize,
    /// The most output tokens that the client wants.
    pub(super) max_tokens: Option<u64>,
    /// The number of answers.
    pub(super) n: u64,
    /// Set if no tokens are used.
    pub(super) is_free: bool,
}

impl<'a> Asked<'a> {
    /// Returns the facts of a request for a generation.
    pub(super) fn of_request(
        dialect: &'static Dialect,
        model: &'a str,
        plan: &'a Plan,
        request: &Request,
    ) -> Self {
        let is_free = request.operation == Operation::CountTokens;
        Self {
            dialect,
            model,
            plan,
            input: match is_free {
                true => InputSize::default(),
                false => request.input_size(),
            },
            max_tokens: request.max_tokens.map(u64::from),
            n: u64::from(request.n.max(1)),
            is_free,
        }
    }
}

/// A request that may begin.
#[derive(Debug, Default)]
pub(super) struct Admission {
    pub(super) account: Option<Box<Account>>,
    /// Headers of the response: the caller's limits.
    pub(super) headers: HeaderMap,
    /// Set if the upstream is to be asked for the usage.
    pub(super) wants_usage: bool,
}

/// Admits a request, or refuses it: then nothing was taken.
///
/// # Errors
///
/// A 429 where a limit refuses it, a 403 for a model without a price where there is a budget.
pub(super) fn admit(
    service: &Service,
    context: &RequestContext,
    asked: &Asked<'_>,
) -> Result<Admission, StartError> {
    let Some(accounting) = &service.accounting else {
        return Ok(Admission::default());
    };
    let key = context.caller.key();
    let scopes = key.map_or_else(Vec::new, |key| accounting.scopes_of(key));
    let own = scopes
        .first()
        .filter(|scope| scope.kind() == ScopeKind::Key)
        .cloned();
    let headers = || {
        let status = own.as_ref().map(|scope| scope.status(Moment::now()));
        status.map_or_else(HeaderMap::new, |it| limit_headers(asked.dialect, &it))
    };
    let price = match accounting.dearest(asked) {
        Ok(price) => price,
        Err(()) => {
            let budget = scopes
                .iter()
                .find(|scope| !scope.limits().budgets.is_empty());
            match budget.filter(|_| !accounting.unpriced_is_free && !asked.is_free) {
                Some(scope) => {
                    let scope = scope.to_string();
                    return Err(Failure::model_without_price(asked.model, &scope).into());
                }
                None => Price::default(),
            }
        }
    };
    let output = match asked.max_tokens {
        _ if asked.is_free => 0,
        most => most
            .unwrap_or(accounting.output_reserve)
            .saturating_mul(asked.n),
    };
    let reservation = Reservation {
        tokens: asked.input.likely_tokens().saturating_add(output),
        nano: price.highest_cost(asked.input.most_tokens(), output),
    };
    let permit = match scopes.is_empty() {
        true => None,
        false => match limits::admit(&scopes, reservation, Moment::now) {
            Ok(permit) => Some(permit),
            Err(refusal) => {
                return Err(StartError::from(refused(&refusal)).with_headers(headers()));
            }
        },
    };
    let wants_usage = permit.as_ref().is_some_and(Permit::limits_usage);
    Ok(Admission {
        headers: headers(),
        wants_usage: wants_usage || accounting.wants_usage,
        account: Some(Box::new(Account {
            permit,
            key: key.map(|key| key.id.as_str().into()),
            team: key.and_then(|key| Some(key.team.as_ref()?.name.as_str().into())),
            prices: accounting.prices.clone(),
            input: asked.input.usual_tokens(),
            allowance: output,
            is_bounded: asked.max_tokens.is_some(),
            output_price: price.output.max(price.reasoning.unwrap_or(0)),
        })),
    })
}

impl Accounting {
    /// Returns the scopes of a key, in the order of their kinds.
    pub(super) fn scopes_of(&self, key: &Key) -> Vec<Arc<Scope>> {
        let (id, name, limits) = (&key.id, &key.name, ScopeLimits::from(&key.limits));
        let own = self.book.scope(ScopeKind::Key, id, name, &limits);
        let team = key.team.as_ref().map(|team| {
            let (name, limits) = (&team.name, ScopeLimits::from(&team.limits));
            self.book.scope(ScopeKind::Team, name, name, &limits)
        });
        std::iter::once(own).chain(team).collect()
    }

    /// Returns the highest prices of the targets that may answer; an error if one has none.
    fn dearest(&self, asked: &Asked<'_>) -> Result<Price, ()> {
        let mut dearest = Price::default();
        for target in asked.plan.targets() {
            let provider = target.provider.name();
            let found = self
                .prices
                .find(provider, &target.upstream_model, asked.model);
            dearest = dearest.highest(found.ok_or(())?);
        }
        Ok(dearest)
    }
}

/// Returns the failure of a request that a limit refuses.
fn refused(refusal: &LimitRefusal) -> Failure {
    let wait = refusal
        .wait
        .map(|ms| Duration::from_secs(ms.div_ceil(1000)));
    let message = refusal.to_string();
    match refusal.limit {
        LimitKind::TooLarge { .. } => Failure::too_large_for_limit(message),
        LimitKind::Budget(_) => Failure::budget_exceeded(message, wait),
        LimitKind::Requests(_) | LimitKind::Tokens(_) | LimitKind::Concurrent(_) => {
            Failure::rate_limited(message, wait.unwrap_or_default())
        }
    }
}
