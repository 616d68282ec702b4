//! The time for which a generation may run on without a reader, as the client says in a header, in
//! its query, or in its body, and what is configured where it doesn't.

use bytes::Bytes;
use serde_json::Value;

use super::Service;
use super::context::RequestContext;
use crate::generation::{Linger, ParseLingerError};
use dialect::failure::Failure;
use dialect::json::{self, OrderedFields};

const FIELD: &str = "linger";

/// Takes a top-level `linger` out of a body in JSON: no upstream knows it. The rest stays as it
/// was, byte for byte.
pub(super) fn take(body: Bytes, context: &mut RequestContext) -> Result<Bytes, Failure> {
    if memchr::memmem::find(&body, b"\"linger\"").is_none() {
        return Ok(body);
    }
    // A body that can't be read is refused by who reads all of it, in words of its own.
    let Ok(OrderedFields(fields)) = serde_json::from_slice(&body) else {
        return Ok(body);
    };
    let Some(at) = fields.iter().position(|(name, _)| name == FIELD) else {
        return Ok(body);
    };
    let value: Value = serde_json::from_str(fields[at].1.get())
        .map_err(|error| Failure::internal(error.into()))?;
    context.linger = Some(of_json(&value)?);
    if fields[at + 1..].iter().any(|(name, _)| name == FIELD) {
        return Err(Failure::invalid(FIELD, "`linger` is given twice"));
    }
    let rest = fields.iter().filter(|(name, _)| name != FIELD);
    Ok(json::object(
        rest.map(|(name, value)| (name.as_str(), value.get())),
    ))
}

/// A `linger` in JSON: a text, or a number of seconds.
pub(super) fn of_json(value: &Value) -> Result<Linger, Failure> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null => "0".to_owned(),
        _ => String::new(),
    };
    text.parse()
        .map_err(|error: ParseLingerError| Failure::invalid(FIELD, error.to_string()))
}

/// Returns the linger that holds for a request.
pub(super) fn of(context: &RequestContext, service: &Service) -> Result<Linger, Failure> {
    let most = service.streaming.max_linger;
    match context.linger {
        Some(linger) if linger.duration() > most => {
            let most = humantime::format_duration(most);
            Err(Failure::invalid(
                FIELD,
                format!("`linger` is at most {most} here (streams.max_linger)"),
            ))
        }
        Some(linger) => Ok(linger),
        None if context.is_event_source() => Ok(Linger::OF_EVENT_SOURCE
            .max(Linger::new(service.streaming.linger))
            .min(Linger::new(most))),
        None => Ok(Linger::new(service.streaming.linger)),
    }
}
