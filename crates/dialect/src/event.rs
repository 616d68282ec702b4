//! What a model says, piece by piece, in no one's wire format.
//!
//! Every dialect reads into and writes from these; two dialects never meet anywhere else, so that N readers and M
//! writers cost N + M. An event borrows from the frame that it was read from: a token that is only passed on is never
//! copied. Not here: how events are framed (`sse`), spelled (`dialect`) or counted (`generation`).

use std::borrow::Cow;

/// One neutral thing that a model says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A piece of the answer.
    Text(Cow<'a, str>),
    /// Where a piece of the text just said comes from.
    Citation(Citation),
    /// A piece of the model's reasoning, shown apart from the answer.
    Reasoning(Cow<'a, str>),
    /// What the upstream wants back on the next turn, unread, for the reasoning just shown; it ends that block of it.
    State(ReasoningState<'a>),
    /// A piece of a refusal, where the model says it apart from the answer.
    Refusal(Cow<'a, str>),
    /// A tool call begins. Its arguments follow as [`Event::ToolArguments`] of the same index.
    ToolCall {
        /// The call's place among this answer's calls, from 0.
        index: u32,
        /// The call's id, which its result must name.
        id: Cow<'a, str>,
        /// The tool's name.
        name: Cow<'a, str>,
    },
    /// A piece of a tool call's arguments: a fragment of JSON text.
    ToolArguments {
        /// Which call of this answer.
        index: u32,
        /// The fragment; only all fragments together are JSON. None at all means `{}`.
        fragment: Cow<'a, str>,
    },
    /// A tool call's arguments are whole.
    ToolEnd {
        /// Which call of this answer.
        index: u32,
    },
    /// Tokens spent so far. Cumulative: a later one replaces an earlier one.
    Usage(Usage),
    /// The model stopped, and why. Said twice, the later one counts.
    Finish(FinishReason),
}

impl Event<'_> {
    /// Whether a reader sees something new: this is what "first token" and "tokens" count.
    #[must_use]
    pub fn has_content(&self) -> bool {
        match self {
            Event::Text(text) | Event::Reasoning(text) | Event::Refusal(text) => !text.is_empty(),
            Event::ToolCall { .. } => true,
            Event::ToolArguments { fragment, .. } => !fragment.is_empty(),
            Event::Citation(_)
            | Event::State(_)
            | Event::ToolEnd { .. }
            | Event::Usage(_)
            | Event::Finish(_) => false,
        }
    }

    /// The same event, borrowing from nothing.
    #[must_use]
    pub fn into_owned(self) -> Event<'static> {
        fn own(text: Cow<'_, str>) -> Cow<'static, str> {
            text.into_owned().into()
        }
        match self {
            Event::Text(text) => Event::Text(own(text)),
            Event::Citation(citation) => Event::Citation(citation),
            Event::Reasoning(text) => Event::Reasoning(own(text)),
            Event::State(state) => Event::State(ReasoningState {
                origin: state.origin,
                value: own(state.value),
            }),
            Event::Refusal(text) => Event::Refusal(own(text)),
            Event::ToolCall { index, id, name } => Event::ToolCall {
                index,
                id: own(id),
                name: own(name),
            },
            Event::ToolArguments { index, fragment } => Event::ToolArguments {
                index,
                fragment: own(fragment),
            },
            Event::ToolEnd { index } => Event::ToolEnd { index },
            Event::Usage(usage) => Event::Usage(usage),
            Event::Finish(reason) => Event::Finish(reason),
        }
    }
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// It had said all.
    Stop,
    /// It met one of the request's stop sequences.
    StopSequence,
    /// It met a limit on tokens or time: there would have been more.
    Length,
    /// It calls tools and waits for their results.
    ToolCalls,
    /// A filter or the model itself refused.
    ContentFilter,
}

/// Tokens that a request cost, as the upstream counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// All input tokens, the cached ones included.
    pub input: u64,
    /// All output tokens, the reasoning ones included.
    pub output: u64,
    /// Of the input: read from a cache.
    pub cached: Option<u64>,
    /// Of the input: written to a cache.
    pub cache_written: Option<u64>,
    /// Of the output: reasoning.
    pub reasoning: Option<u64>,
}

/// A source on the web.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Citation {
    /// Its address.
    pub url: String,
    /// Its title; empty if it has none.
    pub title: String,
    /// The words that were cited; empty if they are not said.
    pub quote: String,
    /// Which part of the text it backs, in characters, where that is known.
    pub span: Option<(u64, u64)>,
}

/// Reasoning that a model wants back on the next turn and nobody else can read: a signature, or the thought, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasoningState<'a> {
    /// Whose seal it is: only there is it worth anything.
    pub origin: StateOrigin,
    /// The seal, as its origin spells it.
    pub value: Cow<'a, str>,
}

/// Which kind of upstream sealed a [`ReasoningState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateOrigin {
    /// The signature of an Anthropic thinking block.
    Anthropic,
    /// An Anthropic thinking block that is sealed whole (`redacted_thinking`).
    AnthropicRedacted,
    /// A reasoning item of OpenAI Responses: its id, a space, its encrypted content.
    OpenAiResponses,
    /// A detail of a Chat Completions gateway, as JSON; or the name of the field that the text goes back in; or nothing,
    /// where nothing goes back.
    OpenAiChat,
    /// A Gemini thought signature: it belongs to the part that follows.
    Gemini,
}

/// How every seal begins that [`ReasoningState::encode`] writes.
pub const SIGNATURE_MARK: &str = "tokenrill.";

impl StateOrigin {
    const ALL: [(StateOrigin, &'static str); 5] = [
        (StateOrigin::Anthropic, "tokenrill.anthropic:"),
        (StateOrigin::AnthropicRedacted, "tokenrill.redacted:"),
        (StateOrigin::OpenAiResponses, "tokenrill.responses:"),
        (StateOrigin::OpenAiChat, "tokenrill.chat:"),
        (StateOrigin::Gemini, "tokenrill.gemini:"),
    ];
}

impl ReasoningState<'_> {
    /// The seal for a dialect that is not its origin's: there it goes out, and comes back, with its origin in front.
    #[must_use]
    pub fn encode(&self) -> String {
        let prefix = StateOrigin::ALL
            .iter()
            .find(|(origin, _)| *origin == self.origin)
            .map_or("", |(_, prefix)| prefix);
        format!("{prefix}{}", self.value)
    }

    /// Reads what [`ReasoningState::encode`] wrote; anything else is a seal of `own`.
    #[must_use]
    pub fn decode(text: &str, own: StateOrigin) -> ReasoningState<'_> {
        for (origin, prefix) in StateOrigin::ALL {
            if let Some(value) = text.strip_prefix(prefix) {
                return ReasoningState {
                    origin,
                    value: value.into(),
                };
            }
        }
        ReasoningState {
            origin: own,
            value: text.into(),
        }
    }
}
