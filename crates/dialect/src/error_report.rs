//! Errors that upstreams report, in the spellings of thirty providers.

use serde_json::Value;

use crate::failure::{Failure, FailureKind};

/// Reads an error from outside a payload.
pub(crate) fn read_error(data: &[u8]) -> Option<Failure> {
    parse_error_value(&String::from_utf8_lossy(data))
}

/// Parses an error, which may be an object, a string, or worse. `null`, `{}`, `""` and `false` mean
/// none.
pub(crate) fn parse_error_value(json: &str) -> Option<Failure> {
    ErrorReport::parse(json).map(Failure::from)
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
    /// Parses an error body: `{"error": …}`, `{"message"}`, `{"detail"}`, or a bare string.
    pub(crate) fn parse_body(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        // Gemini wraps its own in a list.
        let value = if value.is_array() { &value[0] } else { &value };
        let error = [&value["error"], &value["detail"]]
            .into_iter()
            .find(|v| !v.is_null())
            .unwrap_or(value);
        let message = [&error["message"], error, &value["message"]]
            .into_iter()
            .find_map(|v| v.as_str())?;
        Some(Self {
            message: message.to_owned(),
            kind: word(&error["type"]).or_else(|| word(&error["status"])),
            code: word(&error["code"]),
        })
    }

    /// Parses an error value; `None` if it stands for no error.
    pub(crate) fn parse(json: &str) -> Option<Self> {
        let value: Value =
            serde_json::from_str(json).unwrap_or_else(|_| Value::String(json.to_owned()));
        let none = match &value {
            Value::Null | Value::Bool(false) => true,
            Value::Object(fields) => fields.is_empty(),
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        if none {
            return None;
        }
        let inner = if value["error"].is_object() {
            &value["error"]
        } else {
            &value
        };
        Some(Self {
            message: word(&inner["message"])
                .or_else(|| word(inner))
                .unwrap_or_else(|| "the upstream reported an error".to_owned()),
            kind: word(&inner["type"]).filter(|kind| kind != "error"),
            code: word(&inner["code"]),
        })
    }
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
        Failure::upstream_report(report).with_kind(kind)
    }
}
