//! Reads an upstream's Chat Completions stream.
//!
//! A payload that differs from the last one only in its text is compared with it. Any other is
//! parsed once, borrowed and leniently: thirty providers disagree on nearly every field, so a field
//! of an unexpected type is ignored rather than breaking the stream. Only a payload that is not a
//! JSON object is an error.

use super::chunk::{ChatChunk, ChunkChoice, TextField};
use super::message::MessageReader;
use super::sources::Sources;
use crate::error_report::{parse_error_value, read_payload_error};
use crate::event::{Event, FinishReason, Usage};
use crate::failure::Failure;
use crate::finish;
use crate::json::{self, PayloadTemplate, RawJson, walk, walk_raw};
use crate::{DONE, EventSink, FinishRule, PayloadInfo, emit};

/// Reader of one upstream stream; keeps which choices (up to `n`) have begun and which have ended.
#[derive(Debug, Default)]
pub struct ChatEventReader {
    rule: FinishRule,
    begun: u128,
    finished: u128,
    done: bool,
    /// Usage arrived on its own, as it does only at the end; some upstreams add it to every token.
    counted: bool,
    usage: Usage,
    sources: Sources,
    reading: MessageReader,
    /// The last payload with nothing but a piece of the first choice, and the field of that piece.
    last: PayloadTemplate,
    piece: Option<TextField>,
}

impl ChatEventReader {
    /// Returns a reader for an upstream that follows that rule.
    #[must_use]
    pub fn new(rule: FinishRule) -> Self {
        Self {
            rule,
            ..Self::default()
        }
    }

    /// Reads payloads without a blank line between them: vLLM ends a refused request with an error
    /// and `[DONE]` this way. No client could read them as they are.
    fn read_lines(&mut self, data: &[u8], mut sink: EventSink<'_>) -> Result<PayloadInfo, Failure> {
        use crate::EventReader as _;
        let mut seen = PayloadInfo::default();
        for line in data
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let line = match &mut sink {
                Some(sink) => self.read_payload(line, Some(&mut **sink))?,
                None => self.read_payload(line, None)?,
            };
            seen.has_content |= line.has_content;
            seen.is_end |= line.is_end;
            seen.usage = line.usage.or(seen.usage);
            seen.error = seen.error.or(line.error);
        }
        Ok(seen)
    }

    fn choice(
        &mut self,
        choice: &ChunkChoice<'_>,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        let index = choice.number();
        let bit = 1_u128.checked_shl(index).unwrap_or(0);
        // Only the first choice can be expressed as events.
        let mut nowhere = None;
        let sink = if index == 0 { sink } else { &mut nowhere };
        if self.reading.read_choice(choice, seen, sink) {
            self.begun |= bit;
        }
        let Some(reason) = choice.finish_reason.and_then(RawJson::text) else {
            return;
        };
        match finish::CHAT.read(&reason, self.reading.has_calls(), "") {
            Ok(None) => {}
            Ok(Some(reason)) => {
                let reason = match native_reason(choice).unwrap_or(reason) {
                    FinishReason::Stop if choice.met_stop() => FinishReason::StopSequence,
                    reason => reason,
                };
                self.begun |= bit;
                self.finished |= bit;
                if index == 0 {
                    self.reading.finish(reason, sink);
                }
            }
            Err(failure) => seen.error = Some(failure),
        }
    }

    /// Reads the error of a chunk, if it reports one: in its own fields, in that of a choice,
    /// or, where it has no choice, as a whole.
    fn error(chunk: &ChatChunk<'_>, data: &[u8], seen: &mut PayloadInfo) {
        let choices = chunk.choices.first.iter().chain(&chunk.choices.others);
        let in_choice = choices
            .filter_map(|choice| choice.error)
            .find_map(|raw| parse_error_value(raw.get()));
        let failure = match chunk.own_error(data) {
            Some(failure) => {
                // The SDKs show no other words than these.
                seen.error_is_native = chunk.error.is_some_and(has_message);
                Some(failure)
            }
            None if chunk.choices.first.is_none() => read_payload_error(data),
            None => in_choice,
        };
        seen.error = failure.or(seen.error.take());
    }
}

/// Returns the reason of the provider behind OpenRouter if that is a limit: calls that were cut by
/// it are not all there.
pub(super) fn native_reason(choice: &ChunkChoice<'_>) -> Option<FinishReason> {
    let native = choice.native_finish_reason.and_then(RawJson::text)?;
    let reason = finish::CHAT.read(&native, false, "").ok().flatten();
    reason.filter(|reason| *reason == FinishReason::Length)
}

/// Returns whether an error is an object with a message.
fn has_message(error: RawJson<'_>) -> bool {
    let mut message = None;
    let read = walk_raw(error, |cursor| {
        cursor.object(|name, cursor| match name {
            b"message" => cursor.field_once(&mut message),
            _ => cursor.skip(),
        })
    });
    read.is_ok()
        && message
            .and_then(RawJson::text)
            .is_some_and(|text| !text.is_empty())
}

impl crate::EventReader for ChatEventReader {
    fn read_payload(
        &mut self,
        data: &[u8],
        mut sink: EventSink<'_>,
    ) -> Result<PayloadInfo, Failure> {
        let mut seen = PayloadInfo::default();
        if data.trim_ascii() == DONE {
            self.done = true;
            seen.is_end = true;
            return Ok(seen);
        }
        if let Some((field, raw)) = self
            .piece
            .and_then(|field| Some((field, self.last.match_payload(data)?)))
        {
            // The choice has begun with the last payload.
            self.reading.read_piece(raw, field, &mut seen, &mut sink);
            return Ok(seen);
        }
        let mut chunk = ChatChunk::default();
        if let Err(error) = walk(data, |cursor| chunk.parse(cursor)) {
            if data.contains(&b'\n') {
                return self.read_lines(data, sink);
            }
            return match json::with_last_duplicates(data) {
                Some(once) if once != data => self.read_payload(&once, sink),
                _ => Err(Failure::bad_payload(
                    "a Chat Completions chunk",
                    error.into(),
                )),
            };
        }
        if let Some((raw, field)) = chunk.piece() {
            self.piece = Some(field);
            self.last.learn(data, raw, chunk.obfuscation);
        }
        // First, so that who begins a response with it knows it.
        let usage = chunk.usage().map(|usage| self.usage.updated(usage));
        if let Some(usage) = usage {
            self.usage = usage;
            emit(&mut sink, Event::Usage(usage));
        }
        for choice in chunk.choices.first.iter().chain(&chunk.choices.others) {
            self.choice(choice, &mut seen, &mut sink);
        }
        if sink.is_some() {
            self.sources.remember(&chunk);
        }
        seen.usage = usage;
        self.counted |= usage.is_some() && !seen.has_content;
        if chunk.may_report() {
            Self::error(&chunk, data, &mut seen);
        }
        Ok(seen)
    }

    fn finish_stream(&mut self, mut sink: EventSink<'_>) -> Result<(), Failure> {
        let finished = self.begun != 0 && self.begun == self.finished;
        if !finished && self.done && self.begun != 0 && !self.reading.has_finished() {
            // This upstream gives no reason; only its tool calls tell.
            let reason = match self.reading.has_calls() {
                true => FinishReason::ToolCalls,
                false => FinishReason::Stop,
            };
            self.reading.finish(reason, &mut sink);
        }
        if finished || (self.done && (self.counted || self.rule == FinishRule::Optional)) {
            self.sources.emit(&mut sink);
            return self.reading.close(&mut sink);
        }
        let missing = if self.done {
            "it says [DONE] but has no finish_reason (if this provider never sends one, set its \
             `finish_reason = \"optional\"`)"
        } else {
            "it has no finish_reason and no [DONE]"
        };
        Err(Failure::upstream_truncated(missing))
    }
}
