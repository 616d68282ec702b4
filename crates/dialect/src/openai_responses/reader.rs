//! Reads an upstream's Responses stream.
//!
//! Items are identified by their output index: one gateway gives every event of an item another id.
//! Content that an upstream did not stream is emitted when the item, or the answer, is complete.

use serde_json::Value;

use super::answer::{arguments, item_events, state};
use super::payload::ResponsesPayload;
use super::{citation, finish_reason, usage};
use crate::event::Event;
use crate::failure::Failure;
use crate::json::{RawJson, value, walk};
use crate::{
    DONE, EventSink, MAX_CALLS, PassThroughPosition, PayloadInfo, emit, error_report,
    too_many_error,
};

/// Reader of one upstream stream.
#[derive(Debug, Default)]
pub(super) struct ResponsesEventReader {
    /// Id that the upstream gave the response.
    id: String,
    /// Sequence number of the next event.
    next: u64,
    items: Vec<OutputItem>,
    calls: u32,
    /// Ids of the calls.
    call_ids: Vec<String>,
    /// Text or a refusal was emitted.
    texted: bool,
    done: bool,
    /// An error to be reported at the end of the stream, or with `response.failed`.
    failing: Option<Failure>,
}

#[derive(Debug)]
struct OutputItem {
    /// Output index, or the id if the index is missing.
    key: ItemKey,
    /// Index of the call among the answer's calls, if it is one.
    call: Option<u32>,
    /// A piece of it was emitted.
    said: bool,
    ended: bool,
    /// Kind of event that carries its reasoning: some upstreams send it in two.
    thought: Option<&'static str>,
}

#[derive(Debug, PartialEq, Eq, Clone)]
enum ItemKey {
    Place(u64),
    Id(String),
}

impl ItemKey {
    fn of(payload: &ResponsesPayload<'_>) -> Self {
        match payload.output_index.and_then(|raw| raw.get().parse().ok()) {
            Some(place) => ItemKey::Place(place),
            None => {
                let id = payload.item_id.and_then(RawJson::text);
                ItemKey::Id(id.unwrap_or_default().into_owned())
            }
        }
    }
}

impl crate::EventReader for ResponsesEventReader {
    fn read_payload(
        &mut self,
        data: &[u8],
        mut sink: EventSink<'_>,
    ) -> Result<PayloadInfo, Failure> {
        let mut seen = PayloadInfo::default();
        if data.trim_ascii() == DONE {
            // Not part of this API, but some servers send it.
            return Ok(seen);
        }
        let mut payload = ResponsesPayload::default();
        walk(data, |cursor| payload.parse(cursor))
            .map_err(|e| Failure::bad_payload("a Responses event", e.into()))?;
        let number = payload
            .sequence_number
            .and_then(|raw| raw.get().parse::<u64>().ok());
        self.next = number.map_or(self.next, |number| number.saturating_add(1));
        let kind = payload.kind.as_deref().unwrap_or_default();
        seen.is_typed = !kind.is_empty();
        seen.has_content = kind.ends_with(".delta");
        match kind {
            "response.created" => {
                value(payload.response.map(RawJson::get))["id"]
                    .as_str()
                    .unwrap_or_default()
                    .clone_into(&mut self.id);
            }
            "response.completed" | "response.incomplete" => {
                self.completed(&payload, &mut seen, &mut sink)
            }
            "response.failed" | "response.cancelled" => {
                let error = self.failing.take();
                let own = || {
                    error_report::parse_error_value(
                        &value(payload.response.map(RawJson::get))["error"].to_string(),
                    )
                };
                seen.error = error.or_else(own).or_else(|| Some(unnamed(kind)));
                seen.error_is_native = true;
            }
            "error" => {
                // Nested, as servers send it, or flat, as the API reference has it.
                let raw = payload.error.filter(|raw| raw.get() != "null");
                let json = raw.map_or_else(
                    || String::from_utf8_lossy(data).into_owned(),
                    |raw| raw.get().to_owned(),
                );
                let failure =
                    error_report::parse_error_value(&json).unwrap_or_else(|| unnamed(kind));
                self.failing = Some(failure);
            }
            _ if sink.is_some() => {
                self.read_piece(kind, &payload, &mut sink);
                if self.items.len() > MAX_CALLS {
                    seen.error = Some(too_many_error("items"));
                }
            }
            _ => {}
        }
        Ok(seen)
    }

    fn read_error(&self, data: &[u8]) -> Option<Failure> {
        // A payload under `event: error` is read like any other; only unreadable ones are errors by
        // name.
        match serde_json::from_slice::<Value>(data) {
            Ok(value) if value["type"].is_string() => None,
            Ok(value) if !value["error"].is_null() => {
                error_report::parse_error_value(&value["error"].to_string())
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
        }
    }
}

fn unnamed(kind: &str) -> Failure {
    Failure::upstream_error(format!("the upstream sent {kind}"))
}

impl ResponsesEventReader {
    fn completed(
        &mut self,
        payload: &ResponsesPayload<'_>,
        seen: &mut PayloadInfo,
        sink: &mut EventSink<'_>,
    ) {
        self.done = true;
        seen.is_end = true;
        let response = value(payload.response.map(RawJson::get));
        if sink.is_some() {
            // Content that was not streamed is emitted now.
            for item in response["output"].as_array().into_iter().flatten() {
                let call = item["call_id"].as_str().unwrap_or_default();
                let said = match item["type"].as_str() {
                    Some("message") => self.texted,
                    Some("reasoning") => self.items.iter().any(|item| item.thought.is_some()),
                    _ => self.call_ids.iter().any(|known| known == call),
                };
                if !said {
                    item_events(item, &mut self.calls, sink);
                }
            }
        }
        for item in &mut self.items {
            if let (Some(index), false) = (item.call, std::mem::replace(&mut item.ended, true)) {
                emit(sink, Event::ToolEnd { index });
            }
        }
        seen.usage = usage(&response["usage"]);
        if let Some(usage) = seen.usage {
            emit(sink, Event::Usage(usage));
        }
        emit(
            sink,
            Event::Finish(finish_reason(&response, self.calls > 0)),
        );
    }

    fn read_piece(&mut self, kind: &str, payload: &ResponsesPayload<'_>, sink: &mut EventSink<'_>) {
        let key = ItemKey::of(payload);
        let delta = || {
            payload
                .delta
                .and_then(RawJson::text)
                .filter(|delta| !delta.is_empty())
        };
        match kind {
            "response.output_item.added" => {
                let item = value(payload.item.map(RawJson::get));
                self.add(key, &item, sink);
            }
            "response.output_item.done" => {
                self.item_done(key, &value(payload.item.map(RawJson::get)), sink)
            }
            "response.output_text.delta" | "response.refusal.delta" => {
                if let Some(text) = delta() {
                    self.texted = true;
                    self.item(key).said = true;
                    let is_refusal = kind == "response.refusal.delta";
                    emit(
                        sink,
                        if is_refusal {
                            Event::Refusal(text)
                        } else {
                            Event::Text(text)
                        },
                    );
                }
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                let kind = if kind.contains("summary") {
                    "summary"
                } else {
                    "text"
                };
                let item = self.item(key);
                if *item.thought.get_or_insert(kind) == kind
                    && let Some(text) = delta()
                {
                    item.said = true;
                    emit(sink, Event::Reasoning(text));
                }
            }
            "response.reasoning_summary_part.added" => {
                let first = payload.summary_index.is_none_or(|raw| raw.get() == "0");
                if !first && self.item(key).said {
                    emit(sink, Event::Reasoning("\n\n".into()));
                }
            }
            "response.function_call_arguments.delta" => {
                let item = self.item(key);
                if let (Some(index), Some(fragment), false) = (item.call, delta(), item.ended) {
                    item.said = true;
                    emit(sink, Event::ToolArguments { index, fragment });
                }
            }
            "response.function_call_arguments.done" => {
                let whole = payload
                    .arguments
                    .and_then(RawJson::text)
                    .unwrap_or_default();
                self.call_done(key, &whole, sink);
            }
            "response.output_text.annotation.added" => {
                if let Some(cited) = citation(&value(payload.annotation.map(RawJson::get))) {
                    emit(sink, Event::Citation(cited));
                }
            }
            _ => {}
        }
    }

    fn item(&mut self, key: ItemKey) -> &mut OutputItem {
        let at = self
            .items
            .iter()
            .position(|item| item.key == key)
            .unwrap_or_else(|| {
                self.items.push(OutputItem {
                    key,
                    call: None,
                    said: false,
                    ended: false,
                    thought: None,
                });
                self.items.len() - 1
            });
        &mut self.items[at]
    }

    fn add(&mut self, key: ItemKey, item: &Value, sink: &mut EventSink<'_>) {
        // Without an index, its events name the item's own id.
        let key = match key {
            ItemKey::Id(_) => ItemKey::Id(item["id"].as_str().unwrap_or_default().to_owned()),
            place => place,
        };
        let is_call = matches!(
            item["type"].as_str(),
            Some("function_call" | "custom_tool_call")
        );
        let index = self.calls;
        let known = self.item(key);
        if !is_call || known.call.is_some() {
            return;
        }
        known.call = Some(index);
        self.calls += 1;
        let text = |name: &str| item[name].as_str().unwrap_or_default();
        self.call_ids.push(text("call_id").to_owned());
        emit(
            sink,
            Event::ToolCall {
                index,
                id: text("call_id").into(),
                name: text("name").into(),
            },
        );
    }

    fn call_done(&mut self, key: ItemKey, whole: &str, sink: &mut EventSink<'_>) {
        let item = self.item(key);
        let Some(index) = item.call.filter(|_| !item.ended) else {
            return;
        };
        item.ended = true;
        if !item.said && !whole.is_empty() {
            emit(
                sink,
                Event::ToolArguments {
                    index,
                    fragment: whole.into(),
                },
            );
        }
        emit(sink, Event::ToolEnd { index });
    }

    fn item_done(&mut self, key: ItemKey, item: &Value, sink: &mut EventSink<'_>) {
        let key = match key {
            ItemKey::Id(_) => ItemKey::Id(item["id"].as_str().unwrap_or_default().to_owned()),
            place => place,
        };
        match item["type"].as_str() {
            Some("function_call" | "custom_tool_call") => {
                self.add(key.clone(), item, sink);
                self.call_done(key, &arguments(item), sink);
            }
            Some("message") if !self.item(key.clone()).said => {
                self.item(key).said = true;
                self.texted = true;
                item_events(item, &mut self.calls, sink);
            }
            Some("reasoning") => {
                let known = self.item(key);
                known.thought.get_or_insert("whole");
                if !std::mem::replace(&mut known.said, true) {
                    item_events(item, &mut self.calls, sink);
                } else if let Some(state) = state(item) {
                    emit(sink, Event::State(state));
                }
            }
            _ => {
                self.item(key);
            }
        }
    }
}
