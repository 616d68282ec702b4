//! Small tools that every other crate may use: random ids, wakers, suggestions, text within a
//! bound.
//!
//! Not here: anything that knows HTTP, a dialect or a store.

pub mod id;
pub mod shorten;
pub mod suggest;
pub mod wake_flag;
