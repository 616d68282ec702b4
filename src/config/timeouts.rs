//! `[timeouts]`: of upstream connections, of generations and of clients' connections.

use std::time::Duration;

use super::key::Default::{Said, Value};
use super::key::{Key, Kind};
use super::reader::Reader;

/// The timeouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect to an upstream: name, TCP and TLS together.
    pub connect: Duration,
    /// Those of a generation.
    pub generation: GenerationTimeouts,
    /// `between_tokens` where a model reasons, asked to or not: it may be silent while it thinks.
    pub between_reasoning: Duration,
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

/// The time limits of one model's generations, where they are not those of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModelTimeouts {
    /// From the request to the first token.
    pub first_token: Option<Duration>,
    /// From one payload to the next.
    pub between_tokens: Option<Duration>,
    /// From the request to the end.
    pub total: Option<Duration>,
}

impl ModelTimeouts {
    /// Returns these time limits and, for what is not given, those of all models.
    #[must_use]
    pub fn or(self, defaults: GenerationTimeouts) -> GenerationTimeouts {
        GenerationTimeouts {
            first_token: self.first_token.unwrap_or(defaults.first_token),
            between_tokens: self.between_tokens.unwrap_or(defaults.between_tokens),
            total: self.total.unwrap_or(defaults.total),
        }
    }
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
    Value("5m"),
    "from the request to the first token of a stream",
);
const BETWEEN_TOKENS: Key = Key::new(
    "timeouts.between_tokens",
    Kind::Duration,
    Said("`\"2m\"`, and `\"5m\"` where the model reasons"),
    "from one payload to the next; comments don't count. One that is given holds for all requests",
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

pub(super) const FIRST_TOKEN_OF_MODEL: Key = Key::new(
    "first_token",
    Kind::Duration,
    Said("`timeouts.first_token`"),
    "the same as `timeouts.first_token`, for this model",
);
pub(super) const FIRST_TOKEN_OF_TARGET: Key = Key::new(
    "first_token",
    Kind::Duration,
    Said("the model's"),
    "the same as `timeouts.first_token`, for this target: after it another one is asked",
);
pub(super) const BETWEEN_TOKENS_OF_MODEL: Key = Key::new(
    "between_tokens",
    Kind::Duration,
    Said("`timeouts.between_tokens`"),
    "the same as `timeouts.between_tokens`, for this model",
);
pub(super) const TOTAL_OF_MODEL: Key = Key::new(
    "total",
    Kind::Duration,
    Said("`timeouts.total`"),
    "the same as `timeouts.total`, for this model",
);

const DEFAULT_BETWEEN_TOKENS: Duration = Duration::from_secs(120);
const DEFAULT_BETWEEN_REASONING: Duration = Duration::from_secs(300);

/// Reads the time limits of one model.
pub(super) fn model_timeouts(reader: &mut Reader<'_>) -> ModelTimeouts {
    ModelTimeouts {
        first_token: given_duration(reader, &FIRST_TOKEN_OF_MODEL),
        between_tokens: given_duration(reader, &BETWEEN_TOKENS_OF_MODEL),
        total: given_duration(reader, &TOTAL_OF_MODEL),
    }
}

/// Reads the time limit of a target's first token, if it has one of its own.
pub(super) fn target_first_token(reader: &mut Reader<'_>) -> Option<Duration> {
    given_duration(reader, &FIRST_TOKEN_OF_TARGET)
}

fn given_duration(reader: &mut Reader<'_>, key: &Key) -> Option<Duration> {
    let duration = reader.duration(key);
    (!duration.is_zero()).then_some(duration)
}

pub(super) fn timeouts(reader: &mut Reader<'_>) -> Timeouts {
    let between_tokens = given_duration(reader, &BETWEEN_TOKENS);
    Timeouts {
        connect: reader.duration(&CONNECT),
        generation: GenerationTimeouts {
            first_token: reader.duration(&FIRST_TOKEN),
            between_tokens: between_tokens.unwrap_or(DEFAULT_BETWEEN_TOKENS),
            total: reader.duration(&TOTAL),
        },
        between_reasoning: between_tokens.unwrap_or(DEFAULT_BETWEEN_REASONING),
        connection: ConnectionLimits {
            request_head: reader.duration(&REQUEST_HEAD),
            client_stall: reader.duration(&CLIENT_STALL),
            request_body: reader.duration(&REQUEST_BODY),
        },
    }
}
