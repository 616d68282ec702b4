//! What a client asks for, in no one's wire format.
//!
//! A request keeps the body that it was read from: to an upstream of the same dialect that very body goes on, so that
//! fields we have never heard of arrive as they were sent. The neutral fields are what another dialect, or the mock,
//! needs to know.

use bytes::Bytes;

/// A request for one generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The model that the client named, if it named one.
    pub model: Option<String>,
    /// Whether tokens are wanted as they come.
    pub stream: bool,
    /// Whether the client wants to be told the usage at the end of its stream.
    pub include_usage: bool,
    /// The conversation so far, the system prompt included.
    pub messages: Vec<Message>,
    /// The tools that the model may call.
    pub tools: Vec<Tool>,
    /// At most so many tokens of output.
    pub max_tokens: Option<u32>,
    /// Sampling temperature, 0 to 2.
    pub temperature: Option<f64>,
    /// How many answers the client wants.
    pub n: u32,
    /// The body as it came, where the client's dialect is also spoken by upstreams.
    pub body: Bytes,
}

impl Request {
    /// A request of one user prompt, streamed, all else left to the model.
    #[must_use]
    pub fn prompt(prompt: impl Into<String>) -> Self {
        Self {
            model: None,
            stream: true,
            include_usage: false,
            messages: vec![Message { role: Role::User, text: prompt.into() }],
            tools: Vec::new(),
            max_tokens: None,
            temperature: None,
            n: 1,
            body: Bytes::new(),
        }
    }

    /// The last thing that the user said.
    #[must_use]
    pub fn last_user_text(&self) -> &str {
        self.messages.iter().rev().find(|m| m.role == Role::User).map_or("", |m| &m.text)
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
    /// A tool's result.
    Tool,
}

/// One message of a conversation: its text, several text parts joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub text: String,
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// The JSON schema of its arguments.
    pub parameters: serde_json::Value,
}
