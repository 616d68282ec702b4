//! Small tools that every other crate may use: random ids, wakers, suggestions.
//!
//! Not here: anything that knows HTTP, a dialect or a store.

pub mod id;
pub mod suggest;
pub mod wake_flag;
