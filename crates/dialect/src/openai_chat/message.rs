//! Reads the first choice's deltas, or its complete message, into events.
//!
//! Fields of unexpected types are ignored: thirty providers disagree on nearly every one.

use serde_json::Value;

use super::calls::{CallAssembler, ListPlace};
use super::chunk::{ChunkChoice, MessageFields, TextField, ToolCallFields, says};
use super::parts::{emit_field, emit_images};
use super::thoughts::Thought;
use crate::event::{Event, FinishReason, ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::json::{RawJson, walk_raw};
use crate::text_digest::TextDigest;
use crate::{EventSink, MAX_HELD_BYTES, PayloadInfo, emit};

/// State of the first choice, the only one that other dialects can express.
#[derive(Debug, Default)]
pub(super) struct MessageReader {
    calls: CallAssembler,
    /// The current reasoning, in the form in which its upstream expects it back.
    pub(super) thought: Option<Thought>,
    pub(super) said: SaidFields,
    /// The text of whole messages so far, where no delta has any.
    told: String,
    /// The last finish reason that was emitted.
    finish: Option<FinishReason>,
}

/// The texts of deltas, as far as a whole message beside them can be compared with them.
#[derive(Debug, Default)]
struct SaidText {
    digest: TextDigest,
    /// Some content was no text.
    is_odd: bool,
}

impl SaidText {
    /// Returns what a text has behind the one that was said, if it begins with that.
    fn rest<'t>(&self, text: &'t str) -> Option<&'t str> {
        let is_known = !self.digest.is_empty() && !self.is_odd;
        is_known.then(|| self.digest.rest(text)).flatten()
    }
}

/// The fields that deltas have had: a whole message beside them repeats those.
#[derive(Debug, Default)]
pub(super) struct SaidFields {
    text: bool,
    texts: SaidText,
    pub(super) reasoning: bool,
    refusal: bool,
    images: bool,
    annotations: bool,
}

impl MessageReader {
    /// Reads what a choice says, in whichever of its fields; returns true if it has any.
    pub(super) fn read_choice(
        &mut self,
        choice: &ChunkChoice<'_>,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) -> bool {
        let mut has_any = choice.delta.is_some();
        if choice.logprobs.is_some()
            && sink.is_some()
            && let Some(tokens) = choice.text_logprobs()
        {
            emit(sink, Event::Logprobs(tokens.get().into()));
        }
        if let Some(delta) = &choice.delta {
            self.read_message(delta, seen, sink);
        }
        if let Some(message) = choice.message.filter(|raw| says(*raw)) {
            has_any = true;
            let calls = choice.delta.as_ref().and_then(|delta| delta.tool_calls);
            self.read_whole(message, calls.is_some_and(says), seen, sink);
        }
        // As legacy completions have it. Beside a delta or a message it repeats that.
        let own_text = choice.text.filter(|_| !has_any);
        if let Some(text) = own_text.filter(|raw| raw.is_text() && says(*raw)) {
            has_any = true;
            self.said.text = true;
            self.said.texts.is_odd = true;
            self.end_reasoning(sink);
            emit_field(text, Event::Text, seen, sink);
        }
        has_any
    }

    /// Reads a delta or a complete message, which have the same fields.
    pub(super) fn read_message(
        &mut self,
        message: &MessageFields<'_>,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        self.reasoning(message, seen, sink);
        if let Some(raw) = message.content.filter(|raw| says(*raw)) {
            self.content(raw, seen, sink);
        }
        let others = [message.refusal, message.tool_calls];
        if others.into_iter().flatten().any(says) {
            self.end_reasoning(sink);
        }
        if let Some(raw) = message.refusal.filter(|raw| says(*raw)) {
            self.said.refusal = true;
            emit_field(raw, Event::Refusal, seen, sink);
        }
        if let Some(raw) = message.tool_calls.filter(|raw| says(*raw)) {
            seen.has_content = true;
            if sink.is_some() {
                self.tool_calls(raw, CallAssembler::read_delta, seen, sink);
            }
        }
        self.rare_fields(message, seen, sink);
    }

    /// Reads a message that has one field, a piece of text or reasoning.
    pub(super) fn read_piece(
        &mut self,
        raw: RawJson<'_>,
        field: TextField,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        match field {
            _ if !says(raw) => {}
            TextField::Content => self.content(raw, seen, sink),
            _ => self.reasoning(&MessageFields::of(raw, field), seen, sink),
        }
    }

    fn content(&mut self, raw: RawJson<'_>, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) {
        self.said.text = true;
        seen.has_content = true;
        if sink.is_none() {
            return;
        }
        let Some(text) = raw.text() else {
            self.said.texts.is_odd = true;
            return self.content_parts(raw, sink);
        };
        self.end_reasoning(sink);
        self.said.texts.digest.push(&text);
        emit(sink, Event::Text(text));
    }

    /// Reads the whole message of a chunk, as far as the deltas have not said it. One beside a
    /// delta's calls repeats these, fragments though they are.
    fn read_whole(
        &mut self,
        raw: RawJson<'_>,
        repeats_calls: bool,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        let mut message = MessageFields::default();
        if let Err(error) = walk_raw(raw, |cursor| message.parse(cursor)) {
            // Ignoring it would make the answer look complete.
            let failure = Failure::bad_payload("a Chat Completions message", error.into());
            seen.error.get_or_insert(failure);
            return;
        }
        if sink.is_none() {
            seen.has_content |= message.fields().into_iter().flatten().any(says);
            return;
        }
        let calls = message.tool_calls.take().filter(|_| !repeats_calls);
        if self.said.text
            && let Some(raw) = message.content.take()
        {
            self.rest_of_text(raw, seen, sink);
        }
        let content = message.content.take();
        if self.said.reasoning {
            message.forget_reasoning();
        }
        if self.said.refusal {
            message.refusal = None;
        }
        if !self.calls.is_empty() {
            message.function_call = None;
        }
        if self.said.images {
            message.images = None;
        }
        if self.said.annotations {
            message.annotations = None;
        }
        self.read_message(&message, seen, sink);
        if let Some(raw) = content.filter(|raw| says(*raw)) {
            self.whole_text(raw, seen, sink);
        }
        if let Some(raw) = calls.filter(|raw| says(*raw)) {
            self.end_reasoning(sink);
            seen.has_content = true;
            self.tool_calls(raw, CallAssembler::read_whole, seen, sink);
        }
    }

    /// Emits what the text of a whole message has beyond that of the deltas.
    fn rest_of_text(&mut self, raw: RawJson<'_>, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) {
        let text = raw.text().unwrap_or_default();
        let rest = self.said.texts.rest(&text).unwrap_or_default().to_owned();
        if !rest.is_empty() {
            seen.has_content = true;
            self.said.texts.digest.push(&rest);
            self.end_reasoning(sink);
            emit(sink, Event::Text(rest.into()));
        }
    }

    /// Emits the text of a whole message. Further ones may repeat it and add to it.
    fn whole_text(&mut self, raw: RawJson<'_>, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) {
        let Some(text) = raw.text() else {
            self.said.text = true;
            seen.has_content = true;
            return self.content_parts(raw, sink);
        };
        self.end_reasoning(sink);
        let new = match text.strip_prefix(&*self.told) {
            Some(rest) => rest,
            None => &*text,
        };
        if new.is_empty() {
            return;
        }
        seen.has_content = true;
        self.told.push_str(new);
        if self.told.len() > MAX_HELD_BYTES {
            seen.error = Some(Failure::response_too_large(MAX_HELD_BYTES));
        }
        emit(sink, Event::Text(new.into()));
    }

    fn rare_fields(
        &mut self,
        message: &MessageFields<'_>,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        let said = |field: Option<RawJson<'_>>| field.is_some_and(says);
        if ![
            message.function_call,
            message.annotations,
            message.images,
            message.audio,
        ]
        .into_iter()
        .any(said)
        {
            return;
        }
        seen.has_content |= said(message.function_call) || said(message.images);
        if sink.is_none() {
            return;
        }
        if said(message.function_call) {
            // The predecessor of tool calls, limited to one.
            let call = ToolCallFields {
                function: message.function_call,
                ..ToolCallFields::default()
            };
            let known = self.calls.len();
            let place = ListPlace {
                at: 0,
                count: 1,
                known,
            };
            self.end_reasoning(sink);
            keep_error(self.calls.read_delta(place, &call, sink), seen);
        }
        if let Some(raw) = message.images.filter(|raw| says(*raw)) {
            self.said.images = true;
            self.end_reasoning(sink);
            emit_images(raw, sink);
        }
        if let Some(raw) = message.audio.filter(|raw| says(*raw)) {
            self.audio(raw, seen, sink);
        }
        if let Some(raw) = message.annotations.filter(|raw| says(*raw)) {
            self.said.annotations = true;
            let list: Vec<Value> = serde_json::from_str(raw.get()).unwrap_or_default();
            list.iter()
                .filter_map(super::citation)
                .for_each(|citation| emit(sink, Event::Citation(citation)));
        }
    }

    /// Emits the text of speech; for the sound itself there is no event.
    fn audio(&mut self, raw: RawJson<'_>, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) {
        let audio: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        if let Some(text) = audio["transcript"].as_str() {
            seen.has_content = true;
            self.said.text = true;
            self.said.texts.is_odd = true;
            self.end_reasoning(sink);
            emit(sink, Event::Text(text.into()));
        }
        if audio["data"].is_string() {
            emit(sink, Event::Unsupported("audio".into()));
        }
    }

    /// Returns whether the answer calls tools. `stop` then means that it waits for their results:
    /// OpenAI sends it when `tool_choice` named the tool.
    pub(super) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Returns true once a reason for the end was given.
    pub(super) fn has_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Reads the finish reason. Tool calls may follow it.
    pub(super) fn finish(&mut self, reason: FinishReason, sink: &mut EventSink<'_>) {
        self.end_reasoning(sink);
        self.finish = Some(reason);
        emit(sink, Event::Finish(reason));
    }

    /// Ends the message: its calls, whose deltas may follow the finish reason.
    ///
    /// # Errors
    ///
    /// A call that can't be run as it came, and a finish reason that promises calls where nothing
    /// came.
    pub(super) fn close(&mut self, sink: &mut EventSink<'_>) -> Result<(), Failure> {
        if sink.is_none() {
            // Calls are read only for a sink.
            return Ok(());
        }
        let cut = matches!(
            self.finish,
            None | Some(FinishReason::Length | FinishReason::ContentFilter)
        );
        self.calls.close(cut, sink)?;
        let has_text =
            self.said.text || self.said.refusal || self.said.images || !self.told.is_empty();
        match (self.finish, self.calls.is_empty()) {
            (Some(FinishReason::Stop), false) => {
                emit(sink, Event::Finish(FinishReason::ToolCalls));
            }
            // There is nothing that a client could run.
            (Some(FinishReason::ToolCalls), true) if has_text => {
                emit(sink, Event::Finish(FinishReason::Stop));
            }
            (Some(FinishReason::ToolCalls), true) => {
                let message = "the upstream's finish_reason promises tool calls, but it sent none";
                return Err(Failure::upstream_error(message));
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads a list of calls, or a single one.
    fn tool_calls(
        &mut self,
        raw: RawJson<'_>,
        read: fn(
            &mut CallAssembler,
            ListPlace,
            &ToolCallFields<'_>,
            &mut EventSink<'_>,
        ) -> Result<(), Failure>,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        if !raw.get().starts_with(['[', '{']) {
            return;
        }
        let known = self.calls.len();
        let mut count = 0;
        let _ = walk_raw(raw, |cursor| {
            cursor.list(|cursor| {
                count += 1;
                cursor.skip()
            })
        });
        let mut at = 0;
        let mut read = |raw: RawJson<'_>| {
            match walk_raw(raw, ToolCallFields::parse) {
                Ok(call) => {
                    if let Some(value) = call.thought_signature() {
                        emit(
                            sink,
                            Event::State(ReasoningState {
                                origin: StateOrigin::Gemini,
                                value: value.into(),
                            }),
                        );
                    }
                    let place = ListPlace { at, count, known };
                    keep_error(read(&mut self.calls, place, &call, sink), seen);
                }
                // Ignoring it would make the answer look complete.
                Err(error) => {
                    let message =
                        format!("the upstream sent a tool call that can't be read: {error}");
                    seen.error = Some(Failure::upstream_error(message));
                }
            }
            at += 1;
        };
        if raw.get().starts_with('{') {
            return read(raw);
        }
        // A valid list: walking it can't fail.
        let _ = walk_raw(raw, |cursor| {
            cursor.list(|cursor| {
                read(cursor.raw()?);
                Ok(())
            })
        });
    }
}

/// Keeps a failure for the end of the stream, unless there is one already.
fn keep_error(read: Result<(), Failure>, seen: &mut PayloadInfo) {
    if let Err(failure) = read {
        seen.error.get_or_insert(failure);
    }
}
