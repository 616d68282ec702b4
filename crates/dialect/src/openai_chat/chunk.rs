//! The relevant fields of a chunk, as slices of the payload.

use super::usage::usage;
use crate::event::Usage;
use crate::json::{Cursor, CursorError, CursorResult, RawJson, walk_raw};

#[derive(Default)]
pub(super) struct ChatChunk<'a> {
    pub(super) choices: ChunkChoices<'a>,
    pub(super) usage: Option<RawJson<'a>>,
    pub(super) x_groq: Option<RawJson<'a>>,
    pub(super) error: Option<RawJson<'a>>,
    /// Random padding that OpenAI adds.
    pub(super) obfuscation: Option<RawJson<'a>>,
}

/// The choices of a chunk; usually one, which needs no list.
#[derive(Default)]
pub(super) struct ChunkChoices<'a> {
    pub(super) first: Option<ChunkChoice<'a>>,
    pub(super) others: Vec<ChunkChoice<'a>>,
}

#[derive(Default)]
pub(super) struct ChunkChoice<'a> {
    pub(super) index: Option<RawJson<'a>>,
    pub(super) delta: Option<MessageFields<'a>>,
    pub(super) finish_reason: Option<RawJson<'a>>,
}

/// The fields of a delta or of a complete message.
#[derive(Default)]
pub(super) struct MessageFields<'a> {
    pub(super) content: Option<RawJson<'a>>,
    pub(super) reasoning_content: Option<RawJson<'a>>,
    pub(super) reasoning: Option<RawJson<'a>>,
    pub(super) reasoning_details: Option<RawJson<'a>>,
    pub(super) refusal: Option<RawJson<'a>>,
    pub(super) tool_calls: Option<RawJson<'a>>,
    pub(super) function_call: Option<RawJson<'a>>,
    pub(super) annotations: Option<RawJson<'a>>,
}

#[derive(Default)]
pub(super) struct ToolCallFields<'a> {
    pub(super) index: Option<RawJson<'a>>,
    pub(super) id: Option<RawJson<'a>>,
    pub(super) function: Option<RawJson<'a>>,
}

#[derive(Default)]
pub(super) struct FunctionFields<'a> {
    pub(super) name: Option<RawJson<'a>>,
    pub(super) arguments: Option<RawJson<'a>>,
}

impl<'a> ChatChunk<'a> {
    /// Parses into an empty chunk: it is too large to be returned by value.
    pub(super) fn parse(&mut self, cursor: &mut Cursor<'a>) -> CursorResult<()> {
        let mut chosen = false;
        cursor.object(|name, cursor| match name {
            b"choices" if std::mem::replace(&mut chosen, true) => Err(CursorError::DuplicateField),
            b"choices" if cursor.null()? => Ok(()),
            b"choices" => cursor.list(|cursor| self.choices.parse(cursor)),
            b"usage" => cursor.field_once(&mut self.usage),
            b"x_groq" => cursor.field_once(&mut self.x_groq),
            b"error" => cursor.field_once(&mut self.error),
            b"obfuscation" => {
                self.obfuscation = cursor.raw_lossy()?;
                Ok(())
            }
            _ => cursor.skip(),
        })
    }

    /// Returns the payload's only content and its field, if that is a piece of the first choice's
    /// text or reasoning.
    pub(super) fn piece(&self) -> Option<(RawJson<'a>, TextField)> {
        let choice = self
            .choices
            .first
            .as_ref()
            .filter(|choice| self.choices.others.is_empty() && choice.number() == 0)?;
        let message = choice.delta.as_ref()?;
        let (raw, field) = match message {
            MessageFields {
                content: Some(raw), ..
            } if says(*raw) => (*raw, TextField::Content),
            MessageFields {
                reasoning_content: Some(raw),
                ..
            } if says(*raw) => (*raw, TextField::ReasoningContent),
            MessageFields {
                reasoning: Some(raw),
                ..
            } if says(*raw) => (*raw, TextField::Reasoning),
            _ => return None,
        };
        let ends = choice.finish_reason.is_some_and(says);
        let tells = [self.usage, self.x_groq, self.error]
            .into_iter()
            .flatten()
            .any(|raw| raw.get() != "null");
        let alone = message
            .fields()
            .into_iter()
            .flatten()
            .filter(|raw| says(*raw))
            .count()
            == 1;
        (alone && !ends && !tells).then_some((raw, field))
    }

    /// Returns the usage, from its own field or from Groq's, which is sometimes the only one.
    pub(super) fn usage(&self) -> Option<Usage> {
        let groq = || {
            let mut inner = None;
            walk_raw(self.x_groq?, |cursor| {
                cursor.object(|name, cursor| match name {
                    b"usage" => cursor.field_once(&mut inner),
                    _ => cursor.skip(),
                })
            })
            .ok()?;
            usage(inner?.get())
        };
        self.usage.and_then(|raw| usage(raw.get())).or_else(groq)
    }
}

impl<'a> ChunkChoices<'a> {
    fn parse(&mut self, cursor: &mut Cursor<'a>) -> CursorResult<()> {
        if self.first.is_none() {
            return self.first.insert(ChunkChoice::default()).parse(cursor);
        }
        let mut choice = ChunkChoice::default();
        choice.parse(cursor)?;
        self.others.push(choice);
        Ok(())
    }
}

impl<'a> ChunkChoice<'a> {
    /// Returns the index of the choice.
    pub(super) fn number(&self) -> u32 {
        self.index
            .and_then(|raw| raw.get().parse().ok())
            .unwrap_or(0)
    }

    fn parse(&mut self, cursor: &mut Cursor<'a>) -> CursorResult<()> {
        let mut moved = false;
        cursor.object(|name, cursor| match name {
            b"index" => cursor.field_once(&mut self.index),
            b"delta" if std::mem::replace(&mut moved, true) => Err(CursorError::DuplicateField),
            b"delta" if cursor.null()? => Ok(()),
            b"delta" => self.delta.insert(MessageFields::default()).parse(cursor),
            b"finish_reason" => cursor.field_once(&mut self.finish_reason),
            _ => cursor.skip(),
        })
    }
}

/// A message field that holds a piece of text or reasoning.
#[derive(Debug, Clone, Copy)]
pub(super) enum TextField {
    Content,
    ReasoningContent,
    Reasoning,
}

impl<'a> MessageFields<'a> {
    /// Returns a message of that field alone.
    pub(super) fn of(raw: RawJson<'a>, field: TextField) -> Self {
        let mut message = Self::default();
        *match field {
            TextField::Content => &mut message.content,
            TextField::ReasoningContent => &mut message.reasoning_content,
            TextField::Reasoning => &mut message.reasoning,
        } = Some(raw);
        message
    }

    fn fields(&self) -> [Option<RawJson<'a>>; 8] {
        [
            self.content,
            self.reasoning_content,
            self.reasoning,
            self.reasoning_details,
            self.refusal,
            self.tool_calls,
            self.function_call,
            self.annotations,
        ]
    }

    pub(super) fn parse(&mut self, cursor: &mut Cursor<'a>) -> CursorResult<()> {
        cursor.object(|name, cursor| match name {
            b"content" => cursor.field_once(&mut self.content),
            b"reasoning_content" => cursor.field_once(&mut self.reasoning_content),
            b"reasoning" => cursor.field_once(&mut self.reasoning),
            b"reasoning_details" => cursor.field_once(&mut self.reasoning_details),
            b"refusal" => cursor.field_once(&mut self.refusal),
            b"tool_calls" => cursor.field_once(&mut self.tool_calls),
            b"function_call" => cursor.field_once(&mut self.function_call),
            b"annotations" => cursor.field_once(&mut self.annotations),
            _ => cursor.skip(),
        })
    }
}

impl<'a> ToolCallFields<'a> {
    pub(super) fn parse(cursor: &mut Cursor<'a>) -> CursorResult<Self> {
        let mut call = Self::default();
        cursor.object(|name, cursor| match name {
            b"index" => cursor.field_once(&mut call.index),
            b"id" => cursor.field_once(&mut call.id),
            b"function" => cursor.field_once(&mut call.function),
            _ => cursor.skip(),
        })?;
        Ok(call)
    }
}

impl<'a> FunctionFields<'a> {
    pub(super) fn parse(cursor: &mut Cursor<'a>) -> CursorResult<Self> {
        let mut function = Self::default();
        cursor.object(|name, cursor| match name {
            b"name" => cursor.field_once(&mut function.name),
            b"arguments" => cursor.field_once(&mut function.arguments),
            _ => cursor.skip(),
        })?;
        Ok(function)
    }
}

/// Returns true if a field holds anything, without parsing it.
pub(super) fn says(raw: RawJson<'_>) -> bool {
    !matches!(raw.get(), "null" | "\"\"" | "[]")
}
