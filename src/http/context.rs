//! The context of a request: everything but its body.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};

use super::accept::wants_events;
use super::error::Rejection;
use crate::disconnect::Disconnect;
use crate::generation::{Linger, ParseLingerError};
use base::id::RequestId;
use dialect::failure::Failure;
use dialect::plain::TextEncoding;

/// The preferences of a client for its response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preferences {
    /// Set if comments may be sent: heartbeats, and an upstream's own.
    pub(super) comments: bool,
    /// The encoding of plain text in `data:` lines.
    pub(super) encoding: TextEncoding,
}

impl Preferences {
    pub(super) fn heartbeat(self, configured: Option<Duration>) -> Option<Duration> {
        configured.filter(|_| self.comments)
    }
}

/// The context of a request: everything but its body.
#[derive(Debug)]
pub(super) struct RequestContext {
    pub(super) id: RequestId,
    pub(super) disconnect: Disconnect,
    /// On which socket it came, if it is no HTTP request of its own.
    pub(super) via: Option<&'static str>,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) preferences: Preferences,
    /// The linger that the client asks for, if any.
    pub(super) linger: Option<Linger>,
    /// The query's other parameters, decoded, in order: they are the request's.
    pub(super) query: Vec<(String, String)>,
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        context_from_parts(parts)
    }
}

/// Reads the context from the head of a request.
pub(super) fn context_from_parts(parts: &mut Parts) -> Result<RequestContext, Rejection> {
    let (preferences, linger, query) = parse_query(&parts.uri, &parts.headers)?;
    // The outermost layer and the connection put them there; a router called without them has other
    // ones.
    let id = parts.extensions.remove().unwrap_or_else(RequestId::random);
    let disconnect = parts.extensions.remove().unwrap_or_default();
    let headers = std::mem::take(&mut parts.headers);
    Ok(RequestContext {
        id,
        disconnect,
        via: None,
        method: parts.method.clone(),
        headers,
        preferences,
        linger,
        query,
    })
}

impl RequestContext {
    /// axum answers HEAD with GET's handler; that would run a model for nobody.
    pub(super) fn only_get(&self) -> Result<(), Rejection> {
        if self.method == Method::HEAD {
            return Err(Rejection::method_not_allowed(&self.method, "GET,POST"));
        }
        Ok(())
    }

    /// Returns whether the client is an `EventSource`: it can only GET, and reconnects by itself.
    pub(super) fn is_event_source(&self) -> bool {
        self.method == Method::GET && wants_events(&self.headers)
    }

    /// Takes one parameter out of the query.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.query.iter().position(|(key, _)| key == name)?;
        Some(self.query.remove(at).1)
    }

    /// A body in JSON holds all of a request: no part of it may stand in the query.
    pub(super) fn deny_query(&self) -> Result<(), Failure> {
        match self.query.first() {
            Some((name, _)) => Err(Failure::invalid(
                name,
                format!("`{name}` belongs into the JSON body here"),
            )),
            None => Ok(()),
        }
    }
}

type ParsedQuery = (Preferences, Option<Linger>, Vec<(String, String)>);

fn parse_query(uri: &Uri, headers: &HeaderMap) -> Result<ParsedQuery, Failure> {
    let query = uri.query().unwrap_or_default();
    // Bytes that are no UTF-8 would silently become replacement characters: not the prompt that was
    // sent.
    if percent_encoding::percent_decode_str(query)
        .decode_utf8()
        .is_err()
    {
        return Err(Failure::invalid_request(
            "the query is not UTF-8".to_owned(),
        ));
    }
    let mut query: Vec<(String, String)> = serde_urlencoded::from_str(query)
        .map_err(|error| Failure::invalid_request(format!("the query can't be read: {error}")))?;
    let mut preferences = Preferences {
        comments: true,
        encoding: TextEncoding::Text,
    };
    if let Some(value) = headers.get("x-heartbeat") {
        preferences.comments =
            on_or_off("x-heartbeat", &String::from_utf8_lossy(value.as_bytes()))?;
    }
    let mut linger = headers
        .get("x-linger")
        .map(|value| of_text("x-linger", &String::from_utf8_lossy(value.as_bytes())));
    let mut wrong = None;
    query.retain(|(name, value)| {
        let parsed = match name.as_str() {
            "heartbeat" => on_or_off("heartbeat", value).map(|on| preferences.comments = on),
            "encoding" => encoding(value).map(|encoding| preferences.encoding = encoding),
            "linger" => {
                linger = Some(of_text("linger", value));
                Ok(())
            }
            // Looked at before any handler, if it says something: see `resume`.
            "last_event_id" => Ok(()),
            _ => return true,
        };
        wrong = wrong.take().or(parsed.err());
        false
    });
    match wrong {
        Some(failure) => Err(failure),
        None => Ok((preferences, linger.transpose()?, query)),
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
