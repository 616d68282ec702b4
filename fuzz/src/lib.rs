//! The checks of the fuzz targets, one module a subject. A target in `fuzz_targets/` only calls
//! one.

mod body;
pub mod chunks;
pub mod dialects;
pub mod requests;
pub mod responses;
mod socket;
pub mod websocket;
