//! JSON of requests: bounded parsing, with errors that name the field and the expected value.
//!
//! ```
//! use dialect::json::RequestFields;
//!
//! let mut fields = RequestFields::parse(br#"{"model": "m", "stream": "yes"}"#)?;
//! assert_eq!(fields.model()?.as_deref(), Some("m"));
//! let failure = fields.take::<bool>("stream", "true or false").unwrap_err();
//! assert_eq!(failure.to_string(), r#"`stream` should be true or false, not "yes""#);
//! # Ok::<(), dialect::failure::Failure>(())
//! ```

mod cursor;
mod rewrite;
mod template;
mod view;
mod writer;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

pub(super) use cursor::{
    BorrowedText, Cursor, CursorError, CursorResult, RawJson, optional_text, walk, walk_raw,
};
pub use rewrite::{
    OrderedFields, object, with_fields, with_model, with_only, without_foreign_signatures,
};
pub(super) use template::PayloadTemplate;
pub(crate) use view::Json;
pub(crate) use writer::{ListWriter, ObjectWriter, quote};

use crate::failure::Failure;
use crate::request::Request;
use crate::tools::NestingTracker;
use base::suggest::did_you_mean;

/// Nesting to which schemas are rewritten, deeper than any honest one: each level is read once more
/// than the one above it.
pub(crate) const MAX_SCHEMA_NESTING: usize = 32;
/// Maximum nesting of a request; beyond it a parser's stack would be under the sender's control.
const MAX_NESTING: usize = 128;

/// Parses a body as JSON of type `T`, which borrows from it.
///
/// # Errors
///
/// A 400 for a body that is not UTF-8, not JSON, too deep, or of another shape.
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
    check_nesting(body)?;
    serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            invalid(format!("the request's body has the wrong shape: {error}"))
        }
        _ => invalid(format!("the request's body is not JSON: {error}")),
    })
}

/// Returns a body, which must be an object, as it is.
pub(crate) fn parse_object(body: &[u8]) -> Result<Json<'_>, Failure> {
    let raw: &RawValue = parse_body(body)?;
    let whole = Json::from(raw);
    if !whole.is_object() {
        let message = "the request's body has the wrong shape: it should be a JSON object";
        return Err(invalid(message.to_owned()));
    }
    Ok(whole)
}

/// Calls the closure with each field of a body, which must be an object, until it refuses one.
/// Nothing is kept of the fields: a few megabytes of small ones would take many times their size.
///
/// # Errors
///
/// Those of [`parse_body`], and the closure's.
pub fn read_fields<'a>(
    body: &'a [u8],
    mut read: impl FnMut(&str, &'a RawValue) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut outcome = Ok(());
    parse_object(body)?.each_field(|name, value| {
        if outcome.is_ok() {
            outcome = read(&String::from_utf8_lossy(name), value.as_raw_value());
        }
    });
    outcome
}

/// Parses a string, a number, a boolean or null. Returns none for a list or an object, which is
/// not built.
#[must_use]
pub fn parse_scalar(raw: &RawValue) -> Option<Value> {
    let json = raw.get();
    if json.starts_with(['[', '{']) {
        return None;
    }
    serde_json::from_str(json).ok()
}

/// Parses one field.
///
/// # Errors
///
/// A 400 that names the field and the expected value.
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

/// Returns the error for an unknown field or parameter, with the nearest known name.
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

/// The fields of a request's body, taken out one by one; the rest is unknown to the neutral form.
#[derive(Debug)]
pub struct RequestFields<'a>(Vec<RequestField<'a>>);

/// A field of a request's body. One that was taken counts as null.
#[derive(Debug)]
struct RequestField<'a> {
    name: Box<str>,
    value: &'a RawValue,
}

impl<'a> RequestFields<'a> {
    /// Parses a body, which must be an object. Repeated fields are rejected: we and the next reader
    /// might each use another of the two.
    ///
    /// # Errors
    ///
    /// Those of [`parse_body`].
    pub fn parse(body: &'a [u8]) -> Result<Self, Failure> {
        let whole = parse_object(body)?;
        let mut count = 0;
        whole.each_field(|_, _| count += 1);
        let mut fields = Vec::with_capacity(count);
        whole.each_field(|name, value| {
            fields.push(RequestField {
                name: String::from_utf8_lossy(name).into(),
                value: value.as_raw_value(),
            });
        });
        // Sorted, so that as many fields as fit into a body are found as quickly as a few.
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        match fields.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => Err(invalid(format!(
                "the field `{}` appears twice",
                excerpt(&pair[0].name)
            ))),
            None => Ok(Self(fields)),
        }
    }

    /// Takes one field as raw JSON.
    pub fn raw(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self
            .0
            .binary_search_by(|field| (*field.name).cmp(name))
            .ok()?;
        let taken = std::mem::replace(&mut self.0[at].value, RawValue::NULL);
        Some(taken)
    }

    /// Takes and parses one field.
    ///
    /// # Errors
    ///
    /// A 400 that names the expected value.
    pub fn take<T: DeserializeOwned>(
        &mut self,
        name: &str,
        want: &str,
    ) -> Result<Option<T>, Failure> {
        parse_field(name, self.raw(name), want)
    }

    /// Returns one field without taking it; null if it is missing.
    pub(crate) fn peek(&self, name: &str) -> Json<'a> {
        let at = self.0.binary_search_by(|field| (*field.name).cmp(name));
        at.ok().map(|at| self.0[at].value).into()
    }

    /// Takes one field of any shape; null if it is missing.
    pub(crate) fn json(&mut self, name: &str) -> Json<'a> {
        self.raw(name).into()
    }

    /// Takes a list; an empty one if it is missing.
    ///
    /// # Errors
    ///
    /// A 400 that names the expected value.
    pub(crate) fn list(&mut self, name: &str, want: &str) -> Result<Json<'a>, Failure> {
        let list = self.json(name);
        if list.is_list() || list.is_null() {
            return Ok(list);
        }
        let found = excerpt(list.raw());
        let message = format!("`{name}` should be {want}, not {found}");
        Err(Failure::invalid(name, message))
    }

    /// Takes the model's name; none if it is missing, null or empty.
    ///
    /// # Errors
    ///
    /// A 400 when it is no string.
    pub fn model(&mut self) -> Result<Option<String>, Failure> {
        let model: Option<String> = self.take("model", "a string")?;
        Ok(model.filter(|name| !name.is_empty()))
    }

    /// Records all remaining fields with a value as unsupported; those in `essential` can't be
    /// dropped.
    pub fn record_rest(self, request: &mut Request, ignored: &[&str], essential: &[&str]) {
        for RequestField { name, value } in self.0 {
            if Json::from(value).is_empty() || ignored.contains(&&*name) {
                continue;
            }
            if essential.contains(&&*name) {
                request.require(name)
            } else {
                request.ignore(excerpt(&name))
            }
        }
    }
}

/// Parses a field; null if it is missing.
pub(super) fn value(json: Option<&str>) -> Value {
    json.and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default()
}

/// Rewrites a payload with repeated fields, which readers reject, to keep only the last of each.
pub(super) fn with_last_duplicates(payload: &[u8]) -> Option<Vec<u8>> {
    serde_json::from_slice::<Value>(payload)
        .ok()
        .filter(Value::is_object)
        .map(|value| value.to_string().into_bytes())
}

/// Rejects JSON that is nested too deep for a recursive parser.
fn check_nesting(json: &[u8]) -> Result<(), Failure> {
    let mut nesting = NestingTracker::default();
    if json.iter().any(|byte| nesting.push(*byte) > MAX_NESTING) {
        return Err(invalid(format!(
            "the request's JSON is nested deeper than {MAX_NESTING}"
        )));
    }
    Ok(())
}

/// Returns the beginning of a client's text, for an error or a log line.
pub(crate) fn excerpt(text: &str) -> String {
    let short: String = text.chars().take(60).filter(|c| !c.is_control()).collect();
    if text.chars().nth(60).is_some() {
        format!("{short}…")
    } else {
        short
    }
}

fn invalid(message: String) -> Failure {
    Failure::invalid_request(message)
}

/// Largest accepted limit on tokens.
const MAX_TOKEN_LIMIT: u32 = 10_000_000;

/// Parses a limit on tokens; -1, as local servers have it, is none.
///
/// # Errors
///
/// A 400 that names the field and its range.
pub fn max_tokens(name: &str, raw: Option<&RawValue>) -> Result<Option<u32>, Failure> {
    parse_limit(name, raw.map_or("null", RawValue::get))
}

/// The same, of a field that was found already.
pub(crate) fn max_tokens_of(name: &str, value: Json<'_>) -> Result<Option<u32>, Failure> {
    parse_limit(name, value.raw())
}

fn parse_limit(name: &str, raw: &str) -> Result<Option<u32>, Failure> {
    match serde_json::from_str::<Option<f64>>(raw) {
        Ok(None | Some(-1.0)) => Ok(None),
        Ok(Some(n)) if (1.0..=f64::from(MAX_TOKEN_LIMIT)).contains(&n) && n.fract() == 0.0 => {
            Ok(Some(n as u32))
        }
        Ok(_) | Err(_) => {
            let found = excerpt(raw);
            let message = format!(
                "`{name}` should be a whole number from 1 to {MAX_TOKEN_LIMIT}, not {found}"
            );
            Err(Failure::invalid(name, message))
        }
    }
}

/// Parses a temperature.
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
