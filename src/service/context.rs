//! The context of a request: everything but its body.

use std::time::Duration;

use http::HeaderMap;

use crate::access::Caller;
use crate::disconnect::Disconnect;
use crate::generation::Linger;
use base::id::RequestId;
use dialect::plain::TextEncoding;

/// The preferences of a client for its response.
#[derive(Debug, Clone, Copy)]
pub struct Preferences {
    /// Set if comments may be sent: heartbeats, and an upstream's own.
    pub comments: bool,
    /// The encoding of plain text in `data:` lines.
    pub encoding: TextEncoding,
}

impl Preferences {
    /// Returns the interval of heartbeats, if there are any.
    #[must_use]
    pub fn heartbeat(self, configured: Option<Duration>) -> Option<Duration> {
        configured.filter(|_| self.comments)
    }
}

/// The context of a request: everything but its body.
#[derive(Debug)]
pub struct RequestContext {
    /// The id of the request.
    pub id: RequestId,
    /// The caller.
    pub caller: Caller,
    /// The client's headers.
    pub headers: HeaderMap,
    /// The preferences for the response.
    pub preferences: Preferences,
    /// The linger that the client asks for, if any.
    pub linger: Option<Linger>,
    /// Set for a browser's `EventSource`, which reconnects by itself.
    pub is_event_source: bool,
    /// The socket on which it came, if it is no HTTP request of its own.
    pub via: Option<&'static str>,
    /// The reason for which the client is gone, if it is.
    pub disconnect: Disconnect,
}
