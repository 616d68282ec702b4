//! Reads an upstream's Messages stream.
//!
//! The `type` inside the payload decides: some gateways leave the `event:` field out.

use std::borrow::Cow;

use serde_json::Value;

use super::{UsageCounts, citation, finish_reason};
use crate::event::{Event, ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::json::{Cursor, CursorResult, RawJson, optional_text, value, walk, walk_raw};
use crate::{
    DONE, EventSink, MAX_CALLS, MAX_HELD_BYTES, PayloadInfo, emit, error_report, too_many_error,
};

/// Reader of one upstream stream.
#[derive(Debug, Default)]
pub(super) struct AnthropicEventReader {
    counts: UsageCounts,
    /// Blocks that have started and not stopped.
    blocks: Vec<OpenBlock>,
    calls: u32,
    done: bool,
}

#[derive(Debug)]
struct OpenBlock {
    number: u64,
    kind: BlockKind,
}

#[derive(Debug)]
enum BlockKind {
    /// With its signature, once that has arrived.
    Thinking(String),
    /// Index of the call among the answer's calls.
    Tool(u32),
    Text,
    /// Output of the upstream's own tools, which is not part of the answer.
    Other,
}

#[derive(Default)]
struct MessagesPayload<'a> {
    kind: Option<Cow<'a, str>>,
    index: Option<RawJson<'a>>,
    delta: Option<RawJson<'a>>,
    content_block: Option<RawJson<'a>>,
    message: Option<RawJson<'a>>,
    usage: Option<RawJson<'a>>,
    error: Option<RawJson<'a>>,
}

impl<'a> MessagesPayload<'a> {
    fn parse(&mut self, cursor: &mut Cursor<'a>) -> CursorResult<()> {
        let mut kind = None;
        cursor.object(|name, cursor| match name {
            b"type" => cursor.field_once(&mut kind),
            b"index" => cursor.field_once(&mut self.index),
            b"delta" => cursor.field_once(&mut self.delta),
            b"content_block" => cursor.field_once(&mut self.content_block),
            b"message" => cursor.field_once(&mut self.message),
            b"usage" => cursor.field_once(&mut self.usage),
            b"error" => cursor.field_once(&mut self.error),
            _ => cursor.skip(),
        })?;
        self.kind = optional_text(kind)?;
        Ok(())
    }
}

#[derive(Default)]
struct BlockDelta<'a> {
    text: Option<Cow<'a, str>>,
    thinking: Option<Cow<'a, str>>,
    signature: Option<Cow<'a, str>>,
    partial_json: Option<Cow<'a, str>>,
    citation: Option<RawJson<'a>>,
}

impl<'a> BlockDelta<'a> {
    fn parse(cursor: &mut Cursor<'a>) -> CursorResult<Self> {
        let (mut text, mut thinking, mut signature, mut partial_json, mut citation) =
            Default::default();
        cursor.object(|name, cursor| match name {
            b"text" => cursor.field_once(&mut text),
            b"thinking" => cursor.field_once(&mut thinking),
            b"signature" => cursor.field_once(&mut signature),
            b"partial_json" => cursor.field_once(&mut partial_json),
            b"citation" => cursor.field_once(&mut citation),
            _ => cursor.skip(),
        })?;
        Ok(Self {
            text: optional_text(text)?,
            thinking: optional_text(thinking)?,
            signature: optional_text(signature)?,
            partial_json: optional_text(partial_json)?,
            citation,
        })
    }
}

impl crate::EventReader for AnthropicEventReader {
    fn read_payload(
        &mut self,
        data: &[u8],
        mut sink: EventSink<'_>,
    ) -> Result<PayloadInfo, Failure> {
        let mut seen = PayloadInfo::default();
        if data.trim_ascii() == DONE {
            // Not part of Anthropic's API, but one gateway adds it.
            return Ok(seen);
        }
        let mut payload = MessagesPayload::default();
        walk(data, |cursor| payload.parse(cursor))
            .map_err(|e| Failure::bad_payload("a Messages event", e.into()))?;
        seen.is_typed = payload.kind.is_some();
        let number = payload
            .index
            .and_then(|raw| raw.get().parse().ok())
            .unwrap_or(0);
        match payload.kind.as_deref() {
            Some("message_start") => {
                let message = value(payload.message.map(RawJson::get));
                self.count(&message["usage"], &mut seen, &mut sink);
            }
            Some("content_block_start") if sink.is_some() => {
                if self.blocks.len() == MAX_CALLS || self.calls as usize == MAX_CALLS {
                    seen.error = Some(too_many_error("blocks"));
                    return Ok(seen);
                }
                let block = value(payload.content_block.map(RawJson::get));
                self.start(number, &block, &mut seen, &mut sink);
            }
            Some("content_block_start") => {}
            Some("content_block_delta") => {
                seen.has_content = true;
                if let (true, Some(delta)) = (sink.is_some(), payload.delta) {
                    self.delta(number, delta, &mut seen, &mut sink);
                }
            }
            Some("content_block_stop") => self.stop(number, &mut sink),
            Some("message_delta") => self.finish_message(&payload, &mut seen, &mut sink),
            Some("message_stop") => {
                self.done = true;
                seen.is_end = true;
            }
            Some("error") => {
                let error = payload
                    .error
                    .and_then(|raw| error_report::parse_error_value(raw.get()));
                seen.error = Some(error.unwrap_or_else(|| {
                    Failure::upstream_error("the upstream reported an error".to_owned())
                }));
                seen.error_is_native = true;
            }
            // A ping, or an unknown type.
            _ => {
                seen.error = payload
                    .error
                    .and_then(|raw| error_report::parse_error_value(raw.get()))
            }
        }
        Ok(seen)
    }

    fn finish_stream(&mut self, _sink: EventSink<'_>) -> Result<(), Failure> {
        if self.done {
            Ok(())
        } else {
            Err(Failure::upstream_truncated("it has no message_stop"))
        }
    }
}

impl AnthropicEventReader {
    fn count(&mut self, usage: &Value, seen: &mut PayloadInfo, sink: &mut EventSink<'_>) {
        if usage.is_object() {
            self.counts.update(usage);
            seen.usage = Some(self.counts.usage());
            emit(sink, Event::Usage(self.counts.usage()));
        }
    }

    fn finish_message(
        &mut self,
        payload: &MessagesPayload<'_>,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        self.count(&value(payload.usage.map(RawJson::get)), seen, sink);
        let delta = value(payload.delta.map(RawJson::get));
        if let Some(reason) = delta["stop_reason"].as_str() {
            let reason = finish_reason(reason, self.calls > 0);
            emit(sink, Event::Finish(reason));
        }
    }

    fn start(
        &mut self,
        number: u64,
        block: &Value,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        self.stop(number, sink);
        let text = |name: &str| block[name].as_str().unwrap_or_default();
        let kind = match block["type"].as_str() {
            Some("text") => {
                if !text("text").is_empty() {
                    seen.has_content = true;
                    emit(sink, Event::Text(text("text").into()));
                }
                BlockKind::Text
            }
            Some("thinking") => {
                if !text("thinking").is_empty() {
                    seen.has_content = true;
                    emit(sink, Event::Reasoning(text("thinking").into()));
                }
                BlockKind::Thinking(text("signature").to_owned())
            }
            Some("redacted_thinking") => {
                let state = ReasoningState {
                    origin: StateOrigin::AnthropicRedacted,
                    value: text("data").into(),
                };
                emit(sink, Event::State(state));
                BlockKind::Other
            }
            Some("tool_use") => {
                seen.has_content = true;
                BlockKind::Tool(self.start_call(block, sink))
            }
            _ => BlockKind::Other,
        };
        self.blocks.push(OpenBlock { number, kind });
    }

    /// Starts a call; returns its index.
    fn start_call(&mut self, block: &Value, sink: &mut EventSink<'_>) -> u32 {
        let text = |name: &str| block[name].as_str().unwrap_or_default();
        let index = self.calls;
        self.calls += 1;
        let (id, name) = (text("id").into(), text("name").into());
        emit(sink, Event::ToolCall { index, id, name });
        let input = &block["input"];
        // Usually empty at first; a gateway may send the whole input at once.
        if input.as_object().is_some_and(|input| !input.is_empty()) {
            let fragment = input.to_string().into();
            emit(sink, Event::ToolArguments { index, fragment });
        }
        index
    }

    fn delta(
        &mut self,
        number: u64,
        raw: RawJson<'_>,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        let Ok(delta) = walk_raw(raw, BlockDelta::parse) else {
            return;
        };
        let block = self.blocks.iter_mut().find(|block| block.number == number);
        match block.map(|block| &mut block.kind) {
            Some(BlockKind::Tool(index)) => {
                if let Some(fragment) = delta.partial_json.filter(|json| !json.is_empty()) {
                    emit(
                        sink,
                        Event::ToolArguments {
                            index: *index,
                            fragment,
                        },
                    );
                }
            }
            Some(BlockKind::Thinking(so_far)) => {
                if let Some(thought) = delta.thinking {
                    emit(sink, Event::Reasoning(thought));
                }
                if let Some(signature) = delta.signature {
                    so_far.push_str(&signature);
                    if so_far.len() > MAX_HELD_BYTES {
                        seen.error = Some(Failure::response_too_large(MAX_HELD_BYTES));
                    }
                }
            }
            Some(BlockKind::Other) => {}
            // A delta without a started block can only be text: nothing else is recognizable
            // without it.
            Some(BlockKind::Text) | None => {
                if let Some(text) = delta.text {
                    emit(sink, Event::Text(text));
                }
                if let Some(cited) = delta
                    .citation
                    .and_then(|raw| citation(&value(Some(raw.get()))))
                {
                    emit(sink, Event::Citation(cited));
                }
            }
        }
    }

    fn stop(&mut self, number: u64, sink: &mut EventSink<'_>) {
        let Some(at) = self.blocks.iter().position(|block| block.number == number) else {
            return;
        };
        match self.blocks.swap_remove(at).kind {
            BlockKind::Thinking(signature) if !signature.is_empty() => {
                emit(
                    sink,
                    Event::State(ReasoningState::decode(&signature, StateOrigin::Anthropic)),
                );
            }
            BlockKind::Tool(index) => emit(sink, Event::ToolEnd { index }),
            _ => {}
        }
    }
}
