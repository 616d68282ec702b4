//! Errors that upstreams report, in the spellings of thirty providers.
//!
//! An error may be an object with a message under a dozen names, a list of such, a text, an event,
//! or a page. What is taken of it is bounded, since it goes into a message.

mod page;

use base::shorten::shorten;
use serde_json::{Map, Value};

use crate::failure::{Failure, FailureKind, classes};

/// Longest message taken of a report, in bytes.
const MAX_MESSAGE: usize = 2000;
/// Most entries taken of a list of errors.
const MAX_ENTRIES: usize = 3;
/// Deepest nesting of reports within reports that is followed.
const MAX_DEPTH: u32 = 6;

/// The message of an error whose report has no words.
const NO_WORDS: &str = "the upstream reported an error";

/// Fields with the words of an error, the most telling first.
const MESSAGE_FIELDS: &[&str] = &[
    "message",
    "msg",
    "error_message",
    "error_msg",
    "errorMessage",
    "errmsg",
    "err_msg",
    "status_msg",
    "Message",
    "error_description",
    "faultstring",
    "detail",
    "errors",
    "error",
    "description",
    "reason",
    "title",
    "Error",
    "exception",
    "text",
];

/// Fields with the object that has those words.
const NESTED_FIELDS: &[&str] = &[
    "base_resp",
    "fault",
    "Error",
    "err",
    "response",
    "header",
    "result",
    "data",
    "body",
    "exception",
    "innererror",
    "innerError",
    "inner_error",
    "ResponseMetadata",
];

/// Fields that only an error has.
const ERROR_FIELDS: &[&str] = &[
    "error",
    "errors",
    "error_msg",
    "error_code",
    "error_message",
    "errorMessage",
    "fault",
    "Error",
    "exception",
];

/// Reads an error from outside a payload.
pub(crate) fn read_error(data: &[u8]) -> Option<Failure> {
    let text = String::from_utf8_lossy(data);
    let report = match serde_json::from_str::<Value>(&text) {
        Ok(Value::Number(_) | Value::Bool(_)) => None,
        Ok(value) => ErrorReport::of(&value),
        Err(_) => page::parse_text(&text),
    };
    report.map(Failure::from)
}

/// Parses an error, which may be an object, a string, or worse. `null`, `{}`, `""`, `false` and an
/// object of nothing else mean none.
pub(crate) fn parse_error_value(json: &str) -> Option<Failure> {
    ErrorReport::parse(json).map(Failure::from)
}

/// Reads the `error` of a payload that may have content; the words may be beside it.
pub(crate) fn read_error_field(payload: &[u8], error: &str) -> Option<Failure> {
    match serde_json::from_slice(payload) {
        Ok(value) => ErrorReport::in_field(&value).map(Failure::from),
        Err(_) => parse_error_value(error),
    }
}

/// Reads the error of a payload that has a type, but none that is known.
pub(crate) fn read_typed_error(payload: &[u8]) -> Option<Failure> {
    let value = serde_json::from_slice(payload).ok()?;
    ErrorReport::in_typed_payload(&value).map(Failure::from)
}

/// Reads the error of a payload that has no content.
pub(crate) fn read_payload_error(payload: &[u8]) -> Option<Failure> {
    let value = serde_json::from_slice(payload).ok()?;
    ErrorReport::in_payload(&value).map(Failure::from)
}

/// An upstream's report of an error, in its own words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorReport {
    /// The message.
    pub message: String,
    /// The type of error, where one is named.
    pub kind: Option<String>,
    /// The error code, where one is named.
    pub code: Option<String>,
}

impl ErrorReport {
    /// Parses the body of a refusal: JSON of any shape, an event, a page, or plain text. `None` if
    /// it gives no reason.
    pub(crate) fn parse_body(body: &[u8]) -> Option<Self> {
        page::parse_text(&String::from_utf8_lossy(body))
    }

    /// Parses an error value; `None` if it stands for no error.
    pub(crate) fn parse(json: &str) -> Option<Self> {
        match serde_json::from_str(json) {
            Ok(value) => Self::of(&value),
            Err(_) => Self::of(&Value::String(json.to_owned())),
        }
    }

    /// Returns the report of a value that stands in the place of an error; `None` if it stands for
    /// none.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        if is_nothing(value) {
            return None;
        }
        Some(Self::worded(value).unwrap_or_else(|| Self::new(NO_WORDS, value)))
    }

    /// Returns the report of a value that has words for it.
    fn worded(value: &Value) -> Option<Self> {
        words(value, MAX_DEPTH).map(|words| Self::new(&words, value))
    }

    fn new(message: &str, value: &Value) -> Self {
        let inner = innermost(value);
        let find = |names: &[&str]| {
            let places = names.iter().flat_map(|name| [&inner[*name], &value[*name]]);
            places.filter_map(word).next()
        };
        Self {
            message: shorten(message.trim(), MAX_MESSAGE).into_owned(),
            kind: find(&["type", "status"]).filter(|kind| kind != "error"),
            code: find(&["code", "error_code", "errorCode", "status_code", "err_code"]),
        }
    }

    /// Reads the `error` of a payload that may have content. Where it is a flag, a code or a
    /// status, the words are beside it.
    pub(crate) fn in_field(payload: &Value) -> Option<Self> {
        let error = &payload["error"];
        if is_nothing(error) {
            return None;
        }
        let has_words = error.is_object() || error.is_array();
        if let Some(report) = Self::worded(error).filter(|_| has_words) {
            return Some(report);
        }
        let mut beside = MESSAGE_FIELDS.iter().filter(|name| **name != "error");
        let words = beside.find_map(|name| payload[*name].as_str().filter(|text| !text.is_empty()));
        match words {
            Some(words) => Some(Self::new(words, payload)),
            None => Self::of(error),
        }
    }

    /// Reads the `base_resp` of a payload that may have content.
    pub(crate) fn in_base_resp(base_resp: &Value) -> Option<Self> {
        let is_error = match &base_resp["status_code"] {
            Value::Null => base_resp["status_msg"]
                .as_str()
                .is_some_and(|words| is_failing(&words.into())),
            code => is_failing(code),
        };
        is_error.then(|| Self::of(base_resp)).flatten()
    }

    /// Reads the error of a payload that has a type, but none that is known.
    pub(crate) fn in_typed_payload(payload: &Value) -> Option<Self> {
        match payload["object"] == "error" || !is_nothing(&payload["response"]["error"]) {
            true => Self::of(payload),
            false => Self::in_field(payload),
        }
    }

    /// Reads the error of a payload that has no content: under `error`, or as one of the shapes
    /// that are an error as a whole.
    pub(crate) fn in_payload(value: &Value) -> Option<Self> {
        let value = if value.is_array() { &value[0] } else { value };
        if let Value::String(text) = value {
            return Self::of(value).filter(|_| !text.is_empty());
        }
        let fields = value.as_object()?;
        let has = |name: &str| fields.get(name).is_some_and(|field| !is_nothing(field));
        let has_words = |value: &Value| words(value, MAX_DEPTH).is_some();
        let is_error = ERROR_FIELDS.iter().any(|name| has(name))
            || !is_nothing(&value["response"]["error"])
            || !is_nothing(&value["ResponseMetadata"]["Error"])
            || ["object", "type", "event"]
                .iter()
                .any(|name| value[name] == "error")
            || ["success", "ok"].iter().any(|name| value[name] == false)
            || (has("detail") && (!value["detail"].is_object() || has_words(&value["detail"])))
            || Self::in_base_resp(&value["base_resp"]).is_some()
            || is_failing(&value["header"]["code"]) && has_words(&value["header"])
            || ["code", "status_code", "status"]
                .iter()
                .any(|name| is_failing(&value[name]))
                && has_words(value)
            || is_bare_message(fields);
        is_error.then(|| Self::of(value)).flatten()
    }
}

/// Returns whether an object has nothing but a message.
fn is_bare_message(fields: &Map<String, Value>) -> bool {
    let is_text = |name: &str| fields.get(name).is_some_and(Value::is_string);
    let is_message = ["message", "msg", "Message"].into_iter().any(is_text);
    let others = ["id", "object", "type", "event", "code", "success", "status"];
    is_message && !others.iter().any(|name| fields.contains_key(*name))
}

/// Returns whether a code stands for a failure. None at all is none.
fn is_failing(code: &Value) -> bool {
    match code {
        Value::Number(number) => number
            .as_i64()
            .is_none_or(|code| code != 0 && !(200..300).contains(&code)),
        Value::String(code) => !["", "0", "200", "ok", "success", "in_progress", "completed"]
            .contains(&code.to_ascii_lowercase().as_str()),
        _ => false,
    }
}

/// Returns whether a value says nothing.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.trim().is_empty(),
        Value::Array(list) => list.iter().all(is_nothing),
        Value::Object(fields) => fields.values().all(is_nothing),
    }
}

/// Returns the object that has the details of a report.
fn innermost(mut value: &Value) -> &Value {
    for _ in 0..MAX_DEPTH {
        let inner = ["error", "errors", "base_resp", "fault", "Error"]
            .into_iter()
            .map(|name| &value[name])
            .chain([&value[0]])
            .find(|inner| inner.is_object() || inner.is_array());
        match inner {
            Some(inner) => value = inner,
            None => break,
        }
    }
    value
}

/// Returns the words of a report.
fn words(value: &Value, depth: u32) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    match value {
        Value::String(text) => text_words(text, depth),
        Value::Number(number) if !is_nothing(value) => Some(number.to_string()),
        Value::Array(list) => {
            let entries: Vec<_> = list
                .iter()
                .filter_map(|entry| entry_words(entry, depth))
                .take(MAX_ENTRIES)
                .collect();
            (!entries.is_empty()).then(|| entries.join("; "))
        }
        Value::Object(fields) => object_words(value, fields, depth),
        _ => None,
    }
}

/// Returns the words of a text, which may itself be a report in JSON.
fn text_words(text: &str, depth: u32) -> Option<String> {
    let text = text.trim();
    if text.starts_with(['{', '['])
        && let Ok(value) = serde_json::from_str::<Value>(text)
        && let Some(inner) = words(&value, depth)
    {
        return Some(inner);
    }
    (!text.is_empty()).then(|| text.to_owned())
}

fn object_words(value: &Value, fields: &Map<String, Value>, depth: u32) -> Option<String> {
    let inner = ["error", "Error"]
        .into_iter()
        .map(|name| &value[name])
        .find(|error| error.is_object() || error.is_array());
    if let Some(inner) = inner.and_then(|inner| words(inner, depth)) {
        return Some(inner);
    }
    let told = MESSAGE_FIELDS
        .iter()
        .chain(NESTED_FIELDS)
        .filter_map(|name| Some((*name, fields.get(*name)?)))
        .filter(|(name, field)| {
            let is_list = field.is_object() || field.is_array();
            !field.is_number() && (MESSAGE_FIELDS.contains(name) || is_list)
        })
        .find_map(|(name, field)| Some((name, words(field, depth)?)));
    let raw = &value["metadata"]["raw"];
    let Some((name, told)) = told else {
        if let Some(raw) = words(raw, depth) {
            return Some(raw);
        }
        // `{"model": ["is required"]}`
        let mut lists = fields.iter().filter(|(_, field)| field.is_array());
        return lists.find_map(|(name, list)| Some(format!("{name}: {}", words(list, depth)?)));
    };
    // A gateway's own words, and those of the provider behind it.
    let more = [raw, &value["errors"]]
        .into_iter()
        .filter(|_| name != "errors")
        .find_map(|more| words(more, depth));
    match more {
        Some(more) if !told.contains(&more) => Some(format!("{told}: {more}")),
        _ => Some(told),
    }
}

/// Returns the words of an entry of a list; FastAPI's say where the request is wrong.
fn entry_words(entry: &Value, depth: u32) -> Option<String> {
    let told = words(entry, depth)?;
    let place: Vec<_> = entry["loc"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(word)
        .collect();
    Some(if place.is_empty() {
        told
    } else {
        format!("{}: {told}", place.join("."))
    })
}

/// Returns a text that is not empty, or a number as one.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl From<ErrorReport> for Failure {
    fn from(report: ErrorReport) -> Self {
        let words = [&report.kind, &report.code].into_iter().flatten();
        let kind = words.filter_map(|word| FailureKind::from_code(word)).next();
        let failure = Failure::upstream_report(report);
        match failure.is(&classes::UPSTREAM_ERROR) {
            true => failure.with_kind(kind),
            // Its class has it.
            false => failure,
        }
    }
}

#[cfg(test)]
mod tests;
