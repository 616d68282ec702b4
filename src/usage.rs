//! Usage: what generations have used, and what it costs.
//!
//! Not here: limits on it, which are [`access`](crate::access)'s.

mod amount;
pub mod ledger;
pub mod prices;

pub use amount::{NANO, parse_decimal};
