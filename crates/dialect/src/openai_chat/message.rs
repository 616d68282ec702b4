//! Reads the first choice's deltas, or its complete message, into events.
//!
//! Fields of unexpected types are ignored: thirty providers disagree on nearly every one.

use std::borrow::Cow;

use serde_json::Value;

use super::chunk::{FunctionFields, MessageFields, ToolCallFields, says};
use crate::event::{Event, FinishReason, ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::json::{RawJson, walk_raw};
use crate::tools::ArgumentsTracker;
use crate::{EventSink, MAX_CALLS, PayloadInfo, emit, too_many_error};

/// State of the first choice, the only one that other dialects can express.
#[derive(Debug, Default)]
pub(super) struct MessageReader {
    calls: Vec<AnnouncedCall>,
    /// The field of the current reasoning, in which its upstream expects it back.
    thought: Option<&'static str>,
}

/// A tool call that has started.
#[derive(Debug)]
struct AnnouncedCall {
    /// The upstream's index of the call; not unique everywhere.
    number: u32,
    id: String,
    arguments: ArgumentsTracker,
    ended: bool,
}

impl MessageReader {
    /// Reads a delta or a complete message, which have the same fields.
    pub(super) fn read_message(
        &mut self,
        message: &MessageFields<'_>,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        self.reasoning(message, seen, sink);
        if [message.content, message.refusal, message.tool_calls]
            .into_iter()
            .flatten()
            .any(says)
        {
            self.end_reasoning(sink);
        }
        if let Some(raw) = message.content.filter(|raw| says(*raw)) {
            emit_field(raw, Event::Text, seen, sink);
        }
        if let Some(raw) = message.refusal.filter(|raw| says(*raw)) {
            emit_field(raw, Event::Refusal, seen, sink);
        }
        if let Some(raw) = message.tool_calls.filter(|raw| says(*raw)) {
            seen.has_content = true;
            if sink.is_some() {
                self.tool_calls(raw, seen, sink);
            }
        }
        if sink.is_none() {
            return;
        }
        self.rare_fields(message, seen, sink);
    }

    fn reasoning(
        &mut self,
        message: &MessageFields<'_>,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        // Some providers send the same reasoning in several fields, so only one is used. Details
        // come first, because only they separate one block, and its signature, from the next.
        let details: Vec<Value> = match message.reasoning_details {
            Some(raw) if sink.is_some() && says(raw) => {
                serde_json::from_str(raw.get()).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let detailed = details.iter().any(|detail| thought(detail).is_some());
        let fields = [
            ("reasoning_content", message.reasoning_content),
            ("reasoning", message.reasoning),
        ];
        for (name, raw) in fields
            .into_iter()
            .filter_map(|(name, raw)| Some((name, raw.filter(|raw| says(*raw))?)))
            .take(1)
        {
            if !detailed {
                self.thought = Some(name);
                emit_field(raw, Event::Reasoning, seen, sink);
            }
        }
        for detail in details {
            if emit_detail(detail, seen, sink) {
                self.thought = None;
            }
        }
    }

    fn rare_fields(
        &mut self,
        message: &MessageFields<'_>,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        if message.function_call.is_some_and(says) {
            // The predecessor of tool calls, limited to one.
            self.tool_call(
                0,
                ToolCallFields {
                    index: None,
                    id: None,
                    function: message.function_call,
                },
                seen,
                sink,
            );
        }
        if let Some(raw) = message.annotations.filter(|raw| says(*raw)) {
            let list: Vec<Value> = serde_json::from_str(raw.get()).unwrap_or_default();
            list.iter()
                .filter_map(super::citation)
                .for_each(|citation| emit(sink, Event::Citation(citation)));
        }
    }

    /// Reads the finish reason.
    pub(super) fn finish(
        &mut self,
        reason: &str,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        let reason = match reason {
            // OpenRouter's `error` and vLLM's `abort` are failures, not ends.
            "error" | "abort" => {
                seen.error = Some(Failure::upstream_error(format!(
                    "the upstream gave up (finish_reason `{reason}`)"
                )));
                return;
            }
            "length" | "max_tokens" => FinishReason::Length,
            "content_filter" => FinishReason::ContentFilter,
            "tool_calls" | "function_call" => FinishReason::ToolCalls,
            // `stop` after a tool call: OpenAI sends it when `tool_choice` named the tool.
            _ if !self.calls.is_empty() => FinishReason::ToolCalls,
            _ => FinishReason::Stop,
        };
        self.end_reasoning(sink);
        for (index, call) in (0..).zip(&mut self.calls) {
            if !std::mem::replace(&mut call.ended, true) {
                emit(sink, Event::ToolEnd { index });
            }
        }
        emit(sink, Event::Finish(reason));
    }

    /// Ends the current reasoning.
    fn end_reasoning(&mut self, sink: &mut EventSink<'_>) {
        if let Some(field) = self.thought.take() {
            emit(
                sink,
                Event::State(ReasoningState {
                    origin: StateOrigin::OpenAiChat,
                    value: field.into(),
                }),
            );
        }
    }

    fn tool_calls(&mut self, raw: RawJson<'_>, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) {
        let mut at = 0;
        // A value that is not a list is ignored.
        let _ = walk_raw(raw, |cursor| {
            cursor.list(|cursor| {
                match walk_raw(cursor.raw()?, ToolCallFields::parse) {
                    Ok(call) => self.tool_call(at, call, seen, sink),
                    // Ignoring it would make the answer look complete.
                    Err(error) => {
                        let message =
                            format!("the upstream sent a tool call that can't be read: {error}");
                        seen.error = Some(Failure::upstream_error(message));
                    }
                }
                at += 1;
                Ok(())
            })
        });
    }

    /// Starts a call; returns its index.
    fn announce(
        &mut self,
        number: u32,
        id: Option<Cow<'_, str>>,
        name: Cow<'_, str>,
        sink: &mut EventSink<'_>,
    ) -> usize {
        let id = id.map_or_else(
            || format!("call_{}", base::id::random_hex()),
            Cow::into_owned,
        );
        let at = self.calls.len();
        let call = Event::ToolCall {
            index: u32::try_from(at).unwrap_or(u32::MAX),
            id: id.as_str().into(),
            name,
        };
        emit(sink, call);
        self.calls.push(AnnouncedCall {
            number,
            id,
            arguments: ArgumentsTracker::default(),
            ended: false,
        });
        at
    }

    fn tool_call(
        &mut self,
        at: u32,
        call: ToolCallFields<'_>,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        let number = call
            .index
            .and_then(|raw| raw.get().trim_matches('"').parse().ok())
            .unwrap_or(at);
        let function = call
            .function
            .and_then(|raw| walk_raw(raw, FunctionFields::parse).ok())
            .unwrap_or_default();
        let name = function
            .name
            .and_then(RawJson::text)
            .filter(|name| !name.is_empty());
        let id = call
            .id
            .filter(|raw| raw.get() != "null")
            .map(|raw| raw.text().unwrap_or(raw.get().into()));
        let id = id.filter(|id| !id.is_empty());
        let known = self.calls.iter().rposition(|known| known.number == number);
        // Some upstreams give all calls the index 0: then a new name and id mark a new call.
        let known = known.filter(|&at| match (&name, &id) {
            (Some(_), Some(id)) => self.calls[at].id == **id,
            _ => true,
        });
        let at = match (known, name) {
            (Some(at), _) => at,
            // A fragment of a call that never started is dropped.
            (None, None) => return,
            (None, Some(_)) if self.calls.len() == MAX_CALLS => {
                seen.error = Some(too_many_error("tool calls"));
                return;
            }
            (None, Some(name)) => self.announce(number, id, name, sink),
        };
        // Groq sends `"null"` for none; some send the object itself instead of its text.
        let fragment = function
            .arguments
            .map(|raw| raw.text().unwrap_or(raw.get().into()));
        let Some(fragment) = fragment.filter(|text| !matches!(&**text, "" | "null")) else {
            return;
        };
        let index = u32::try_from(at).unwrap_or(u32::MAX);
        let whole = self.calls[at].arguments.push(&fragment);
        emit(sink, Event::ToolArguments { index, fragment });
        if whole && !std::mem::replace(&mut self.calls[at].ended, true) {
            emit(sink, Event::ToolEnd { index });
        }
    }
}

/// Emits Mistral's content: a list of text and thinking parts.
fn emit_parts(raw: RawJson<'_>, sink: &mut EventSink<'_>) {
    let Ok(parts) = serde_json::from_str::<Vec<Value>>(raw.get()) else {
        return;
    };
    for part in &parts {
        if let Some(text) = part["text"].as_str() {
            emit(sink, Event::Text(text.into()));
        }
        for thought in part["thinking"].as_array().into_iter().flatten() {
            if let Some(text) = thought["text"].as_str() {
                emit(sink, Event::Reasoning(text.into()));
            }
        }
    }
}

/// Emits a field of text, or of Mistral's parts.
fn emit_field<'a>(
    raw: RawJson<'a>,
    kind: fn(Cow<'a, str>) -> Event<'a>,
    seen: &mut PayloadInfo,
    sink: &mut EventSink<'_>,
) {
    seen.has_content = true;
    if sink.is_some() {
        match raw.text() {
            Some(text) => emit(sink, kind(text)),
            None => emit_parts(raw, sink),
        }
    }
}

fn thought(detail: &Value) -> Option<&str> {
    detail["text"]
        .as_str()
        .or(detail["summary"].as_str())
        .filter(|text| !text.is_empty())
}

/// Emits one of OpenRouter's reasoning details; returns true if it was signed.
fn emit_detail(mut detail: Value, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) -> bool {
    if let Some(text) = thought(&detail) {
        seen.has_content = true;
        emit(sink, Event::Reasoning(text.into()));
    }
    let signature = [&detail["signature"], &detail["data"]]
        .into_iter()
        .find_map(Value::as_str);
    let Some(signature) = signature.filter(|signature| !signature.is_empty()) else {
        return false;
    };
    let state = ReasoningState::decode(signature, StateOrigin::OpenAiChat);
    if state.origin != StateOrigin::OpenAiChat {
        // A server like this one, in front of another dialect.
        emit(sink, Event::State(state));
        return true;
    }
    if let Some(fields) = detail.as_object_mut() {
        fields.remove("text");
    }
    emit(
        sink,
        Event::State(ReasoningState {
            origin: StateOrigin::OpenAiChat,
            value: detail.to_string().into(),
        }),
    );
    true
}
