//! The relevant fields of a chunk, as slices of the payload.

use serde_json::Value;

use super::usage::usage;
use crate::error_report::{self, ErrorReport};
use crate::event::Usage;
use crate::failure::Failure;
use crate::json::{Cursor, CursorError, CursorResult, RawJson, value, walk_raw};

#[derive(Default)]
pub(super) struct ChatChunk<'a> {
    pub(super) choices: ChunkChoices<'a>,
    pub(super) usage: Option<RawJson<'a>>,
    /// URLs of Perplexity's sources.
    pub(super) citations: Option<RawJson<'a>>,
    pub(super) search_results: Option<RawJson<'a>>,
    pub(super) x_groq: Option<RawJson<'a>>,
    pub(super) error: Option<RawJson<'a>>,
    /// MiniMax's status, which may be an error beside content.
    pub(super) base_resp: Option<RawJson<'a>>,
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
    /// The whole message, in place of deltas or in addition to them.
    pub(super) message: Option<RawJson<'a>>,
    pub(super) logprobs: Option<RawJson<'a>>,
    /// A piece of text, as legacy completions have it.
    pub(super) text: Option<RawJson<'a>>,
    /// Moonshot's place for the usage.
    pub(super) usage: Option<RawJson<'a>>,
    pub(super) finish_reason: Option<RawJson<'a>>,
    /// The stop sequence that was met, as vLLM has it; a number is a token's.
    pub(super) stop_reason: Option<RawJson<'a>>,
    /// The same, as SGLang has it.
    pub(super) matched_stop: Option<RawJson<'a>>,
    /// The reason of the provider behind OpenRouter.
    pub(super) native_finish_reason: Option<RawJson<'a>>,
    /// OpenRouter's error of the provider behind it.
    pub(super) error: Option<RawJson<'a>>,
}

/// The fields of a delta or of a complete message.
#[derive(Default)]
pub(super) struct MessageFields<'a> {
    pub(super) content: Option<RawJson<'a>>,
    pub(super) reasoning_content: Option<RawJson<'a>>,
    pub(super) reasoning: Option<RawJson<'a>>,
    /// GitHub Copilot's reasoning, and its seal.
    pub(super) reasoning_text: Option<RawJson<'a>>,
    pub(super) reasoning_opaque: Option<RawJson<'a>>,
    pub(super) reasoning_details: Option<RawJson<'a>>,
    /// LiteLLM's form of Anthropic's blocks.
    pub(super) thinking_blocks: Option<RawJson<'a>>,
    pub(super) refusal: Option<RawJson<'a>>,
    pub(super) tool_calls: Option<RawJson<'a>>,
    pub(super) function_call: Option<RawJson<'a>>,
    pub(super) annotations: Option<RawJson<'a>>,
    /// Images that the model made, as OpenRouter has them.
    pub(super) images: Option<RawJson<'a>>,
    pub(super) audio: Option<RawJson<'a>>,
}

#[derive(Default)]
pub(super) struct ToolCallFields<'a> {
    pub(super) index: Option<RawJson<'a>>,
    pub(super) id: Option<RawJson<'a>>,
    pub(super) function: Option<RawJson<'a>>,
    /// The call of a custom tool, in place of a function.
    pub(super) custom: Option<RawJson<'a>>,
    /// Google's addition: a signature that must come back with the call.
    pub(super) extra_content: Option<RawJson<'a>>,
}

#[derive(Default)]
pub(super) struct FunctionFields<'a> {
    pub(super) name: Option<RawJson<'a>>,
    pub(super) arguments: Option<RawJson<'a>>,
    /// The text of a custom tool.
    pub(super) input: Option<RawJson<'a>>,
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
            b"citations" => cursor.field_once(&mut self.citations),
            b"search_results" => cursor.field_once(&mut self.search_results),
            b"x_groq" => cursor.field_once(&mut self.x_groq),
            b"error" => cursor.field_once(&mut self.error),
            b"base_resp" => cursor.field_once(&mut self.base_resp),
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
            .filter(|choice| self.choices.others.is_empty() && choice.number() == 0)
            .filter(|choice| choice.message.is_none() && choice.text.is_none())?;
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
        let tells = [
            self.usage,
            choice.usage,
            choice.logprobs,
            self.x_groq,
            self.error,
            choice.error,
        ]
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

    /// Returns the error that its own fields report; `data` is the whole payload.
    pub(super) fn own_error(&self, data: &[u8]) -> Option<Failure> {
        let read = |raw: RawJson<'_>| error_report::read_error_field(data, raw.get());
        let error = self.error.and_then(read);
        let status = || ErrorReport::in_base_resp(&value(self.base_resp.map(RawJson::get)));
        error.or_else(|| status().map(Failure::from))
    }

    /// Returns whether the chunk may report an error.
    pub(super) fn may_report(&self) -> bool {
        let mut choices = self.choices.first.iter().chain(&self.choices.others);
        self.choices.first.is_none()
            || self.error.is_some()
            || self.base_resp.is_some()
            || choices.any(|choice| choice.error.is_some())
    }

    /// Returns the usage, from its own field, from the choice or from Groq's, which is sometimes
    /// the only one.
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
        let choices = self.choices.first.iter().chain(&self.choices.others);
        let mut places = std::iter::once(self.usage).chain(choices.map(|choice| choice.usage));
        places.find_map(|raw| usage(raw?.get())).or_else(groq)
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

    /// Returns the list of the log probabilities of the choice's text, if it has any.
    pub(super) fn text_logprobs(&self) -> Option<RawJson<'a>> {
        let mut content = None;
        let object = self.logprobs.filter(|raw| raw.get().starts_with('{'))?;
        let read = walk_raw(object, |cursor| {
            cursor.object(|name, cursor| match name {
                b"content" => cursor.field_once(&mut content),
                _ => cursor.skip(),
            })
        });
        let content: Option<RawJson<'_>> = read.ok().and(content);
        content.filter(|raw| says(*raw) && raw.get().starts_with('['))
    }

    /// Returns true if the answer ended at one of the client's stop sequences.
    pub(super) fn met_stop(&self) -> bool {
        let met = [self.stop_reason, self.matched_stop];
        met.into_iter()
            .flatten()
            .any(|raw| raw.is_text() && says(raw))
    }

    fn parse(&mut self, cursor: &mut Cursor<'a>) -> CursorResult<()> {
        let mut moved = false;
        cursor.object(|name, cursor| match name {
            b"index" => cursor.field_once(&mut self.index),
            b"delta" if std::mem::replace(&mut moved, true) => Err(CursorError::DuplicateField),
            b"delta" if cursor.null()? => Ok(()),
            b"delta" => self.delta.insert(MessageFields::default()).parse(cursor),
            b"message" => cursor.field_once(&mut self.message),
            b"logprobs" => cursor.field_once(&mut self.logprobs),
            b"text" => cursor.field_once(&mut self.text),
            b"usage" => cursor.field_once(&mut self.usage),
            b"finish_reason" => cursor.field_once(&mut self.finish_reason),
            b"stop_reason" => cursor.field_once(&mut self.stop_reason),
            b"matched_stop" => cursor.field_once(&mut self.matched_stop),
            b"native_finish_reason" => cursor.field_once(&mut self.native_finish_reason),
            b"error" => cursor.field_once(&mut self.error),
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

    /// Takes all reasoning out.
    pub(super) fn forget_reasoning(&mut self) {
        (self.reasoning, self.reasoning_content) = (None, None);
        (self.reasoning_text, self.reasoning_opaque) = (None, None);
        (self.reasoning_details, self.thinking_blocks) = (None, None);
    }

    pub(super) fn fields(&self) -> [Option<RawJson<'a>>; 13] {
        [
            self.content,
            self.reasoning_content,
            self.reasoning,
            self.reasoning_text,
            self.reasoning_opaque,
            self.reasoning_details,
            self.thinking_blocks,
            self.refusal,
            self.tool_calls,
            self.function_call,
            self.annotations,
            self.images,
            self.audio,
        ]
    }

    pub(super) fn parse(&mut self, cursor: &mut Cursor<'a>) -> CursorResult<()> {
        cursor.object(|name, cursor| match name {
            b"content" => cursor.field_once(&mut self.content),
            b"reasoning_content" => cursor.field_once(&mut self.reasoning_content),
            b"reasoning" => cursor.field_once(&mut self.reasoning),
            b"reasoning_text" => cursor.field_once(&mut self.reasoning_text),
            b"reasoning_opaque" => cursor.field_once(&mut self.reasoning_opaque),
            b"thinking_blocks" => cursor.field_once(&mut self.thinking_blocks),
            b"reasoning_details" => cursor.field_once(&mut self.reasoning_details),
            b"refusal" => cursor.field_once(&mut self.refusal),
            b"tool_calls" => cursor.field_once(&mut self.tool_calls),
            b"function_call" => cursor.field_once(&mut self.function_call),
            b"annotations" => cursor.field_once(&mut self.annotations),
            b"images" => cursor.field_once(&mut self.images),
            b"audio" => cursor.field_once(&mut self.audio),
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
            b"custom" => cursor.field_once(&mut call.custom),
            b"extra_content" => cursor.field_once(&mut call.extra_content),
            _ => cursor.skip(),
        })?;
        Ok(call)
    }

    /// Returns the signature of the thoughts that led to the call.
    pub(super) fn thought_signature(&self) -> Option<String> {
        let extra: Value = serde_json::from_str(self.extra_content?.get()).ok()?;
        let signature = extra["google"]["thought_signature"].as_str()?;
        (!signature.is_empty()).then(|| signature.to_owned())
    }
}

impl<'a> FunctionFields<'a> {
    pub(super) fn parse(cursor: &mut Cursor<'a>) -> CursorResult<Self> {
        let mut function = Self::default();
        cursor.object(|name, cursor| match name {
            b"name" => cursor.field_once(&mut function.name),
            b"arguments" => cursor.field_once(&mut function.arguments),
            b"input" => cursor.field_once(&mut function.input),
            _ => cursor.skip(),
        })?;
        Ok(function)
    }
}

/// Returns true if a field holds anything, without parsing it.
pub(super) fn says(raw: RawJson<'_>) -> bool {
    !matches!(raw.get(), "null" | "\"\"" | "[]")
}
