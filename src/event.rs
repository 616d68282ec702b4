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
    /// A piece of the model's reasoning, shown apart from the answer.
    Reasoning(Cow<'a, str>),
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
        /// The fragment; only all fragments together are JSON.
        fragment: Cow<'a, str>,
    },
    /// Tokens spent so far. Cumulative: a later one replaces an earlier one.
    Usage(Usage),
    /// The model stopped, and why.
    Finish(FinishReason),
}

impl Event<'_> {
    /// Whether a reader sees something new: this is what "first token" and "tokens" count.
    #[must_use]
    pub fn is_said(&self) -> bool {
        match self {
            Event::Text(text) | Event::Reasoning(text) | Event::Refusal(text) => !text.is_empty(),
            Event::ToolCall { .. } => true,
            Event::ToolArguments { fragment, .. } => !fragment.is_empty(),
            Event::Usage(_) | Event::Finish(_) => false,
        }
    }
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// It had said all, or met a stop sequence.
    Stop,
    /// It met the limit on tokens.
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
    /// Of the output: reasoning.
    pub reasoning: Option<u64>,
}
