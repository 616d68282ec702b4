//! A response that is retrieved later: rebuilt from the events of its stream so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::object;
use super::payload::OutputPayload;
use crate::ResponseMeta;
use crate::failure::Failure;
use crate::json::value;
use crate::plain::TextEncoding;
use crate::request::Request;

/// A response as far as its events describe it.
#[derive(Debug, Default)]
pub struct StoredResponse {
    /// Latest response object.
    response: Value,
    /// Complete items by output index.
    items: BTreeMap<u64, Value>,
}

/// Facts about a response that its events don't carry.
#[derive(Debug)]
pub struct StoredMeta<'a> {
    /// Id by which it is retrieved.
    pub id: &'a str,
    /// Unix time of the original request, in seconds.
    pub created: u64,
    /// Name of the model.
    pub model: &'a str,
    /// The response continues without its client.
    pub background: bool,
    /// The reason why its stream ended early, if it did.
    pub interruption: Option<Interruption>,
}

/// The reason why a response ended before the model ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// It was cancelled.
    Cancelled,
    /// Its writer is gone.
    WriterLost,
}

impl StoredResponse {
    /// Reads the next event.
    pub fn read_event(&mut self, payload: &[u8]) {
        // Nearly every event is a delta, which adds nothing here.
        if memmem::find(payload, b"\"response\"").is_none()
            && memmem::find(payload, b"output_item.done").is_none()
        {
            return;
        }
        let Ok(OutputPayload {
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

    /// Returns the id in the events: ours, or the upstream's where frames were passed through.
    #[must_use]
    pub fn response_id(&self) -> Option<&str> {
        self.response["id"].as_str()
    }

    /// Returns true if no earlier event can add to it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.response["output"]
            .as_array()
            .is_some_and(|output| !output.is_empty())
    }

    /// Returns the response as it is now.
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

/// Returns a response without any event.
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

/// Returns the sequence number of an event, if it has one.
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
