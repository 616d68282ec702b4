//! The fields of a chunk that matter, each as it stands in its payload.

use super::usage::usage;
use crate::event::Usage;
use crate::json::{Cursor, Raw, Walked, Wrong, walk_raw};

#[derive(Default)]
pub(super) struct Chunk<'a> {
    pub(super) choices: Choices<'a>,
    pub(super) usage: Option<Raw<'a>>,
    pub(super) x_groq: Option<Raw<'a>>,
    pub(super) error: Option<Raw<'a>>,
    /// OpenAI's, of a random length.
    pub(super) obfuscation: Option<Raw<'a>>,
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
    /// Reads into one that is empty: it is too large to be handed around.
    pub(super) fn read(&mut self, cursor: &mut Cursor<'a>) -> Walked<()> {
        let mut chosen = false;
        cursor.object(|name, cursor| match name {
            b"choices" if std::mem::replace(&mut chosen, true) => Err(Wrong::Twice),
            b"choices" if cursor.null()? => Ok(()),
            b"choices" => cursor.list(|cursor| self.choices.read(cursor)),
            b"usage" => cursor.once(&mut self.usage),
            b"x_groq" => cursor.once(&mut self.x_groq),
            b"error" => cursor.once(&mut self.error),
            b"obfuscation" => {
                self.obfuscation = cursor.raw_or_not()?;
                Ok(())
            }
            _ => cursor.skip(),
        })
    }

    /// The only thing that it says, if that is a piece of the first answer's text or thought, and in which field.
    pub(super) fn piece(&self) -> Option<(Raw<'a>, Field)> {
        let choice = self
            .choices
            .first
            .as_ref()
            .filter(|choice| self.choices.others.is_empty() && choice.number() == 0)?;
        let message = choice.delta.as_ref()?;
        let (raw, field) = match message {
            Message {
                content: Some(raw), ..
            } if says(*raw) => (*raw, Field::Content),
            Message {
                reasoning_content: Some(raw),
                ..
            } if says(*raw) => (*raw, Field::ReasoningContent),
            Message {
                reasoning: Some(raw),
                ..
            } if says(*raw) => (*raw, Field::Reasoning),
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
    /// Which answer it is of.
    pub(super) fn number(&self) -> u32 {
        self.index
            .and_then(|raw| raw.get().parse().ok())
            .unwrap_or(0)
    }

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

/// A field of a message that holds a piece of text or thought.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    Content,
    ReasoningContent,
    Reasoning,
}

impl<'a> Message<'a> {
    /// One of nothing but that.
    pub(super) fn of(raw: Raw<'a>, field: Field) -> Self {
        let mut message = Self::default();
        *match field {
            Field::Content => &mut message.content,
            Field::ReasoningContent => &mut message.reasoning_content,
            Field::Reasoning => &mut message.reasoning,
        } = Some(raw);
        message
    }

    fn fields(&self) -> [Option<Raw<'a>>; 8] {
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

/// Whether a field holds anything, found without reading it.
pub(super) fn says(raw: Raw<'_>) -> bool {
    !matches!(raw.get(), "null" | "\"\"" | "[]")
}
