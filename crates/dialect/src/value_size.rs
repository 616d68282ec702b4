//! Sizes of JSON values in memory, for what is collected within a bound.

use serde_json::{Map, Value};

/// About the size of a value besides its text, in bytes.
pub(crate) const VALUE_SIZE: usize = 32;

/// Returns about how many bytes a value takes.
pub(crate) fn size_of_value(value: &Value) -> usize {
    VALUE_SIZE
        + match value {
            Value::String(text) => text.len(),
            Value::Array(list) => list.iter().map(size_of_value).sum(),
            Value::Object(fields) => size_of_fields(fields),
            _ => 0,
        }
}

/// Returns about how many bytes the fields of an object take.
pub(crate) fn size_of_fields(fields: &Map<String, Value>) -> usize {
    let sizes = fields.iter();
    sizes
        .map(|(name, value)| name.len() + size_of_value(value))
        .sum()
}
