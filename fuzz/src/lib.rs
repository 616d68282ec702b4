//! The checks of the fuzz targets, one module a subject. A target in `fuzz_targets/` only calls
//! one.

mod body;
pub mod chunks;
// Links to the product's sources: a library of everything would take minutes to build.
#[allow(
    dead_code,
    unused_imports,
    reason = "the check reads whole configurations only"
)]
mod config;
pub mod config_files;
pub mod dialects;
pub mod entries;
#[path = "../../crates/stream/src/record_batch.rs"]
#[allow(dead_code, reason = "entries need little of it")]
mod record_batch;
pub mod requests;
pub mod responses;
mod socket;
pub mod websocket;

use record_batch::RecordBatch;
