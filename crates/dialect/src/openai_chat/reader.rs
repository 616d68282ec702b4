//! Reads an upstream's Chat Completions stream.
//!
//! A payload that differs from the last one only in its text is compared with it. Any other is
//! parsed once, borrowed and leniently: thirty providers disagree on nearly every field, so a field
//! of an unexpected type is ignored rather than breaking the stream. Only a payload that is not a
//! JSON object is an error.

use super::chunk::{ChatChunk, ChunkChoice, MessageFields, TextField};
use super::message::MessageReader;
use crate::error_report::parse_error_value;
use crate::event::Event;
use crate::failure::Failure;
use crate::json::{self, PayloadTemplate, RawJson, walk};
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
        if let Some(delta) = &choice.delta {
            self.begun |= bit;
            self.reading.read_message(delta, seen, sink);
        }
        let reason = choice.finish_reason.and_then(RawJson::text);
        if let Some(reason) = reason.filter(|r| !r.is_empty()) {
            self.begun |= bit;
            self.finished |= bit;
            self.reading.finish(&reason, seen, sink);
        }
    }
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
            self.reading
                .read_message(&MessageFields::of(raw, field), &mut seen, &mut sink);
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
        for choice in chunk.choices.first.iter().chain(&chunk.choices.others) {
            self.choice(choice, &mut seen, &mut sink);
        }
        if let Some(usage) = chunk.usage() {
            seen.usage = Some(usage);
            self.counted |= !seen.has_content;
            emit(&mut sink, Event::Usage(usage));
        }
        if let Some(failure) = chunk.error.and_then(|raw| parse_error_value(raw.get())) {
            seen.error = Some(failure);
            seen.error_is_native = true;
        }
        Ok(seen)
    }

    fn finish_stream(&mut self, mut sink: EventSink<'_>) -> Result<(), Failure> {
        let finished = self.begun != 0 && self.begun == self.finished;
        if !finished && self.done && self.begun != 0 {
            // This upstream gives no reason; only its tool calls tell.
            self.reading
                .finish("stop", &mut PayloadInfo::default(), &mut sink);
        }
        if finished || (self.done && (self.counted || self.rule == FinishRule::Optional)) {
            return Ok(());
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
