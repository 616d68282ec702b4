//! Field names in camel case.

use serde_json::Value;

/// Renames all fields to camel case: Google accepts both spellings, and its own clients mix them.
pub(super) fn camel_case(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(camel_case),
        Value::Object(fields) => {
            for (name, mut value) in std::mem::take(fields) {
                let mut words = name.split('_').filter(|word| !word.is_empty());
                let mut camel = words.next().unwrap_or_default().to_owned();
                for word in words {
                    let mut letters = word.chars();
                    camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
                    camel.push_str(letters.as_str());
                }
                // The contents of these are the client's own.
                if !matches!(
                    camel.as_str(),
                    "args"
                        | "response"
                        | "parameters"
                        | "parametersJsonSchema"
                        | "responseSchema"
                        | "responseJsonSchema"
                ) {
                    camel_case(&mut value);
                }
                fields.insert(camel, value);
            }
        }
        _ => {}
    }
}
