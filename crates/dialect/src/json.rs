//! Reading a request's JSON: bounded, and with errors that say what, where, and what would be right.

mod cursor;
mod template;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

pub(super) use cursor::{
    Cursor, CursorError, CursorResult, RawJson, optional_text, walk, walk_raw,
};
pub(super) use template::PayloadTemplate;

use crate::event::SIGNATURE_MARK;
use crate::failure::Failure;
use crate::request::Request;
use base::suggest::did_you_mean;

/// Deeper nesting than any honest request has; beyond it a parser's stack would be the sender's to fill.
const MAX_NESTING: usize = 128;

/// Reads a body as JSON of type `T`, which borrows from it.
///
/// # Errors
///
/// A 400 for a body that is not UTF-8, not JSON, too deep, or not of that shape.
pub fn parse_body<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    let text = std::str::from_utf8(body).map_err(|error| {
        invalid(format!(
            "the request's body is not UTF-8: byte {} is wrong",
            error.valid_up_to()
        ))
    })?;
    if text.trim_ascii().is_empty() {
        return Err(invalid(
            "the request's body is empty; it should be a JSON object".to_owned(),
        ));
    }
    shallow(body)?;
    serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            invalid(format!("the request's body does not fit: {error}"))
        }
        _ => invalid(format!("the request's body is not JSON: {error}")),
    })
}

/// Reads one field, for an error that names it.
///
/// # Errors
///
/// A 400 that says which field is wrong and what it should be.
pub fn parse_field<T: DeserializeOwned>(
    name: &str,
    raw: Option<&RawValue>,
    want: &str,
) -> Result<Option<T>, Failure> {
    match raw.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(json) => match serde_json::from_str(json) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Failure::invalid(
                name,
                format!("`{name}` should be {want}, not {}", excerpt(json)),
            )),
        },
    }
}

/// An error about a field or parameter that this endpoint doesn't know.
#[must_use]
pub fn unknown_name(what: &str, name: &str, known: &[&str]) -> Failure {
    let name = excerpt(name);
    let hint =
        did_you_mean(&name, known).map_or(String::new(), |k| format!(" Did you mean `{k}`?"));
    Failure::invalid(
        &name,
        format!("unknown {what} `{name}`.{hint} Known: {}", known.join(", ")),
    )
}

/// The fields of a request's body, taken out one by one: what is left in the end has no word here.
#[derive(Debug)]
pub struct RequestFields<'a>(BTreeMap<String, &'a RawValue>);

/// A field that is there twice means one thing to us and another to whoever reads it next, so it is refused.
impl<'de> Deserialize<'de> for RequestFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = RequestFields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<RequestFields<'de>, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if fields.contains_key(&name) {
                        return Err(serde::de::Error::custom(format!(
                            "the field `{}` is there twice",
                            excerpt(&name)
                        )));
                    }
                    fields.insert(name, value);
                }
                Ok(RequestFields(fields))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

impl<'a> RequestFields<'a> {
    /// Reads a body, which must be an object.
    ///
    /// # Errors
    ///
    /// As [`parse_body`].
    pub fn parse(body: &'a [u8]) -> Result<Self, Failure> {
        parse_body(body)
    }

    /// One field as it stands.
    pub fn raw(&mut self, name: &str) -> Option<&'a RawValue> {
        self.0.remove(name)
    }

    /// One field.
    ///
    /// # Errors
    ///
    /// A 400 that says what it should be.
    pub fn take<T: DeserializeOwned>(
        &mut self,
        name: &str,
        want: &str,
    ) -> Result<Option<T>, Failure> {
        parse_field(name, self.raw(name), want)
    }

    /// One field, of any shape; null if it is not there.
    pub fn value(&mut self, name: &str) -> Value {
        self.raw(name)
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default()
    }

    /// The model's name, which every API wants.
    ///
    /// # Errors
    ///
    /// A 400 when it is missing.
    pub fn model(&mut self) -> Result<Option<String>, Failure> {
        let model: Option<String> = self.take("model", "a string")?;
        if model.as_ref().is_none_or(String::is_empty) {
            return Err(Failure::invalid(
                "model",
                "`model` is missing: name one of GET /v1/models",
            ));
        }
        Ok(model)
    }

    /// Notes everything that is left and says something: what of `matters` is there can't be done without.
    pub fn rest(self, request: &mut Request, ignored: &[&str], matters: &[&str]) {
        for (name, raw) in self.0 {
            if matches!(raw.get(), "null" | "false" | "[]" | "{}" | "\"\"")
                || ignored.contains(&name.as_str())
            {
                continue;
            }
            if matters.contains(&name.as_str()) {
                request.require(name)
            } else {
                request.ignore(excerpt(&name))
            }
        }
    }
}

/// What a client sends back of thoughts that were sealed elsewhere, taken out of its body: an upstream of its own dialect
/// would take the seal for one of its own, and refuse it. A body without any stays what it is, byte for byte.
#[must_use]
pub fn without_foreign_signatures(body: &Bytes, mark: &str, is_foreign: fn(&str) -> bool) -> Bytes {
    if memchr::memmem::find(body, mark.as_bytes()).is_none() {
        return body.clone();
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
        return body.clone();
    };
    unseal(&mut value, is_foreign);
    value.to_string().into()
}

fn unseal(value: &mut Value, is_foreign: fn(&str) -> bool) {
    let foreign = |value: &Value| value.as_str().is_some_and(is_foreign);
    match value {
        Value::Array(list) => {
            // A block, an item or a detail goes with its seal.
            let sealed = |value: &Value| {
                ["signature", "encrypted_content", "data"]
                    .iter()
                    .any(|name| foreign(&value[*name]))
            };
            list.retain(|value| !sealed(value));
            list.iter_mut().for_each(|value| unseal(value, is_foreign));
        }
        Value::Object(fields) => {
            // A part outlives its own.
            fields.retain(|name, value| {
                name != "thoughtSignature" && name != "thought_signature" || !foreign(value)
            });
            fields
                .values_mut()
                .for_each(|value| unseal(value, is_foreign));
        }
        _ => {}
    }
}

/// The client's own body, with another model's name.
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
    let body = &without_foreign_signatures(&request.body, SIGNATURE_MARK, |seal| {
        seal.starts_with(SIGNATURE_MARK)
    });
    if request.model.as_deref() == Some(model) {
        return Ok(body.clone());
    }
    let raw = serde_json::from_slice::<Model<'_>>(body)
        .map_err(|e| Failure::internal(e.into()))?
        .model
        .get();
    // The raw value is a slice of the body: where it lies there is where the new name goes.
    let start = (raw.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    let name = Value::from(model).to_string();
    let mut out = BytesMut::with_capacity(body.len() + name.len());
    out.put_slice(&body[..start]);
    out.put_slice(name.as_bytes());
    out.put_slice(&body[start + raw.len()..]);
    Ok(out.freeze())
}

/// An object's fields in their order, each as it stands; one may be there twice.
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

/// An object of these fields; the values are JSON.
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

/// A body with other values for these fields, or without them; the rest stays as it was, byte for byte.
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

/// A text that borrows from its payload where it can. (In an `Option`, a bare `Cow` never does.)
#[derive(Debug, Deserialize)]
pub(super) struct BorrowedText<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A field as a value; null if it is not there.
pub(super) fn value(json: Option<&str>) -> Value {
    json.and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default()
}

/// A payload in which a field is there twice, which readers refuse: as anyone else would read it, the last one counts.
pub(super) fn with_last_duplicates(payload: &[u8]) -> Option<Vec<u8>> {
    serde_json::from_slice::<Value>(payload)
        .ok()
        .filter(Value::is_object)
        .map(|value| value.to_string().into_bytes())
}

/// Whether a value says no more than its absence would.
pub(super) fn is_empty_value(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// A string, or a list of them.
pub(super) fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

/// Appends a text as a JSON string.
pub(super) fn quote(out: &mut Vec<u8>, text: &str) {
    // Writing to a Vec can't fail.
    let _ = serde_json::to_writer(out, text);
}

fn shallow(json: &[u8]) -> Result<(), Failure> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in json {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => in_string = true,
                b'[' | b'{' => {
                    depth += 1;
                    if depth > MAX_NESTING {
                        return Err(invalid(format!(
                            "the request's JSON is nested deeper than {MAX_NESTING}"
                        )));
                    }
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    Ok(())
}

fn excerpt(text: &str) -> String {
    let short: String = text.chars().take(60).filter(|c| !c.is_control()).collect();
    if text.chars().count() > 60 {
        format!("{short}…")
    } else {
        short
    }
}

fn invalid(message: String) -> Failure {
    Failure::invalid_request(message)
}

/// The largest `max_tokens` that is taken for earnest.
const MAX_TOKEN_LIMIT: u64 = 10_000_000;

/// Checks a limit on tokens.
///
/// # Errors
///
/// A 400 that names the field and its range.
pub fn max_tokens(name: &str, raw: Option<&RawValue>) -> Result<Option<u32>, Failure> {
    let want = format!("a whole number from 1 to {MAX_TOKEN_LIMIT}");
    let value: Option<u64> = parse_field(name, raw, &want)?;
    match value {
        None => Ok(None),
        Some(n) if (1..=MAX_TOKEN_LIMIT).contains(&n) => Ok(u32::try_from(n).ok()),
        Some(n) => Err(Failure::invalid(
            name,
            format!("`{name}` should be {want}, not {n}"),
        )),
    }
}

/// Checks a temperature.
///
/// # Errors
///
/// A 400 that names the field and its range.
pub fn temperature(raw: Option<&RawValue>) -> Result<Option<f64>, Failure> {
    const WANT: &str = "a number from 0 to 2";
    match parse_field::<f64>("temperature", raw, WANT)? {
        Some(t) if !(0.0..=2.0).contains(&t) => Err(Failure::invalid(
            "temperature",
            format!("`temperature` should be {WANT}, not {t}"),
        )),
        t => Ok(t),
    }
}
