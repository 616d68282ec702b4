//! A whole answer as the stream that it would have been.

use serde_json::{Value, json};

use crate::replay::write_typed;
use crate::{FrameSink, JsonShape};

/// Returns the shape of an object.
pub(super) fn json_shape(value: &Value) -> JsonShape {
    match value["type"].as_str() {
        Some("message") | None if value["content"].is_array() => JsonShape::Answer,
        Some(kind)
            if kind == "ping"
                || kind.starts_with("message_")
                || kind.starts_with("content_block_") =>
        {
            JsonShape::Payload
        }
        _ => JsonShape::Unknown,
    }
}

/// Writes an answer: its head, its blocks, its end.
pub(super) fn replay_answer(mut answer: Value, out: FrameSink<'_>) {
    let content = answer["content"].take();
    let mut delta = json!({});
    for field in ["stop_reason", "stop_sequence"] {
        delta[field] = answer[field].take();
    }
    let usage = answer["usage"].clone();
    answer["type"] = "message".into();
    answer["content"] = json!([]);
    write_typed(out, &json!({ "type": "message_start", "message": answer }));
    let blocks = content.as_array().into_iter().flatten();
    for (index, block) in blocks.enumerate() {
        let (start, deltas) = open_block(block);
        write_typed(
            out,
            &json!({ "type": "content_block_start", "index": index, "content_block": start }),
        );
        for delta in deltas {
            write_typed(
                out,
                &json!({ "type": "content_block_delta", "index": index, "delta": delta }),
            );
        }
        write_typed(
            out,
            &json!({ "type": "content_block_stop", "index": index }),
        );
    }
    let mut end = json!({ "type": "message_delta", "delta": delta });
    if !usage.is_null() {
        end["usage"] = usage;
    }
    write_typed(out, &end);
    write_typed(out, &json!({ "type": "message_stop" }));
}

/// Returns a block as it begins, and its content as deltas. A block without deltas begins whole.
fn open_block(block: &Value) -> (Value, Vec<Value>) {
    let mut start = block.clone();
    let mut deltas = Vec::new();
    let mut take = |field: &str, empty: Value, kind: &str, name: &str| {
        if block[field].is_null() {
            return;
        }
        let whole = std::mem::replace(&mut start[field], empty);
        let whole = match field {
            "input" => whole.to_string().into(),
            _ => whole,
        };
        deltas.push(json!({ "type": kind, name: whole }));
    };
    match block["type"].as_str() {
        Some("text") => {
            take("text", "".into(), "text_delta", "text");
            if let Some(citations) = block["citations"].as_array() {
                start["citations"] = json!([]);
                let delta = |cited: &Value| json!({ "type": "citations_delta", "citation": cited });
                deltas.extend(citations.iter().map(delta));
            }
        }
        Some("thinking") => {
            take("thinking", "".into(), "thinking_delta", "thinking");
            take("signature", "".into(), "signature_delta", "signature");
        }
        Some("tool_use" | "server_tool_use") => {
            take("input", json!({}), "input_json_delta", "partial_json");
        }
        _ => {}
    }
    (start, deltas)
}
