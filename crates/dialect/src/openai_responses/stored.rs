//! A response that is asked for again: made of the events of its stream, however far that has come.

use std::collections::BTreeMap;
use std::sync::Arc;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::object;
use crate::ResponseMeta;
use crate::failure::Failure;
use crate::json::{BorrowedText, value};
use crate::plain::TextEncoding;
use crate::request::Request;

/// What a response's events say of it.
#[derive(Debug, Default)]
pub struct StoredResponse {
    /// The latest response object.
    response: Value,
    /// The items that are whole, by their place.
    items: BTreeMap<u64, Value>,
}

/// What is known of a response besides its events.
#[derive(Debug)]
pub struct StoredMeta<'a> {
    /// The id by which it is asked for.
    pub id: &'a str,
    /// When it was asked for the first time, in Unix seconds.
    pub created: u64,
    /// The model's name.
    pub model: &'a str,
    /// Whether it goes on without its client.
    pub background: bool,
    /// Why its events are not all that there should be, if they ended so.
    pub interruption: Option<Interruption>,
}

/// Why a response ended that its model did not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// Someone wanted it so.
    Cancelled,
    /// Whoever wrote it is gone.
    WriterLost,
}

impl StoredResponse {
    /// Reads the next event.
    pub fn read_event(&mut self, payload: &[u8]) {
        #[derive(Deserialize)]
        struct Payload<'a> {
            #[serde(borrow, rename = "type")]
            kind: Option<BorrowedText<'a>>,
            #[serde(borrow)]
            response: Option<&'a RawValue>,
            #[serde(borrow)]
            item: Option<&'a RawValue>,
            output_index: Option<u64>,
        }
        // Nearly every event is a delta, and none of ours.
        if memmem::find(payload, b"\"response\"").is_none()
            && memmem::find(payload, b"output_item.done").is_none()
        {
            return;
        }
        let Ok(Payload {
            kind,
            response,
            item,
            output_index,
        }) = serde_json::from_slice(payload)
        else {
            return;
        };
        let response = value(response.map(RawValue::get));
        if response.is_object() {
            self.response = response;
        } else if kind.is_some_and(|kind| kind.0 == "response.output_item.done") {
            let place = output_index.unwrap_or(self.items.len() as u64);
            self.items.insert(place, value(item.map(RawValue::get)));
        }
    }

    /// The id that its writer gave it: ours, or, where an upstream's frames were passed on, the upstream's.
    #[must_use]
    pub fn response_id(&self) -> Option<&str> {
        self.response["id"].as_str()
    }

    /// Whether no earlier event can add to it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.response["output"]
            .as_array()
            .is_some_and(|output| !output.is_empty())
    }

    /// The response as it is now.
    #[must_use]
    pub fn into_json(self, known: &StoredMeta<'_>) -> Value {
        let mut response = match self.response {
            response @ Value::Object(_) => response,
            _ => queued(known),
        };
        if response["output"].as_array().is_none_or(Vec::is_empty) {
            response["output"] = self.items.into_values().collect();
        }
        response["id"] = known.id.into();
        if known.background {
            response["background"] = true.into();
        }
        match known.interruption {
            Some(Interruption::Cancelled) => {
                response["status"] = "cancelled".into();
                response["error"] = Value::Null;
            }
            Some(Interruption::WriterLost) => {
                response["status"] = "failed".into();
                response["error"] = json!({ "code": "server_error", "message": Failure::writer_lost().to_string() });
            }
            None => {}
        }
        response
    }
}

/// A response of which no event is there yet.
fn queued(known: &StoredMeta<'_>) -> Value {
    let request = Request {
        background: known.background,
        ..Request::default()
    };
    let meta = ResponseMeta {
        id: String::new(),
        created: known.created,
        model: known.model.to_owned(),
        request: Arc::new(request),
        encoding: TextEncoding::default(),
    };
    object(&meta, known.id, "queued", Vec::new(), None)
}

/// The number of an event, if it bears one.
#[must_use]
pub fn sequence_number(payload: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        sequence_number: u64,
    }
    serde_json::from_slice::<Numbered>(payload)
        .ok()
        .map(|event| event.sequence_number)
}
