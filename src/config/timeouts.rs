//! `[timeouts]`: of upstream connections, of generations and of clients' connections.

use std::time::Duration;

use super::key::Default::Value;
use super::key::{Key, Kind};
use super::reader::Reader;

/// The timeouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect to an upstream: name, TCP and TLS together.
    pub connect: Duration,
    /// Those of a generation.
    pub generation: GenerationTimeouts,
    /// Those of a client's connection.
    pub connection: ConnectionLimits,
}

/// The time limits of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationTimeouts {
    /// From the request to the first token.
    pub first_token: Duration,
    /// From one payload to the next, once a token has come. Comments don't count.
    pub between_tokens: Duration,
    /// From the request to the end.
    pub total: Duration,
}

/// The time limits of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// From accept to the end of the first request's head, TLS included.
    pub request_head: Duration,
    /// Longest time without progress of a write. Then the client is dropped.
    pub client_stall: Duration,
    /// From a request's head to the end of its body, whether or not a handler reads it.
    pub request_body: Duration,
}

pub(super) const KEYS: &[Key] = &[
    CONNECT,
    FIRST_TOKEN,
    BETWEEN_TOKENS,
    TOTAL,
    CLIENT_STALL,
    REQUEST_HEAD,
    REQUEST_BODY,
];

const CONNECT: Key = Key::new(
    "timeouts.connect",
    Kind::Duration,
    Value("5s"),
    "to an upstream: name, TCP and TLS together",
);
const FIRST_TOKEN: Key = Key::new(
    "timeouts.first_token",
    Kind::Duration,
    Value("60s"),
    "from the request to the first token of a stream",
);
const BETWEEN_TOKENS: Key = Key::new(
    "timeouts.between_tokens",
    Kind::Duration,
    Value("30s"),
    "from one payload to the next; comments don't count",
);
const TOTAL: Key = Key::new(
    "timeouts.total",
    Kind::Duration,
    Value("10m"),
    "from the request to its end",
);
const CLIENT_STALL: Key = Key::new(
    "timeouts.client_stall",
    Kind::Duration,
    Value("30s"),
    "a client that takes nothing for so long is dropped; over HTTP/2, that one stream. One whose packets stop altogether is dropped within 20 s; so is one that reads nothing of a slow stream, about 10 s after its own buffer is full: the kernel tells both apart only once the server's buffer is full too",
);
const REQUEST_HEAD: Key = Key::new(
    "timeouts.request_head",
    Kind::Duration,
    Value("10s"),
    "from a connection to its first request, TLS included",
);
const REQUEST_BODY: Key = Key::new(
    "timeouts.request_body",
    Kind::Duration,
    Value("30s"),
    "from a request's head to the end of its body; after a refusal, how long the rest may come (64 MiB at most)",
);

pub(super) fn timeouts(reader: &mut Reader<'_>) -> Timeouts {
    Timeouts {
        connect: reader.duration(&CONNECT),
        generation: GenerationTimeouts {
            first_token: reader.duration(&FIRST_TOKEN),
            between_tokens: reader.duration(&BETWEEN_TOKENS),
            total: reader.duration(&TOTAL),
        },
        connection: ConnectionLimits {
            request_head: reader.duration(&REQUEST_HEAD),
            client_stall: reader.duration(&CLIENT_STALL),
            request_body: reader.duration(&REQUEST_BODY),
        },
    }
}
