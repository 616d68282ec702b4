//! What a request says besides its body: who asks, how it is to be answered, and the rest of its query.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::header::ACCEPT;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Uri};

use super::error::Refused;
use crate::disconnect::Disconnect;
use crate::generation::{Linger, ParseLingerError};
use base::id::RequestId;
use dialect::failure::Failure;
use dialect::plain::TextEncoding;

/// How a client wants to be answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Whether comments may be sent: heartbeats, and an upstream's own.
    pub(super) comments: bool,
    /// How plain text goes into `data:`.
    pub(super) encoding: TextEncoding,
}

impl Manner {
    pub(super) fn heartbeat(self, configured: Option<Duration>) -> Option<Duration> {
        configured.filter(|_| self.comments)
    }
}

/// What is known of a request besides its body.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: RequestId,
    pub(super) disconnect: Disconnect,
    /// On which socket it came, if it is no HTTP request of its own.
    pub(super) via: Option<&'static str>,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) manner: Manner,
    /// How long its generation may run on without a reader, if the client says.
    pub(super) linger: Option<Linger>,
    /// The query's other parameters, decoded, in order: they are the request's.
    pub(super) pairs: Vec<(String, String)>,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        of_parts(parts)
    }
}

/// What the head of a request says.
pub(super) fn of_parts(parts: &mut Parts) -> Result<Asked, Refused> {
    let (manner, linger, pairs) = read(&parts.uri, &parts.headers)?;
    // The outermost layer and the connection put them there; a router called without them has other ones.
    let id = parts.extensions.remove().unwrap_or_else(RequestId::random);
    let disconnect = parts.extensions.remove().unwrap_or_default();
    let headers = std::mem::take(&mut parts.headers);
    Ok(Asked {
        id,
        disconnect,
        via: None,
        method: parts.method.clone(),
        headers,
        manner,
        linger,
        pairs,
    })
}

impl Asked {
    /// axum answers HEAD with GET's handler; that would run a model for nobody.
    pub(super) fn only_get(&self) -> Result<(), Refused> {
        if self.method == Method::HEAD {
            return Err(Refused::method_not_allowed(&self.method, "GET,POST"));
        }
        Ok(())
    }

    /// Whether it is a browser's `EventSource`, or like one: it can only GET, and comes back by itself.
    pub(super) fn is_event_source(&self) -> bool {
        self.method == Method::GET && wants_events(&self.headers)
    }

    /// Takes one parameter out of the query.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(key, _)| key == name)?;
        Some(self.pairs.remove(at).1)
    }

    /// A body in JSON holds all of a request: no part of it may stand in the query.
    pub(super) fn no_more_pairs(&self) -> Result<(), Failure> {
        match self.pairs.first() {
            Some((name, _)) => Err(Failure::invalid(
                name,
                format!("`{name}` belongs into the JSON body here"),
            )),
            None => Ok(()),
        }
    }
}

/// Whether the client names `text/event-stream` among what it accepts.
pub(super) fn wants_events(headers: &HeaderMap) -> bool {
    let accepts = |value: &HeaderValue| {
        String::from_utf8_lossy(value.as_bytes())
            .to_ascii_lowercase()
            .contains("text/event-stream")
    };
    headers.get_all(ACCEPT).iter().any(accepts)
}

type Read = (Manner, Option<Linger>, Vec<(String, String)>);

fn read(uri: &Uri, headers: &HeaderMap) -> Result<Read, Failure> {
    let query = uri.query().unwrap_or_default();
    // Bytes that are no UTF-8 would silently become replacement characters: not the prompt that was sent.
    if percent_encoding::percent_decode_str(query)
        .decode_utf8()
        .is_err()
    {
        return Err(Failure::invalid_request(
            "the query is not UTF-8".to_owned(),
        ));
    }
    let mut pairs: Vec<(String, String)> = serde_urlencoded::from_str(query)
        .map_err(|error| Failure::invalid_request(format!("the query can't be read: {error}")))?;
    let mut manner = Manner {
        comments: true,
        encoding: TextEncoding::Text,
    };
    if let Some(value) = headers.get("x-heartbeat") {
        manner.comments = on_or_off("x-heartbeat", &String::from_utf8_lossy(value.as_bytes()))?;
    }
    let mut linger = headers
        .get("x-linger")
        .map(|value| of_text("x-linger", &String::from_utf8_lossy(value.as_bytes())));
    let mut wrong = None;
    pairs.retain(|(name, value)| {
        let read = match name.as_str() {
            "heartbeat" => on_or_off("heartbeat", value).map(|on| manner.comments = on),
            "encoding" => encoding(value).map(|encoding| manner.encoding = encoding),
            "linger" => {
                linger = Some(of_text("linger", value));
                Ok(())
            }
            // Looked at before any handler, if it says something: see `resume`.
            "last_event_id" => Ok(()),
            _ => return true,
        };
        wrong = wrong.take().or(read.err());
        false
    });
    match wrong {
        Some(failure) => Err(failure),
        None => Ok((manner, linger.transpose()?, pairs)),
    }
}

fn on_or_off(name: &str, value: &str) -> Result<bool, Failure> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(Failure::invalid(
            name,
            format!("`{name}` should be `on` or `off`"),
        )),
    }
}

fn encoding(value: &str) -> Result<TextEncoding, Failure> {
    match value {
        "text" => Ok(TextEncoding::Text),
        "json" => Ok(TextEncoding::Json),
        _ => Err(Failure::invalid(
            "encoding",
            "`encoding` should be `text` or `json`",
        )),
    }
}

fn of_text(name: &str, value: &str) -> Result<Linger, Failure> {
    value
        .parse()
        .map_err(|error: ParseLingerError| Failure::invalid(name, error.to_string()))
}
