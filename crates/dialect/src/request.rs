//! What a client asks for, in no one's wire format.
//!
//! A request keeps the body that it was read from: to an upstream of the same dialect that very body goes on, so that
//! fields we have never heard of arrive as they were sent. The neutral fields are what another dialect, or the mock,
//! needs to know; what they have no word for is listed in [`Request::unsupported`], so that nothing is lost in silence.

use bytes::Bytes;
use serde_json::Value;

use crate::event::ReasoningState;

/// A request for one generation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// What is asked of the model.
    pub operation: Operation,
    /// The model that the client named, if it named one.
    pub model: Option<String>,
    /// Whether tokens are wanted as they come.
    pub stream: bool,
    /// Whether the answer is to be made to its end though its client leaves, which asks for it later by its id.
    pub background: bool,
    /// Whether the client wants to be told the usage at the end of its stream.
    pub include_usage: bool,
    /// The conversation so far, the system prompt included.
    pub messages: Vec<Message>,
    /// The tools that the model may call.
    pub tools: Vec<Tool>,
    /// Whether it must, and which.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several at once.
    pub parallel_tool_calls: Option<bool>,
    /// The form that the answer must have.
    pub format: Option<Format>,
    /// Whether to think first, and how much.
    pub reasoning: Option<Reasoning>,
    /// At most so many tokens of output.
    pub max_tokens: Option<u32>,
    /// How it samples.
    pub sampling: Sampling,
    /// What ends the answer when the model says it.
    pub stop: Vec<String>,
    /// The client's own user, as an opaque name.
    pub user: Option<String>,
    /// How many answers the client wants; 0 and 1 are one.
    pub n: u32,
    /// What was asked for and can't be said here.
    pub unsupported: Vec<Unsupported>,
    /// The body as it came, where the client's dialect is also spoken by upstreams.
    pub body: Bytes,
}

/// What is asked of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Operation {
    /// An answer.
    #[default]
    Generate,
    /// Only how many tokens the request has.
    CountTokens,
}

/// A part of a request that the neutral vocabulary has no word for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// Where it stands, as in `messages[0].content[1]`.
    pub param: String,
    /// Whether the answer would be to another question without it: then another dialect refuses the request.
    pub essential: bool,
}

impl Request {
    /// A request of one user prompt, streamed, all else left to the model.
    #[must_use]
    pub fn prompt(prompt: impl Into<String>) -> Self {
        Self {
            stream: true,
            messages: vec![Message::text(Role::User, prompt)],
            n: 1,
            ..Self::default()
        }
    }

    /// The last thing that the user said.
    #[must_use]
    pub fn last_user_text(&self) -> String {
        self.messages
            .iter()
            .rev()
            .find(|m| m.role == Role::User)
            .map_or_else(String::new, Message::all_text)
    }

    /// Where the turn that is going on began: with the last thing that the user said, but for what was only said beside
    /// tools' results.
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

    /// The text of its system messages, if it has any; and whether it has nothing else.
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

    /// Notes what can be left out, with a line in the log.
    pub fn ignore(&mut self, param: impl Into<String>) {
        self.unsupported.push(Unsupported {
            param: param.into(),
            essential: false,
        });
    }

    /// Notes what can't be left out.
    pub fn require(&mut self, param: impl Into<String>) {
        self.unsupported.push(Unsupported {
            param: param.into(),
            essential: true,
        });
    }
}

/// Who said a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Standing instructions (`system`, `developer`).
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// Tools: their results.
    Tool,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// What was said, in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// A message of text alone.
    #[must_use]
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            parts: vec![Part::Text(text.into())],
        }
    }

    /// Its text parts joined.
    #[must_use]
    pub fn all_text(&self) -> String {
        text_of(&self.parts)
    }
}

/// The text of some parts, joined.
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

/// The texts of some parts, each a piece of its own.
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
    /// What the model thought, as it was shown, and what the upstream wants back for it.
    Reasoning {
        /// What was shown.
        text: String,
        /// What goes back.
        state: Option<ReasoningState<'static>>,
    },
    /// What the model refused, said apart from its text.
    Refusal(String),
    /// A tool that the model called.
    ToolCall {
        /// The call's id.
        id: String,
        /// The tool's name.
        name: String,
        /// Its arguments, as JSON text.
        arguments: String,
    },
    /// What a tool answered.
    ToolResult {
        /// The id of the call.
        id: String,
        /// Text and images.
        content: Vec<Part>,
        /// Whether the tool failed.
        error: bool,
    },
}

/// An image, by its address or as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// Where it is.
    Url(String),
    /// What it is.
    Data {
        /// Its media type, as in `image/png`.
        media_type: String,
        /// Its bytes in base64.
        base64: String,
    },
}

impl Image {
    /// Reads an address; one of the `data:` scheme holds the image itself.
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

    /// Its address, of the `data:` scheme where there is no other.
    #[must_use]
    pub fn to_url(&self) -> String {
        match self {
            Image::Url(url) => url.clone(),
            Image::Data { media_type, base64 } => format!("data:{media_type};base64,{base64}"),
        }
    }
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// The JSON schema of its arguments; null if it takes none.
    pub parameters: Value,
    /// Whether arguments must fit the schema.
    pub strict: Option<bool>,
}

/// Whether tools must be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// As the model likes.
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// That one.
    Named(String),
}

/// The form that an answer must have.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// Any JSON object.
    Json,
    /// JSON that fits a schema.
    Schema {
        /// The schema's name.
        name: String,
        /// The schema.
        schema: Value,
        /// Whether it is enforced.
        strict: Option<bool>,
    },
}

/// How much a model thinks before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reasoning {
    /// How hard.
    pub effort: Effort,
    /// At most so many tokens of it, where the client said so.
    pub budget: Option<u32>,
    /// Whether the client wants to see it; none if it did not say, and takes it where it comes by itself.
    pub shown: Option<bool>,
}

/// How hard a model thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Not at all.
    None,
    /// Hardly.
    Minimal,
    /// Little.
    Low,
    /// Neither.
    Medium,
    /// Much.
    High,
    /// As much as it can.
    Highest,
}

impl Effort {
    /// Reads the word for it that OpenAI and Anthropic use.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "none" => Effort::None,
            "minimal" => Effort::Minimal,
            "low" => Effort::Low,
            "medium" => Effort::Medium,
            "high" => Effort::High,
            "xhigh" | "max" => Effort::Highest,
            _ => return None,
        })
    }

    /// OpenAI's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Effort::None => "none",
            Effort::Minimal => "minimal",
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
            Effort::Highest => "xhigh",
        }
    }

    /// The effort that a budget of so many tokens amounts to, in words that every model knows.
    #[must_use]
    pub fn from_budget(tokens: u32) -> Self {
        match tokens {
            0 => Effort::None,
            1..=4096 => Effort::Low,
            4097..=16_384 => Effort::Medium,
            _ => Effort::High,
        }
    }

    /// A budget of tokens that amounts to it.
    #[must_use]
    pub fn budget(self) -> u32 {
        match self {
            Effort::None => 0,
            Effort::Minimal => 1024,
            Effort::Low => 4096,
            Effort::Medium => 12_288,
            Effort::High => 24_576,
            Effort::Highest => 49_152,
        }
    }
}

/// How a model samples; what is not set is the upstream's own default.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sampling {
    /// Temperature, 0 to 2.
    pub temperature: Option<f64>,
    /// Nucleus, 0 to 1.
    pub top_p: Option<f64>,
    /// Among how many.
    pub top_k: Option<u64>,
    /// For the same answer twice.
    pub seed: Option<i64>,
    /// −2 to 2.
    pub presence_penalty: Option<f64>,
    /// −2 to 2.
    pub frequency_penalty: Option<f64>,
}
