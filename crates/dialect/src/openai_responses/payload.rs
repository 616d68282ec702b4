//! The relevant fields of an event, as slices of the payload.

use std::borrow::Cow;

use crate::json::{Cursor, CursorResult, RawJson, optional_text};

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
    pub(super) summary_index: Option<RawJson<'a>>,
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
            b"summary_index" => cursor.field_once(&mut self.summary_index),
            b"error" => cursor.field_once(&mut self.error),
            _ => cursor.skip(),
        })?;
        self.kind = optional_text(kind)?;
        Ok(())
    }
}
