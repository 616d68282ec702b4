//! Reads an upstream's Responses stream.
//!
//! Items are told apart by their place in the output: one gateway gives every event of an item another id. What an
//! upstream did not say in pieces is said when the item, or the answer, is whole.

use std::borrow::Cow;

use serde_json::Value;

use super::answer::{arguments, item_events, state};
use super::{citation, finish_reason, usage};
use crate::event::Event;
use crate::failure::Failure;
use crate::json::{Cursor, Raw, Walked, text_or_nothing, value, walk};
use crate::{DONE, MOST_CALLS, Position, Seen, Sink, emit, openai_chat, too_many};

/// The state of one stream.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    /// The answer's id, as the upstream gave it.
    id: String,
    /// The number of the next event.
    next: u64,
    items: Vec<Item>,
    calls: u32,
    /// The calls' ids.
    call_ids: Vec<String>,
    /// Whether any text or refusal was said.
    texted: bool,
    done: bool,
    /// An error that the end of the stream, or `response.failed`, will tell.
    failing: Option<Failure>,
}

#[derive(Debug)]
struct Item {
    /// Its place in the output, or, where that is not said, its id.
    key: Key,
    /// The call's place among the calls, if it is one.
    call: Option<u32>,
    /// Whether anything of it came in pieces.
    said: bool,
    ended: bool,
    /// Which kind of event its reasoning came in: some say it in two.
    thought: Option<&'static str>,
}

#[derive(Debug, PartialEq, Eq, Clone)]
enum Key {
    Place(u64),
    Id(String),
}

#[derive(Default)]
struct Payload<'a> {
    kind: Option<Cow<'a, str>>,
    sequence_number: Option<Raw<'a>>,
    output_index: Option<Raw<'a>>,
    item_id: Option<Raw<'a>>,
    delta: Option<Raw<'a>>,
    item: Option<Raw<'a>>,
    response: Option<Raw<'a>>,
    annotation: Option<Raw<'a>>,
    arguments: Option<Raw<'a>>,
    summary_index: Option<Raw<'a>>,
    error: Option<Raw<'a>>,
}

impl<'a> Payload<'a> {
    fn read(&mut self, cursor: &mut Cursor<'a>) -> Walked<()> {
        let mut kind = None;
        cursor.object(|name, cursor| match name {
            b"type" => cursor.once(&mut kind),
            b"sequence_number" => cursor.once(&mut self.sequence_number),
            b"output_index" => cursor.once(&mut self.output_index),
            b"item_id" => cursor.once(&mut self.item_id),
            b"delta" => cursor.once(&mut self.delta),
            b"item" => cursor.once(&mut self.item),
            b"response" => cursor.once(&mut self.response),
            b"annotation" => cursor.once(&mut self.annotation),
            b"arguments" => cursor.once(&mut self.arguments),
            b"summary_index" => cursor.once(&mut self.summary_index),
            b"error" => cursor.once(&mut self.error),
            _ => cursor.skip(),
        })?;
        self.kind = text_or_nothing(kind)?;
        Ok(())
    }
}

impl crate::EventReader for EventReader {
    fn read(&mut self, data: &[u8], mut sink: Sink<'_>) -> Result<Seen, Failure> {
        let mut seen = Seen::default();
        if data.trim_ascii() == DONE {
            // Nothing of this dialect's, but some send it.
            return Ok(seen);
        }
        let mut payload = Payload::default();
        walk(data, |cursor| payload.read(cursor))
            .map_err(|e| Failure::bad_payload("a Responses event", e.into()))?;
        let number = payload
            .sequence_number
            .and_then(|raw| raw.get().parse::<u64>().ok());
        self.next = number.map_or(self.next, |number| number.saturating_add(1));
        let kind = payload.kind.as_deref().unwrap_or_default();
        seen.known = !kind.is_empty();
        seen.said = kind.ends_with(".delta");
        match kind {
            "response.created" => {
                value(payload.response.map(Raw::get))["id"]
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
                    openai_chat::error_value(
                        &value(payload.response.map(Raw::get))["error"].to_string(),
                    )
                };
                seen.error = error.or_else(own).or_else(|| Some(unnamed(kind)));
                seen.told = true;
            }
            "error" => {
                // Nested, as it really comes, or flat, as the types have it.
                let raw = payload.error.filter(|raw| raw.get() != "null");
                let json = raw.map_or_else(
                    || String::from_utf8_lossy(data).into_owned(),
                    |raw| raw.get().to_owned(),
                );
                let failure = openai_chat::error_value(&json).unwrap_or_else(|| unnamed(kind));
                self.failing = Some(failure);
            }
            _ if sink.is_some() => {
                self.piece(kind, &payload, &mut sink);
                if self.items.len() > MOST_CALLS {
                    seen.error = Some(too_many("items"));
                }
            }
            _ => {}
        }
        Ok(seen)
    }

    fn error(&self, data: &[u8]) -> Option<Failure> {
        // A payload under `event: error` is read as any other; only what can't be is an error by its name alone.
        match serde_json::from_slice::<Value>(data) {
            Ok(value) if value["type"].is_string() => None,
            Ok(value) if !value["error"].is_null() => {
                openai_chat::error_value(&value["error"].to_string())
            }
            _ => openai_chat::read_error(data),
        }
    }

    fn end(&mut self, _sink: Sink<'_>) -> Result<(), Failure> {
        match self.failing.take() {
            Some(failure) => Err(failure),
            None if self.done => Ok(()),
            None => Err(Failure::upstream_truncated("it has no response.completed")),
        }
    }

    fn position(&self) -> Position<'_> {
        Position {
            id: &self.id,
            next: self.next,
        }
    }
}

fn unnamed(kind: &str) -> Failure {
    Failure::upstream_error(format!("the upstream said {kind}"))
}

impl EventReader {
    fn completed(&mut self, payload: &Payload<'_>, seen: &mut Seen, sink: &mut Sink<'_>) {
        self.done = true;
        seen.done = true;
        let response = value(payload.response.map(Raw::get));
        if sink.is_some() {
            // What was not said in pieces is said now.
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

    fn piece(&mut self, kind: &str, payload: &Payload<'_>, sink: &mut Sink<'_>) {
        let key = match payload.output_index.and_then(|raw| raw.get().parse().ok()) {
            Some(place) => Key::Place(place),
            None => Key::Id(
                payload
                    .item_id
                    .and_then(Raw::text)
                    .unwrap_or_default()
                    .into_owned(),
            ),
        };
        let delta = || {
            payload
                .delta
                .and_then(Raw::text)
                .filter(|delta| !delta.is_empty())
        };
        match kind {
            "response.output_item.added" => {
                let item = value(payload.item.map(Raw::get));
                self.add(key, &item, sink);
            }
            "response.output_item.done" => {
                self.item_done(key, &value(payload.item.map(Raw::get)), sink)
            }
            "response.output_text.delta" => {
                if let Some(text) = delta() {
                    self.texted = true;
                    self.item(key).said = true;
                    emit(sink, Event::Text(text));
                }
            }
            "response.refusal.delta" => {
                if let Some(text) = delta() {
                    self.texted = true;
                    self.item(key).said = true;
                    emit(sink, Event::Refusal(text));
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
                let whole = payload.arguments.and_then(Raw::text).unwrap_or_default();
                self.call_done(key, &whole, sink);
            }
            "response.output_text.annotation.added" => {
                if let Some(cited) = citation(&value(payload.annotation.map(Raw::get))) {
                    emit(sink, Event::Citation(cited));
                }
            }
            _ => {}
        }
    }

    fn item(&mut self, key: Key) -> &mut Item {
        let at = self
            .items
            .iter()
            .position(|item| item.key == key)
            .unwrap_or_else(|| {
                self.items.push(Item {
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

    fn add(&mut self, key: Key, item: &Value, sink: &mut Sink<'_>) {
        // Where the place is not said, the item's own id is what its events name.
        let key = match key {
            Key::Id(_) => Key::Id(item["id"].as_str().unwrap_or_default().to_owned()),
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

    fn call_done(&mut self, key: Key, whole: &str, sink: &mut Sink<'_>) {
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

    fn item_done(&mut self, key: Key, item: &Value, sink: &mut Sink<'_>) {
        let key = match key {
            Key::Id(_) => Key::Id(item["id"].as_str().unwrap_or_default().to_owned()),
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
