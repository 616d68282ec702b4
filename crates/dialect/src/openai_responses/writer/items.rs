//! The items of a Responses stream: announced, streamed piece by piece, repeated complete, closed.

use serde_json::{Value, json};

use super::super::answer::{call_json, reasoning_json, text_part, unsigned_signature};
use super::{CurrentItem, MessagePart, PartKind, ResponsesEventWriter};
use crate::FrameSink;

impl ResponsesEventWriter {
    /// Announces an item and returns its output index.
    pub(super) fn announce_item(
        &mut self,
        item: impl FnOnce(&Self, usize) -> Value,
        out: FrameSink<'_>,
    ) -> usize {
        let place = self.output.len();
        self.output.push(Value::Null);
        let item = item(self, place);
        self.event(
            "response.output_item.added",
            json!({ "output_index": place, "item": item }),
            out,
        );
        place
    }

    pub(super) fn finish_item(&mut self, place: usize, item: Value, out: FrameSink<'_>) {
        self.event(
            "response.output_item.done",
            json!({ "output_index": place, "item": item }),
            out,
        );
        self.output[place] = item;
    }

    pub(super) fn say(&mut self, kind: PartKind, text: &str, out: FrameSink<'_>) {
        if !matches!(self.open, Some(CurrentItem::Message { .. })) {
            self.close("completed", out);
            let item = |writer: &Self, place| {
                let id = writer.item_id("msg", place);
                json!({ "id": id, "type": "message", "status": "in_progress", "role": "assistant", "content": [] })
            };
            let place = self.announce_item(item, out);
            self.open = Some(CurrentItem::Message {
                place,
                parts: Vec::new(),
                part: None,
            });
        }
        if !matches!(&self.open, Some(CurrentItem::Message { part: Some(part), .. }) if part.kind == kind)
        {
            self.close_part(out);
            self.open_part(kind, out);
        }
        let Some(CurrentItem::Message {
            place,
            parts,
            part: Some(part),
        }) = &mut self.open
        else {
            return;
        };
        part.text.push_str(text);
        let (place, at) = (*place, parts.len());
        let id = self.item_id("msg", place);
        match kind {
            PartKind::Text => {
                let rest = format!(r#""content_index":{at},"logprobs":[],"#);
                self.delta("response.output_text.delta", &id, place, &rest, text, out);
            }
            PartKind::Refusal => {
                self.delta(
                    "response.refusal.delta",
                    &id,
                    place,
                    &format!(r#""content_index":{at},"#),
                    text,
                    out,
                );
            }
        }
    }

    pub(super) fn open_part(&mut self, kind: PartKind, out: FrameSink<'_>) {
        let Some(CurrentItem::Message { place, parts, part }) = &mut self.open else {
            return;
        };
        *part = Some(MessagePart {
            kind,
            text: String::new(),
            annotations: Vec::new(),
        });
        let (place, at) = (*place, parts.len());
        let empty = match kind {
            PartKind::Text => text_part("", Vec::new()),
            PartKind::Refusal => json!({ "type": "refusal", "refusal": "" }),
        };
        let id = self.item_id("msg", place);
        let fields =
            json!({ "item_id": id, "output_index": place, "content_index": at, "part": empty });
        self.event("response.content_part.added", fields, out);
    }

    pub(super) fn close_part(&mut self, out: FrameSink<'_>) {
        let Some(CurrentItem::Message { place, parts, part }) = &mut self.open else {
            return;
        };
        let Some(MessagePart {
            kind,
            text,
            annotations,
        }) = part.take()
        else {
            return;
        };
        let (place, at) = (*place, parts.len());
        let whole = match kind {
            PartKind::Text => text_part(&text, annotations),
            PartKind::Refusal => json!({ "type": "refusal", "refusal": text }),
        };
        parts.push(whole.clone());
        let id = self.item_id("msg", place);
        let mut fields = json!({ "item_id": id, "output_index": place, "content_index": at });
        let kind = match kind {
            PartKind::Text => {
                fields["text"] = text.into();
                fields["logprobs"] = json!([]);
                "response.output_text.done"
            }
            PartKind::Refusal => {
                fields["refusal"] = text.into();
                "response.refusal.done"
            }
        };
        self.event(kind, fields, out);
        let fields =
            json!({ "item_id": id, "output_index": place, "content_index": at, "part": whole });
        self.event("response.content_part.done", fields, out);
    }

    pub(super) fn think(&mut self, text: &str, out: FrameSink<'_>) {
        if !matches!(self.open, Some(CurrentItem::Reasoning { .. })) {
            self.open_reasoning(out);
        }
        let Some(CurrentItem::Reasoning { place, text: said }) = &mut self.open else {
            return;
        };
        if text.is_empty() {
            return;
        }
        let (place, first) = (*place, said.is_empty());
        said.push_str(text);
        let id = self.item_id("rs", place);
        if first {
            let part = json!({ "type": "summary_text", "text": "" });
            let fields =
                json!({ "item_id": id, "output_index": place, "summary_index": 0, "part": part });
            self.event("response.reasoning_summary_part.added", fields, out);
        }
        let rest = r#""summary_index":0,"#;
        self.delta(
            "response.reasoning_summary_text.delta",
            &id,
            place,
            rest,
            text,
            out,
        );
    }

    pub(super) fn open_reasoning(&mut self, out: FrameSink<'_>) {
        self.close("completed", out);
        let item = |writer: &Self, place| json!({ "id": writer.item_id("rs", place), "type": "reasoning", "summary": [] });
        let place = self.announce_item(item, out);
        self.open = Some(CurrentItem::Reasoning {
            place,
            text: String::new(),
        });
    }

    pub(super) fn close_reasoning(&mut self, encrypted: String, out: FrameSink<'_>) {
        let Some(CurrentItem::Reasoning { place, text }) = self.open.take() else {
            return;
        };
        let id = self.item_id("rs", place);
        if !text.is_empty() {
            let fields =
                json!({ "item_id": id, "output_index": place, "summary_index": 0, "text": text });
            self.event("response.reasoning_summary_text.done", fields, out);
            let part = json!({ "type": "summary_text", "text": text });
            let fields =
                json!({ "item_id": id, "output_index": place, "summary_index": 0, "part": part });
            self.event("response.reasoning_summary_part.done", fields, out);
        }
        self.finish_item(place, reasoning_json(&id, &text, encrypted), out);
    }

    /// Closes the item that receives text, if there is one.
    pub(super) fn close(&mut self, status: &str, out: FrameSink<'_>) {
        match &self.open {
            None => {}
            Some(CurrentItem::Reasoning { .. }) => self.close_reasoning(unsigned_signature(), out),
            Some(CurrentItem::Message { .. }) => {
                self.close_part(out);
                let Some(CurrentItem::Message { place, parts, .. }) = self.open.take() else {
                    return;
                };
                let id = self.item_id("msg", place);
                let item = json!({
                    "id": id, "type": "message", "status": status, "role": "assistant", "content": parts,
                });
                self.finish_item(place, item, out);
            }
        }
    }

    pub(super) fn end_call(&mut self, at: usize, status: &str, out: FrameSink<'_>) {
        let call = self.calls.remove(at);
        let id = self.item_id("fc", call.place);
        let item = call_json(&id, &call.id, &call.name, &call.arguments, status);
        let fields = json!({
            "item_id": id, "output_index": call.place, "name": call.name, "arguments": item["arguments"],
        });
        self.event("response.function_call_arguments.done", fields, out);
        self.finish_item(call.place, item, out);
    }

    pub(super) fn cite(&mut self, citation: Value, out: FrameSink<'_>) {
        let Some(CurrentItem::Message {
            place,
            parts,
            part: Some(part),
        }) = &mut self.open
        else {
            return;
        };
        let (place, at, number) = (*place, parts.len(), part.annotations.len());
        part.annotations.push(citation.clone());
        let id = self.item_id("msg", place);
        let fields = json!({
            "item_id": id, "output_index": place, "content_index": at, "annotation_index": number,
            "annotation": citation,
        });
        self.event("response.output_text.annotation.added", fields, out);
    }
}
