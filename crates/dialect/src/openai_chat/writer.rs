//! Writes a client's Chat Completions stream.
//!
//! Reasoning is written as `reasoning_content`, which most clients show, and again as OpenRouter's
//! `reasoning_details`, which clients may send back: only those have room for the state that an
//! upstream wants returned.

use std::io::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{citation_json, finish_reason, image_json, usage_json};
use crate::continued_note::NOTE;
use crate::custom_input::CustomInput;
use crate::event::{Event, FinishReason, Usage};
use crate::failure::Failure;
use crate::json::quote;
use crate::request::{Request, ToolKind};
use crate::{
    ContinuedNote, DONE, FrameSink, MAX_HELD_BYTES, PassThroughPosition, ResponseMeta, logprobs,
};

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
    /// Log probabilities of the text that comes next.
    logprobs: String,
    begun: bool,
    /// The upstream's own chunks were passed through: only the end mark is ours.
    passed: bool,
    /// Number of citations written.
    cited: usize,
    /// Index of the current reasoning block among all and the calls, and whether it has text.
    thought: (u32, bool),
    /// The request, for the forms of its tools.
    request: Arc<Request>,
    /// The calls of custom tools that have not ended, by their indexes.
    custom: Vec<(u32, CustomInput)>,
    /// Index of the call in the form that there was before tools, which has a place for one.
    legacy: Option<u32>,
    continued: Option<ContinuedNote>,
    /// Set when the last chunk is written.
    is_last: bool,
}

impl ChatEventWriter {
    /// Returns a writer of chunks with this id.
    #[must_use]
    pub fn new(id: &str, meta: ResponseMeta) -> Self {
        let head = format!(
            r#"{{"id":{},"object":"chat.completion.chunk","created":{},"model":{},"choices":"#,
            json!(id),
            meta.created,
            json!(meta.model)
        );
        Self {
            head: head.into_bytes(),
            line: Vec::new(),
            include_usage: meta.request.include_usage,
            usage: None,
            finish: None,
            logprobs: String::new(),
            begun: false,
            passed: false,
            cited: 0,
            thought: (0, false),
            request: meta.request,
            custom: Vec::new(),
            legacy: None,
            continued: None,
            is_last: false,
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

    /// Writes a delta that is a small tree.
    fn tree(&mut self, delta: &Value, out: FrameSink<'_>) {
        self.delta("null", out, |line| {
            line.extend_from_slice(delta.to_string().as_bytes())
        });
    }

    fn begin_call(&mut self, index: u32, id: &str, name: &str, out: FrameSink<'_>) {
        // Calls are counted, too: the place of reasoning among them must come back.
        self.thought = (self.thought.0 + 1 + u32::from(self.thought.1), false);
        let request = Arc::clone(&self.request);
        let form = request.tool_forms.get(name);
        let own = form.map_or(name, |form| &form.name);
        let delta = match form.map(|form| form.kind) {
            Some(ToolKind::Custom) => {
                self.custom.push((index, CustomInput::default()));
                json!({ "tool_calls": [{
                    "index": index, "id": id, "type": "custom", "custom": { "name": own, "input": "" },
                }]})
            }
            Some(ToolKind::LegacyFunction) if self.legacy.is_none() => {
                self.legacy = Some(index);
                json!({ "function_call": { "name": own, "arguments": "" } })
            }
            _ => json!({ "tool_calls": [{
                "index": index, "id": id, "type": "function", "function": { "name": own, "arguments": "" },
            }]}),
        };
        self.tree(&delta, out);
    }

    fn continue_call(
        &mut self,
        index: u32,
        fragment: &str,
        out: FrameSink<'_>,
    ) -> Result<(), Failure> {
        if let Some(at) = self.custom.iter().position(|(known, _)| *known == index) {
            let text = self.custom[at].1.push(fragment).to_owned();
            self.custom_text(index, &text, out);
            let held: usize = self.custom.iter().map(|(_, input)| input.size()).sum();
            return match held > MAX_HELD_BYTES {
                true => Err(Failure::response_too_large(MAX_HELD_BYTES)),
                false => Ok(()),
            };
        }
        let is_legacy = self.legacy == Some(index);
        self.delta("null", out, |line| {
            // Writing to a Vec can't fail.
            let _ = match is_legacy {
                true => write!(line, r#"{{"function_call":{{"arguments":"#),
                false => write!(
                    line,
                    r#"{{"tool_calls":[{{"index":{index},"function":{{"arguments":"#
                ),
            };
            quote(line, fragment);
            line.extend_from_slice(if is_legacy { b"}}" } else { b"}}]}" });
        });
        Ok(())
    }

    /// Ends a call: of a custom tool more may be known now.
    fn end_call(&mut self, index: u32, out: FrameSink<'_>) {
        if let Some(at) = self.custom.iter().position(|(known, _)| *known == index) {
            let (_, mut input) = self.custom.swap_remove(at);
            self.custom_text(index, input.end(), out);
        }
    }

    /// Writes a piece of the text that a custom tool is called with.
    fn custom_text(&mut self, index: u32, text: &str, out: FrameSink<'_>) {
        if text.is_empty() {
            return;
        }
        self.delta("null", out, |line| {
            // Writing to a Vec can't fail.
            let _ = write!(
                line,
                r#"{{"tool_calls":[{{"index":{index},"custom":{{"input":"#
            );
            quote(line, text);
            line.extend_from_slice(b"}}]}");
        });
    }

    fn delta(&mut self, finish: &str, out: FrameSink<'_>, delta: impl FnOnce(&mut Vec<u8>)) {
        let logprobs = std::mem::take(&mut self.logprobs);
        self.chunk("null", out, |line| {
            line.extend_from_slice(br#"[{"index":0,"delta":"#);
            delta(line);
            // Writing to a Vec can't fail.
            let _ = match logprobs.is_empty() {
                true => write!(line, r#","logprobs":null"#),
                false => write!(
                    line,
                    r#","logprobs":{{"content":[{logprobs}],"refusal":null}}"#
                ),
            };
            let _ = write!(line, r#","finish_reason":{finish}}}]"#);
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
        if let Some(note) = self.continued.filter(|_| self.is_last) {
            let _ = write!(self.line, r#","{NOTE}":{}"#, note.to_json());
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
            Event::Logprobs(tokens) => {
                if self.request.logprobs.is_some() {
                    logprobs::append(&mut self.logprobs, tokens);
                }
                if self.logprobs.len() > MAX_HELD_BYTES {
                    return Err(Failure::response_too_large(MAX_HELD_BYTES));
                }
            }
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
                self.tree(&detail, out);
            }
            Event::Refusal(text) => self.field("refusal", text, out),
            Event::Citation(citation) => {
                let delta = json!({ "annotations": [citation_json(self.cited, citation)] });
                self.cited += 1;
                self.tree(&delta, out);
            }
            Event::ToolCall { index, id, name } => self.begin_call(*index, id, name, out),
            Event::ToolArguments { index, fragment } => {
                return self.continue_call(*index, fragment, out);
            }
            Event::ToolEnd { index } => self.end_call(*index, out),
            Event::Image(image) => {
                self.tree(&json!({ "images": [image_json(image)] }), out);
            }
            Event::Unsupported(_) => {}
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
        while let Some((index, _)) = self.custom.first() {
            self.end_call(*index, out);
        }
        let reason = self.finish.unwrap_or(FinishReason::Stop);
        let reason = finish_reason(reason, self.legacy.is_some());
        let usage = self.usage.filter(|_| self.include_usage);
        self.is_last = usage.is_none();
        self.delta(&format!("\"{reason}\""), out, |line| {
            line.extend_from_slice(b"{}")
        });
        self.is_last = true;
        if let Some(usage) = usage {
            self.chunk(&usage_json(&usage).to_string(), out, |line| {
                line.extend_from_slice(b"[]")
            });
        }
        out(None, DONE);
    }

    fn note_continued(&mut self, note: ContinuedNote) {
        self.continued = Some(note);
    }

    fn write_error(&mut self, failure: &Failure, _request_id: &str, out: FrameSink<'_>) {
        out(None, &crate::openai::error_body(failure));
    }

    fn resume_after_pass_through(&mut self, _position: PassThroughPosition<'_>) {
        self.passed = true;
    }
}
