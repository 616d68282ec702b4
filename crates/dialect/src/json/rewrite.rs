//! Changes to a body that leave all else byte for byte the same.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Json, quote};
use crate::event::SIGNATURE_MARK;
use crate::failure::Failure;
use crate::request::Request;

/// Removes reasoning state that other upstreams issued from a client's body: an upstream of the
/// client's dialect would take it for its own, and reject it. Without any, the body stays byte for
/// byte the same.
#[must_use]
pub fn without_foreign_signatures(
    body: &Bytes,
    mark: &str,
    is_foreign: &dyn Fn(&str) -> bool,
) -> Bytes {
    if memchr::memmem::find(body, mark.as_bytes()).is_none() {
        return body.clone();
    }
    let Ok(whole) = serde_json::from_slice::<&RawValue>(body) else {
        return body.clone();
    };
    let mut out = Vec::with_capacity(body.len());
    write_without_foreign(Json::from(whole), mark, is_foreign, &mut out);
    out.into()
}

/// Writes a value without what is foreign in it. Its depth is bounded: see [`super::parse_body`].
fn write_without_foreign(
    value: Json<'_>,
    mark: &str,
    is_foreign: &dyn Fn(&str) -> bool,
    out: &mut Vec<u8>,
) {
    if memchr::memmem::find(value.raw().as_bytes(), mark.as_bytes()).is_none() {
        return out.extend_from_slice(value.raw().as_bytes());
    }
    let foreign = |value: Json<'_>| value.text().is_some_and(|text| is_foreign(&text));
    if value.is_list() {
        out.push(b'[');
        let start = out.len();
        for item in value.items() {
            // A block, an item or a detail is removed together with its signature.
            let mut is_signed = false;
            item.each_field(|name, value| {
                is_signed |=
                    matches!(name, b"signature" | b"encrypted_content" | b"data") && foreign(value);
            });
            if !is_signed {
                if out.len() > start {
                    out.push(b',');
                }
                write_without_foreign(item, mark, is_foreign, out);
            }
        }
        out.push(b']');
    } else if value.is_object() {
        out.push(b'{');
        let start = out.len();
        value.each_field(|name, value| {
            // A part stays without its signature.
            let is_signature = matches!(name, b"thoughtSignature" | b"thought_signature");
            if is_signature && foreign(value) {
                return;
            }
            if out.len() > start {
                out.push(b',');
            }
            quote(out, &String::from_utf8_lossy(name));
            out.push(b':');
            write_without_foreign(value, mark, is_foreign, out);
        });
        out.push(b'}');
    } else {
        out.extend_from_slice(value.raw().as_bytes());
    }
}

/// Returns the client's body with another model name, or with one if it has none.
///
/// # Errors
///
/// Never for a body that is an object.
pub fn with_model(request: &Request, model: &str) -> Result<Bytes, Failure> {
    let body = &without_foreign_signatures(&request.body, SIGNATURE_MARK, &|value: &str| {
        value.starts_with(SIGNATURE_MARK)
    });
    if request.model.as_deref() == Some(model) {
        return Ok(body.clone());
    }
    let whole: &RawValue = serde_json::from_slice(body).map_err(|e| Failure::internal(e.into()))?;
    let (mut own, mut is_empty) = (None, true);
    Json::from(whole).each_field(|field, value| {
        is_empty = false;
        if field == b"model" {
            own = Some(value.raw());
        }
    });
    // A raw value is a slice of the body, so its place is that of the name.
    let place = |raw: &str| (raw.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    let mut name = Value::from(model).to_string();
    let replaced = match own {
        Some(own) => place(own)..place(own) + own.len(),
        None => {
            let comma = if is_empty { "" } else { "," };
            name = format!("\"model\":{name}{comma}");
            let start = place(whole.get()) + 1;
            start..start
        }
    };
    let mut out = BytesMut::with_capacity(body.len() + name.len());
    out.put_slice(&body[..replaced.start]);
    out.put_slice(name.as_bytes());
    out.put_slice(&body[replaced.end..]);
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

/// Returns the body with these fields alone.
///
/// # Errors
///
/// Never for a body that is an object.
pub fn with_only(body: &Bytes, names: &[&str]) -> Result<Bytes, Failure> {
    let OrderedFields(fields) =
        serde_json::from_slice(body).map_err(|e| Failure::internal(e.into()))?;
    let kept = fields.iter().filter(|(name, _)| names.contains(&&**name));
    Ok(object(
        kept.map(|(name, value)| (name.as_str(), value.get())),
    ))
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
