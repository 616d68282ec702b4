//! A client's request, in no particular wire format.
//!
//! A request keeps the body that it was parsed from: an upstream of the same dialect gets that very
//! body, so unknown fields arrive as they were sent. The neutral fields are those that other
//! dialects, or the mock, need; anything they can't express is listed in [`Request::unsupported`],
//! so that nothing is lost silently.
//!
//! ```
//! use dialect::request::{Message, Request, Role};
//!
//! let mut request = Request::prompt("Why is the sky blue?");
//! request.messages.insert(0, Message::text(Role::System, "Be brief."));
//! assert_eq!(request.last_user_text(), "Why is the sky blue?");
//! assert_eq!(request.system().0.as_deref(), Some("Be brief."));
//! ```

mod options;

pub use options::{Effort, Format, JsonText, Reasoning, Sampling, Tool, ToolChoice};

use bytes::Bytes;

use crate::event::ReasoningState;

/// A request for one generation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// The requested operation.
    pub operation: Operation,
    /// Name of the model, if the client gave one.
    pub model: Option<String>,
    /// The client wants tokens as they are generated.
    pub stream: bool,
    /// The answer is completed although its client leaves, which retrieves it later by its id.
    pub background: bool,
    /// The client wants the usage at the end of its stream.
    pub include_usage: bool,
    /// The conversation so far, including the system prompt.
    pub messages: Vec<Message>,
    /// Tools that the model may call.
    pub tools: Vec<Tool>,
    /// Constraint on tool calls.
    pub tool_choice: Option<ToolChoice>,
    /// Permission to call several tools at once.
    pub parallel_tool_calls: Option<bool>,
    /// Required format of the answer.
    pub format: Option<Format>,
    /// Reasoning options.
    pub reasoning: Option<Reasoning>,
    /// Maximum number of output tokens.
    pub max_tokens: Option<u32>,
    /// Sampling parameters.
    pub sampling: Sampling,
    /// Sequences that end the answer when the model generates them.
    pub stop: Vec<String>,
    /// The client's own user, as an opaque name.
    pub user: Option<String>,
    /// Number of answers; 0 and 1 both mean one.
    pub n: u32,
    /// Parts of the request that the neutral form can't express.
    pub unsupported: Vec<Unsupported>,
    /// The number of further such parts, which are dropped without a name.
    pub unnamed_unsupported: usize,
    /// The original body, if upstreams speak the client's dialect.
    pub body: Bytes,
}

/// The operation requested of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Operation {
    /// Generate an answer.
    #[default]
    Generate,
    /// Count the tokens of the request only.
    CountTokens,
}

/// A part of a request that the neutral form can't express.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// Path of the part, as in `messages[0].content[1]`.
    pub param: String,
    /// Without it the answer would be to another question: other dialects refuse the request.
    pub essential: bool,
}

impl Request {
    /// Returns a streamed request of one user prompt, with defaults for all else.
    #[must_use]
    pub fn prompt(prompt: impl Into<String>) -> Self {
        Self {
            stream: true,
            messages: vec![Message::text(Role::User, prompt)],
            n: 1,
            ..Self::default()
        }
    }

    /// Returns whether tools and format are small enough for an answer to repeat them: each of its
    /// events may have them again.
    pub(crate) fn has_small_options(&self) -> bool {
        let tools = self.tools.iter().map(|tool| {
            let description = tool.description.as_deref().unwrap_or_default();
            tool.name.len() + description.len() + tool.parameters.as_str().len() + TOOL_BYTES
        });
        let schema = match &self.format {
            Some(Format::Schema { schema, .. }) => schema.as_str().len(),
            _ => 0,
        };
        tools.sum::<usize>() + schema <= MAX_REPEATED_BYTES
    }

    /// Returns the request without its messages and its body, for an answer that repeats its
    /// options; without tools and format too, if those are large.
    #[must_use]
    pub fn without_content(&self) -> Self {
        let is_small = self.has_small_options();
        Self {
            operation: self.operation,
            model: self.model.clone(),
            stream: self.stream,
            background: self.background,
            include_usage: self.include_usage,
            tools: self.tools.iter().filter(|_| is_small).cloned().collect(),
            tool_choice: self.tool_choice.clone(),
            parallel_tool_calls: self.parallel_tool_calls,
            format: match &self.format {
                Some(Format::Schema { .. }) if !is_small => None,
                format => format.clone(),
            },
            reasoning: self.reasoning,
            max_tokens: self.max_tokens,
            sampling: self.sampling,
            stop: self.stop.clone(),
            user: self.user.clone(),
            n: self.n,
            ..Self::default()
        }
    }

    /// Returns about how many bytes the request's texts have.
    #[must_use]
    pub fn size(&self) -> usize {
        fn part_size(part: &Part) -> usize {
            match part {
                Part::Text(text) | Part::Refusal(text) | Part::Reasoning { text, .. } => text.len(),
                Part::ToolCall { arguments, .. } => arguments.len(),
                Part::ToolResult { content, .. } => content.iter().map(part_size).sum(),
                Part::Image(Image::Url(url)) => url.len(),
                Part::Image(Image::Data { base64, .. }) => base64.len(),
            }
        }
        if !self.body.is_empty() {
            return self.body.len();
        }
        let parts = self.messages.iter().flat_map(|message| &message.parts);
        parts.map(part_size).sum()
    }

    /// Returns the user's last message.
    #[must_use]
    pub fn last_user_text(&self) -> String {
        self.messages
            .iter()
            .rev()
            .find(|m| m.role == Role::User)
            .map_or_else(String::new, Message::all_text)
    }

    /// Returns the index of the message that began the current turn: the user's last one, except
    /// text beside tool results.
    #[must_use]
    pub fn current_turn(&self) -> usize {
        let said = |at: &usize| {
            self.messages[*at].role == Role::User
                && at
                    .checked_sub(1)
                    .is_none_or(|before| self.messages[before].role != Role::Tool)
        };
        (0..self.messages.len()).rev().find(said).unwrap_or(0)
    }

    /// Returns the text of the system messages, and true if there are no other messages.
    #[must_use]
    pub fn system(&self) -> (Option<String>, bool) {
        let system = self
            .messages
            .iter()
            .filter(|message| message.role == Role::System);
        let texts: Vec<String> = system
            .map(|message| texts_of(&message.parts, "\n\n"))
            .collect();
        let alone = texts.len() == self.messages.len();
        ((!texts.is_empty()).then(|| texts.join("\n\n")), alone)
    }

    /// Records a part that can be dropped, with a line in the log.
    pub fn ignore(&mut self, param: impl Into<String>) {
        if self.unsupported.len() >= MAX_UNSUPPORTED {
            self.unnamed_unsupported += 1;
            return;
        }
        self.unsupported.push(Unsupported {
            param: param.into(),
            essential: false,
        });
    }

    /// Records a part that can't be dropped. The first is enough to refuse the request.
    pub fn require(&mut self, param: impl Into<String>) {
        if !self.unsupported.iter().any(|known| known.essential) {
            self.unsupported.push(Unsupported {
                param: param.into(),
                essential: true,
            });
        }
    }
}

/// The most that an answer repeats of its request's tools and schemas, in bytes.
const MAX_REPEATED_BYTES: usize = 64 * 1024;
/// About what a tool takes besides its texts, in bytes.
const TOOL_BYTES: usize = 100;

/// The most strings of a list, such as stop sequences, that are read: no API takes as many.
pub(crate) const MAX_STRINGS: usize = 1000;

/// The most unsupported parts that are named: one body may have hundreds of thousands.
const MAX_UNSUPPORTED: usize = 50;

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Standing instructions (`system`, `developer`).
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// Tools, with their results.
    Tool,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Author.
    pub role: Role,
    /// Content, in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// Returns a message of text alone.
    #[must_use]
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            parts: vec![Part::Text(text.into())],
        }
    }

    /// Returns the text of its parts, joined.
    #[must_use]
    pub fn all_text(&self) -> String {
        text_of(&self.parts)
    }
}

/// Returns the text of some parts, joined.
#[must_use]
pub fn text_of(parts: &[Part]) -> String {
    parts
        .iter()
        .filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

/// Returns the texts of some parts, joined by a separator.
#[must_use]
pub fn texts_of(parts: &[Part], between: &str) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join(between)
}

/// A piece of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text.
    Text(String),
    /// An image.
    Image(Image),
    /// The model's reasoning as it was shown, and the state to send back for it.
    Reasoning {
        /// Visible text.
        text: String,
        /// State to send back.
        state: Option<ReasoningState<'static>>,
    },
    /// A refusal, marked as one by the model.
    Refusal(String),
    /// A tool call of the model.
    ToolCall {
        /// Id of the call.
        id: String,
        /// Name of the tool.
        name: String,
        /// Arguments, as JSON text.
        arguments: String,
    },
    /// The result of a tool call.
    ToolResult {
        /// Id of the call.
        id: String,
        /// Text and images.
        content: Vec<Part>,
        /// The tool failed.
        error: bool,
    },
}

/// Takes the tool results out of a message's parts.
pub(crate) fn take_results(parts: &mut Vec<Part>) -> Vec<Part> {
    let is_result = |part: &Part| matches!(part, Part::ToolResult { .. });
    let count = parts.iter().filter(|part| is_result(part)).count();
    if count == parts.len() {
        return std::mem::take(parts);
    }
    // Reserved exactly: there may be hundreds of thousands.
    let mut results = Vec::with_capacity(count);
    results.extend(parts.extract_if(.., |part| is_result(part)));
    results
}

/// An image, by URL or inline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// URL of the image.
    Url(String),
    /// Inline image.
    Data {
        /// Media type, as in `image/png`.
        media_type: String,
        /// The bytes in base64.
        base64: String,
    },
}

impl Image {
    /// Parses a URL; one of the `data:` scheme holds an inline image.
    #[must_use]
    pub fn from_url(url: &str) -> Self {
        let data = url
            .strip_prefix("data:")
            .and_then(|rest| rest.split_once(";base64,"));
        match data {
            Some((media_type, base64)) => Image::Data {
                media_type: media_type.to_owned(),
                base64: base64.to_owned(),
            },
            None => Image::Url(url.to_owned()),
        }
    }

    /// Returns the image's URL; an inline image gets one of the `data:` scheme.
    #[must_use]
    pub fn to_url(&self) -> String {
        match self {
            Image::Url(url) => url.clone(),
            Image::Data { media_type, base64 } => format!("data:{media_type};base64,{base64}"),
        }
    }
}
