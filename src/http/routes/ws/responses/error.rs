//! Errors on a socket of responses: what an HTTP response would say, in a message.

use axum::http::{HeaderMap, Method};
use serde_json::{Map, Value, json};

use crate::http::error::{Rejection, retry_after};
use base::id::RequestId;
use dialect::failure::Failure;
use dialect::openai_responses::DIALECT;

/// The route that the log names.
const ROUTE: &str = "/v1/responses";

/// An error, and the stream in which it is told.
pub(super) struct StreamError {
    pub(super) refused: Rejection,
    pub(super) stream_id: Option<String>,
    pub(super) request_id: RequestId,
}

impl StreamError {
    pub(super) fn new(failure: Failure, stream_id: Option<String>) -> Self {
        Self {
            refused: failure.into(),
            stream_id,
            request_id: RequestId::random(),
        }
    }
}

/// Logs an error and returns the message: `{"type": "error", "status", "error", "headers"}`.
pub(super) fn error_message(error: StreamError) -> String {
    let StreamError {
        refused,
        stream_id,
        request_id,
    } = error;
    let (failure, status) = refused.log_rejection(&DIALECT, &request_id, &Method::GET, ROUTE);
    let mut headers = Map::new();
    headers.insert("x-request-id".to_owned(), request_id.as_str().into());
    if let Some(refusal) = failure.refusal() {
        headers.extend(header_fields(&refusal.headers));
    }
    if let Some(after) = retry_after(&failure) {
        headers.extend(
            after
                .to_str()
                .map(|after| ("retry-after".to_owned(), after.into())),
        );
    }
    // Same dialect: the upstream's own words.
    let own = failure
        .refusal()
        .filter(|refusal| refusal.dialect == DIALECT.name);
    let mut own = own.and_then(|refusal| error_field(&refusal.reply));
    if let Some(code) = own.as_mut().and_then(|error| error.get_mut("code")) {
        spell(code);
    }
    let error = own.unwrap_or_else(|| {
        let body = DIALECT
            .client
            .error_body(&failure, status.as_u16(), request_id.as_str());
        error_field(&body).unwrap_or_default()
    });
    let mut message =
        json!({ "type": "error", "status": status.as_u16(), "error": error, "headers": headers });
    if let Some(id) = stream_id {
        message["stream_id"] = id.into();
    }
    message.to_string()
}

/// Returns an upstream's `error` event, with which a response ended, as the message of an error:
/// clients read one without a status as if nothing had happened.
pub(super) fn last_error(event: &str) -> String {
    let Ok(Value::Object(mut message)) = serde_json::from_str(event) else {
        return event.to_owned();
    };
    if !message.get("error").is_some_and(Value::is_object) {
        let mut error = Map::new();
        error.insert("type".to_owned(), "server_error".into());
        for name in ["code", "message", "param"] {
            error.extend(
                message
                    .get(name)
                    .map(|value| (name.to_owned(), value.clone())),
            );
        }
        message.insert("error".to_owned(), error.into());
    }
    message.entry("status").or_insert_with(|| 500.into());
    Value::Object(message).to_string()
}

/// Makes a code that is a number, as some hosts have it, a string: clients wait on after a message
/// of another shape than OpenAI's.
fn spell(code: &mut Value) {
    if code.is_number() {
        *code = code.to_string().into();
    }
}

fn header_fields(headers: &HeaderMap) -> impl Iterator<Item = (String, Value)> {
    headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.as_str().to_owned(), value.into()))
    })
}

/// Returns the `error` of a body, if that is an object.
fn error_field(body: &[u8]) -> Option<Value> {
    let mut body: Value = serde_json::from_slice(body).ok()?;
    Some(body.get_mut("error")?.take()).filter(Value::is_object)
}
