//! The messages on a socket, in both directions. `docs/websocket.md` describes them for clients.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::http::error::Rejection;
use base::id::RequestId;
use dialect::failure::Failure;
use dialect::{Dialect, plain};

/// The longest id that a client may give a generation, in bytes.
const MAX_ID_LENGTH: usize = 64;

/// A client's message: what each type needs is looked for when that is known.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientMessage<'a> {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) id: Option<String>,
    pub(super) path: Option<String>,
    #[serde(borrow)]
    pub(super) body: Option<&'a RawValue>,
    pub(super) linger: Option<Value>,
    pub(super) idempotency_key: Option<String>,
    pub(super) stream: Option<String>,
    pub(super) after: Option<String>,
    pub(super) authorization: Option<String>,
    pub(super) token: Option<String>,
}

/// Reads a message.
pub(super) fn parse_message(text: &str) -> Result<ClientMessage<'_>, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure::invalid_request(format!("this message can't be read: {error}")))
}

impl ClientMessage<'_> {
    /// Takes the token of an `auth`: its own field, or that of the header which it would be.
    pub(super) fn into_token(self) -> Result<String, Failure> {
        let of_header = self.authorization.map(|value| match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.to_owned(),
            _ => value,
        });
        require_field("token", self.token.or(of_header))
    }

    /// The id that it must have.
    pub(super) fn id(&mut self) -> Result<String, Failure> {
        let id = self
            .id
            .take()
            .filter(|id| (1..=MAX_ID_LENGTH).contains(&id.len()));
        id.ok_or_else(|| {
            Failure::invalid(
                "id",
                format!("`id` should be a text of 1 to {MAX_ID_LENGTH} bytes"),
            )
        })
    }
}

/// A field that a message of its type must have.
pub(super) fn require_field<T>(name: &str, value: Option<T>) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::invalid(name, format!("`{name}` is missing")))
}

/// The server's messages.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ServerMessage<'a> {
    /// It runs; what comes of it follows.
    Started {
        id: &'a str,
        stream: Option<&'a str>,
        dialect: &'a str,
        request_id: &'a str,
    },
    /// A frame.
    Event {
        id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        event_id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        event: Option<&'a str>,
        data: &'a str,
    },
    /// The last of that id.
    End { id: &'a str, status: &'a str },
    /// With an id: the last of that. Without: a message that nothing came of.
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        error: Value,
    },
}

impl ServerMessage<'_> {
    /// As text.
    pub(super) fn write(&self) -> String {
        // Infallible: every key is a text.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Encodes a rejection as HTTP would in the plain dialect, with the status that it would have
/// there.
pub(super) fn refused(
    id: Option<&str>,
    refused: Rejection,
    dialect: &Dialect,
    request_id: &RequestId,
) -> String {
    let (failure, status) =
        refused.log_rejection(dialect, request_id, &axum::http::Method::GET, super::ROUTE);
    let body = plain::DIALECT
        .client
        .error_body(&failure, status.as_u16(), request_id.as_str());
    let mut error =
        serde_json::from_slice::<Value>(&body).map_or(Value::Null, |mut body| body["error"].take());
    error["status"] = status.as_u16().into();
    ServerMessage::Error { id, error }.write()
}
