//! `[streams]`: what may outlive its connection, and how far.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::Store;
use super::reader::{any_duration, count, duration, size};
use super::source::{ConfigError, Source};
use super::store::store;

/// Streams that outlive their connection.
#[derive(Debug, Clone)]
pub struct Streams {
    /// The place where they are kept.
    pub store: Store,
    /// The time for which a generation runs on without a reader, unless its client says otherwise.
    pub linger: Duration,
    /// The longest that a client may ask for.
    pub max_linger: Duration,
    /// The time for which a generation's stream is kept after its end, or after its last reader.
    pub ttl: Duration,
    /// The bound of one stream, in bytes.
    pub max_bytes: usize,
    /// The bound of all streams together, in bytes.
    pub max_total_bytes: usize,
    /// The most readers of one stream.
    pub max_readers: NonZeroUsize,
    /// The timeout of a long-poll.
    pub long_poll: Duration,
}

pub(super) fn streams(
    source: &Source,
    env: &BTreeMap<String, String>,
) -> Result<Streams, ConfigError> {
    let streams = Streams {
        store: store(source, env)?,
        linger: any_duration(source, "streams.linger", 0)?,
        max_linger: duration(source, "streams.max_linger", 3600)?,
        ttl: duration(source, "streams.ttl", 600)?,
        max_bytes: size(source, "streams.max_bytes", 4 << 20)?,
        max_total_bytes: size(source, "streams.max_total_bytes", 256 << 20)?,
        max_readers: count(source, "streams.max_readers", 2000, 1_000_000)?,
        long_poll: duration(source, "streams.long_poll", 20)?,
    };
    if streams.linger > streams.max_linger {
        return Err(source.error("streams.linger", "should be at most streams.max_linger"));
    }
    if streams.max_bytes > streams.max_total_bytes {
        return Err(source.error(
            "streams.max_bytes",
            "should be at most streams.max_total_bytes",
        ));
    }
    Ok(streams)
}
