//! Reads an upstream's Messages stream.
//!
//! What a payload is stands in its own `type`: some gateways leave the `event:` out.

use std::borrow::Cow;

use serde_json::Value;

use super::{Counts, citation, finish_reason};
use crate::event::{Event, Origin, State};
use crate::failure::Failure;
use crate::json::{Cursor, Raw, Walked, text_or_nothing, value, walk, walk_raw};
use crate::{DONE, HELD, MOST_CALLS, Seen, Sink, emit, openai_chat, too_many};

/// The state of one stream.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    counts: Counts,
    /// The blocks that are open.
    blocks: Vec<Block>,
    calls: u32,
    done: bool,
}

#[derive(Debug)]
struct Block {
    number: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// With its seal, once that has come.
    Thinking(String),
    /// The call's place among the calls.
    Tool(u32),
    Text,
    /// What the upstream's own tools say is no part of the answer.
    Other,
}

#[derive(Default)]
struct Payload<'a> {
    kind: Option<Cow<'a, str>>,
    index: Option<Raw<'a>>,
    delta: Option<Raw<'a>>,
    content_block: Option<Raw<'a>>,
    message: Option<Raw<'a>>,
    usage: Option<Raw<'a>>,
    error: Option<Raw<'a>>,
}

impl<'a> Payload<'a> {
    fn read(&mut self, cursor: &mut Cursor<'a>) -> Walked<()> {
        let mut kind = None;
        cursor.object(|name, cursor| match name {
            b"type" => cursor.once(&mut kind),
            b"index" => cursor.once(&mut self.index),
            b"delta" => cursor.once(&mut self.delta),
            b"content_block" => cursor.once(&mut self.content_block),
            b"message" => cursor.once(&mut self.message),
            b"usage" => cursor.once(&mut self.usage),
            b"error" => cursor.once(&mut self.error),
            _ => cursor.skip(),
        })?;
        self.kind = text_or_nothing(kind)?;
        Ok(())
    }
}

#[derive(Default)]
struct Delta<'a> {
    text: Option<Cow<'a, str>>,
    thinking: Option<Cow<'a, str>>,
    signature: Option<Cow<'a, str>>,
    partial_json: Option<Cow<'a, str>>,
    citation: Option<Raw<'a>>,
}

impl<'a> Delta<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Walked<Self> {
        let (mut text, mut thinking, mut signature, mut partial_json, mut citation) =
            Default::default();
        cursor.object(|name, cursor| match name {
            b"text" => cursor.once(&mut text),
            b"thinking" => cursor.once(&mut thinking),
            b"signature" => cursor.once(&mut signature),
            b"partial_json" => cursor.once(&mut partial_json),
            b"citation" => cursor.once(&mut citation),
            _ => cursor.skip(),
        })?;
        Ok(Self {
            text: text_or_nothing(text)?,
            thinking: text_or_nothing(thinking)?,
            signature: text_or_nothing(signature)?,
            partial_json: text_or_nothing(partial_json)?,
            citation,
        })
    }
}

impl crate::EventReader for EventReader {
    fn read(&mut self, data: &[u8], mut sink: Sink<'_>) -> Result<Seen, Failure> {
        let mut seen = Seen::default();
        if data.trim_ascii() == DONE {
            // Nothing of Anthropic's, but one gateway adds it.
            return Ok(seen);
        }
        let mut payload = Payload::default();
        walk(data, |cursor| payload.read(cursor))
            .map_err(|e| Failure::bad_payload("a Messages event", e.into()))?;
        seen.known = payload.kind.is_some();
        let number = payload
            .index
            .and_then(|raw| raw.get().parse().ok())
            .unwrap_or(0);
        match payload.kind.as_deref() {
            Some("message_start") => {
                let message = value(payload.message.map(Raw::get));
                self.count(&message["usage"], &mut seen, &mut sink);
            }
            Some("content_block_start") => {
                if sink.is_some() {
                    if self.blocks.len() == MOST_CALLS || self.calls as usize == MOST_CALLS {
                        seen.error = Some(too_many("blocks"));
                        return Ok(seen);
                    }
                    self.start(
                        number,
                        &value(payload.content_block.map(Raw::get)),
                        &mut seen,
                        &mut sink,
                    );
                }
            }
            Some("content_block_delta") => {
                seen.said = true;
                if let (true, Some(delta)) = (sink.is_some(), payload.delta) {
                    self.delta(number, delta, &mut seen, &mut sink);
                }
            }
            Some("content_block_stop") => self.stop(number, &mut sink),
            Some("message_delta") => {
                self.count(&value(payload.usage.map(Raw::get)), &mut seen, &mut sink);
                let delta = value(payload.delta.map(Raw::get));
                if let Some(reason) = delta["stop_reason"].as_str() {
                    emit(
                        &mut sink,
                        Event::Finish(finish_reason(reason, self.calls > 0)),
                    );
                }
            }
            Some("message_stop") => {
                self.done = true;
                seen.done = true;
            }
            Some("error") => {
                let error = payload
                    .error
                    .and_then(|raw| openai_chat::error_value(raw.get()));
                seen.error = Some(error.unwrap_or_else(|| {
                    Failure::upstream_error("the upstream reported an error".to_owned())
                }));
                seen.told = true;
            }
            // A ping, or what we have never heard of.
            _ => {
                seen.error = payload
                    .error
                    .and_then(|raw| openai_chat::error_value(raw.get()))
            }
        }
        Ok(seen)
    }

    fn end(&mut self, _sink: Sink<'_>) -> Result<(), Failure> {
        if self.done {
            Ok(())
        } else {
            Err(Failure::upstream_truncated("it has no message_stop"))
        }
    }
}

impl EventReader {
    fn count(&mut self, usage: &Value, seen: &mut Seen, sink: &mut Sink<'_>) {
        if usage.is_object() {
            self.counts.read(usage);
            seen.usage = Some(self.counts.usage());
            emit(sink, Event::Usage(self.counts.usage()));
        }
    }

    fn start(&mut self, number: u64, block: &Value, seen: &mut Seen, sink: &mut Sink<'_>) {
        self.stop(number, sink);
        let text = |name: &str| block[name].as_str().unwrap_or_default();
        let kind = match block["type"].as_str() {
            Some("text") => {
                if !text("text").is_empty() {
                    seen.said = true;
                    emit(sink, Event::Text(text("text").into()));
                }
                Kind::Text
            }
            Some("thinking") => {
                if !text("thinking").is_empty() {
                    seen.said = true;
                    emit(sink, Event::Reasoning(text("thinking").into()));
                }
                Kind::Thinking(text("signature").to_owned())
            }
            Some("redacted_thinking") => {
                let state = State {
                    origin: Origin::AnthropicRedacted,
                    value: text("data").into(),
                };
                emit(sink, Event::State(state));
                Kind::Other
            }
            Some("tool_use") => {
                let index = self.calls;
                self.calls += 1;
                seen.said = true;
                emit(
                    sink,
                    Event::ToolCall {
                        index,
                        id: text("id").into(),
                        name: text("name").into(),
                    },
                );
                // Empty at first, as a rule; a gateway may have it whole at once.
                if block["input"]
                    .as_object()
                    .is_some_and(|input| !input.is_empty())
                {
                    emit(
                        sink,
                        Event::ToolArguments {
                            index,
                            fragment: block["input"].to_string().into(),
                        },
                    );
                }
                Kind::Tool(index)
            }
            _ => Kind::Other,
        };
        self.blocks.push(Block { number, kind });
    }

    fn delta(&mut self, number: u64, raw: Raw<'_>, seen: &mut Seen, sink: &mut Sink<'_>) {
        let Ok(delta) = walk_raw(raw, Delta::read) else {
            return;
        };
        let block = self.blocks.iter_mut().find(|block| block.number == number);
        match block.map(|block| &mut block.kind) {
            Some(Kind::Tool(index)) => {
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
            Some(Kind::Thinking(seal)) => {
                if let Some(thought) = delta.thinking {
                    emit(sink, Event::Reasoning(thought));
                }
                if let Some(signature) = delta.signature {
                    seal.push_str(&signature);
                    if seal.len() > HELD {
                        seen.error = Some(Failure::response_too_large(HELD));
                    }
                }
            }
            Some(Kind::Other) => {}
            // A block that was never started can only have been text: nothing else can be told from its delta.
            Some(Kind::Text) | None => {
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

    fn stop(&mut self, number: u64, sink: &mut Sink<'_>) {
        let Some(at) = self.blocks.iter().position(|block| block.number == number) else {
            return;
        };
        match self.blocks.swap_remove(at).kind {
            Kind::Thinking(seal) if !seal.is_empty() => {
                emit(sink, Event::State(State::unpack(&seal, Origin::Anthropic)));
            }
            Kind::Tool(index) => emit(sink, Event::ToolEnd { index }),
            _ => {}
        }
    }
}
