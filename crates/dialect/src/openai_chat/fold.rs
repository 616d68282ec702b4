//! Collects what a streamed answer has and its events lack: log probabilities, fields of gateways,
//! further choices. Deltas are merged as the official SDKs merge them.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::value_size::{VALUE_SIZE, size_of_value};
use crate::{AnswerFolder, MAX_CALLS};

/// Fields of a chunk that are not the answer's.
const OWN_FIELDS: [&str; 3] = ["choices", "object", "obfuscation"];
/// Fields of a message that events have.
const SAID_FIELDS: [&str; 5] = ["role", "content", "refusal", "tool_calls", "function_call"];
/// Fields of a message that have its reasoning.
const REASONING_FIELDS: [&str; 6] = [
    "reasoning_content",
    "reasoning",
    "reasoning_text",
    "reasoning_opaque",
    "reasoning_details",
    "thinking_blocks",
];
/// Texts that come whole each time.
const WHOLE_TEXTS: [&str; 7] = ["role", "type", "id", "name", "format", "object", "url"];

/// The fields that were collected of one stream.
#[derive(Debug, Default)]
pub(super) struct ChatFolder {
    /// Fields of the answer.
    fields: Map<String, Value>,
    choices: BTreeMap<u64, FoldedChoice>,
    size: usize,
}

/// The fields that were collected of a choice.
#[derive(Debug, Default)]
struct FoldedChoice {
    /// Its fields besides the message.
    fields: Map<String, Value>,
    message: Map<String, Value>,
}

impl AnswerFolder for ChatFolder {
    fn add_payload(&mut self, data: &[u8]) {
        let Ok(Value::Object(mut chunk)) = serde_json::from_slice(data) else {
            return;
        };
        if let Some(Value::Array(choices)) = chunk.remove("choices") {
            for choice in choices {
                self.add_choice(choice);
            }
        }
        chunk.retain(|name, _| !OWN_FIELDS.contains(&name.as_str()));
        // Some chunks have an empty id or model.
        chunk.retain(|_, value| !value.is_null() && value != "");
        for (name, value) in chunk {
            replace(&mut self.fields, name, value, &mut self.size);
        }
    }

    fn size(&self) -> usize {
        self.size
    }

    fn complete(self: Box<Self>, encoded: Vec<u8>) -> Bytes {
        let Ok(mut whole) = serde_json::from_slice::<Value>(&encoded) else {
            return encoded.into();
        };
        let Self {
            mut fields,
            choices,
            ..
        } = *self;
        if let Some(usage) = fields.remove("usage") {
            add_counts(&mut whole["usage"], usage);
        }
        if let Some(whole) = whole.as_object_mut() {
            whole.extend(fields);
        }
        let mut first = whole["choices"][0].take();
        let mut others = Vec::new();
        for (index, choice) in choices {
            match index {
                0 => choice.add_to(&mut first),
                index => others.push(choice.alone(index)),
            }
        }
        others.insert(0, first);
        whole["choices"] = others.into();
        whole.to_string().into()
    }
}

impl ChatFolder {
    fn add_choice(&mut self, choice: Value) {
        let Value::Object(mut choice) = choice else {
            return;
        };
        let index = choice.remove("index");
        let index = index.and_then(|index| index.as_u64()).unwrap_or(0);
        let is_first = index == 0;
        let folded = self.choices.entry(index).or_insert_with(|| {
            self.size += size_of::<FoldedChoice>();
            FoldedChoice::default()
        });
        let (delta, message) = (choice.remove("delta"), choice.remove("message"));
        if let Some(Value::Object(mut delta)) = delta {
            keep_unsaid(&mut delta, is_first);
            merge_fields(&mut folded.message, delta, &mut self.size);
        }
        // A whole one repeats what its deltas said.
        if let Some(Value::Object(mut message)) = message {
            keep_unsaid(&mut message, is_first);
            message.retain(|name, _| !folded.message.contains_key(name));
            merge_fields(&mut folded.message, message, &mut self.size);
        }
        if let Some(Value::Object(found)) = choice.remove("logprobs") {
            let known = folded.fields.entry("logprobs").or_insert(json!({}));
            if let Value::Object(known) = known {
                merge_fields(known, found, &mut self.size);
            }
        }
        for (name, value) in choice.into_iter().filter(|(_, value)| !value.is_null()) {
            replace(&mut folded.fields, name, value, &mut self.size);
        }
    }
}

/// Leaves out of the first choice's message what its events have; of calls only what these lack.
fn keep_unsaid(message: &mut Map<String, Value>, is_first: bool) {
    if !is_first {
        return;
    }
    let calls = message.remove("tool_calls");
    message.retain(|name, _| !SAID_FIELDS.contains(&name.as_str()));
    if let Some(Value::Array(mut calls)) = calls {
        for call in calls.iter_mut().filter_map(Value::as_object_mut) {
            call.retain(|name, _| !matches!(&**name, "function" | "custom" | "type"));
        }
        message.insert("tool_calls".to_owned(), calls.into());
    }
}

impl FoldedChoice {
    /// Adds what was collected to the choice that the events make.
    fn add_to(mut self, choice: &mut Value) {
        // The events know better which of many reasons is the last, and what it means.
        self.fields.remove("finish_reason");
        let calls = self.message.remove("tool_calls");
        let has_own = REASONING_FIELDS
            .iter()
            .any(|field| self.message.contains_key(*field));
        let Some(message) = choice["message"].as_object_mut() else {
            return;
        };
        // Sources are in a field of their own, here or beside the choices.
        message.remove("annotations");
        if has_own || !message.contains_key("reasoning_content") {
            // Seals in the form of other dialects are not for this upstream.
            message.retain(|name, _| !REASONING_FIELDS.contains(&name.as_str()));
        }
        message.extend(self.message);
        let known = message.get_mut("tool_calls").and_then(Value::as_array_mut);
        if let (Some(known), Some(Value::Array(found))) = (known, calls)
            && known.len() == found.len()
        {
            for (call, found) in known.iter_mut().zip(found) {
                add_missing(call, found);
            }
        }
        if let Some(choice) = choice.as_object_mut() {
            choice.extend(self.fields);
        }
    }

    /// Returns a choice of which there are no events.
    fn alone(self, index: u64) -> Value {
        let mut message = json!({ "role": "assistant", "content": null, "refusal": null });
        if let Some(message) = message.as_object_mut() {
            message.extend(self.message);
        }
        let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
        for call in calls.into_iter().flatten().filter_map(Value::as_object_mut) {
            call.remove("index");
        }
        let mut choice =
            json!({ "index": index, "message": message, "logprobs": null, "finish_reason": null });
        if let Some(choice) = choice.as_object_mut() {
            choice.extend(self.fields);
        }
        choice
    }
}

/// Adds the fields that a call lacks.
fn add_missing(call: &mut Value, found: Value) {
    let (Some(call), Value::Object(mut found)) = (call.as_object_mut(), found) else {
        return;
    };
    found.remove("index");
    for (name, value) in found {
        call.entry(name).or_insert(value);
    }
}

/// Adds counts that are known: a later report of some upstreams is empty.
fn add_counts(known: &mut Value, found: Value) {
    match found {
        Value::Object(found) => {
            if !known.is_object() {
                *known = json!({});
            }
            for (name, value) in found {
                add_counts(&mut known[name], value);
            }
        }
        found if known.is_null() || found.as_u64() != Some(0) && !found.is_null() => *known = found,
        _ => {}
    }
}

/// Sets a field, of which each chunk has all.
fn replace(fields: &mut Map<String, Value>, name: String, value: Value, size: &mut usize) {
    if fields.get(&name) == Some(&value) {
        return;
    }
    let name_size = name.len();
    *size += name_size + size_of_value(&value);
    if let Some(old) = fields.insert(name, value) {
        *size = size.saturating_sub(name_size + size_of_value(&old));
    }
}

/// Merges the fields of a delta.
fn merge_fields(known: &mut Map<String, Value>, delta: Map<String, Value>, size: &mut usize) {
    for (name, value) in delta.into_iter().filter(|(_, value)| !value.is_null()) {
        match known.get_mut(&name) {
            Some(Value::String(text)) if !WHOLE_TEXTS.contains(&name.as_str()) => match value {
                Value::String(piece) => {
                    *size += piece.len();
                    text.push_str(&piece);
                }
                value => replace(known, name, value, size),
            },
            Some(Value::Object(inner)) if value.is_object() => {
                if let Value::Object(value) = value {
                    merge_fields(inner, value, size);
                }
            }
            Some(Value::Array(list)) if value.is_array() => {
                if let Value::Array(value) = value {
                    merge_list(list, value, size);
                }
            }
            None if value.is_array() => {
                *size += name.len() + VALUE_SIZE;
                let mut list = Vec::new();
                if let Value::Array(value) = value {
                    merge_list(&mut list, value, size);
                }
                known.insert(name, list.into());
            }
            _ => replace(known, name, value, size),
        }
    }
}

/// Merges the elements of a list by their index; others are further ones.
fn merge_list(known: &mut Vec<Value>, delta: Vec<Value>, size: &mut usize) {
    for element in delta {
        // Beyond as many as any model makes, looking for each would take quadratic time.
        let may_grow = known.len() <= MAX_CALLS;
        let index = element["index"].as_u64().filter(|_| may_grow);
        // The last ones grow.
        let found = index.and_then(|_| {
            let mut known = known.iter_mut().rev();
            known.find(|known| known["index"].as_u64() == index)
        });
        match (found, element) {
            (Some(Value::Object(known)), Value::Object(element)) => {
                merge_fields(known, element, size);
            }
            (_, element) => {
                *size += size_of_value(&element);
                known.push(element);
            }
        }
    }
}
