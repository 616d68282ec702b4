//! Usage: what generations have used, and what it costs.
//!
//! Not here: limits on it, which are [`access`](crate::access)'s.

mod amount;
mod import;
pub mod ledger;
pub mod prices;

pub use amount::{format_decimal, parse_decimal};
pub use import::{ImportError, import_prices};
