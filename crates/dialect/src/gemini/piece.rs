//! The fast path for payloads with a single piece of text, which nearly all are: no tree is built.

use std::borrow::Cow;

use super::usage::usage_of;
use crate::counts::count;
use crate::event::Usage;
use crate::json::{Cursor, CursorError, CursorResult, RawJson, value, walk, walk_raw};

/// The content of such a payload.
#[derive(Debug)]
pub(super) struct TextPiece<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) is_thought: bool,
    pub(super) usage: Option<Usage>,
}

/// Parses a payload; `None` if it holds anything else, or anything that serde_json might refuse.
pub(super) fn piece(data: &[u8]) -> Option<TextPiece<'_>> {
    let mut fields = PieceFields::default();
    walk(data, |cursor| {
        fields.payload(cursor)?;
        if cursor.is_certain() {
            Ok(())
        } else {
            Err(CursorError::Mismatch)
        }
    })
    .ok()?;
    let usage = match fields.usage {
        Some(raw) => walk_raw(raw, parse_usage).ok()?,
        None => None,
    };
    let is_thought = fields.thought.is_some_and(|raw| raw.get() == "true");
    Some(TextPiece {
        text: fields.text?.text()?,
        is_thought,
        usage,
    })
}

/// The fields of interest, as slices of the payload.
#[derive(Default)]
struct PieceFields<'a> {
    candidates: bool,
    content: bool,
    parts: bool,
    text: Option<RawJson<'a>>,
    thought: Option<RawJson<'a>>,
    usage: Option<RawJson<'a>>,
}

impl<'a> PieceFields<'a> {
    fn payload(&mut self, cursor: &mut Cursor<'a>) -> CursorResult<()> {
        cursor.object(|name, cursor| match name {
            b"candidates" => {
                first(&mut self.candidates)?;
                let mut one = false;
                cursor.list(|cursor| {
                    first(&mut one)?;
                    self.candidate(cursor)
                })
            }
            b"usageMetadata" => cursor.field_once(&mut self.usage),
            b"usage_metadata" | b"error" | b"promptFeedback" => Err(CursorError::Mismatch),
            _ => cursor.skip(),
        })
    }

    fn candidate(&mut self, cursor: &mut Cursor<'a>) -> CursorResult<()> {
        cursor.object(|name, cursor| match name {
            b"content" => {
                first(&mut self.content)?;
                self.content(cursor)
            }
            b"finishReason" | b"groundingMetadata" | b"citationMetadata" | b"logprobsResult" => {
                Err(CursorError::Mismatch)
            }
            // The other spelling of one of these.
            name if name.contains(&b'_') => Err(CursorError::Mismatch),
            _ => cursor.skip(),
        })
    }

    fn content(&mut self, cursor: &mut Cursor<'a>) -> CursorResult<()> {
        cursor.object(|name, cursor| match name {
            b"parts" => {
                first(&mut self.parts)?;
                let mut one = false;
                cursor.list(|cursor| {
                    first(&mut one)?;
                    self.part(cursor)
                })
            }
            _ => cursor.skip(),
        })
    }

    fn part(&mut self, cursor: &mut Cursor<'a>) -> CursorResult<()> {
        cursor.object(|name, cursor| match name {
            b"text" => cursor.field_once(&mut self.text),
            b"thought" => cursor.field_once(&mut self.thought),
            b"partMetadata" => cursor.skip(),
            // A signature, or content of another kind.
            _ => Err(CursorError::Mismatch),
        })
    }
}

/// Fails on a second occurrence: the payload is more than one piece.
fn first(seen: &mut bool) -> CursorResult<()> {
    if std::mem::replace(seen, true) {
        Err(CursorError::DuplicateField)
    } else {
        Ok(())
    }
}

fn parse_usage(cursor: &mut Cursor<'_>) -> CursorResult<Option<Usage>> {
    let (mut prompt, mut tools, mut answer, mut thoughts, mut cached, mut total) =
        Default::default();
    cursor.object(|name, cursor| match name {
        b"promptTokenCount" => cursor.field_once(&mut prompt),
        b"toolUsePromptTokenCount" => cursor.field_once(&mut tools),
        b"candidatesTokenCount" => cursor.field_once(&mut answer),
        b"thoughtsTokenCount" => cursor.field_once(&mut thoughts),
        b"cachedContentTokenCount" => cursor.field_once(&mut cached),
        b"totalTokenCount" => cursor.field_once(&mut total),
        _ => cursor.skip(),
    })?;
    let count = |raw: Option<RawJson<'_>>| {
        let json = raw?.get();
        json.parse().ok().or_else(|| count(&value(Some(json))))
    };
    Ok(usage_of(
        count(prompt),
        count(tools),
        count(answer),
        count(thoughts),
        count(cached),
        count(total),
    ))
}
