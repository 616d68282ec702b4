//! Arguments that come leaf by leaf, each with its path in the object: `$.items[0].name`.
//!
//! They make JSON only when all are there, so this is the one place where a call is put together before it is said.

use serde_json::{Map, Value};

/// Deeper than any honest arguments.
const DEEPEST: usize = 64;

/// Puts one leaf where it belongs; a string that goes on is appended to.
pub(super) fn put(arguments: &mut Value, leaf: &Value) {
    let Some(steps) = leaf["jsonPath"].as_str().and_then(steps) else {
        return;
    };
    let Some(place) = steps
        .iter()
        .try_fold(arguments, |place, step| reach(place, step))
    else {
        return;
    };
    if let Some(text) = leaf["stringValue"].as_str() {
        match place {
            Value::String(said) => said.push_str(text),
            place => *place = text.into(),
        }
    } else if leaf["numberValue"].is_number() {
        *place = leaf["numberValue"].clone();
    } else if leaf["boolValue"].is_boolean() {
        *place = leaf["boolValue"].clone();
    } else {
        *place = Value::Null;
    }
}

enum Step {
    Name(String),
    At(usize),
}

fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() == DEEPEST {
            return None;
        }
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            steps.push(Step::Name(after[..end].to_owned()));
            rest = &after[end..];
        } else {
            let (inner, after) = rest.strip_prefix('[')?.split_once(']')?;
            steps.push(match inner.parse() {
                Ok(at) => Step::At(at),
                Err(_) => Step::Name(inner.trim_matches(['\'', '"']).to_owned()),
            });
            rest = after;
        }
    }
    Some(steps)
}

fn reach<'v>(place: &'v mut Value, step: &Step) -> Option<&'v mut Value> {
    match step {
        Step::Name(name) => {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            Some(
                place
                    .as_object_mut()?
                    .entry(name.as_str())
                    .or_insert(Value::Null),
            )
        }
        Step::At(at) => {
            if !place.is_array() {
                *place = Value::Array(Vec::new());
            }
            let list = place.as_array_mut()?;
            // They come in order: one that leaves a gap would make as much of nothing as it likes.
            if list.len() == *at {
                list.push(Value::Null);
            }
            list.get_mut(*at)
        }
    }
}
