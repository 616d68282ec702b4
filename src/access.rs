//! Access: limits of those who ask.

pub mod limits;
