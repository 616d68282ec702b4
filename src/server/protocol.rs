//! The protocol that a client speaks, and how it is recognized.

/// The preface that an HTTP/2 client sends before anything else (RFC 9113 §3.4). No HTTP/1.1
/// request begins so.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A version of HTTP that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// Recognizes the protocol by the first bytes of a connection, `None` while there are too few.
    pub(super) fn detect(first: &[u8]) -> Option<Self> {
        let known = first.len().min(HTTP2_PREFACE.len());
        if first[..known] != HTTP2_PREFACE[..known] {
            return Some(Self::Http1);
        }
        (known == HTTP2_PREFACE.len()).then_some(Self::Http2)
    }
}
