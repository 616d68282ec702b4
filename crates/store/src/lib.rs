//! The stores outside of this process that several rooms share.
//!
//! Not here: what is kept in them (`stream`).

pub mod redis;
