//! `[websocket]`: how sockets are kept.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::reader::{any_duration, count, duration, size};
use super::source::{ConfigError, Source};

/// The settings of WebSockets.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// A message holds a request's body, so it is by default as long as one may be.
pub(super) fn websocket(source: &Source, max_body: usize) -> Result<Websocket, ConfigError> {
    Ok(Websocket {
        ping: Some(any_duration(source, "websocket.ping", 6)?).filter(|every| !every.is_zero()),
        idle: duration(source, "websocket.idle", 300)?,
        max_message: size(source, "websocket.max_message", max_body)?,
        max_running: count(source, "websocket.max_running", 64, 4096)?,
    })
}
