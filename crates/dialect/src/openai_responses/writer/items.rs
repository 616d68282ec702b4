//! The items of a Responses stream: announced, streamed piece by piece, repeated complete, closed.

use serde_json::{Value, json};

use super::super::answer::{reasoning_json, text_part, unsigned_signature};
use super::super::call_items::call_json;
use super::{CurrentItem, MessagePart, OpenCall, PartKind, ResponsesEventWriter};
use crate::custom_input::CustomInput;
use crate::request::ToolKind;
use crate::{FrameSink, logprobs, tools};

/// The most log probabilities that are repeated with a whole part, in bytes: as trees they take
/// some ten times as much.
const MAX_REPEATED_LOGPROBS: usize = 1 << 20;

/// Returns the list of a part's log probabilities; an empty one in place of a large one, whose
/// elements came with the pieces.
fn repeated(logprobs: &str) -> Value {
    match logprobs.len() <= MAX_REPEATED_LOGPROBS {
        true => logprobs::tree(logprobs),
        false => json!([]),
    }
}

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
                let tokens = std::mem::take(&mut self.logprobs);
                let rest = format!(r#""content_index":{at},"logprobs":[{tokens}],"#);
                self.delta("response.output_text.delta", &id, place, &rest, text, out);
                self.keep_logprobs(tokens);
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

    /// Keeps the log probabilities of a piece, which are repeated with the whole part.
    fn keep_logprobs(&mut self, mut tokens: String) {
        let Some(CurrentItem::Message {
            part: Some(part), ..
        }) = &mut self.open
        else {
            return;
        };
        if part.logprobs.is_empty() {
            part.logprobs = tokens;
        } else if !tokens.is_empty() {
            part.logprobs.push(',');
            part.logprobs.push_str(&tokens);
            // The next piece has as many.
            tokens.clear();
            self.logprobs = tokens;
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
            logprobs: String::new(),
        });
        let (place, at) = (*place, parts.len());
        let empty = match kind {
            PartKind::Text => text_part("", Vec::new(), json!([])),
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
            logprobs,
        }) = part.take()
        else {
            return;
        };
        let (place, at) = (*place, parts.len());
        let whole = match kind {
            PartKind::Text => text_part(&text, annotations, repeated(&logprobs)),
            PartKind::Refusal => json!({ "type": "refusal", "refusal": text }),
        };
        parts.push(whole.clone());
        let id = self.item_id("msg", place);
        let mut fields = json!({ "item_id": id, "output_index": place, "content_index": at });
        let kind = match kind {
            PartKind::Text => {
                fields["text"] = text.into();
                fields["logprobs"] = whole["logprobs"].clone();
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

    pub(super) fn begin_call(&mut self, index: u32, id: &str, name: &str, out: FrameSink<'_>) {
        let form = self.meta.request.tool_forms.get(name);
        let kind = form.map_or(ToolKind::Function, |form| form.kind);
        let item = |writer: &Self, place| {
            let form = writer.meta.request.tool_forms.get(name);
            call_json(
                &writer.item_id("fc", place),
                (id, name, form),
                "",
                "in_progress",
            )
        };
        let place = self.announce_item(item, out);
        self.calls.push(OpenCall {
            index,
            place,
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: String::new(),
            kind,
            input: CustomInput::default(),
        });
    }

    /// Writes a fragment of a function's arguments, or of the text of a custom tool. What other
    /// tools are called with is only known whole.
    pub(super) fn continue_call(&mut self, index: u32, fragment: &str, out: FrameSink<'_>) {
        let Some(at) = self.calls.iter().position(|call| call.index == index) else {
            return;
        };
        let call = &mut self.calls[at];
        let place = call.place;
        match call.kind {
            ToolKind::Custom => {
                let text = call.input.push(fragment).to_owned();
                self.custom_text(place, &text, out);
            }
            ToolKind::Function => {
                call.arguments.push_str(fragment);
                let id = self.item_id("fc", place);
                let kind = "response.function_call_arguments.delta";
                self.delta(kind, &id, place, "", fragment, out);
            }
            _ => call.arguments.push_str(fragment),
        }
    }

    /// Writes a piece of the text that a custom tool is called with.
    fn custom_text(&mut self, place: usize, text: &str, out: FrameSink<'_>) {
        if !text.is_empty() {
            let id = self.item_id("fc", place);
            let kind = "response.custom_tool_call_input.delta";
            self.delta(kind, &id, place, "", text, out);
        }
    }

    pub(super) fn end_call(&mut self, at: usize, status: &str, out: FrameSink<'_>) {
        let mut call = self.calls.remove(at);
        if call.kind == ToolKind::Custom {
            let rest = call.input.end();
            self.custom_text(call.place, rest, out);
            call.arguments = tools::custom_arguments(call.input.text());
        }
        let id = self.item_id("fc", call.place);
        let form = self.meta.request.tool_forms.get(&call.name);
        let item = call_json(&id, (&call.id, &call.name, form), &call.arguments, status);
        let mut fields = json!({ "item_id": id, "output_index": call.place });
        match call.kind {
            ToolKind::Function => {
                fields["name"] = item["name"].clone();
                fields["arguments"] = item["arguments"].clone();
                self.event("response.function_call_arguments.done", fields, out);
            }
            ToolKind::Custom => {
                fields["input"] = item["input"].clone();
                self.event("response.custom_tool_call_input.done", fields, out);
            }
            _ => {}
        }
        self.finish_item(call.place, item, out);
    }

    /// Writes an image, which comes whole.
    pub(super) fn say_image(&mut self, mut item: Value, out: FrameSink<'_>) {
        let announced = |writer: &Self, place| {
            let id = writer.item_id("ig", place);
            json!({ "id": id, "type": "image_generation_call", "status": "in_progress", "result": null })
        };
        let place = self.announce_item(announced, out);
        item["id"] = self.item_id("ig", place).into();
        let fields = json!({ "item_id": item["id"], "output_index": place });
        self.event("response.image_generation_call.completed", fields, out);
        self.finish_item(place, item, out);
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
