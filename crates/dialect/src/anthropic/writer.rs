//! Writes a client's Messages stream.
//!
//! One block is open at a time. Content that arrives while a tool call's arguments are incomplete
//! waits for them: other dialects interleave, this one can't.

use std::io::Write as _;

use serde_json::{Value, json};

use super::{citation_json, error_json, signature, stop_reason, unsigned_signature, usage_json};
use crate::continued_note::NOTE;
use crate::event::{Event, FinishReason, StateOrigin, Usage};
use crate::failure::Failure;
use crate::json::quote;
use crate::{ContinuedNote, FrameSink, MAX_HELD_BYTES, tools};

/// Writer of one client stream.
#[derive(Debug)]
pub(super) struct AnthropicEventWriter {
    id: String,
    model: String,
    /// The stop sequence that is known to have been met if one was.
    stop: Option<String>,
    begun: bool,
    open: Option<CurrentBlock>,
    /// Index of the next block.
    next: u32,
    /// Events that wait for an open call's arguments to be complete.
    waiting: Vec<Event<'static>>,
    /// Size of those events, in bytes.
    held: usize,
    refused: bool,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
    continued: Option<ContinuedNote>,
    line: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CurrentBlock {
    Text,
    Thinking,
    Tool(u32),
}

/// Maximum number of waiting events.
const MAX_WAITING_EVENTS: usize = 20_000;

impl AnthropicEventWriter {
    pub(super) fn new(id: String, stop: Option<String>, model: String) -> Self {
        Self {
            id,
            model,
            stop,
            begun: false,
            open: None,
            next: 0,
            waiting: Vec::new(),
            held: 0,
            refused: false,
            usage: None,
            finish: None,
            continued: None,
            line: Vec::new(),
        }
    }

    fn begin(&mut self, out: FrameSink<'_>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let message = json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": usage_json(self.usage),
        });
        frame(
            "message_start",
            &json!({ "type": "message_start", "message": message }),
            out,
        );
    }

    /// Opens a block, unless one of that kind is open already.
    fn open(&mut self, kind: CurrentBlock, block: impl FnOnce() -> Value, out: FrameSink<'_>) {
        if self.open == Some(kind) {
            return;
        }
        self.close(out);
        self.open = Some(kind);
        let block =
            json!({ "type": "content_block_start", "index": self.next, "content_block": block() });
        frame("content_block_start", &block, out);
    }

    fn close(&mut self, out: FrameSink<'_>) {
        match self.open.take() {
            None => return,
            // Clients expect a signature before the block ends.
            Some(CurrentBlock::Thinking) => self.write_signature(&unsigned_signature(), out),
            Some(_) => {}
        }
        self.closed(out);
    }

    fn write_signature(&mut self, signature: &str, out: FrameSink<'_>) {
        let delta = json!({ "type": "signature_delta", "signature": signature });
        let delta = json!({ "type": "content_block_delta", "index": self.next, "delta": delta });
        frame("content_block_delta", &delta, out);
    }

    fn closed(&mut self, out: FrameSink<'_>) {
        self.open = None;
        frame(
            "content_block_stop",
            &json!({ "type": "content_block_stop", "index": self.next }),
            out,
        );
        self.next += 1;
    }

    /// Writes a delta with one string, the shape of nearly every frame.
    fn delta(&mut self, block: u32, kind: &str, field: &str, text: &str, out: FrameSink<'_>) {
        self.line.clear();
        // Writing to a Vec can't fail.
        let _ = write!(
            self.line,
            r#"{{"type":"content_block_delta","index":{block},"delta":{{"type":"{kind}","{field}":"#
        );
        quote(&mut self.line, text);
        self.line.extend_from_slice(b"}}");
        out(Some("content_block_delta"), &self.line);
    }

    fn text(&mut self, text: &str, out: FrameSink<'_>) {
        if !text.is_empty() {
            self.open(
                CurrentBlock::Text,
                || json!({ "type": "text", "text": "" }),
                out,
            );
            self.delta(self.next, "text_delta", "text", text, out);
        }
    }

    /// Returns true if an event has to wait for the open call, or for events that wait already.
    fn must_wait(&self, event: &Event<'_>) -> bool {
        match event {
            Event::ToolArguments { index, .. } | Event::ToolEnd { index } => self.waits(*index),
            Event::Usage(_)
            | Event::Finish(_)
            | Event::Image(_)
            | Event::Logprobs(_)
            | Event::Unsupported(_) => false,
            _ => matches!(self.open, Some(CurrentBlock::Tool(_))) || !self.waiting.is_empty(),
        }
    }

    fn wait(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        self.held += match event {
            Event::ToolArguments { fragment, .. } => fragment.len(),
            Event::Text(text) | Event::Reasoning(text) | Event::Refusal(text) => text.len(),
            Event::State(state) => state.value.len(),
            Event::ToolCall { id, name, .. } => id.len() + name.len(),
            _ => 0,
        } + size_of::<Event<'_>>();
        if self.held > MAX_HELD_BYTES || self.waiting.len() == MAX_WAITING_EVENTS {
            return Err(Failure::response_too_large(MAX_HELD_BYTES));
        }
        self.waiting.push(event.clone().into_owned());
        Ok(())
    }

    /// Writes arguments of the open call. Anything after they are complete is white space and
    /// dropped.
    fn arguments(&mut self, index: u32, fragment: &str, out: FrameSink<'_>) {
        if self.open == Some(CurrentBlock::Tool(index)) && !fragment.is_empty() {
            self.delta(self.next, "input_json_delta", "partial_json", fragment, out);
        }
    }

    /// Writes the waiting events until one has to wait again.
    fn resume(&mut self, out: FrameSink<'_>) -> Result<(), Failure> {
        self.held = 0;
        for event in std::mem::take(&mut self.waiting) {
            use crate::EventWriter as _;
            self.write_event(&event, out)?;
        }
        Ok(())
    }
}

impl crate::EventWriter for AnthropicEventWriter {
    fn write_event(&mut self, event: &Event<'_>, out: FrameSink<'_>) -> Result<(), Failure> {
        if let Event::Usage(usage) = event {
            self.usage = Some(*usage);
        }
        self.begin(out);
        if self.must_wait(event) {
            return self.wait(event);
        }
        match event {
            Event::Text(text) => self.text(text, out),
            Event::Refusal(text) => {
                self.refused = true;
                self.text(text, out);
            }
            Event::Reasoning(text) if text.is_empty() => {}
            Event::Reasoning(text) => {
                let block = || json!({ "type": "thinking", "thinking": "", "signature": "" });
                self.open(CurrentBlock::Thinking, block, out);
                self.delta(self.next, "thinking_delta", "thinking", text, out);
            }
            Event::State(state) if state.origin == StateOrigin::AnthropicRedacted => {
                self.close(out);
                let block = json!({ "type": "redacted_thinking", "data": state.value });
                let block = json!({ "type": "content_block_start", "index": self.next, "content_block": block });
                frame("content_block_start", &block, out);
                self.closed(out);
            }
            Event::State(state) => {
                let block = || json!({ "type": "thinking", "thinking": "", "signature": "" });
                self.open(CurrentBlock::Thinking, block, out);
                self.write_signature(&signature(state), out);
                self.closed(out);
            }
            Event::Citation(citation) => {
                if self.open == Some(CurrentBlock::Text) {
                    let delta =
                        json!({ "type": "citations_delta", "citation": citation_json(citation) });
                    let delta = json!({ "type": "content_block_delta", "index": self.next, "delta": delta });
                    frame("content_block_delta", &delta, out);
                }
            }
            Event::ToolCall { index, id, name } => {
                let id = tools::fit_id(id, 64);
                let block = || json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
                self.open(CurrentBlock::Tool(*index), block, out);
                self.delta(self.next, "input_json_delta", "partial_json", "", out);
            }
            Event::ToolArguments { index, fragment } => self.arguments(*index, fragment, out),
            Event::ToolEnd { index } => {
                if self.open == Some(CurrentBlock::Tool(*index)) {
                    self.close(out);
                    self.resume(out)?;
                }
            }
            // This dialect has no place for images.
            Event::Usage(_) | Event::Image(_) | Event::Logprobs(_) | Event::Unsupported(_) => {}
            Event::Finish(reason) => self.finish = Some(*reason),
        }
        Ok(())
    }

    fn write_end(&mut self, out: FrameSink<'_>) {
        self.begin(out);
        self.close(out);
        while !self.waiting.is_empty() {
            // Nothing new is held here, so no limit can be exceeded.
            let _ = self.resume(out);
            self.close(out);
        }
        let reason = match self.finish.unwrap_or(FinishReason::Stop) {
            FinishReason::Stop if self.refused => FinishReason::ContentFilter,
            reason => reason,
        };
        let stop = self
            .stop
            .take()
            .filter(|_| reason == FinishReason::StopSequence);
        let delta = json!({ "stop_reason": stop_reason(reason), "stop_sequence": stop });
        let mut delta =
            json!({ "type": "message_delta", "delta": delta, "usage": usage_json(self.usage) });
        if let Some(note) = self.continued {
            delta[NOTE] = note.to_json();
        }
        frame("message_delta", &delta, out);
        frame("message_stop", &json!({ "type": "message_stop" }), out);
    }

    fn note_continued(&mut self, note: ContinuedNote) {
        self.continued = Some(note);
    }

    fn write_error(&mut self, failure: &Failure, request_id: &str, out: FrameSink<'_>) {
        frame("error", &error_json(failure, request_id), out);
    }
}

impl AnthropicEventWriter {
    /// Returns true if the start of that call is among the waiting events.
    fn waits(&self, index: u32) -> bool {
        self.waiting
            .iter()
            .any(|event| matches!(event, Event::ToolCall { index: call, .. } if *call == index))
    }
}

fn frame(name: &'static str, payload: &Value, out: FrameSink<'_>) {
    out(Some(name), payload.to_string().as_bytes());
}
