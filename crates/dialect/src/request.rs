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

mod cache;
mod custom;
mod estimate;
mod file;
mod forms;
mod image;
mod invalid;
mod options;

pub use cache::CacheTtl;
pub(crate) use cache::{cache_control, with_marks};
pub(crate) use custom::{CustomCalls, CustomNames};
pub use estimate::InputSize;
pub(crate) use file::with_title;
pub use file::{File, FileSource};
pub use forms::{ToolForm, ToolForms, ToolKind};
pub use image::{Image, ImageDetail};
pub use invalid::InvalidField;
pub use options::{
    CustomTool, Effort, Format, Grammar, JsonText, Logprobs, OpenAiOptions, Reasoning, Sampling,
    Tool, ToolChoice,
};

use base::shorten::shorten;
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
    /// This server wants the usage, whether the client does or not.
    pub counts_usage: bool,
    /// The conversation so far, including the system prompt.
    pub messages: Vec<Message>,
    /// Tools that the model may call.
    pub tools: Vec<Tool>,
    /// The tools that the client knows in another form.
    pub tool_forms: ToolForms,
    /// Constraint on tool calls.
    pub tool_choice: Option<ToolChoice>,
    /// Permission to call several tools at once.
    pub parallel_tool_calls: Option<bool>,
    /// Required format of the answer.
    pub format: Option<Format>,
    /// Reasoning options.
    pub reasoning: Option<Reasoning>,
    /// The log probabilities that are asked for.
    pub logprobs: Option<Logprobs>,
    /// Maximum number of output tokens.
    pub max_tokens: Option<u32>,
    /// Sampling parameters.
    pub sampling: Sampling,
    /// Sequences that end the answer when the model generates them.
    pub stop: Vec<String>,
    /// The client's own user, as an opaque name.
    pub user: Option<String>,
    /// Options that both of OpenAI's dialects have, and no other.
    pub openai: OpenAiOptions,
    /// Number of answers; 0 and 1 both mean one.
    pub n: u32,
    /// Parts of the request that the neutral form can't express.
    pub unsupported: Vec<Unsupported>,
    /// The number of further such parts, which are dropped without a name.
    pub unnamed_unsupported: usize,
    /// The field that can't be read, if there is one: upstreams of the client's dialect get the
    /// body as it is, and say themselves what they make of it; for all others it is an error.
    pub invalid: Option<InvalidField>,
    /// The id of a response or of a conversation that the request goes on from, and that only the
    /// provider has which stored it.
    pub stored_context: Option<String>,
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
    /// Its type, if it has one that is unknown.
    pub kind: Option<String>,
    /// The consequence of leaving it out.
    pub loss: Loss,
}

/// The consequence of leaving out a part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The answer stays one to the question: the part is dropped, with a line in the log.
    Small,
    /// The model has a tool less, one that the upstream would have run itself: a setting decides.
    HostedTool,
    /// The answer would be to another question: other dialects refuse the request.
    Essential,
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
            counts_usage: self.counts_usage,
            tools: self.tools.iter().filter(|_| is_small).cloned().collect(),
            tool_forms: self.tool_forms.clone(),
            tool_choice: self.tool_choice.clone(),
            parallel_tool_calls: self.parallel_tool_calls,
            format: match &self.format {
                Some(Format::Schema { .. }) if !is_small => None,
                format => format.clone(),
            },
            reasoning: self.reasoning,
            logprobs: self.logprobs,
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
                Part::Image(image, _) => image.size(),
                Part::CacheBreakpoint(_) => 0,
                Part::File(file) => file.size(),
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

    /// Returns whether any image has a detail that this API would have to be told.
    pub(crate) fn has_image_detail(&self) -> bool {
        let is_detailed = |part: &Part| matches!(part, Part::Image(_, Some(_)));
        self.parts().any(is_detailed)
    }

    /// Returns the parts of all messages; for the result of a tool those that it holds.
    fn parts(&self) -> impl Iterator<Item = &Part> {
        let parts = self.messages.iter().flat_map(|message| &message.parts);
        parts.flat_map(|part| match part {
            Part::ToolResult { content, .. } => &content[..],
            part => std::slice::from_ref(part),
        })
    }

    /// Returns the first file for which that is true.
    pub(crate) fn find_file(&self, is_it: impl Fn(&File) -> bool) -> Option<&File> {
        let mut files = self.parts().filter_map(|part| match part {
            Part::File(file) => Some(file),
            _ => None,
        });
        files.find(|file| is_it(file))
    }

    /// Records a part that can be dropped, with a line in the log.
    pub fn ignore(&mut self, param: impl Into<String>) {
        self.record(param.into(), None, Loss::Small);
    }

    /// Records a part that can be dropped, under a name that stands for all of its kind.
    pub(crate) fn ignore_kind(&mut self, param: &str) {
        if !self.unsupported.iter().any(|known| known.param == param) {
            self.ignore(param);
        }
    }

    /// Records a tool that its upstream would have run.
    pub(crate) fn leave_out_tool(&mut self, param: impl Into<String>, kind: &str) {
        let kind = shorten(kind, MAX_KIND).to_string();
        self.record(param.into(), Some(kind), Loss::HostedTool);
    }

    /// Records a part that can't be dropped. The first is enough to refuse the request.
    pub fn require(&mut self, param: impl Into<String>) {
        self.require_kind(param, None);
    }

    /// Records a part that can't be dropped, by its type.
    pub(crate) fn require_kind(&mut self, param: impl Into<String>, kind: Option<&str>) {
        let is_essential = |known: &Unsupported| known.loss == Loss::Essential;
        if !self.unsupported.iter().any(is_essential) {
            self.unsupported.push(Unsupported {
                param: param.into(),
                kind: kind.map(|kind| shorten(kind, MAX_KIND).to_string()),
                loss: Loss::Essential,
            });
        }
    }

    /// Returns a tool that only the client's own API runs, if the request has one.
    #[must_use]
    pub fn hosted_tool(&self) -> Option<&Unsupported> {
        let mut parts = self.unsupported.iter();
        parts.find(|part| part.loss == Loss::HostedTool)
    }

    fn record(&mut self, param: String, kind: Option<String>, loss: Loss) {
        // One hosted tool has to be known: a policy asks for it.
        let is_policy = loss == Loss::HostedTool && self.hosted_tool().is_none();
        if self.unsupported.len() >= MAX_UNSUPPORTED && !is_policy {
            self.unnamed_unsupported += 1;
            return;
        }
        self.unsupported.push(Unsupported { param, kind, loss });
    }
}

impl Unsupported {
    /// Returns the part's name for messages, with its type.
    #[must_use]
    pub fn described(&self) -> String {
        match &self.kind {
            Some(kind) => format!("`{}`, of type `{kind}`", self.param),
            None => format!("`{}`", self.param),
        }
    }

    /// Returns the part's name for the log: a tool is named by its type, which stays the same.
    #[must_use]
    pub fn log_name(&self) -> String {
        match &self.kind {
            Some(kind) if self.loss == Loss::HostedTool => format!("tool `{kind}`"),
            _ => self.param.clone(),
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

/// The longest part of an unknown type that is named, in bytes.
const MAX_KIND: usize = 60;

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
    /// An image, and the detail in which the model is to see it.
    Image(Image, Option<ImageDetail>),
    /// A document or a recording.
    File(File),
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
    /// The end of a beginning that is to be cached: a hint of clients that know an upstream's API.
    CacheBreakpoint(CacheTtl),
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
