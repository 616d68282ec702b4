//! Puts a stream together as the message that it would have been, block by block as the official
//! SDKs do, with all that its events lack: blocks of the upstream's own tools, citations of
//! documents, fields of its own.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::value_size::{size_of_fields, size_of_value};
use crate::{AnswerFolder, MAX_CALLS};

/// The message so far.
#[derive(Debug, Default)]
pub(super) struct MessagesFolder {
    message: Option<Map<String, Value>>,
    blocks: Vec<FoldedBlock>,
    size: usize,
    /// The stream is not what the API describes: its events are all that can be relied on.
    is_odd: bool,
}

#[derive(Debug)]
struct FoldedBlock {
    number: Value,
    fields: Map<String, Value>,
    /// The fragments of its input.
    input: String,
}

impl AnswerFolder for MessagesFolder {
    fn add_payload(&mut self, data: &[u8]) {
        let Ok(Value::Object(mut payload)) = serde_json::from_slice(data) else {
            return;
        };
        let kind = payload.remove("type").unwrap_or_default();
        match kind.as_str() {
            Some("message_start") => self.begin(payload.remove("message")),
            Some("content_block_start") => {
                let block = payload.remove("content_block");
                self.begin_block(payload.remove("index").unwrap_or_default(), block);
            }
            Some("content_block_delta") => {
                let delta = payload.remove("delta");
                self.grow_block(&payload.remove("index").unwrap_or_default(), delta);
            }
            Some("message_delta") => self.end(payload),
            _ => {}
        }
    }

    fn size(&self) -> usize {
        self.size
    }

    fn complete(self: Box<Self>, encoded: Vec<u8>) -> Bytes {
        let Self {
            message: Some(mut message),
            blocks,
            is_odd: false,
            ..
        } = *self
        else {
            return encoded.into();
        };
        let said: Value = serde_json::from_slice(&encoded).unwrap_or_default();
        let reason = message.get("stop_reason").and_then(Value::as_str);
        // Some upstreams say that they stopped where they wait for the results of calls.
        if matches!(reason, None | Some("end_turn" | "")) {
            message.insert("stop_reason".to_owned(), said["stop_reason"].clone());
        }
        let blocks = blocks.into_iter().filter_map(FoldedBlock::finish);
        message.insert("content".to_owned(), blocks.collect());
        Value::from(message).to_string().into()
    }
}

impl MessagesFolder {
    fn begin(&mut self, message: Option<Value>) {
        let Some(Value::Object(message)) = message else {
            return;
        };
        self.is_odd |= self.message.is_some() || message.get("content") != Some(&json!([]));
        self.size += size_of_fields(&message);
        self.message = Some(message);
    }

    fn begin_block(&mut self, number: Value, block: Option<Value>) {
        let is_known = |known: &FoldedBlock| known.number == number;
        let Some(Value::Object(fields)) = block else {
            self.is_odd = true;
            return;
        };
        if self.blocks.iter().any(is_known) || self.blocks.len() == MAX_CALLS {
            self.is_odd = true;
            return;
        }
        self.size += size_of_fields(&fields);
        self.blocks.push(FoldedBlock {
            number,
            fields,
            input: String::new(),
        });
    }

    fn grow_block(&mut self, number: &Value, delta: Option<Value>) {
        let mut blocks = self.blocks.iter_mut().rev();
        let block = blocks.find(|block| block.number == *number);
        let (Some(block), Some(Value::Object(delta))) = (block, delta) else {
            self.is_odd = true;
            return;
        };
        let pieces = delta.into_iter();
        for (name, piece) in pieces.filter(|(name, piece)| name != "type" && !piece.is_null()) {
            self.size += name.len() + size_of_value(&piece);
            match (name.as_str(), piece) {
                ("partial_json", Value::String(piece)) => block.input.push_str(&piece),
                ("partial_json", piece) => block.input.push_str(&piece.to_string()),
                ("citation", piece) => {
                    let known = block.fields.entry("citations").or_insert(Value::Null);
                    match known {
                        Value::Array(known) => known.push(piece),
                        none => *none = json!([piece]),
                    }
                }
                (_, piece) => match (block.fields.get_mut(&name), piece) {
                    (Some(Value::String(said)), Value::String(piece)) => said.push_str(&piece),
                    (_, piece) => {
                        block.fields.insert(name, piece);
                    }
                },
            }
        }
    }

    /// Takes the fields that are known at the end.
    fn end(&mut self, mut payload: Map<String, Value>) {
        let Some(message) = &mut self.message else {
            return;
        };
        self.size += size_of_fields(&payload);
        let (delta, usage) = (payload.remove("delta"), payload.remove("usage"));
        if let Some(Value::Object(delta)) = delta {
            payload.extend(delta);
        }
        message.extend(payload);
        let known = message.entry("usage").or_insert_with(|| json!({}));
        if let (Value::Object(known), Some(Value::Object(usage))) = (known, usage) {
            known.extend(usage.into_iter().filter(|(_, count)| !count.is_null()));
        }
    }
}

impl FoldedBlock {
    /// Returns the whole block; `None` for a call that was cut off, which must not be run.
    fn finish(mut self) -> Option<Value> {
        if !self.input.trim_ascii().is_empty() {
            let input = serde_json::from_str(&self.input).ok()?;
            self.fields.insert("input".to_owned(), input);
        }
        Some(self.fields.into())
    }
}
