//! The fields of a chunk that matter, each as it stands in its payload.

use super::usage::usage;
use crate::dialect::json::{Cursor, Raw, Walked, Wrong, walk_raw};
use crate::event::Usage;

#[derive(Default)]
pub(super) struct Chunk<'a> {
    pub(super) choices: Choices<'a>,
    pub(super) usage: Option<Raw<'a>>,
    pub(super) x_groq: Option<Raw<'a>>,
    pub(super) error: Option<Raw<'a>>,
}

/// One as a rule, which needs no list.
#[derive(Default)]
pub(super) struct Choices<'a> {
    pub(super) first: Option<Choice<'a>>,
    pub(super) others: Vec<Choice<'a>>,
}

#[derive(Default)]
pub(super) struct Choice<'a> {
    pub(super) index: Option<Raw<'a>>,
    pub(super) delta: Option<Message<'a>>,
    pub(super) finish_reason: Option<Raw<'a>>,
}

/// A delta, or a whole message.
#[derive(Default)]
pub(super) struct Message<'a> {
    pub(super) content: Option<Raw<'a>>,
    pub(super) reasoning_content: Option<Raw<'a>>,
    pub(super) reasoning: Option<Raw<'a>>,
    pub(super) reasoning_details: Option<Raw<'a>>,
    pub(super) refusal: Option<Raw<'a>>,
    pub(super) tool_calls: Option<Raw<'a>>,
    pub(super) function_call: Option<Raw<'a>>,
    pub(super) annotations: Option<Raw<'a>>,
}

#[derive(Default)]
pub(super) struct ToolCall<'a> {
    pub(super) index: Option<Raw<'a>>,
    pub(super) id: Option<Raw<'a>>,
    pub(super) function: Option<Raw<'a>>,
}

#[derive(Default)]
pub(super) struct Function<'a> {
    pub(super) name: Option<Raw<'a>>,
    pub(super) arguments: Option<Raw<'a>>,
}

impl<'a> Chunk<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Walked<Self> {
        let (mut chunk, mut chosen) = (Self::default(), false);
        cursor.object(|name, cursor| match name {
            b"choices" if std::mem::replace(&mut chosen, true) => Err(Wrong::Twice),
            b"choices" if cursor.null()? => Ok(()),
            b"choices" => cursor.list(|cursor| chunk.choices.read(cursor)),
            b"usage" => cursor.once(&mut chunk.usage),
            b"x_groq" => cursor.once(&mut chunk.x_groq),
            b"error" => cursor.once(&mut chunk.error),
            _ => cursor.skip(),
        })?;
        Ok(chunk)
    }

    /// Usage, in its own place or in Groq's, which is sometimes the only one.
    pub(super) fn usage(&self) -> Option<Usage> {
        let groq = || {
            let mut inner = None;
            walk_raw(self.x_groq?, |cursor| {
                cursor.object(|name, cursor| match name {
                    b"usage" => cursor.once(&mut inner),
                    _ => cursor.skip(),
                })
            })
            .ok()?;
            usage(inner?.get())
        };
        self.usage.and_then(|raw| usage(raw.get())).or_else(groq)
    }
}

impl<'a> Choices<'a> {
    fn read(&mut self, cursor: &mut Cursor<'a>) -> Walked<()> {
        if self.first.is_none() {
            return self.first.insert(Choice::default()).read(cursor);
        }
        let mut choice = Choice::default();
        choice.read(cursor)?;
        self.others.push(choice);
        Ok(())
    }
}

impl<'a> Choice<'a> {
    fn read(&mut self, cursor: &mut Cursor<'a>) -> Walked<()> {
        let mut moved = false;
        cursor.object(|name, cursor| match name {
            b"index" => cursor.once(&mut self.index),
            b"delta" if std::mem::replace(&mut moved, true) => Err(Wrong::Twice),
            b"delta" if cursor.null()? => Ok(()),
            b"delta" => self.delta.insert(Message::default()).read(cursor),
            b"finish_reason" => cursor.once(&mut self.finish_reason),
            _ => cursor.skip(),
        })
    }
}

impl<'a> Message<'a> {
    pub(super) fn read(&mut self, cursor: &mut Cursor<'a>) -> Walked<()> {
        cursor.object(|name, cursor| match name {
            b"content" => cursor.once(&mut self.content),
            b"reasoning_content" => cursor.once(&mut self.reasoning_content),
            b"reasoning" => cursor.once(&mut self.reasoning),
            b"reasoning_details" => cursor.once(&mut self.reasoning_details),
            b"refusal" => cursor.once(&mut self.refusal),
            b"tool_calls" => cursor.once(&mut self.tool_calls),
            b"function_call" => cursor.once(&mut self.function_call),
            b"annotations" => cursor.once(&mut self.annotations),
            _ => cursor.skip(),
        })
    }
}

impl<'a> ToolCall<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Walked<Self> {
        let mut call = Self::default();
        cursor.object(|name, cursor| match name {
            b"index" => cursor.once(&mut call.index),
            b"id" => cursor.once(&mut call.id),
            b"function" => cursor.once(&mut call.function),
            _ => cursor.skip(),
        })?;
        Ok(call)
    }
}

impl<'a> Function<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Walked<Self> {
        let mut function = Self::default();
        cursor.object(|name, cursor| match name {
            b"name" => cursor.once(&mut function.name),
            b"arguments" => cursor.once(&mut function.arguments),
            _ => cursor.skip(),
        })?;
        Ok(function)
    }
}
