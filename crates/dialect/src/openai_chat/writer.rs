//! Writes a client's Chat Completions stream.
//!
//! Reasoning is written as `reasoning_content`, which most clients show, and again as OpenRouter's
//! `reasoning_details`, which clients may send back: only those have room for the state that an
//! upstream wants returned.

use std::io::Write as _;

use serde_json::json;

use super::{citation_json, finish_reason, usage_json};
use crate::event::{Event, FinishReason, Usage};
use crate::failure::Failure;
use crate::json::quote;
use crate::{DONE, FrameSink, PassThroughPosition};

/// Writer of one client stream.
#[derive(Debug)]
pub struct ChatEventWriter {
    /// The start of every chunk, up to its choices.
    head: Vec<u8>,
    /// Buffer for one chunk, reused.
    line: Vec<u8>,
    include_usage: bool,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
    begun: bool,
    /// The upstream's own chunks were passed through: only the end mark is ours.
    passed: bool,
    /// Number of citations written.
    cited: usize,
    /// Index of the current reasoning block, and whether it has text.
    thought: (u32, bool),
}

impl ChatEventWriter {
    /// Returns a writer of chunks with this id, time (Unix seconds) and model.
    #[must_use]
    pub fn new(id: &str, created: u64, model: &str, include_usage: bool) -> Self {
        let head = format!(
            r#"{{"id":{},"object":"chat.completion.chunk","created":{created},"model":{},"choices":"#,
            json!(id),
            json!(model)
        );
        Self {
            head: head.into_bytes(),
            line: Vec::new(),
            include_usage,
            usage: None,
            finish: None,
            begun: false,
            passed: false,
            cited: 0,
            thought: (0, false),
        }
    }

    fn begin(&mut self, out: FrameSink<'_>) {
        if !std::mem::replace(&mut self.begun, true) {
            self.delta("null", out, |line| {
                line.extend_from_slice(br#"{"role":"assistant","content":""}"#)
            });
        }
    }

    fn field(&mut self, name: &str, text: &str, out: FrameSink<'_>) {
        self.delta("null", out, |line| {
            let _ = write!(line, r#"{{"{name}":"#);
            quote(line, text);
            line.push(b'}');
        });
    }

    fn reasoning(&mut self, text: &str, out: FrameSink<'_>) {
        self.thought.1 = true;
        let block = self.thought.0;
        self.delta("null", out, |line| {
            line.extend_from_slice(br#"{"reasoning_content":"#);
            quote(line, text);
            let _ = write!(
                line,
                r#","reasoning_details":[{{"type":"reasoning.text","index":{block},"text":"#
            );
            quote(line, text);
            line.extend_from_slice(b"}]}");
        });
    }

    fn delta(&mut self, finish: &str, out: FrameSink<'_>, delta: impl FnOnce(&mut Vec<u8>)) {
        self.chunk("null", out, |line| {
            line.extend_from_slice(br#"[{"index":0,"delta":"#);
            delta(line);
            let _ = write!(line, r#","logprobs":null,"finish_reason":{finish}}}]"#);
        });
    }

    fn chunk(&mut self, usage: &str, out: FrameSink<'_>, choices: impl FnOnce(&mut Vec<u8>)) {
        self.line.clear();
        self.line.extend_from_slice(&self.head);
        choices(&mut self.line);
        if self.include_usage {
            // Writing to a Vec can't fail.
            let _ = write!(self.line, r#","usage":{usage}"#);
        }
        self.line.push(b'}');
        out(None, &self.line);
    }
}

impl crate::EventWriter for ChatEventWriter {
    fn write_event(&mut self, event: &Event<'_>, out: FrameSink<'_>) -> Result<(), Failure> {
        if !matches!(event, Event::Usage(_)) {
            self.begin(out);
        }
        match event {
            Event::Text(text) | Event::Reasoning(text) | Event::Refusal(text)
                if text.is_empty() => {}
            Event::Text(text) => self.field("content", text, out),
            Event::Reasoning(text) => self.reasoning(text, out),
            Event::State(state) => {
                let (kind, name) = if self.thought.1 {
                    ("reasoning.text", "signature")
                } else {
                    ("reasoning.encrypted", "data")
                };
                let detail = json!({ "reasoning_details": [{
                    "type": kind, "index": self.thought.0, name: state.encode(),
                }]});
                self.thought = (self.thought.0 + 1, false);
                self.delta("null", out, |line| {
                    line.extend_from_slice(detail.to_string().as_bytes())
                });
            }
            Event::Refusal(text) => self.field("refusal", text, out),
            Event::Citation(citation) => {
                let delta = json!({ "annotations": [citation_json(self.cited, citation)] });
                self.cited += 1;
                self.delta("null", out, |line| {
                    line.extend_from_slice(delta.to_string().as_bytes())
                });
            }
            Event::ToolCall { index, id, name } => {
                let call = json!({ "tool_calls": [{
                    "index": index, "id": id, "type": "function", "function": { "name": name, "arguments": "" },
                }]});
                self.delta("null", out, |line| {
                    line.extend_from_slice(call.to_string().as_bytes())
                });
            }
            Event::ToolArguments { index, fragment } => self.delta("null", out, |line| {
                let _ = write!(
                    line,
                    r#"{{"tool_calls":[{{"index":{index},"function":{{"arguments":"#
                );
                quote(line, fragment);
                line.extend_from_slice(b"}}]}");
            }),
            Event::ToolEnd { .. } => {}
            Event::Usage(usage) => self.usage = Some(*usage),
            // Kept until the end: some upstreams repeat it, and then break.
            Event::Finish(reason) => self.finish = Some(*reason),
        }
        Ok(())
    }

    /// Writes the finish reason, the usage (if the client asked and the upstream reported it) and
    /// `[DONE]`.
    fn write_end(&mut self, out: FrameSink<'_>) {
        if self.passed {
            return out(None, DONE);
        }
        self.begin(out);
        let reason = finish_reason(self.finish.unwrap_or(FinishReason::Stop));
        self.delta(&format!("\"{reason}\""), out, |line| {
            line.extend_from_slice(b"{}")
        });
        if let (true, Some(usage)) = (self.include_usage, self.usage) {
            self.chunk(&usage_json(&usage).to_string(), out, |line| {
                line.extend_from_slice(b"[]")
            });
        }
        out(None, DONE);
    }

    fn write_error(&mut self, failure: &Failure, _request_id: &str, out: FrameSink<'_>) {
        out(None, &crate::openai::error_body(failure));
    }

    fn resume_after_pass_through(&mut self, _position: PassThroughPosition<'_>) {
        self.passed = true;
    }
}
