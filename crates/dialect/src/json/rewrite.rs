//! Changes to a body that leave all else byte for byte the same.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::quote;
use crate::event::SIGNATURE_MARK;
use crate::failure::Failure;
use crate::request::Request;

/// Removes reasoning state that other upstreams issued from a client's body: an upstream of the
/// client's dialect would take it for its own, and reject it. Without any, the body stays byte for
/// byte the same.
#[must_use]
pub fn without_foreign_signatures(body: &Bytes, mark: &str, is_foreign: fn(&str) -> bool) -> Bytes {
    if memchr::memmem::find(body, mark.as_bytes()).is_none() {
        return body.clone();
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
        return body.clone();
    };
    strip_foreign(&mut value, is_foreign);
    value.to_string().into()
}

fn strip_foreign(value: &mut Value, is_foreign: fn(&str) -> bool) {
    let foreign = |value: &Value| value.as_str().is_some_and(is_foreign);
    match value {
        Value::Array(list) => {
            // A block, an item or a detail is removed together with its signature.
            let is_signed = |value: &Value| {
                ["signature", "encrypted_content", "data"]
                    .iter()
                    .any(|name| foreign(&value[*name]))
            };
            list.retain(|value| !is_signed(value));
            list.iter_mut()
                .for_each(|value| strip_foreign(value, is_foreign));
        }
        Value::Object(fields) => {
            // A part stays without its signature.
            fields.retain(|name, value| {
                name != "thoughtSignature" && name != "thought_signature" || !foreign(value)
            });
            fields
                .values_mut()
                .for_each(|value| strip_foreign(value, is_foreign));
        }
        _ => {}
    }
}

/// Returns the client's body with another model name.
///
/// # Errors
///
/// Never for a body that has one.
pub fn with_model(request: &Request, model: &str) -> Result<Bytes, Failure> {
    #[derive(Deserialize)]
    struct Model<'a> {
        #[serde(borrow)]
        model: &'a RawValue,
    }
    let body = &without_foreign_signatures(&request.body, SIGNATURE_MARK, |value| {
        value.starts_with(SIGNATURE_MARK)
    });
    if request.model.as_deref() == Some(model) {
        return Ok(body.clone());
    }
    let raw = serde_json::from_slice::<Model<'_>>(body)
        .map_err(|e| Failure::internal(e.into()))?
        .model
        .get();
    // The raw value is a slice of the body, so its place is that of the name.
    let start = (raw.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    let name = Value::from(model).to_string();
    let mut out = BytesMut::with_capacity(body.len() + name.len());
    out.put_slice(&body[..start]);
    out.put_slice(name.as_bytes());
    out.put_slice(&body[start + raw.len()..]);
    Ok(out.freeze())
}

/// The fields of an object in order, as raw JSON; repeated ones are kept.
#[derive(Debug)]
pub struct OrderedFields<'a>(pub Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for OrderedFields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = OrderedFields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<OrderedFields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(OrderedFields(fields))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// Encodes an object of these fields; the values are JSON.
pub fn object<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Bytes {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(if out.is_empty() { b'{' } else { b',' });
        quote(&mut out, name);
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
    }
    out.extend_from_slice(if out.is_empty() { b"{}" } else { b"}" });
    out.into()
}

/// Returns the body with other values for these fields, or without them; all else stays byte for
/// byte the same.
///
/// # Errors
///
/// Never for a body that is an object.
pub fn with_fields(body: &Bytes, changes: &[(&str, Option<&str>)]) -> Result<Bytes, Failure> {
    let OrderedFields(fields) =
        serde_json::from_slice(body).map_err(|e| Failure::internal(e.into()))?;
    let changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
    let kept = fields
        .iter()
        .filter(|(name, _)| !changed(name))
        .map(|(name, value)| (name.as_str(), value.get()));
    Ok(object(
        kept.chain(
            changes
                .iter()
                .filter_map(|(name, value)| Some((*name, (*value)?))),
        ),
    ))
}
