//! Lists of log probabilities, as JSON text: an answer may have thousands of tokens with twenty
//! alternatives each, which as trees would take many times the memory.

use serde_json::Value;

/// Appends the elements of a JSON list to those that are there.
pub(crate) fn append(elements: &mut String, list: &str) {
    let inner = list.trim_ascii();
    let inner = inner
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let inner = inner.unwrap_or_default().trim_ascii();
    if inner.is_empty() {
        return;
    }
    if !elements.is_empty() {
        elements.push(',');
    }
    elements.push_str(inner);
}

/// Returns elements as the tree of a list.
pub(crate) fn tree(elements: &str) -> Value {
    serde_json::from_str(&format!("[{elements}]")).unwrap_or_else(|_| Value::Array(Vec::new()))
}
