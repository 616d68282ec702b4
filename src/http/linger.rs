//! How long a generation may run on without a reader: what the client says, in a header, in its query, or in its body,
//! and what is configured where it doesn't.

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Shared;
use super::asked::Asked;
use crate::failure::Failure;
use crate::generation::{Linger, NotALinger};

const FIELD: &str = "linger";

/// Takes a top-level `linger` out of a body in JSON: no upstream knows it. The rest stays as it was, byte for byte.
pub(super) fn take(body: Bytes, asked: &mut Asked) -> Result<Bytes, Failure> {
    if memchr::memmem::find(&body, b"\"linger\"").is_none() {
        return Ok(body);
    }
    // A body that can't be read is refused by who reads all of it, in words of its own.
    let Ok(Fields(fields)) = serde_json::from_slice::<Fields<'_>>(&body) else { return Ok(body) };
    let Some(at) = fields.iter().position(|(name, _)| name == FIELD) else { return Ok(body) };
    let value: Value = serde_json::from_str(fields[at].1.get()).map_err(|error| Failure::Internal(error.into()))?;
    asked.linger = Some(of_json(&value)?);
    let mut rest = Vec::with_capacity(body.len());
    for (index, (name, value)) in fields.iter().enumerate() {
        if name != FIELD {
            rest.push(if rest.is_empty() { b'{' } else { b',' });
            rest.extend_from_slice(Value::from(name.as_str()).to_string().as_bytes());
            rest.push(b':');
            rest.extend_from_slice(value.get().as_bytes());
        } else if index != at {
            return Err(Failure::invalid(FIELD, "`linger` is given twice"));
        }
    }
    rest.extend_from_slice(if rest.is_empty() { b"{}" } else { b"}" });
    Ok(rest.into())
}

/// A `linger` in JSON: a text, or a number of seconds.
pub(super) fn of_json(value: &Value) -> Result<Linger, Failure> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null => "0".to_owned(),
        _ => String::new(),
    };
    text.parse().map_err(|error: NotALinger| Failure::invalid(FIELD, error.to_string()))
}

/// What holds for a request.
pub(super) fn of(asked: &Asked, shared: &Shared) -> Result<Linger, Failure> {
    let most = shared.streaming.max_linger;
    match asked.linger {
        Some(linger) if linger.duration() > most => {
            let most = humantime::format_duration(most);
            Err(Failure::invalid(FIELD, format!("`linger` is at most {most} here (streams.max_linger)")))
        }
        Some(linger) => Ok(linger),
        None if asked.is_event_source() => {
            Ok(Linger::OF_EVENT_SOURCE.max(Linger::new(shared.streaming.linger)).min(Linger::new(most)))
        }
        None => Ok(Linger::new(shared.streaming.linger)),
    }
}

/// An object's fields in their order.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Fields<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
