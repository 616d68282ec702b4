//! Writes a client's Chat Completions stream.

use std::io::Write as _;

use serde_json::json;

use super::{finish_reason, usage_json};
use crate::dialect::{DONE, Out};
use crate::event::{Event, Usage};

/// The state of one client's stream.
#[derive(Debug)]
pub struct EventWriter {
    /// All that a chunk says before its choices: the same every time.
    head: Vec<u8>,
    /// One chunk's JSON, written again for each.
    line: Vec<u8>,
    include_usage: bool,
    usage: Option<Usage>,
    begun: bool,
}

impl EventWriter {
    /// A writer of chunks that bear this id, time (Unix seconds) and model.
    #[must_use]
    pub fn new(id: &str, created: u64, model: &str, include_usage: bool) -> Self {
        let head = format!(
            r#"{{"id":{},"object":"chat.completion.chunk","created":{created},"model":{},"choices":"#,
            json!(id),
            json!(model)
        );
        Self { head: head.into_bytes(), line: Vec::new(), include_usage, usage: None, begun: false }
    }

    pub(in crate::dialect) fn write(&mut self, event: &Event<'_>, out: Out<'_>) {
        if !self.begun {
            self.begun = true;
            self.delta(r#"{"role":"assistant","content":""}"#, "null", out);
        }
        match event {
            Event::Text(text) => self.field("content", text, out),
            Event::Reasoning(text) => self.field("reasoning_content", text, out),
            Event::Refusal(text) => self.field("refusal", text, out),
            Event::ToolCall { index, id, name } => {
                let call = json!({ "tool_calls": [{
                    "index": index, "id": id, "type": "function", "function": { "name": name, "arguments": "" },
                }]});
                self.delta(&call.to_string(), "null", out);
            }
            Event::ToolArguments { index, fragment } => {
                let call = json!({ "tool_calls": [{ "index": index, "function": { "arguments": fragment } }] });
                self.delta(&call.to_string(), "null", out);
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Finish(reason) => self.delta("{}", &json!(finish_reason(*reason)).to_string(), out),
        }
    }

    /// The usage, if the client asked for it and the upstream told it, and `[DONE]`.
    pub(in crate::dialect) fn done(&mut self, out: Out<'_>) {
        if let (true, Some(usage)) = (self.include_usage, self.usage) {
            self.chunk("[]", &usage_json(&usage).to_string(), out);
        }
        out(None, DONE);
    }

    fn field(&mut self, name: &str, text: &str, out: Out<'_>) {
        if !text.is_empty() {
            self.delta(&format!(r#"{{"{name}":{}}}"#, json!(text)), "null", out);
        }
    }

    fn delta(&mut self, delta: &str, finish: &str, out: Out<'_>) {
        let choices = format!(r#"[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]"#);
        self.chunk(&choices, "null", out);
    }

    fn chunk(&mut self, choices: &str, usage: &str, out: Out<'_>) {
        self.line.clear();
        self.line.extend_from_slice(&self.head);
        // Writing to a Vec can't fail.
        let _ = if self.include_usage {
            write!(self.line, r#"{choices},"usage":{usage}}}"#)
        } else {
            write!(self.line, "{choices}}}")
        };
        out(None, &self.line);
    }
}
