//! `[websocket]`: how sockets are kept.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::key::Default::{Said, Value};
use super::key::{Key, Kind};
use super::reader::Reader;

/// The settings of WebSockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Websocket {
    /// The interval of pings; `None` for `"0s"`, never.
    pub ping: Option<Duration>,
    /// A socket on which nothing runs and nothing is asked for is closed after so long.
    pub idle: Duration,
    /// The longest message of a client, in bytes.
    pub max_message: usize,
    /// The most generations and readers on one socket.
    pub max_running: NonZeroUsize,
}

pub(super) const KEYS: &[Key] = &[PING, IDLE, MAX_MESSAGE, MAX_RUNNING];

const PING: Key = Key::new(
    "websocket.ping",
    Kind::DurationOrZero,
    Value("6s"),
    "how often a socket's client is asked whether it is there; after two without an answer it is dropped; `\"0s\"` is never: see [websocket.md](websocket.md)",
);
const IDLE: Key = Key::new(
    "websocket.idle",
    Kind::Duration,
    Value("5m"),
    "a socket on which nothing runs and nothing is asked for is closed after so long",
);
const MAX_MESSAGE: Key = Key::new(
    "websocket.max_message",
    Kind::Size,
    Said("`max_body`"),
    "the longest message of a socket's client",
);
const MAX_RUNNING: Key = Key::new(
    "websocket.max_running",
    Kind::Number(1, 4096),
    Value("64"),
    "how many generations and readers may run on one socket",
);

/// A message holds a request's body, so it is by default as long as one may be.
pub(super) fn websocket(reader: &mut Reader<'_>, max_body: usize) -> Websocket {
    Websocket {
        ping: Some(reader.duration(&PING)).filter(|every| !every.is_zero()),
        idle: reader.duration(&IDLE),
        max_message: reader.size(&MAX_MESSAGE).unwrap_or(max_body),
        max_running: reader.count(&MAX_RUNNING).unwrap_or(NonZeroUsize::MIN),
    }
}
