//! `[streams]`: what may outlive its connection, and how far.

use std::time::Duration;

use super::Store;
use super::key::Default::Value;
use super::key::{Key, Kind};
use super::reader::Reader;
use super::store;
use ::stream::StoreLimits;

/// Streams that outlive their connection.
#[derive(Debug, Clone)]
pub struct Streams {
    /// The place where they are kept.
    pub store: Store,
    /// The bounds of what is kept.
    pub limits: StoreLimits,
    /// The times for which they last.
    pub streaming: Streaming,
    /// The most generations that run without their clients.
    pub most_lingering: MostLingering,
}

/// The most generations with a linger, or in the background, that run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MostLingering {
    /// In all.
    pub all: usize,
    /// Of one caller, as far as callers can be told apart by their credentials.
    pub by_caller: usize,
}

/// The settings of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streaming {
    /// The time for which a generation runs on without a reader, unless its client says otherwise.
    pub linger: Duration,
    /// The longest that a client may ask for.
    pub max_linger: Duration,
    /// The time for which a generation's stream is kept after its end, or after its last reader.
    pub ttl: Duration,
    /// The timeout of a long-poll.
    pub long_poll: Duration,
}

pub(super) const KEYS: &[Key] = &[
    store::STORE,
    store::PASSWORD_ENV,
    store::PASSWORD_FILE,
    store::KEY_PREFIX,
    LINGER,
    MAX_LINGER,
    TTL,
    MAX_BYTES,
    MAX_TOTAL_BYTES,
    MAX_READERS,
    LONG_POLL,
    MAX_LINGERING,
    MAX_LINGERING_PER_CALLER,
];

const LINGER: Key = Key::new(
    "streams.linger",
    Kind::DurationOrZero,
    Value("0s"),
    "how long a generation may run on without a reader, where its client doesn't say: see [resume.md](resume.md)",
);
const MAX_LINGER: Key = Key::new(
    "streams.max_linger",
    Kind::Duration,
    Value("1h"),
    "the longest that a client may ask for",
);
const TTL: Key = Key::new(
    "streams.ttl",
    Kind::Duration,
    Value("10m"),
    "how long a generation's stream is kept after its end, or after its last reader",
);
const MAX_BYTES: Key = Key::new(
    "streams.max_bytes",
    Kind::Size,
    Value("4MiB"),
    "what one stream may hold; a generation waits for its readers there, an append over HTTP is a 413: see [streams.md](streams.md)",
);
const MAX_TOTAL_BYTES: Key = Key::new(
    "streams.max_total_bytes",
    Kind::Size,
    Value("256MiB"),
    "what all streams may hold; near it ended generations make room, beyond it is a 503",
);
const MAX_READERS: Key = Key::new(
    "streams.max_readers",
    Kind::Number(1, 1_000_000),
    Value("2000"),
    "how many may read one stream at the same time; one more is a 429",
);
const LONG_POLL: Key = Key::new(
    "streams.long_poll",
    Kind::Duration,
    Value("20s"),
    "how long a long-poll may wait",
);

const MAX_LINGERING: Key = Key::new(
    "streams.max_lingering",
    Kind::Number(1, 1_000_000),
    Value("10000"),
    "generations with a linger, or in the background, that run at the same time; one more is a 503",
);
const MAX_LINGERING_PER_CALLER: Key = Key::new(
    "streams.max_lingering_per_caller",
    Kind::Number(1, 1_000_000),
    Value("1000"),
    "the same of one caller, told apart by their credentials; one more is a 429",
);

pub(super) fn streams(reader: &mut Reader<'_>) -> Streams {
    let streams = Streams {
        store: store::store(reader),
        limits: StoreLimits {
            max_bytes: reader.size(&MAX_BYTES).unwrap_or_default(),
            max_total_bytes: reader.size(&MAX_TOTAL_BYTES).unwrap_or_default(),
            max_readers: reader.number(&MAX_READERS).unwrap_or_default(),
        },
        streaming: Streaming {
            linger: reader.duration(&LINGER),
            max_linger: reader.duration(&MAX_LINGER),
            ttl: reader.duration(&TTL),
            long_poll: reader.duration(&LONG_POLL),
        },
        most_lingering: MostLingering {
            all: reader.number(&MAX_LINGERING).unwrap_or_default(),
            by_caller: reader.number(&MAX_LINGERING_PER_CALLER).unwrap_or_default(),
        },
    };
    let (times, limits) = (&streams.streaming, &streams.limits);
    at_most(
        reader,
        &LINGER,
        &MAX_LINGER,
        times.linger <= times.max_linger,
    );
    let fits = limits.max_bytes <= limits.max_total_bytes;
    at_most(reader, &MAX_BYTES, &MAX_TOTAL_BYTES, fits);
    streams
}

/// Reports a value that is above its bound, if both are known.
fn at_most(reader: &mut Reader<'_>, key: &Key, bound: &Key, holds: bool) {
    if !holds && reader.is_sound(key.path) && reader.is_sound(bound.path) {
        reader.report(key.path, format!("should be at most {}", bound.path));
    }
}
