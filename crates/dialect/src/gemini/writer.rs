//! Writes a client's stream and its complete answer.
//!
//! A call carries its arguments as an object, so it is written once they are complete.

use serde_json::{Value, json};

use super::usage::usage_json;
use super::{encode_signature, error_json, finish_reason, logprobs};
use crate::continued_note::NOTE;
use crate::event::{Citation, Event, FinishReason, Usage};
use crate::failure::Failure;
use crate::request::{Image, Part};
use crate::{Answer, ContinuedNote, FrameSink, MAX_HELD_BYTES, ResponseMeta, tools};

/// Writer of one client stream.
#[derive(Debug)]
pub(super) struct GeminiEventWriter {
    id: String,
    model: String,
    /// Signature for the next part.
    state: Option<String>,
    /// The thought that a signature may come for, if it can be held.
    thought: Option<String>,
    /// Calls that are not written yet, in order.
    calls: Vec<PendingCall>,
    /// Size of those calls, in bytes.
    held: usize,
    refused: bool,
    /// A call's arguments were not an object.
    malformed: bool,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
    /// They were asked for.
    has_logprobs: bool,
    /// Log probabilities of the text that comes next.
    logprobs: String,
    continued: Option<ContinuedNote>,
}

#[derive(Debug)]
struct PendingCall {
    index: u32,
    id: String,
    name: String,
    arguments: String,
    state: Option<String>,
    whole: bool,
}

impl GeminiEventWriter {
    pub(super) fn new(id: &str, model: &str, has_logprobs: bool) -> Self {
        Self {
            id: id.to_owned(),
            model: model.to_owned(),
            state: None,
            thought: Some(String::new()),
            calls: Vec::new(),
            held: 0,
            refused: false,
            malformed: false,
            usage: None,
            finish: None,
            has_logprobs,
            logprobs: String::new(),
            continued: None,
        }
    }

    fn payload(&mut self, mut candidate: Value) -> Value {
        if !self.logprobs.is_empty() {
            let tokens = crate::logprobs::tree(&std::mem::take(&mut self.logprobs));
            candidate["logprobsResult"] = logprobs::result(&tokens);
        }
        json!({ "candidates": [candidate], "modelVersion": self.model, "responseId": self.id })
    }

    fn part(&mut self, mut part: Value, out: FrameSink<'_>) {
        if part["thought"] != true
            && let Some(state) = self.state.take()
        {
            part["thoughtSignature"] = state.into();
        }
        let payload =
            self.payload(json!({ "content": { "parts": [part], "role": "model" }, "index": 0 }));
        out(None, payload.to_string().as_bytes());
    }

    /// Of a thought that is too long nothing is held, and its signature is left out.
    fn hold_thought(&mut self, text: &str) {
        let held = self
            .thought
            .take_if(|held| held.len() + text.len() <= MAX_HELD_BYTES);
        self.thought = held.map(|held| held + text);
    }

    /// Writes complete calls in order: an incomplete one holds back those after it.
    fn say_calls(&mut self, out: FrameSink<'_>) {
        while self.calls.first().is_some_and(|call| call.whole) {
            let call = self.calls.remove(0);
            self.say_call(call, out);
        }
    }

    fn say_call(&mut self, call: PendingCall, out: FrameSink<'_>) {
        self.held = self.held.saturating_sub(call.arguments.len());
        let Some(arguments) = tools::whole_object(&call.arguments) else {
            self.malformed = true;
            return;
        };
        let mut part =
            json!({ "functionCall": { "id": call.id, "name": call.name, "args": arguments } });
        if let Some(state) = call.state {
            part["thoughtSignature"] = state.into();
        }
        self.part(part, out);
    }
}

impl crate::EventWriter for GeminiEventWriter {
    fn write_event(&mut self, event: &Event<'_>, out: FrameSink<'_>) -> Result<(), Failure> {
        match event {
            Event::Text(text) | Event::Reasoning(text) | Event::Refusal(text)
                if text.is_empty() => {}
            Event::Text(text) => self.part(json!({ "text": text }), out),
            Event::Logprobs(tokens) => {
                if self.has_logprobs {
                    crate::logprobs::append(&mut self.logprobs, tokens);
                }
                if self.logprobs.len() > MAX_HELD_BYTES {
                    return Err(Failure::response_too_large(MAX_HELD_BYTES));
                }
            }
            Event::Reasoning(text) => {
                self.hold_thought(text);
                self.part(json!({ "text": text, "thought": true }), out);
            }
            Event::Refusal(text) => {
                self.refused = true;
                self.part(json!({ "text": text }), out);
            }
            Event::State(state) => {
                if self.state.is_some() {
                    self.part(json!({ "text": "" }), out);
                }
                let thought = self.thought.replace(String::new());
                self.state = thought.map(|thought| encode_signature(state, &thought));
            }
            Event::Citation(citation) => {
                let payload =
                    self.payload(json!({ "index": 0, "groundingMetadata": grounding([citation]) }));
                out(None, payload.to_string().as_bytes());
            }
            Event::ToolCall { index, id, name } => {
                self.held += id.len() + name.len() + size_of::<PendingCall>();
                self.calls.push(PendingCall {
                    index: *index,
                    id: id.to_string(),
                    name: name.to_string(),
                    arguments: String::new(),
                    state: self.state.take(),
                    whole: false,
                });
            }
            Event::ToolArguments { index, fragment } => {
                if let Some(call) = self.calls.iter_mut().find(|call| call.index == *index) {
                    call.arguments.push_str(fragment);
                    self.held += fragment.len();
                }
            }
            Event::ToolEnd { index } => {
                if let Some(call) = self.calls.iter_mut().find(|call| call.index == *index) {
                    call.whole = true;
                }
                self.say_calls(out);
            }
            Event::Image(image) => self.part(image_part(image), out),
            Event::Unsupported(_) => {}
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Finish(reason) => self.finish = Some(*reason),
        }
        if self.held > MAX_HELD_BYTES {
            Err(Failure::response_too_large(MAX_HELD_BYTES))
        } else {
            Ok(())
        }
    }

    fn write_end(&mut self, out: FrameSink<'_>) {
        for call in std::mem::take(&mut self.calls) {
            self.say_call(call, out);
        }
        let mut part = json!({ "text": "" });
        if let Some(state) = self.state.take() {
            part["thoughtSignature"] = state.into();
        }
        let mut payload = self.payload(json!({
            "content": { "parts": [part], "role": "model" },
            "finishReason": reason(self.finish, self.refused, self.malformed), "index": 0,
        }));
        if let Some(usage) = &self.usage {
            payload["usageMetadata"] = usage_json(usage);
        }
        if let Some(note) = self.continued {
            payload[NOTE] = note.to_json();
        }
        out(None, payload.to_string().as_bytes());
    }

    fn note_continued(&mut self, note: ContinuedNote) {
        self.continued = Some(note);
    }

    fn write_error(&mut self, failure: &Failure, _request_id: &str, out: FrameSink<'_>) {
        out(None, error_json(failure, None).to_string().as_bytes());
    }
}

/// Returns the finish reason; it also reports refusals and malformed calls, which have no other
/// place here.
fn reason(finish: Option<FinishReason>, refused: bool, malformed: bool) -> &'static str {
    match finish.unwrap_or(FinishReason::Stop) {
        FinishReason::Stop if refused => finish_reason(FinishReason::ContentFilter),
        FinishReason::Stop | FinishReason::ToolCalls if malformed => "MALFORMED_FUNCTION_CALL",
        reason => finish_reason(reason),
    }
}

fn image_part(image: &Image) -> Value {
    match image {
        Image::Data { media_type, base64 } => {
            json!({ "inlineData": { "mimeType": media_type, "data": base64 } })
        }
        Image::Url(url) => json!({ "fileData": { "fileUri": url } }),
    }
}

fn grounding<'a>(citations: impl IntoIterator<Item = &'a Citation>) -> Value {
    let chunk =
        |citation: &Citation| json!({ "web": { "uri": citation.url, "title": citation.title } });
    json!({ "groundingChunks": citations.into_iter().map(chunk).collect::<Vec<_>>() })
}

/// Encodes a complete answer for a client.
pub(super) fn encode_answer(answer: &Answer, meta: &ResponseMeta) -> Value {
    let mut parts = Vec::new();
    let (mut refused, mut malformed) = (false, false);
    let mut state: Option<String> = None;
    for part in &answer.parts {
        let mut value = match part {
            Part::Text(text) => json!({ "text": text }),
            Part::Refusal(text) => {
                refused = true;
                json!({ "text": text })
            }
            Part::ToolCall {
                id,
                name,
                arguments,
            } => match tools::whole_object(arguments) {
                Some(arguments) => {
                    json!({ "functionCall": { "id": id, "name": name, "args": arguments } })
                }
                None => {
                    malformed = true;
                    continue;
                }
            },
            Part::Reasoning {
                text,
                state: sealed,
            } => {
                if !text.is_empty() {
                    parts.push(json!({ "text": text, "thought": true }));
                }
                if let Some(unclaimed) = sealed
                    .as_ref()
                    .and_then(|sealed| state.replace(encode_signature(sealed, text)))
                {
                    parts.push(json!({ "text": "", "thoughtSignature": unclaimed }));
                }
                continue;
            }
            Part::Image(image, _) => image_part(image),
            Part::ToolResult { .. } | Part::File(_) | Part::CacheBreakpoint(_) => continue,
        };
        if let Some(state) = state.take() {
            value["thoughtSignature"] = state.into();
        }
        parts.push(value);
    }
    if let Some(state) = state {
        parts.push(json!({ "text": "", "thoughtSignature": state }));
    }
    let mut candidate = json!({
        "content": { "parts": parts, "role": "model" },
        "finishReason": reason(answer.finish, refused, malformed), "index": 0,
    });
    if !answer.logprobs.is_empty() && meta.request.logprobs.is_some() {
        let tokens = crate::logprobs::tree(&answer.logprobs);
        candidate["logprobsResult"] = logprobs::result(&tokens);
    }
    if !answer.citations.is_empty() {
        candidate["groundingMetadata"] = grounding(&answer.citations);
    }
    let mut body =
        json!({ "candidates": [candidate], "modelVersion": meta.model, "responseId": meta.id });
    if let Some(usage) = &answer.usage {
        body["usageMetadata"] = usage_json(usage);
    }
    body
}
