//! Reads reasoning, and the form in which its upstream wants it back.

use serde_json::Value;

use super::chunk::{MessageFields, says};
use super::message::MessageReader;
use super::parts::{emit_field, emit_thoughts};
use super::request::opaque_state;
use crate::event::{Event, ReasoningState, StateOrigin};
use crate::{EventSink, PayloadInfo, emit};

/// The form in which reasoning that has no seal is sent back.
#[derive(Debug)]
pub(super) enum Thought {
    /// A field of text.
    Field(&'static str),
    /// A detail or a block, without its text.
    Detail(Value),
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

    /// Ends the current reasoning.
    pub(super) fn end_reasoning(&mut self, sink: &mut EventSink<'_>) {
        let value = match self.thought.take() {
            None => return,
            Some(Thought::Field(name)) => name.into(),
            Some(Thought::Detail(detail)) => detail.to_string().into(),
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
