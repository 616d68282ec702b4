//! The output of a model as a sequence of events, in no particular wire format.
//!
//! Every dialect reads into and writes from these events, and two dialects meet nowhere else: N
//! readers and M writers cost N + M. An event borrows from the frame that it was read from, so a
//! token is not copied on its way. Not here: how events are framed ([`crate::sse`]), spelled (the
//! dialects) or counted (the generation).
//!
//! ```
//! use dialect::event::{Event, FinishReason};
//!
//! let events = [Event::Text("Hello".into()), Event::Finish(FinishReason::Stop)];
//! assert!(events[0].has_content());
//! assert!(!events[1].has_content());
//! ```

use std::borrow::Cow;

use crate::request::Image;

/// One piece of a model's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A piece of the answer's text.
    Text(Cow<'a, str>),
    /// The log probabilities of the tokens of the text that follows, if they were asked for: a JSON
    /// list, in the form that both of OpenAI's dialects have.
    Logprobs(Cow<'a, str>),
    /// The source of a piece of the preceding text.
    Citation(Citation),
    /// A piece of the model's reasoning, which is shown apart from the answer.
    Reasoning(Cow<'a, str>),
    /// Opaque state of the preceding reasoning, to be sent back on the next turn. It ends that
    /// block of reasoning.
    State(ReasoningState<'a>),
    /// A piece of a refusal, where the model marks it as one.
    Refusal(Cow<'a, str>),
    /// Start of a tool call. Its arguments follow as [`Event::ToolArguments`] of the same index.
    ToolCall {
        /// Index among the calls of this answer, from 0.
        index: u32,
        /// Id of the call, named by its result.
        id: Cow<'a, str>,
        /// Name of the tool.
        name: Cow<'a, str>,
    },
    /// A piece of a tool call's arguments.
    ToolArguments {
        /// Index of the call in this answer.
        index: u32,
        /// A fragment of JSON text; only all fragments together are valid. None at all means `{}`.
        fragment: Cow<'a, str>,
    },
    /// End of a tool call's arguments.
    ToolEnd {
        /// Index of the call in this answer.
        index: u32,
    },
    /// An image that the model made, whole.
    Image(Image),
    /// Content that no event carries, by the name of its kind: it is left out.
    Unsupported(Cow<'a, str>),
    /// Tokens spent so far. Cumulative: a later event replaces an earlier one.
    Usage(Usage),
    /// The reason why the model stopped. A later event replaces an earlier one.
    Finish(FinishReason),
}

impl Event<'_> {
    /// Returns true for events with visible content, which is what "first token" and "tokens"
    /// count.
    #[must_use]
    pub fn has_content(&self) -> bool {
        match self {
            Event::Text(text) | Event::Reasoning(text) | Event::Refusal(text) => !text.is_empty(),
            Event::ToolCall { .. } | Event::Image(_) => true,
            Event::ToolArguments { fragment, .. } => !fragment.is_empty(),
            Event::Logprobs(_)
            | Event::Citation(_)
            | Event::State(_)
            | Event::ToolEnd { .. }
            | Event::Unsupported(_)
            | Event::Usage(_)
            | Event::Finish(_) => false,
        }
    }

    /// Returns the same event, borrowing from nothing.
    #[must_use]
    pub fn into_owned(self) -> Event<'static> {
        fn own(text: Cow<'_, str>) -> Cow<'static, str> {
            text.into_owned().into()
        }
        match self {
            Event::Text(text) => Event::Text(own(text)),
            Event::Logprobs(tokens) => Event::Logprobs(own(tokens)),
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
            Event::Image(image) => Event::Image(image),
            Event::Unsupported(kind) => Event::Unsupported(own(kind)),
            Event::Usage(usage) => Event::Usage(usage),
            Event::Finish(reason) => Event::Finish(reason),
        }
    }
}

/// The reason why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// The answer is complete.
    Stop,
    /// A stop sequence of the request was generated.
    StopSequence,
    /// A limit on tokens or time was reached; there would have been more.
    Length,
    /// The model called tools and waits for their results.
    ToolCalls,
    /// A content filter, or the model itself, refused.
    ContentFilter,
}

/// Tokens that a request cost, as counted by the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// All input tokens, including cached ones.
    pub input: u64,
    /// All output tokens, including reasoning.
    pub output: u64,
    /// Input tokens read from a cache.
    pub cached: Option<u64>,
    /// Input tokens written to a cache.
    pub cache_written: Option<u64>,
    /// Output tokens spent on reasoning.
    pub reasoning: Option<u64>,
}

impl Usage {
    /// Returns the counts of a later report, and of this one those that the later one lacks: the
    /// last report of some upstreams is empty, or has only a part.
    #[must_use]
    pub fn updated(self, later: Self) -> Self {
        let known = |count: u64, before: u64| if count == 0 { before } else { count };
        let told = |count: Option<u64>, before: Option<u64>| match count {
            None | Some(0) => before.or(count),
            count => count,
        };
        Self {
            input: known(later.input, self.input),
            output: known(later.output, self.output),
            cached: told(later.cached, self.cached),
            cache_written: told(later.cache_written, self.cache_written),
            reasoning: told(later.reasoning, self.reasoning),
        }
    }
}

/// A source on the web.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Citation {
    /// URL of the source.
    pub url: String,
    /// Title; empty if unknown.
    pub title: String,
    /// The cited words; empty if unknown.
    pub quote: String,
    /// The range of the answer's text that it supports, in characters, if known.
    pub span: Option<(u64, u64)>,
}

/// Reasoning that a model wants back on the next turn and that only its maker can read: a
/// signature, or the encrypted reasoning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasoningState<'a> {
    /// The kind of upstream that issued it, and the only one that accepts it.
    pub origin: StateOrigin,
    /// The opaque value, as spelled by its origin.
    pub value: Cow<'a, str>,
}

/// The kind of upstream that issued a [`ReasoningState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateOrigin {
    /// Signature of an Anthropic thinking block.
    Anthropic,
    /// Encrypted Anthropic thinking block (`redacted_thinking`).
    AnthropicRedacted,
    /// Reasoning item of OpenAI Responses: its id, a space, its encrypted content.
    OpenAiResponses,
    /// A `reasoning_details` entry of a Chat Completions gateway as JSON, or the name of the field
    /// in which the text is sent back, or nothing where nothing is sent back.
    OpenAiChat,
    /// Gemini thought signature, which belongs to the part that follows it.
    Gemini,
}

/// Prefix of every value made by [`ReasoningState::encode`].
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
    /// Encodes the state for clients of another dialect: prefixed with its origin, so that it can
    /// be decoded when they send it back.
    #[must_use]
    pub fn encode(&self) -> String {
        let prefix = StateOrigin::ALL
            .iter()
            .find(|(origin, _)| *origin == self.origin)
            .map_or("", |(_, prefix)| prefix);
        format!("{prefix}{}", self.value)
    }

    /// Decodes a value made by [`ReasoningState::encode`]; any other value is a state of `own`.
    ///
    /// ```
    /// use dialect::event::{ReasoningState, StateOrigin};
    ///
    /// let state = ReasoningState { origin: StateOrigin::Gemini, value: "c2lnbmVk".into() };
    /// let sent = state.encode();
    /// assert_eq!(sent, "tokenrill.gemini:c2lnbmVk");
    /// assert_eq!(ReasoningState::decode(&sent, StateOrigin::Anthropic), state);
    /// ```
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
