//! A response's id and the items of its output, kept while its events pass.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::super::payload::OutputPayload;
use super::ItemLists;
use crate::json::Json;

/// The part that an event has in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// More follows.
    Part,
    /// An error; the response ends with it, or with one event more.
    Error,
    /// The last event.
    End,
}

/// A response that another one can go on from.
#[derive(Debug)]
pub struct KeptResponse {
    /// The id.
    pub id: String,
    /// The conversation up to the end of the response, if all of it is known.
    pub items: Option<ItemLists>,
    /// Set if the upstream says that it keeps the response.
    pub is_stored: bool,
}

/// A response whose events pass.
#[derive(Debug)]
pub struct ResponseCapture {
    input: Option<ItemLists>,
    /// The items so far, by their place, for an upstream whose last event has none.
    items: BTreeMap<u64, Box<RawValue>>,
    /// The bytes of these items.
    size: usize,
    max_size: usize,
    kept: Option<KeptResponse>,
}

impl ResponseCapture {
    /// Returns the capture of a response to that input. A conversation of more than `max_size`
    /// bytes is not kept.
    #[must_use]
    pub fn new(input: Option<ItemLists>, max_size: usize) -> Self {
        Self {
            input: input.filter(|input| input.size() <= max_size),
            items: BTreeMap::new(),
            size: 0,
            max_size,
            kept: None,
        }
    }

    /// Reads the next event, by its name if it bears one.
    pub fn read_event(&mut self, name: Option<&[u8]>, payload: &[u8]) -> EventKind {
        // Nearly every event is a delta, which adds nothing here.
        if name.is_some_and(|name| name.ends_with(b".delta")) {
            return EventKind::Part;
        }
        let Ok(event) = serde_json::from_slice::<OutputPayload<'_>>(payload) else {
            return EventKind::Part;
        };
        match event.kind.as_ref().map(|kind| &*kind.0) {
            Some("error") => EventKind::Error,
            Some("response.output_item.done") => {
                self.keep_item(&event);
                EventKind::Part
            }
            Some("response.completed" | "response.incomplete") => {
                self.keep_response(event.response.into());
                EventKind::End
            }
            Some("response.failed" | "response.cancelled") => EventKind::End,
            _ => EventKind::Part,
        }
    }

    /// Keeps no items if `may_keep` refuses the bytes that they hold in memory.
    pub fn keep_within(&mut self, may_keep: impl FnOnce(usize) -> bool) {
        let kept = match &mut self.kept {
            Some(kept) => &mut kept.items,
            None => &mut self.input,
        };
        if let Some(items) = kept
            && !may_keep(items.size() + self.size)
        {
            *kept = None;
            self.items.clear();
        }
    }

    /// Returns what is kept of the response, once it has ended well.
    #[must_use]
    pub fn into_kept(self) -> Option<KeptResponse> {
        self.kept
    }

    fn keep_item(&mut self, event: &OutputPayload<'_>) {
        let Some(item) = event.item.filter(|_| self.input.is_some()) else {
            return;
        };
        self.size += item.get().len();
        if self.is_too_large(self.size) {
            (self.input, self.items) = (None, BTreeMap::new());
            return;
        }
        let place = event.output_index.unwrap_or(self.items.len() as u64);
        self.items.insert(place, item.to_owned());
    }

    fn keep_response(&mut self, response: Json<'_>) {
        let output = response.get("output");
        let output = match output.is_list() && !output.is_empty() {
            true => output.raw().to_owned(),
            false => {
                let items: Vec<_> = self.items.values().map(|item| item.get()).collect();
                format!("[{}]", items.join(","))
            }
        };
        self.items.clear();
        self.size = 0;
        let is_too_large = self.is_too_large(output.len());
        let items = self.input.take().filter(|_| !is_too_large);
        let id = response.get("id").string();
        self.kept = (!id.is_empty()).then(|| KeptResponse {
            id,
            items: items.map(|mut items| {
                let size = output.len();
                items.push(Bytes::from(output), size);
                items
            }),
            is_stored: response.get("store").as_bool() == Some(true),
        });
    }

    fn is_too_large(&self, output: usize) -> bool {
        let input = self.input.as_ref().map_or(0, ItemLists::size);
        input.saturating_add(output) > self.max_size
    }
}
