//! Writes a client's Responses stream: every item is announced, streamed, repeated complete, and
//! closed, and the last event repeats all items. So the output is held until then, up to
//! [`MAX_HELD_BYTES`].

mod items;

use std::io::Write as _;

use serde_json::{Value, json};

use super::answer::image_json;
use super::{citation_json, object, response_id, status};
use crate::continued_note::NOTE;
use crate::custom_input::CustomInput;
use crate::event::{Event, FinishReason, Usage};
use crate::failure::{Failure, FailureKind, classes};
use crate::json::quote;
use crate::request::ToolKind;
use crate::{
    ContinuedNote, FrameSink, MAX_HELD_BYTES, PassThroughPosition, ResponseMeta, logprobs,
};

/// Writer of one client stream.
#[derive(Debug)]
pub(super) struct ResponsesEventWriter {
    meta: ResponseMeta,
    /// Id of the response: ours, or the upstream's where frames were passed through.
    id: String,
    begun: bool,
    /// The frames that were passed through have an error.
    has_error: bool,
    /// Sequence number of the next event.
    next: u64,
    /// Items by output index; null while incomplete.
    output: Vec<Value>,
    open: Option<CurrentItem>,
    calls: Vec<OpenCall>,
    /// Size of all held output, in bytes.
    held: usize,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
    continued: Option<ContinuedNote>,
    line: Vec<u8>,
    /// Log probabilities of the text that comes next.
    logprobs: String,
}

/// The item that receives text.
#[derive(Debug)]
enum CurrentItem {
    Message {
        place: usize,
        parts: Vec<Value>,
        part: Option<MessagePart>,
    },
    Reasoning {
        place: usize,
        text: String,
    },
}

/// The part of a message that receives text.
#[derive(Debug)]
struct MessagePart {
    kind: PartKind,
    text: String,
    annotations: Vec<Value>,
    /// Elements of the list of its log probabilities.
    logprobs: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartKind {
    Text,
    Refusal,
}

/// A call with incomplete arguments. There may be several: items can overlap here.
#[derive(Debug)]
struct OpenCall {
    index: u32,
    place: usize,
    id: String,
    name: String,
    arguments: String,
    kind: ToolKind,
    /// The text, if it is a custom tool's.
    input: CustomInput,
}

impl ResponsesEventWriter {
    pub(super) fn new(meta: ResponseMeta) -> Self {
        Self {
            id: response_id(&meta),
            meta,
            begun: false,
            has_error: false,
            next: 0,
            output: Vec::new(),
            open: None,
            calls: Vec::new(),
            held: 0,
            usage: None,
            finish: None,
            continued: None,
            line: Vec::new(),
            logprobs: String::new(),
        }
    }

    fn begin(&mut self, out: FrameSink<'_>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let response = object(&self.meta, &self.id, "in_progress", Vec::new(), None);
        self.event("response.created", json!({ "response": response }), out);
        self.event("response.in_progress", json!({ "response": response }), out);
    }

    fn event(&mut self, kind: &'static str, fields: Value, out: FrameSink<'_>) {
        let mut payload = json!({ "type": kind, "sequence_number": self.next });
        self.next = self.next.saturating_add(1);
        if let (Some(payload), Value::Object(fields)) = (payload.as_object_mut(), fields) {
            payload.extend(fields);
        }
        out(Some(kind), payload.to_string().as_bytes());
    }

    /// Writes a delta with one string, the shape of nearly every event.
    fn delta(
        &mut self,
        kind: &'static str,
        id: &str,
        place: usize,
        rest: &str,
        delta: &str,
        out: FrameSink<'_>,
    ) {
        self.line.clear();
        // Writing to a Vec can't fail.
        let _ = write!(
            self.line,
            r#"{{"type":"{kind}","sequence_number":{},"item_id":"{id}","output_index":{place},{rest}"delta":"#,
            self.next
        );
        self.next = self.next.saturating_add(1);
        quote(&mut self.line, delta);
        self.line.push(b'}');
        out(Some(kind), &self.line);
    }

    fn item_id(&self, prefix: &str, place: usize) -> String {
        format!("{prefix}_{}_{place}", self.meta.id)
    }
}

impl crate::EventWriter for ResponsesEventWriter {
    fn write_event(&mut self, event: &Event<'_>, out: FrameSink<'_>) -> Result<(), Failure> {
        self.begin(out);
        self.held += held_size(event);
        if self.held > MAX_HELD_BYTES {
            return Err(Failure::response_too_large(MAX_HELD_BYTES));
        }
        match event {
            Event::Text(text) if !text.is_empty() => self.say(PartKind::Text, text, out),
            Event::Refusal(text) if !text.is_empty() => self.say(PartKind::Refusal, text, out),
            Event::Reasoning(text) if !text.is_empty() => self.think(text, out),
            Event::Text(_) | Event::Refusal(_) | Event::Reasoning(_) => {}
            Event::State(state) => {
                if !matches!(self.open, Some(CurrentItem::Reasoning { .. })) {
                    self.open_reasoning(out);
                }
                self.close_reasoning(state.encode(), out);
            }
            Event::Logprobs(tokens) => {
                if self.meta.request.logprobs.is_some() {
                    logprobs::append(&mut self.logprobs, tokens);
                }
            }
            Event::Citation(citation) => self.cite(citation_json(citation), out),
            Event::ToolCall { index, id, name } => {
                self.close("completed", out);
                self.begin_call(*index, id, name, out);
            }
            Event::ToolArguments { index, fragment } => {
                self.continue_call(*index, fragment, out);
            }
            Event::ToolEnd { index } => {
                if let Some(at) = self.calls.iter().position(|call| call.index == *index) {
                    self.end_call(at, "completed", out);
                }
            }
            Event::Image(image) => {
                if let Some(item) = image_json("", image) {
                    self.close("completed", out);
                    self.say_image(item, out);
                }
            }
            Event::Unsupported(_) => {}
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Finish(reason) => self.finish = Some(*reason),
        }
        Ok(())
    }

    fn write_end(&mut self, out: FrameSink<'_>) {
        self.begin(out);
        let (status, details) = status(self.finish.unwrap_or(FinishReason::Stop));
        self.close(status, out);
        while !self.calls.is_empty() {
            self.end_call(0, status, out);
        }
        let mut response = object(
            &self.meta,
            &self.id,
            status,
            std::mem::take(&mut self.output),
            self.usage,
        );
        response["incomplete_details"] = details;
        if let Some(note) = self.continued {
            response[NOTE] = note.to_json();
        }
        let kind = if status == "completed" {
            "response.completed"
        } else {
            "response.incomplete"
        };
        self.event(kind, json!({ "response": response }), out);
    }

    fn write_error(&mut self, failure: &Failure, _request_id: &str, out: FrameSink<'_>) {
        self.begin(out);
        let code = match failure.kind() {
            // Clients act upon these.
            _ if failure.has_known_cause() || failure.is(&classes::BUDGET_EXCEEDED) => {
                failure.code()
            }
            FailureKind::RateLimit => "rate_limit_exceeded",
            FailureKind::InvalidRequest => "invalid_prompt",
            _ => "server_error",
        };
        // Flat, as the API reference has it, and nested, as OpenAI sends it: its SDKs raise only
        // on the latter.
        let (message, param) = (failure.to_string(), failure.param());
        let fields = json!({ "code": failure.code(), "message": message, "param": param,
            "error": { "type": crate::openai::error_type(failure), "code": failure.code(),
                "message": message, "param": param } });
        if !self.has_error {
            self.event("error", fields, out);
        }
        // The frames that were passed through hold the answer so far.
        let output = std::mem::take(&mut self.output)
            .into_iter()
            .filter(|item| !item.is_null())
            .collect();
        let mut response = object(&self.meta, &self.id, "failed", output, self.usage);
        response["error"] = json!({ "code": code, "message": failure.to_string() });
        self.event("response.failed", json!({ "response": response }), out);
    }

    fn note_continued(&mut self, note: ContinuedNote) {
        self.continued = Some(note);
    }

    fn set_response_id(&mut self, id: &str) {
        if !self.begun {
            id.clone_into(&mut self.id);
        }
    }

    fn resume_after_pass_through(&mut self, position: PassThroughPosition<'_>) {
        self.has_error = position.has_error;
        if !position.response_id.is_empty() {
            self.begun = true;
            self.next = position.next_number;
            position.response_id.clone_into(&mut self.id);
        }
    }
}

/// Returns the size of the output that is held for an event, in bytes.
fn held_size(event: &Event<'_>) -> usize {
    match event {
        Event::Text(text) | Event::Refusal(text) | Event::Reasoning(text) => text.len(),
        Event::ToolArguments { fragment, .. } => fragment.len(),
        Event::State(state) => state.value.len(),
        Event::ToolCall { id, name, .. } => id.len() + name.len() + size_of::<OpenCall>(),
        Event::Logprobs(tokens) => tokens.len(),
        Event::Citation(cited) => cited.url.len() + cited.title.len() + size_of::<Value>(),
        Event::Image(image) => image.size(),
        Event::ToolEnd { .. } | Event::Unsupported(_) | Event::Usage(_) | Event::Finish(_) => 0,
    }
}
