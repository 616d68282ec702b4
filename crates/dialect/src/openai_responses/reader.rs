//! Reads an upstream's Responses stream.
//!
//! Items are identified by their output index: one gateway gives every event of an item another id.
//! Content that an upstream did not stream is emitted when the item, or the answer, is complete.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

use super::calls::{ItemCalls, is_call};
use super::payload::{ItemAliases, ItemKey, ResponsesPayload};
use super::said::{Channel, SaidItems, TextKind};
use super::{citation, finish_reason, is_cut, usage};
use crate::error_report::ErrorReport;
use crate::event::Event;
use crate::failure::Failure;
use crate::json::{RawJson, value, walk};
use crate::{
    AnswerFolder, DONE, EventSink, PassThroughPosition, PayloadInfo, emit, error_report, tools,
};

/// Reader of one upstream stream.
#[derive(Debug, Default)]
pub(super) struct ResponsesEventReader {
    /// Id that the upstream gave the response.
    id: String,
    /// Sequence number of the next event.
    next: u64,
    said: SaidItems,
    aliases: ItemAliases,
    calls: ItemCalls,
    done: bool,
    /// An error to be reported at the end of the stream, or with `response.failed`.
    failing: Option<Failure>,
    /// Such an error was in the payloads.
    has_error: bool,
}

impl crate::EventReader for ResponsesEventReader {
    fn read_payload(&mut self, data: &[u8], sink: EventSink<'_>) -> Result<PayloadInfo, Failure> {
        let Some(sink) = sink else {
            return self.read_event(data, None);
        };
        // Any event may have content, not only deltas.
        let mut has_content = false;
        let mut noting = |event: Event<'_>| {
            has_content |= event.has_content();
            sink(event);
        };
        let mut seen = self.read_event(data, Some(&mut noting))?;
        seen.has_content |= has_content;
        Ok(seen)
    }

    fn read_error(&self, data: &[u8]) -> Option<Failure> {
        // A payload under `event: error` is read like any other; only unreadable ones are errors by
        // name.
        match serde_json::from_slice::<Value>(data) {
            Ok(value) if value["type"].as_str().is_some_and(is_known_kind) => None,
            Ok(value) if !value["error"].is_null() => {
                ErrorReport::in_field(&value).map(Failure::from)
            }
            _ => error_report::read_error(data),
        }
    }

    fn finish_stream(&mut self, _sink: EventSink<'_>) -> Result<(), Failure> {
        match self.failing.take() {
            Some(failure) => Err(failure),
            None if self.done => Ok(()),
            None => Err(Failure::upstream_truncated("it has no response.completed")),
        }
    }

    fn position(&self) -> PassThroughPosition<'_> {
        PassThroughPosition {
            response_id: &self.id,
            next_number: self.next,
            has_error: self.has_error,
        }
    }
}

/// Returns true for the type of an event of this API.
fn is_known_kind(kind: &str) -> bool {
    kind == "error" || kind.starts_with("response.")
}

/// The response that the last event of a stream has, whole.
#[derive(Debug, Default)]
pub(super) struct ResponsesFolder(Option<Bytes>);

impl AnswerFolder for ResponsesFolder {
    fn add_payload(&mut self, data: &[u8]) {
        self.0 = whole_answer(data);
    }

    fn size(&self) -> usize {
        self.0.as_ref().map_or(0, Bytes::len)
    }

    fn complete(self: Box<Self>, encoded: Vec<u8>) -> Bytes {
        self.0.unwrap_or_else(|| encoded.into())
    }
}

/// Returns the response of an event, if its output is there.
fn whole_answer(data: &[u8]) -> Option<Bytes> {
    let mut payload = ResponsesPayload::default();
    walk(data, |cursor| payload.parse(cursor)).ok()?;
    let response = payload.response?.get();
    let output = &value(Some(response))["output"];
    let has_output = output.as_array().is_some_and(|output| !output.is_empty());
    has_output.then(|| Bytes::copy_from_slice(response.as_bytes()))
}

fn number_of(payload: &ResponsesPayload<'_>) -> Option<u64> {
    payload.sequence_number?.get().parse().ok()
}

fn unnamed(kind: &str) -> Failure {
    Failure::upstream_error(format!("the upstream sent {kind}"))
}

impl ResponsesEventReader {
    fn read_event(&mut self, data: &[u8], mut sink: EventSink<'_>) -> Result<PayloadInfo, Failure> {
        let mut seen = PayloadInfo::default();
        if data.trim_ascii() == DONE {
            // Not part of this API, but some servers send it.
            return Ok(seen);
        }
        let mut payload = ResponsesPayload::default();
        walk(data, |cursor| payload.parse(cursor))
            .map_err(|e| Failure::bad_payload("a Responses event", e.into()))?;
        let number = number_of(&payload);
        self.next = number.map_or(self.next, |number| number.saturating_add(1));
        let kind = payload.kind.as_deref().unwrap_or_default();
        seen.is_typed = is_known_kind(kind);
        seen.has_content = kind.ends_with(".delta");
        match kind {
            "response.done" => self.ended(&payload, &mut seen, &mut sink),
            "response.created" => {
                value(payload.response.map(RawJson::get))["id"]
                    .as_str()
                    .unwrap_or_default()
                    .clone_into(&mut self.id);
            }
            "response.completed" | "response.incomplete" => {
                let response = value(payload.response.map(RawJson::get));
                self.completed(&payload, response, &mut seen, &mut sink);
            }
            "response.failed" | "response.cancelled" => {
                let response = value(payload.response.map(RawJson::get));
                seen.error = Some(self.failed(kind, &response));
                // The only one of these ends that clients know.
                seen.error_is_native = kind == "response.failed";
                if !seen.error_is_native {
                    self.next = number.unwrap_or(self.next);
                }
            }
            "error" => {
                // Nested, as servers send it, or flat, as the API reference has it. Clients know
                // only the nested one, after which `response.failed` follows.
                let nested = payload.error.filter(|raw| raw.get().starts_with('{'));
                let nested = nested.and_then(|raw| error_report::read_error_field(data, raw.get()));
                match nested {
                    Some(failure) => {
                        self.failing = Some(failure);
                        self.has_error = true;
                    }
                    None => {
                        let flat = error_report::read_payload_error(data);
                        seen.error = Some(flat.unwrap_or_else(|| unnamed(kind)));
                        self.next = number.unwrap_or(self.next);
                    }
                }
            }
            "" => seen.error = error_report::read_payload_error(data),
            kind if !kind.starts_with("response.") => {
                seen.error = error_report::read_typed_error(data);
            }
            _ if sink.is_some() => {
                let read = self.read_piece(kind, &payload, &mut sink);
                seen.error = read.and_then(|()| self.said.check_size()).err();
            }
            _ => {}
        }
        Ok(seen)
    }

    /// Reads `response.done`, the end of some servers' streams, by the response's status.
    fn ended(
        &mut self,
        payload: &ResponsesPayload<'_>,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        let mut response = value(payload.response.map(RawJson::get));
        match response["status"].as_str() {
            Some("failed" | "cancelled" | "canceled") => {
                seen.error = Some(self.failed("response.done", &response));
                self.next = number_of(payload).unwrap_or(self.next);
            }
            status => {
                if status.is_none() && response.is_object() {
                    response["status"] = "completed".into();
                }
                self.completed(payload, response, seen, sink);
            }
        }
    }

    /// Returns the error with which a response ended.
    fn failed(&mut self, kind: &str, response: &Value) -> Failure {
        let own = || ErrorReport::in_field(response).map(Failure::from);
        let failure = self.failing.take().or_else(own);
        failure.unwrap_or_else(|| unnamed(kind))
    }

    fn completed(
        &mut self,
        payload: &ResponsesPayload<'_>,
        mut response: Value,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        self.done = true;
        seen.is_end = true;
        if response["status"].is_null() && response.is_object() {
            let kind = payload.kind.as_deref().unwrap_or_default();
            response["status"] = kind.trim_start_matches("response.").into();
        }
        // It is spent, whatever is wrong with the rest.
        seen.usage = usage(&response["usage"]);
        if sink.is_some()
            && let Err(failure) = self.read_output(&response, sink)
        {
            seen.error = Some(failure);
            return;
        }
        if let Some(usage) = seen.usage {
            emit(sink, Event::Usage(usage));
        }
        match finish_reason(&response, !self.calls.is_empty()) {
            Ok(reason) => emit(sink, Event::Finish(reason)),
            // Ours will be told in its place, and with its number.
            Err(failure) => {
                seen.error = Some(failure);
                self.next = number_of(payload).unwrap_or(self.next);
            }
        }
    }

    /// Emits the content of the whole response that was not streamed.
    fn read_output(&mut self, response: &Value, sink: &mut EventSink<'_>) -> Result<(), Failure> {
        let output = response["output"].as_array().map_or(&[][..], Vec::as_slice);
        let mut rest = self.said.compare(output);
        for (place, item) in (0..).zip(output) {
            if is_call(item) {
                self.calls.complete_last(place, item, sink)?;
            } else {
                self.said.complete_last(place, item, &mut rest, sink);
            }
        }
        self.calls.close(is_cut(response), sink)
    }

    fn read_piece(
        &mut self,
        kind: &str,
        payload: &ResponsesPayload<'_>,
        sink: &mut EventSink<'_>,
    ) -> Result<(), Failure> {
        let id = payload.item_id.and_then(RawJson::text).unwrap_or_default();
        let shared = |key, id: &str| self.said.shared_key(key, id, &self.aliases);
        let key = shared(ItemKey::of(payload), &id);
        match kind {
            "response.output_item.added" => {
                let item = value(payload.item.map(RawJson::get));
                let key = self.aliases.begin(key.or_id_of(&item), &item);
                if is_call(&item) {
                    return self.calls.begin(key, &item, sink);
                }
                self.said.begin(key, &item);
            }
            "response.output_item.done" => {
                let item = value(payload.item.map(RawJson::get));
                let id = item["id"].as_str().unwrap_or_default();
                let key = shared(key.or_id_of(&item), id);
                if is_call(&item) {
                    return self.calls.complete(key, &item, sink);
                }
                self.said.complete(key, &item, sink);
            }
            "response.content_part.added" | "response.reasoning_summary_part.added" => {
                let channel = match kind.contains("summary") {
                    true => Channel::Thought,
                    false => Channel::Text,
                };
                self.said.begin_part(&key, channel, place_of(payload));
            }
            "response.content_part.done" | "response.reasoning_summary_part.done" => {
                let part = value(payload.part.map(RawJson::get));
                if let Some((kind, text)) = part_text(&part) {
                    let place = place_of(payload);
                    self.said.complete_part(key, kind, place, text, sink);
                }
            }
            "response.function_call_arguments.delta" => {
                if let Some(fragment) = delta_of(payload) {
                    return self.calls.read_fragment(key, fragment, sink);
                }
            }
            "response.function_call_arguments.done" => {
                if let Some(whole) = payload.arguments {
                    let whole = whole.text().unwrap_or(whole.get().into());
                    return self.calls.read_whole(key, &whole, sink);
                }
            }
            "response.custom_tool_call_input.delta" => {
                if let Some(text) = delta_of(payload) {
                    return self.calls.read_custom_text(key, &text, sink);
                }
            }
            "response.custom_tool_call_input.done" => {
                if let Some(input) = payload.input.and_then(RawJson::text) {
                    let whole = tools::custom_arguments(&input);
                    return self.calls.read_whole(key, &whole, sink);
                }
            }
            "response.output_text.annotation.added" => {
                if let Some(cited) = citation(&value(payload.annotation.map(RawJson::get))) {
                    self.said.cite(key, Event::Citation(cited), sink);
                }
            }
            _ => {
                if let Some((kind, is_whole)) = text_kind(kind) {
                    self.read_text((key, &id), kind, is_whole, payload, sink);
                }
            }
        }
        Ok(())
    }

    /// Reads a piece of a text, or the whole of it.
    fn read_text(
        &mut self,
        item: (ItemKey, &str),
        kind: TextKind,
        is_whole: bool,
        payload: &ResponsesPayload<'_>,
        sink: &mut EventSink<'_>,
    ) {
        let place = place_of(payload);
        if is_whole {
            let whole = payload.text.or(payload.refusal).and_then(RawJson::text);
            let whole = whole.unwrap_or_default();
            self.said.complete_part(item.0, kind, place, &whole, sink);
        } else if let Some(delta) = delta_of(payload) {
            let tokens = payload.logprobs.map(RawJson::get);
            if let Some(tokens) = tokens.filter(|list| !matches!(*list, "null" | "[]")) {
                emit(sink, Event::Logprobs(tokens.into()));
            }
            self.said.say(item, kind, place, delta, sink);
        }
    }
}

/// Returns the piece of an event, if there is one.
fn delta_of<'a>(payload: &ResponsesPayload<'a>) -> Option<Cow<'a, str>> {
    let delta = payload.delta.and_then(RawJson::text);
    delta.filter(|delta| !delta.is_empty())
}

/// Returns the text of which an event has a piece, and whether it has all of it.
fn text_kind(event: &str) -> Option<(TextKind, bool)> {
    let (text, end) = event.strip_prefix("response.")?.rsplit_once('.')?;
    let kind = match text {
        "output_text" => TextKind::Text,
        "refusal" => TextKind::Refusal,
        "reasoning_summary_text" => TextKind::Summary,
        "reasoning_text" => TextKind::Reasoning,
        _ => return None,
    };
    match end {
        "delta" => Some((kind, false)),
        "done" => Some((kind, true)),
        _ => None,
    }
}

/// Returns the text of a whole part.
fn part_text(part: &Value) -> Option<(TextKind, &str)> {
    let (kind, field) = match part["type"].as_str() {
        Some("refusal") => (TextKind::Refusal, "refusal"),
        Some("summary_text") => (TextKind::Summary, "text"),
        Some("reasoning_text") => (TextKind::Reasoning, "text"),
        _ => (TextKind::Text, "text"),
    };
    Some((kind, part[field].as_str()?))
}

/// Returns the index of an event's part within its item.
fn place_of(payload: &ResponsesPayload<'_>) -> Option<u64> {
    let index = payload.summary_index.or(payload.content_index)?;
    index.get().parse().ok()
}
