//! The relevant fields of an event, as slices of the payload.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::json::{BorrowedText, Cursor, CursorResult, RawJson, optional_text};
use crate::{MAX_CALLS, MAX_HELD_BYTES};

/// The fields of an event that carries a response or a whole item of its output.
#[derive(Deserialize)]
pub(super) struct OutputPayload<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    pub(super) response: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) item: Option<&'a RawValue>,
    pub(super) output_index: Option<u64>,
}

#[derive(Default)]
pub(super) struct ResponsesPayload<'a> {
    pub(super) kind: Option<Cow<'a, str>>,
    pub(super) sequence_number: Option<RawJson<'a>>,
    pub(super) output_index: Option<RawJson<'a>>,
    pub(super) item_id: Option<RawJson<'a>>,
    pub(super) delta: Option<RawJson<'a>>,
    pub(super) item: Option<RawJson<'a>>,
    pub(super) response: Option<RawJson<'a>>,
    pub(super) annotation: Option<RawJson<'a>>,
    pub(super) arguments: Option<RawJson<'a>>,
    /// The text of a custom tool's call.
    pub(super) input: Option<RawJson<'a>>,
    pub(super) summary_index: Option<RawJson<'a>>,
    pub(super) content_index: Option<RawJson<'a>>,
    pub(super) text: Option<RawJson<'a>>,
    pub(super) refusal: Option<RawJson<'a>>,
    pub(super) part: Option<RawJson<'a>>,
    pub(super) logprobs: Option<RawJson<'a>>,
    pub(super) error: Option<RawJson<'a>>,
}

impl<'a> ResponsesPayload<'a> {
    pub(super) fn parse(&mut self, cursor: &mut Cursor<'a>) -> CursorResult<()> {
        let mut kind = None;
        cursor.object(|name, cursor| match name {
            b"type" => cursor.field_once(&mut kind),
            b"sequence_number" => cursor.field_once(&mut self.sequence_number),
            b"output_index" => cursor.field_once(&mut self.output_index),
            b"item_id" => cursor.field_once(&mut self.item_id),
            b"delta" => cursor.field_once(&mut self.delta),
            b"item" => cursor.field_once(&mut self.item),
            b"response" => cursor.field_once(&mut self.response),
            b"annotation" => cursor.field_once(&mut self.annotation),
            b"arguments" => cursor.field_once(&mut self.arguments),
            b"input" => cursor.field_once(&mut self.input),
            b"summary_index" => cursor.field_once(&mut self.summary_index),
            b"content_index" => cursor.field_once(&mut self.content_index),
            b"text" => cursor.field_once(&mut self.text),
            b"refusal" => cursor.field_once(&mut self.refusal),
            b"part" => cursor.field_once(&mut self.part),
            b"logprobs" => cursor.field_once(&mut self.logprobs),
            b"error" => cursor.field_once(&mut self.error),
            _ => cursor.skip(),
        })?;
        self.kind = optional_text(kind)?;
        Ok(())
    }
}

/// The item of an event: its output index, or its id if the index is missing.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(super) enum ItemKey {
    Place(u64),
    Id(String),
    /// One that only the whole response has, by its number.
    Unnamed(usize),
}

impl ItemKey {
    /// Returns the key of an event's item.
    pub(super) fn of(payload: &ResponsesPayload<'_>) -> Self {
        match payload.output_index.and_then(|raw| raw.get().parse().ok()) {
            Some(place) => ItemKey::Place(place),
            None => {
                let id = payload.item_id.and_then(RawJson::text);
                ItemKey::Id(id.unwrap_or_default().into_owned())
            }
        }
    }

    /// Returns the size of the id, in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            ItemKey::Id(id) => id.len(),
            ItemKey::Place(_) | ItemKey::Unnamed(_) => 0,
        }
    }

    /// Returns this key, or the item's own id where an event has no index: other events name it.
    pub(super) fn or_id_of(self, item: &Value) -> Self {
        match self {
            ItemKey::Id(_) => ItemKey::Id(item["id"].as_str().unwrap_or_default().to_owned()),
            place => place,
        }
    }
}

/// The items whose events name them by index here and by id there.
#[derive(Debug, Default)]
pub(super) struct ItemAliases {
    known: Vec<(String, ItemKey)>,
    /// Size of the ids, in bytes.
    held: usize,
}

impl ItemAliases {
    /// Takes note of an item that begins, and returns the key that its events share.
    pub(super) fn begin(&mut self, key: ItemKey, item: &Value) -> ItemKey {
        let id = item["id"].as_str().unwrap_or_default();
        let held = self.held + id.len() + key.size();
        let has_room = self.known.len() < MAX_CALLS && held <= MAX_HELD_BYTES;
        if has_room && !id.is_empty() && self.of_id(id).is_none() {
            self.held = held;
            self.known.push((id.to_owned(), key.clone()));
        }
        self.shared(key, id)
    }

    /// Returns the key that an item's events share, for one of its keys and its id.
    pub(super) fn shared(&self, key: ItemKey, id: &str) -> ItemKey {
        match (&key, self.of_id(id)) {
            // Ids may change from event to event: an index is worth more.
            (ItemKey::Place(_), Some(known @ ItemKey::Id(_))) => known.clone(),
            (ItemKey::Id(_), Some(known)) => known.clone(),
            _ => key,
        }
    }

    fn of_id(&self, id: &str) -> Option<&ItemKey> {
        let mut known = self.known.iter();
        known.find(|(known, _)| known == id).map(|(_, key)| key)
    }
}
