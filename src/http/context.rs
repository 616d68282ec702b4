//! The head of a request as an endpoint sees it: its context, its method, and its query.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};

use super::accept::wants_events;
use super::access::caller_of;
use super::azure::Deployment;
use super::error::Rejection;
use crate::generation::{Linger, ParseLingerError};
use crate::service::{Preferences, RequestContext};
use base::id::RequestId;
use dialect::failure::Failure;
use dialect::plain::TextEncoding;

const LAST_EVENT_ID: &str = "last-event-id";

/// The head of a request.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) context: RequestContext,
    pub(super) method: Method,
    pub(super) query: Query,
    /// The model that the path names, where it is one of Azure's.
    pub(super) deployment: Option<Deployment>,
}

impl<S: Sync> FromRequestParts<S> for RequestHead {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Self::take_from(parts)
    }
}

impl RequestHead {
    /// Takes the head of a request out of its parts.
    pub(super) fn take_from(parts: &mut Parts) -> Result<Self, Rejection> {
        let (options, query) = parse_query(parts.uri.query(), &parts.headers)?;
        // The outermost layer and the connection put them there; a router called without them has
        // other ones.
        let id = parts.extensions.remove().unwrap_or_else(RequestId::random);
        let disconnect = parts.extensions.remove().unwrap_or_default();
        let caller = caller_of(parts);
        let headers = std::mem::take(&mut parts.headers);
        Ok(Self {
            context: RequestContext {
                id,
                caller,
                is_event_source: parts.method == Method::GET && wants_events(&headers),
                headers,
                preferences: options.preferences,
                linger: options.linger,
                via: None,
                disconnect,
            },
            method: parts.method.clone(),
            query,
            deployment: parts.extensions.remove(),
        })
    }

    /// Refuses HEAD: axum answers it with GET's handler, which would run a model for nobody.
    pub(super) fn only_get(&self) -> Result<(), Rejection> {
        if self.method == Method::HEAD {
            return Err(Rejection::method_not_allowed(&self.method, "GET,POST"));
        }
        Ok(())
    }
}

/// The parameters of a query that are the endpoint's own, decoded, in order.
#[derive(Debug, Default)]
pub(super) struct Query(pub(super) Vec<(String, String)>);

impl Query {
    /// Takes one parameter out of the query.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    /// Refuses parameters beside a body in JSON, which holds all of a request.
    pub(super) fn deny(&self) -> Result<(), Failure> {
        match self.0.first() {
            Some((name, _)) => Err(Failure::invalid(
                name,
                format!("`{name}` belongs into the JSON body here"),
            )),
            None => Ok(()),
        }
    }
}

/// The options that every endpoint takes from headers and query.
#[derive(Debug)]
pub(super) struct CommonOptions {
    pub(super) preferences: Preferences,
    pub(super) linger: Option<Linger>,
}

/// Parses a query, and the headers that say the same as some of its parameters. Returns the
/// parameters that are left.
pub(super) fn parse_query(
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<(CommonOptions, Query), Failure> {
    let query = query.unwrap_or_default();
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
        let value = String::from_utf8_lossy(value.as_bytes());
        preferences.comments = parse_on_or_off("x-heartbeat", &value)?;
    }
    let mut linger = headers
        .get("x-linger")
        .map(|value| parse_linger("x-linger", &String::from_utf8_lossy(value.as_bytes())));
    let mut wrong = None;
    query.retain(|(name, value)| {
        let parsed = match name.as_str() {
            "heartbeat" => parse_on_or_off("heartbeat", value).map(|on| preferences.comments = on),
            "encoding" => parse_encoding(value).map(|encoding| preferences.encoding = encoding),
            "linger" => {
                linger = Some(parse_linger("linger", value));
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
        None => {
            let linger = linger.transpose()?;
            let options = CommonOptions {
                preferences,
                linger,
            };
            Ok((options, Query(query)))
        }
    }
}

/// Returns the id of the last event that a client has: from the header, or from the query for
/// clients that can set no header. An empty one is none.
pub(super) fn last_event_id(headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    let header = headers
        .get(LAST_EVENT_ID)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    header.filter(|value| !value.is_empty()).or_else(|| {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query?).ok()?;
        pairs
            .into_iter()
            .find(|(name, value)| name == "last_event_id" && !value.is_empty())
            .map(|(_, value)| value)
    })
}

fn parse_on_or_off(name: &str, value: &str) -> Result<bool, Failure> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(Failure::invalid(
            name,
            format!("`{name}` should be `on` or `off`"),
        )),
    }
}

fn parse_encoding(value: &str) -> Result<TextEncoding, Failure> {
    match value {
        "text" => Ok(TextEncoding::Text),
        "json" => Ok(TextEncoding::Json),
        _ => Err(Failure::invalid(
            "encoding",
            "`encoding` should be `text` or `json`",
        )),
    }
}

fn parse_linger(name: &str, value: &str) -> Result<Linger, Failure> {
    value
        .parse()
        .map_err(|error: ParseLingerError| Failure::invalid(name, error.to_string()))
}
