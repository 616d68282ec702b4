//! Tool arguments that arrive leaf by leaf, each with its JSON path: `$.items[0].name`.
//!
//! They are valid JSON only when all leaves are there, so this is the one place where a call is
//! assembled before it is emitted.

use serde_json::{Map, Value};

/// Maximum depth of a path.
const MAX_NESTING: usize = 64;

/// Approximate size of an object or a list that has one value, in bytes.
const CONTAINER_SIZE: usize = 640;

/// Stores one leaf at its path; a string that is there already is extended. Returns the size of
/// the objects and lists that it took, in bytes.
pub(super) fn put(arguments: &mut Value, leaf: &Value) -> usize {
    let Some(steps) = leaf["jsonPath"].as_str().and_then(steps) else {
        return 0;
    };
    let mut size = 0;
    let Some(place) = steps
        .iter()
        .try_fold(arguments, |place, step| reach(place, step, &mut size))
    else {
        return size;
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
    size
}

enum PathStep {
    Name(String),
    At(usize),
}

fn steps(path: &str) -> Option<Vec<PathStep>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() == MAX_NESTING {
            return None;
        }
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            steps.push(PathStep::Name(after[..end].to_owned()));
            rest = &after[end..];
        } else {
            let (inner, after) = rest.strip_prefix('[')?.split_once(']')?;
            steps.push(match inner.parse() {
                Ok(at) => PathStep::At(at),
                Err(_) => PathStep::Name(inner.trim_matches(['\'', '"']).to_owned()),
            });
            rest = after;
        }
    }
    Some(steps)
}

fn reach<'v>(place: &'v mut Value, step: &PathStep, size: &mut usize) -> Option<&'v mut Value> {
    match step {
        PathStep::Name(name) => {
            if !place.is_object() {
                *size += CONTAINER_SIZE;
                *place = Value::Object(Map::new());
            }
            Some(
                place
                    .as_object_mut()?
                    .entry(name.as_str())
                    .or_insert(Value::Null),
            )
        }
        PathStep::At(at) => {
            if !place.is_array() {
                *size += CONTAINER_SIZE;
                *place = Value::Array(Vec::new());
            }
            let list = place.as_array_mut()?;
            // Leaves arrive in order. An index beyond the end could make the list arbitrarily long.
            if list.len() == *at {
                list.push(Value::Null);
            }
            list.get_mut(*at)
        }
    }
}
