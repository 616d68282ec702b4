//! Reads an upstream's Messages stream.
//!
//! The `type` inside the payload decides: some gateways leave the `event:` field out.

use std::borrow::Cow;

use serde_json::Value;

use super::{UsageCounts, citation};
use crate::block_calls::BlockCalls;
use crate::event::{Event, FinishReason, ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::finish;
use crate::json::{Cursor, CursorResult, RawJson, excerpt, optional_text, value, walk, walk_raw};
use crate::{
    DONE, EventSink, FinishRule, MAX_CALLS, MAX_HELD_BYTES, PayloadInfo, emit, error_report,
    too_many_error,
};

/// Reader of one upstream stream.
#[derive(Debug, Default)]
pub(super) struct AnthropicEventReader {
    counts: UsageCounts,
    /// Blocks that have started and not stopped.
    blocks: Vec<OpenBlock>,
    calls: BlockCalls,
    /// A piece of input came for a call that never started.
    has_orphans: bool,
    has_text: bool,
    /// Content that came with the start of the message: it counts where no block follows.
    told: Vec<Value>,
    /// The reason why the model stopped.
    finish: Option<FinishReason>,
    done: bool,
    rule: FinishRule,
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
        let mut delta = Self::default();
        cursor.object(|name, cursor| match name {
            b"text" => cursor.raw().map(|raw| delta.text = raw.text()),
            b"thinking" => cursor.raw().map(|raw| delta.thinking = raw.text()),
            b"signature" => cursor.raw().map(|raw| delta.signature = raw.text()),
            // Some send the object itself instead of its text.
            b"partial_json" => cursor.raw().map(|raw| {
                let json = Some(raw.get()).filter(|json| *json != "null");
                delta.partial_json = raw.text().or(json.map(Cow::Borrowed));
            }),
            b"citation" => cursor.field_once(&mut delta.citation),
            _ => cursor.skip(),
        })?;
        Ok(delta)
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
                if let (true, Value::Array(content)) = (sink.is_some(), &message["content"]) {
                    self.told.clone_from(content);
                }
            }
            Some("content_block_start") if sink.is_some() => {
                self.told.clear();
                let block = value(payload.content_block.map(RawJson::get));
                self.start(number, &block, &mut seen, &mut sink);
            }
            Some("content_block_start") => {}
            Some("content_block_delta") => {
                seen.has_content = true;
                if let (true, Some(delta)) = (sink.is_some(), payload.delta) {
                    self.told.clear();
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
                    .and_then(|raw| error_report::read_error_field(data, raw.get()));
                // Only an object under `error` is one to the SDKs.
                seen.error_is_native =
                    error.is_some() && payload.error.is_some_and(|raw| raw.get().starts_with('{'));
                let error = error.or_else(|| error_report::read_payload_error(data));
                seen.error = Some(error.unwrap_or_else(|| {
                    Failure::upstream_error("the upstream reported an error".to_owned())
                }));
            }
            Some("ping") => {}
            Some(_) => {
                seen.is_typed = false;
                seen.error = error_report::read_typed_error(data);
            }
            None => seen.error = error_report::read_payload_error(data),
        }
        Ok(seen)
    }

    fn finish_stream(&mut self, mut sink: EventSink<'_>) -> Result<(), Failure> {
        if !self.done {
            return Err(Failure::upstream_truncated("it has no message_stop"));
        }
        let mut seen = PayloadInfo::default();
        for block in std::mem::take(&mut self.told) {
            self.read_block(&block, &mut seen, &mut sink);
        }
        match (self.finish, self.rule) {
            (Some(_), _) => {}
            (None, FinishRule::Optional) => self.finish(FinishReason::Stop, &mut sink),
            (None, FinishRule::Required) => {
                return Err(Failure::upstream_truncated("it has no stop_reason"));
            }
        }
        self.close(seen, &mut sink)
    }
}

impl AnthropicEventReader {
    /// Returns a reader for an upstream that follows that rule.
    pub(super) fn new(rule: FinishRule) -> Self {
        Self {
            rule,
            ..Self::default()
        }
    }

    /// Reads the block of a complete answer.
    pub(super) fn read_block(
        &mut self,
        block: &Value,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        self.start(0, block, seen, sink);
        self.stop(0, sink);
    }

    /// Ends the calls, and checks that all of them came whole.
    pub(super) fn close(
        &mut self,
        seen: PayloadInfo,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        // Blocks are read only for a sink.
        if sink.is_none() {
            return Ok(());
        }
        if let Some(failure) = seen.error {
            return Err(failure);
        }
        let cut = matches!(
            self.finish,
            Some(FinishReason::Length | FinishReason::ContentFilter)
        );
        self.calls.close(cut, sink)?;
        match self.finish {
            Some(FinishReason::Stop) if self.calls.len() > 0 => {
                emit(sink, Event::Finish(FinishReason::ToolCalls));
            }
            // There is nothing that a client could run.
            Some(FinishReason::ToolCalls) if !self.has_calls() && !self.has_orphans => {
                if !self.has_text {
                    let message =
                        "the upstream's stop_reason promises tool calls, but it sent none";
                    return Err(Failure::upstream_error(message));
                }
                emit(sink, Event::Finish(FinishReason::Stop));
            }
            _ => {}
        }
        if self.has_orphans && !cut {
            let message = "the upstream sent input for a tool call that never started";
            return Err(Failure::upstream_error(message));
        }
        Ok(())
    }

    /// Takes the reason why the model stopped.
    pub(super) fn finish(&mut self, reason: FinishReason, sink: &mut EventSink<'_>) {
        self.finish = Some(reason);
        emit(sink, Event::Finish(reason));
    }

    /// Returns true if the answer calls tools.
    pub(super) fn has_calls(&self) -> bool {
        self.calls.len() > 0
    }

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
        let Some(reason) = delta["stop_reason"].as_str() else {
            return;
        };
        match finish::ANTHROPIC.read(reason, self.has_calls(), "") {
            Ok(None) => {}
            Ok(Some(reason)) => self.finish(reason, sink),
            Err(failure) => seen.error = Some(failure),
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
        if self.blocks.len() == MAX_CALLS {
            seen.error = Some(too_many_error("blocks"));
            return;
        }
        let text = |name: &str| block[name].as_str().unwrap_or_default();
        let kind = match block["type"].as_str() {
            Some("text") => {
                if !text("text").is_empty() {
                    (seen.has_content, self.has_text) = (true, true);
                    emit(sink, Event::Text(text("text").into()));
                }
                let citations = block["citations"].as_array().into_iter().flatten();
                for cited in citations.filter_map(citation) {
                    emit(sink, Event::Citation(cited));
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
                match self
                    .calls
                    .start((text("id"), text("name")), &block["input"], sink)
                {
                    Ok(index) => BlockKind::Tool(index),
                    Err(full) => {
                        seen.error.get_or_insert(full);
                        BlockKind::Other
                    }
                }
            }
            kind => {
                let kind = excerpt(kind.unwrap_or_default());
                emit(sink, Event::Unsupported(format!("block `{kind}`").into()));
                BlockKind::Other
            }
        };
        self.blocks.push(OpenBlock { number, kind });
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
        let mut kind = block.map(|block| &mut block.kind);
        if let Some(BlockKind::Other) = kind {
            return;
        }
        if let Some(fragment) = delta.partial_json.filter(|json| !json.is_empty()) {
            match kind {
                Some(BlockKind::Tool(index)) => {
                    let read = self.calls.read_fragment(*index, fragment, sink);
                    seen.error = read.err().or(seen.error.take());
                }
                _ => self.has_orphans = true,
            }
            return;
        }
        // The delta decides and not its block: some gateways never start one.
        if let Some(thought) = delta.thinking {
            emit(sink, Event::Reasoning(thought));
        }
        if let (Some(BlockKind::Thinking(so_far)), Some(signature)) = (&mut kind, delta.signature) {
            so_far.push_str(&signature);
            if so_far.len() > MAX_HELD_BYTES {
                seen.error = Some(Failure::response_too_large(MAX_HELD_BYTES));
            }
        }
        if let Some(text) = delta.text {
            self.has_text = true;
            emit(sink, Event::Text(text));
        }
        let cited = delta.citation.map(|raw| value(Some(raw.get())));
        if let Some(cited) = cited.as_ref().and_then(citation) {
            emit(sink, Event::Citation(cited));
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
            BlockKind::Tool(index) => self.calls.end(index, sink),
            _ => {}
        }
    }
}
