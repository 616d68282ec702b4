//! A `linger` in a body in JSON: for how long the generation may run on without a reader.

use bytes::Bytes;
use serde_json::Value;

use crate::generation::{Linger, ParseLingerError};
use dialect::failure::Failure;
use dialect::json::{self, OrderedFields};

const FIELD: &str = "linger";

/// Takes a top-level `linger` out of a body in JSON: no upstream knows it. The rest stays as it
/// was, byte for byte.
pub(super) fn take(body: Bytes) -> Result<(Bytes, Option<Linger>), Failure> {
    if memchr::memmem::find(&body, b"\"linger\"").is_none() {
        return Ok((body, None));
    }
    // A body that can't be read is refused by who reads all of it, in words of its own.
    let Ok(OrderedFields(fields)) = serde_json::from_slice(&body) else {
        return Ok((body, None));
    };
    let Some(at) = fields.iter().position(|(name, _)| name == FIELD) else {
        return Ok((body, None));
    };
    let value: Value = serde_json::from_str(fields[at].1.get())
        .map_err(|error| Failure::internal(error.into()))?;
    let linger = of_json(&value)?;
    if fields[at + 1..].iter().any(|(name, _)| name == FIELD) {
        return Err(Failure::invalid(FIELD, "`linger` is given twice"));
    }
    let rest = fields.iter().filter(|(name, _)| name != FIELD);
    let rest = json::object(rest.map(|(name, value)| (name.as_str(), value.get())));
    Ok((rest, Some(linger)))
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
