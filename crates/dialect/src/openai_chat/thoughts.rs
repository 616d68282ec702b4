//! Reads reasoning, and the form in which its upstream wants it back.

use serde_json::{Value, json};

use super::chunk::{MessageFields, says};
use super::message::MessageReader;
use super::parts::{emit_field, emit_part, emit_thoughts, parts_of};
use super::request::{CONTENT_THOUGHT, THOUGHT_FIELDS, opaque_state};
use crate::event::{Event, ReasoningState, StateOrigin};
use crate::json::RawJson;
use crate::{EventSink, PayloadInfo, emit};

/// The form in which reasoning that has no seal is sent back.
#[derive(Debug)]
pub(super) enum Thought {
    /// A field of text.
    Field(&'static str),
    /// A detail or a block, without its text.
    Detail(Value),
    /// A part of the content, with an empty text.
    Part(Value),
}

impl MessageReader {
    /// Reads the reasoning of a delta or a message.
    pub(super) fn reasoning(
        &mut self,
        message: &MessageFields<'_>,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        // Some providers send the same reasoning in several fields, so only one is used. Details
        // come first, because only they separate one block, and its signature, from the next.
        let lists = [message.reasoning_details, message.thinking_blocks];
        let list = lists.into_iter().flatten().find(|raw| says(*raw));
        let details: Vec<Value> = match list {
            Some(raw) if sink.is_some() => serde_json::from_str(raw.get()).unwrap_or_default(),
            _ => Vec::new(),
        };
        let detailed = details.iter().any(|detail| text_of(detail).is_some());
        let fields = [
            ("reasoning_content", message.reasoning_content),
            ("reasoning", message.reasoning),
            ("reasoning_text", message.reasoning_text),
        ];
        let told = fields
            .into_iter()
            .find_map(|(name, raw)| Some((name, raw.filter(|raw| says(*raw))?)));
        if let Some((name, raw)) = told {
            self.said.reasoning = true;
            if !detailed && raw.is_text() {
                self.thought = Some(Thought::Field(name));
                emit_field(raw, Event::Reasoning, seen, sink);
            } else if !detailed {
                emit_thoughts(raw, seen, sink);
            }
        }
        self.said.reasoning |= detailed;
        for detail in details {
            self.read_detail(detail, seen, sink);
        }
        let opaque = message.reasoning_opaque.filter(|raw| says(*raw));
        if let Some(opaque) = opaque.and_then(|raw| raw.text()) {
            self.thought = None;
            emit(sink, Event::State(opaque_state(&opaque)));
        }
    }

    /// Reads content that is no string. Thoughts in it are sent back as parts, too.
    pub(super) fn content_parts(&mut self, raw: RawJson<'_>, sink: &mut EventSink<'_>) {
        let content: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        let Some(parts) = parts_of(&content) else {
            self.end_reasoning(sink);
            return emit(sink, Event::Text(raw.get().into()));
        };
        for part in parts {
            if matches!(part["type"].as_str(), Some("thinking" | "reasoning")) {
                self.read_thinking_part(part, sink);
            } else {
                self.end_reasoning(sink);
                emit_part(part, sink);
            }
        }
    }

    /// Reads a thought among the parts of content: Mistral's and Databricks' have a list of texts,
    /// each of which may have a seal.
    fn read_thinking_part(&mut self, part: &Value, sink: &mut EventSink<'_>) {
        for field in THOUGHT_FIELDS {
            let mut shell = part.clone();
            if let Some(fields) = shell.as_object_mut() {
                // Says that more is to come, which is over when it is sent back.
                fields.remove("closed");
            }
            match &part[field] {
                Value::String(text) => {
                    shell[field] = "".into();
                    self.thought_in_content((text, is_sealed(part)), true, shell, sink);
                }
                Value::Array(inner) => {
                    for inner in inner {
                        let text = inner["text"].as_str().or(inner.as_str());
                        let mut empty = inner.clone();
                        match text {
                            Some(_) if empty.is_string() => empty = "".into(),
                            Some(_) => empty["text"] = "".into(),
                            None => {}
                        }
                        shell[field] = json!([empty]);
                        let said = (text.unwrap_or_default(), is_sealed(inner));
                        self.thought_in_content(said, text.is_some(), shell.clone(), sink);
                    }
                }
                _ => {}
            }
        }
    }

    /// Emits a piece of a thought, and ends it if it is sealed; `shell` is the part without the
    /// text. A seal without a place for a text is a thought of its own.
    fn thought_in_content(
        &mut self,
        (text, is_sealed): (&str, bool),
        has_text: bool,
        shell: Value,
        sink: &mut EventSink<'_>,
    ) {
        if text.is_empty() && !is_sealed {
            return;
        }
        if !has_text || !matches!(self.thought, Some(Thought::Part(_))) {
            self.end_reasoning(sink);
        }
        if !text.is_empty() {
            emit(sink, Event::Reasoning(text.into()));
        }
        self.thought = Some(Thought::Part(shell));
        if is_sealed {
            self.end_reasoning(sink);
        }
    }

    /// Ends the current reasoning.
    pub(super) fn end_reasoning(&mut self, sink: &mut EventSink<'_>) {
        let value = match self.thought.take() {
            None => return,
            Some(Thought::Field(name)) => name.into(),
            Some(Thought::Detail(detail)) => detail.to_string().into(),
            Some(Thought::Part(part)) => json!({ CONTENT_THOUGHT: part }).to_string().into(),
        };
        emit(
            sink,
            Event::State(ReasoningState {
                origin: StateOrigin::OpenAiChat,
                value,
            }),
        );
    }

    /// Reads one of OpenRouter's reasoning details, or of LiteLLM's thinking blocks.
    fn read_detail(&mut self, mut detail: Value, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) {
        let has_text = text_of(&detail).is_some();
        if let Some(text) = text_of(&detail) {
            seen.has_content = true;
            emit(sink, Event::Reasoning(text.into()));
        }
        let signature = [&detail["signature"], &detail["data"]]
            .into_iter()
            .find_map(Value::as_str)
            .filter(|signature| !signature.is_empty());
        let foreign = signature
            .map(|signature| ReasoningState::decode(signature, StateOrigin::OpenAiChat))
            .filter(|state| state.origin != StateOrigin::OpenAiChat);
        if let Some(state) = foreign {
            // A server like this one, in front of another dialect.
            emit(sink, Event::State(state));
            self.thought = None;
            return;
        }
        let is_signed = signature.is_some();
        if let Some(fields) = detail.as_object_mut() {
            for field in TEXT_FIELDS {
                fields.remove(field);
            }
        }
        if is_signed || has_text && is_known(&detail) {
            self.thought = Some(Thought::Detail(detail));
        }
        if is_signed {
            self.end_reasoning(sink);
        }
    }
}

/// Returns whether a thought has a seal.
fn is_sealed(thought: &Value) -> bool {
    let seals = [&thought["signature"], &thought["data"]];
    let mut seals = seals.into_iter().filter_map(Value::as_str);
    seals.any(|seal| !seal.is_empty())
}

/// Fields in which a detail has its text.
const TEXT_FIELDS: [&str; 3] = ["text", "summary", "thinking"];

fn text_of(detail: &Value) -> Option<&str> {
    let texts = TEXT_FIELDS
        .iter()
        .filter_map(|field| detail[*field].as_str());
    texts.into_iter().find(|text| !text.is_empty())
}

/// Returns true for a kind of details that can be sent back without a signature.
fn is_known(detail: &Value) -> bool {
    matches!(
        detail["type"].as_str(),
        Some("reasoning.text" | "reasoning.summary" | "thinking")
    )
}
