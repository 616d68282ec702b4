//! Limits: requests and tokens per minute, requests at a time, and money per day, week or month, of
//! keys, teams and providers.
//!
//! A request is admitted by all of its scopes or by none, and a refused one takes nothing. What it
//! may cost is reserved before it begins and settled when it has ended, by a [`Permit`]. All of it
//! is whole numbers, and the time is handed in.
//!
//! Not here: what a request costs, which is [`usage`](crate::usage)'s, and the answer to a refused
//! one.

mod admit;
mod book;
mod budget;
mod calendar;
mod permit;
mod rate;
mod refusal;
mod scope;
#[cfg(test)]
mod tests;

pub use admit::admit;
pub use book::LimitBook;
pub use budget::BudgetStatus;
pub use permit::Permit;
pub use rate::{Rate, RateStatus};
pub use refusal::{LimitKind, LimitRefusal};
pub use scope::{Moment, Reservation, Scope, ScopeKind, ScopeLimits, ScopeStatus};
