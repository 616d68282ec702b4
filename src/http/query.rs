//! Query parameters: those that say how to answer are taken out, the rest is the request's.

use std::time::Duration;

use axum::http::{HeaderMap, Uri};

use crate::dialect::plain::Encoding;
use crate::failure::Failure;

/// How a client wants to be answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Whether comments may be sent: heartbeats, and an upstream's own.
    pub(super) comments: bool,
    /// How plain text goes into `data:`.
    pub(super) encoding: Encoding,
}

impl Manner {
    pub(super) fn heartbeat(self, configured: Option<Duration>) -> Option<Duration> {
        configured.filter(|_| self.comments)
    }
}

/// Splits a request's query into the manner of its answer and all other parameters, decoded, in order.
pub(super) fn read(uri: &Uri, headers: &HeaderMap) -> Result<(Manner, Vec<(String, String)>), Failure> {
    let query = uri.query().unwrap_or_default();
    // Bytes that are no UTF-8 would silently become replacement characters: not the prompt that was sent.
    if percent_encoding::percent_decode_str(query).decode_utf8().is_err() {
        return Err(Failure::InvalidRequest { message: "the query is not UTF-8".to_owned(), param: None });
    }
    let mut pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).map_err(|error| {
        Failure::InvalidRequest { message: format!("the query can't be read: {error}"), param: None }
    })?;
    let mut manner = Manner { comments: true, encoding: Encoding::Text };
    if let Some(value) = headers.get("x-heartbeat") {
        manner.comments = on_or_off("x-heartbeat", &String::from_utf8_lossy(value.as_bytes()))?;
    }
    let mut wrong = None;
    pairs.retain(|(name, value)| {
        let read = match name.as_str() {
            "heartbeat" => on_or_off("heartbeat", value).map(|on| manner.comments = on),
            "encoding" => encoding(value).map(|encoding| manner.encoding = encoding),
            _ => return true,
        };
        wrong = wrong.take().or(read.err());
        false
    });
    match wrong {
        Some(failure) => Err(failure),
        None => Ok((manner, pairs)),
    }
}

fn on_or_off(name: &str, value: &str) -> Result<bool, Failure> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(Failure::invalid(name, format!("`{name}` should be `on` or `off`"))),
    }
}

fn encoding(value: &str) -> Result<Encoding, Failure> {
    match value {
        "text" => Ok(Encoding::Text),
        "json" => Ok(Encoding::Json),
        _ => Err(Failure::invalid("encoding", "`encoding` should be `text` or `json`")),
    }
}
