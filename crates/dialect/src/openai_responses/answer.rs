//! Complete answers: read from an upstream, written for a client.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::call_items::call_json;
use super::calls::{ItemCalls, is_call};
use super::{citation, citation_json, finish_reason, is_cut, object, response_id, status, usage};
use crate::event::{Event, FinishReason, ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::json::excerpt;
use crate::request::{Image, Part};
use crate::{Answer, EventSink, PayloadInfo, ResponseMeta, emit, error_report, logprobs, tools};

/// Parses an upstream's answer: its usage, an error in it, and, with a sink, its content as events.
pub(super) fn parse_answer(body: &[u8], mut sink: EventSink<'_>) -> Result<PayloadInfo, Failure> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|e| Failure::bad_payload("a Responses answer", e.into()))?;
    let error = match body["output"].is_array() {
        true => error_report::ErrorReport::in_field(&body),
        false => error_report::ErrorReport::in_payload(&body),
    };
    if let Some(error) = error {
        return Err(error.into());
    }
    if !body["output"].is_array() && body["status"] != "incomplete" {
        return Err(Failure::upstream_truncated("it has no output"));
    }
    if sink.is_some() {
        output_events(&body, &mut sink)?;
    }
    let usage = usage(&body["usage"]);
    if let Some(usage) = usage {
        emit(&mut sink, Event::Usage(usage));
    }
    let has_calls = body["output"]
        .as_array()
        .is_some_and(|output| output.iter().any(is_call));
    let reason = finish_reason(&body, has_calls)?;
    emit(&mut sink, Event::Finish(reason));
    Ok(PayloadInfo {
        is_end: true,
        usage,
        ..PayloadInfo::default()
    })
}

/// Emits the events of a complete answer's output.
fn output_events(body: &Value, sink: &mut EventSink<'_>) -> Result<(), Failure> {
    let mut calls = ItemCalls::default();
    let output = body["output"].as_array().into_iter().flatten();
    for (place, item) in (0..).zip(output) {
        if is_call(item) {
            calls.complete_last(place, item, sink)?;
        } else {
            item_events(item, SaidBefore::default(), sink);
        }
    }
    calls.close(is_cut(body), sink)
}

/// The part of an item that was said before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SaidBefore {
    /// Number of bytes of its texts.
    pub(super) bytes: usize,
    /// Number of its citations.
    pub(super) citations: usize,
    /// Its state was told.
    pub(super) has_state: bool,
}

impl SaidBefore {
    /// Returns of the next text what was not said.
    fn rest<'a>(&mut self, text: &'a str) -> &'a str {
        let said = self.bytes.min(text.len());
        self.bytes -= said;
        text.get(said..).unwrap_or_default()
    }
}

/// Returns the texts of a message or a reasoning item.
pub(super) fn item_texts(item: &Value) -> Vec<Cow<'_, str>> {
    match item["type"].as_str() {
        Some("message") => {
            let parts = item["content"].as_array().into_iter().flatten();
            let of_parts = parts.flat_map(|part| [part["text"].as_str(), part["refusal"].as_str()]);
            let texts = [item["content"].as_str()].into_iter().chain(of_parts);
            texts.flatten().map(Cow::from).collect()
        }
        Some("reasoning") => vec![reasoning_text(item).into()],
        _ => Vec::new(),
    }
}

/// Emits the events of a complete item that is no call, but for what was said before. Returns the
/// number of citations that are still to be left out.
pub(super) fn item_events(item: &Value, mut before: SaidBefore, sink: &mut EventSink<'_>) -> usize {
    match item["type"].as_str() {
        Some("message") => message_events(item, &mut before, sink),
        Some("reasoning") => {
            let text = reasoning_text(item);
            match before.rest(&text) {
                "" => {}
                rest => emit(sink, Event::Reasoning(rest.into())),
            }
            if let Some(state) = state(item).filter(|_| !before.has_state) {
                emit(sink, Event::State(state));
            }
        }
        Some("image_generation_call") if item["result"].is_string() => {
            emit(sink, Event::Image(image(item)));
        }
        // Output of the upstream's own tools.
        Some(kind) => emit(
            sink,
            Event::Unsupported(format!("item `{}`", excerpt(kind)).into()),
        ),
        None => {}
    }
    before.citations
}

fn message_events(item: &Value, before: &mut SaidBefore, sink: &mut EventSink<'_>) {
    if let Some(text) = item["content"].as_str() {
        emit(sink, Event::Text(before.rest(text).into()));
    }
    for part in item["content"].as_array().into_iter().flatten() {
        let is_new = before.bytes == 0;
        let text = part["text"].as_str().map(|text| before.rest(text));
        if let Some(tokens) = part["logprobs"].as_array()
            && is_new
            && !tokens.is_empty()
            && sink.is_some()
        {
            let tokens = part["logprobs"].to_string();
            emit(sink, Event::Logprobs(tokens.into()));
        }
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            emit(sink, Event::Text(text.into()));
        }
        let refusal = part["refusal"].as_str().map(|text| before.rest(text));
        if let Some(text) = refusal.filter(|text| !text.is_empty()) {
            emit(sink, Event::Refusal(text.into()));
        }
        let cited = part["annotations"].as_array().into_iter().flatten();
        for cited in cited.filter_map(citation) {
            match before.citations {
                0 => emit(sink, Event::Citation(cited)),
                _ => before.citations -= 1,
            }
        }
    }
}

/// Returns the image of an item.
fn image(item: &Value) -> Image {
    let result = item["result"].as_str().unwrap_or_default();
    if result.starts_with("data:") || result.starts_with("http") {
        return Image::from_url(result);
    }
    let format = item["output_format"].as_str().unwrap_or("png");
    Image::Data {
        media_type: format!("image/{format}"),
        base64: result.to_owned(),
    }
}

/// Returns the visible text of a reasoning item: its summary, or the reasoning itself if there is
/// none.
fn reasoning_text(item: &Value) -> String {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(|part| part["text"].as_str())
            .map(str::to_owned)
            .collect()
    };
    let summary = texts(&item["summary"]);
    if summary.is_empty() {
        texts(&item["content"])
    } else {
        summary
    }
    .join("\n\n")
}

/// Returns the part of a reasoning item that is sent back on the next turn.
pub(super) fn state(item: &Value) -> Option<ReasoningState<'static>> {
    let encrypted = item["encrypted_content"]
        .as_str()
        .filter(|encrypted| !encrypted.is_empty())?;
    let id = item["id"].as_str().unwrap_or_default();
    Some(decode_state(encrypted, id))
}

/// Decodes the encrypted content of the reasoning item of that id.
pub(super) fn decode_state(encrypted: &str, id: &str) -> ReasoningState<'static> {
    let ReasoningState { origin, value } =
        ReasoningState::decode(encrypted, StateOrigin::OpenAiResponses);
    let value = match origin {
        // OpenAI's own value, without an origin prefix.
        StateOrigin::OpenAiResponses if value == encrypted => format!("{id} {encrypted}"),
        _ => value.into_owned(),
    };
    ReasoningState {
        origin,
        value: value.into(),
    }
}

/// Encodes an answer for a client.
pub(super) fn encode_answer(answer: &Answer, meta: &ResponseMeta) -> Value {
    let mut output = Vec::new();
    let mut citations: Vec<Value> = answer.citations.iter().map(citation_json).collect();
    let mut logprobs = match meta.request.logprobs {
        Some(_) => logprobs::tree(&answer.logprobs),
        None => json!([]),
    };
    for (at, part) in answer.parts.iter().enumerate() {
        let id = |prefix: &str| format!("{prefix}_{}_{at}", meta.id);
        output.push(match part {
            Part::Text(text) => {
                let citations = std::mem::take(&mut citations);
                let logprobs = std::mem::replace(&mut logprobs, json!([]));
                message_json(&id("msg"), text_part(text, citations, logprobs))
            }
            Part::Refusal(text) => {
                message_json(&id("msg"), json!({ "type": "refusal", "refusal": text }))
            }
            Part::Reasoning { text, state } => reasoning_json(
                &id("rs"),
                text,
                state
                    .as_ref()
                    .map_or_else(unsigned_signature, ReasoningState::encode),
            ),
            Part::ToolCall {
                id: call,
                name,
                arguments,
            } => {
                let cut = answer.finish() == FinishReason::Length
                    && tools::whole_object(arguments).is_none();
                let form = meta.request.tool_forms.get(name);
                let status = if cut { "incomplete" } else { "completed" };
                call_json(&id("fc"), (call, name, form), arguments, status)
            }
            Part::Image(image, _) => match image_json(&id("ig"), image) {
                Some(item) => item,
                None => continue,
            },
            Part::ToolResult { .. } | Part::File(_) | Part::CacheBreakpoint(_) => continue,
        });
    }
    let (status, details) = status(answer.finish());
    let mut body = object(meta, &response_id(meta), status, output, answer.usage);
    body["incomplete_details"] = details;
    body
}

/// Returns the signature for reasoning that its upstream did not sign: it names only the origin.
pub(super) fn unsigned_signature() -> String {
    ReasoningState {
        origin: StateOrigin::OpenAiChat,
        value: "".into(),
    }
    .encode()
}

pub(super) fn text_part(text: &str, annotations: Vec<Value>, logprobs: Value) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs })
}

fn message_json(id: &str, part: Value) -> Value {
    json!({ "id": id, "type": "message", "status": "completed", "role": "assistant", "content": [part] })
}

pub(super) fn reasoning_json(id: &str, text: &str, encrypted: String) -> Value {
    let summary = if text.is_empty() {
        json!([])
    } else {
        json!([{ "type": "summary_text", "text": text }])
    };
    json!({ "id": id, "type": "reasoning", "summary": summary, "encrypted_content": encrypted })
}

/// Encodes an image as a call of the tool that makes images; `None` for one that is only named by
/// its URL.
pub(super) fn image_json(id: &str, image: &Image) -> Option<Value> {
    let Image::Data { media_type, base64 } = image else {
        return None;
    };
    let format = media_type.rsplit('/').next().unwrap_or("png");
    Some(json!({
        "id": id, "type": "image_generation_call", "status": "completed", "output_format": format,
        "result": base64,
    }))
}
