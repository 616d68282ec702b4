//! A whole answer as the stream that it would have been.

use serde_json::{Value, json};

use crate::replay::write_typed;
use crate::{FrameSink, JsonShape};

/// Returns the shape of an object.
pub(super) fn json_shape(value: &Value) -> JsonShape {
    match value["type"].as_str() {
        Some(kind) if kind.starts_with("response.") => JsonShape::Payload,
        _ if value["output"].is_array() || value["object"] == "response" => JsonShape::Answer,
        _ => JsonShape::Unknown,
    }
}

/// Numbers the events of a stream on their way out.
struct Events<'a> {
    number: u64,
    out: FrameSink<'a>,
}

impl Events<'_> {
    fn write(&mut self, kind: &str, mut payload: Value) {
        payload["type"] = kind.into();
        payload["sequence_number"] = self.number.into();
        self.number += 1;
        write_typed(self.out, &payload);
    }
}

/// Writes an answer: its head, its items, and the whole of it by its status.
pub(super) fn replay_answer(answer: Value, out: FrameSink<'_>) {
    let mut events = Events { number: 0, out };
    let mut begun = answer.clone();
    begun["status"] = "in_progress".into();
    begun["output"] = json!([]);
    begun["usage"] = Value::Null;
    events.write("response.created", json!({ "response": begun }));
    let items = answer["output"].as_array().into_iter().flatten();
    for (index, item) in items.filter(|item| item.is_object()).enumerate() {
        write_item(item, index, &mut events);
    }
    let kind = match answer["status"].as_str() {
        Some("completed") | None => "response.completed",
        Some("incomplete") => "response.incomplete",
        Some("failed" | "cancelled") => "response.failed",
        // Still at work: no end of a stream.
        Some(_) => return,
    };
    events.write(kind, json!({ "response": answer }));
}

fn write_item(item: &Value, index: usize, events: &mut Events<'_>) {
    let id = item["id"].clone();
    let place = |mut fields: Value| {
        fields["item_id"] = id.clone();
        fields["output_index"] = index.into();
        fields
    };
    let mut begun = item.clone();
    begun["status"] = "in_progress".into();
    let field = match item["type"].as_str() {
        Some("message") => "content",
        Some("reasoning") => "summary",
        Some("custom_tool_call") => "input",
        Some("function_call") => "arguments",
        _ => "",
    };
    match begun.get_mut(field) {
        Some(Value::Array(parts)) => parts.clear(),
        Some(Value::String(text)) => text.clear(),
        _ => {}
    }
    events.write(
        "response.output_item.added",
        json!({ "output_index": index, "item": begun }),
    );
    match field {
        "content" => write_parts(item, "content", &place, events),
        "summary" => write_parts(item, "summary", &place, events),
        "input" => {
            let kind = "response.custom_tool_call_input";
            write_text(kind, "input", &item["input"], &place, events);
        }
        "arguments" => {
            let kind = "response.function_call_arguments";
            write_text(kind, "arguments", &item["arguments"], &place, events);
        }
        // Begun and done, with all that it has.
        _ => {}
    }
    events.write(
        "response.output_item.done",
        json!({ "output_index": index, "item": item }),
    );
}

/// Writes the parts of a message, or of a summary.
fn write_parts(item: &Value, field: &str, place: &dyn Fn(Value) -> Value, events: &mut Events<'_>) {
    let (part_kind, index_name) = match field {
        "content" => ("response.content_part", "content_index"),
        _ => ("response.reasoning_summary_part", "summary_index"),
    };
    let parts = item[field].as_array().into_iter().flatten();
    for (at, part) in parts.enumerate() {
        let place = |mut fields: Value| {
            fields[index_name] = at.into();
            place(fields)
        };
        let (text_kind, text) = match part["type"].as_str() {
            Some("refusal") => ("response.refusal", "refusal"),
            Some("summary_text") => ("response.reasoning_summary_text", "text"),
            _ => ("response.output_text", "text"),
        };
        let mut begun = part.clone();
        if begun[text].is_string() {
            begun[text] = "".into();
        }
        events.write(
            &format!("{part_kind}.added"),
            place(json!({ "part": begun })),
        );
        write_text(text_kind, text, &part[text], &place, events);
        let annotations = part["annotations"].as_array().into_iter().flatten();
        for (number, annotation) in annotations.enumerate() {
            events.write(
                "response.output_text.annotation.added",
                place(json!({ "annotation_index": number, "annotation": annotation })),
            );
        }
        events.write(&format!("{part_kind}.done"), place(json!({ "part": part })));
    }
}

/// Writes a text as one piece and its end.
fn write_text(
    kind: &str,
    name: &str,
    text: &Value,
    place: &dyn Fn(Value) -> Value,
    events: &mut Events<'_>,
) {
    if !text.is_string() {
        return;
    }
    events.write(&format!("{kind}.delta"), place(json!({ "delta": text })));
    events.write(&format!("{kind}.done"), place(json!({ name: text })));
}
