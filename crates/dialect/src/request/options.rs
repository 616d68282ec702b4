//! Options of a request: tools, format, reasoning and sampling.

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::json::Json;

/// A JSON value, kept as text: as a tree it might take fifty times as much memory. Null by default,
/// which takes none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JsonText(Option<Box<str>>);

impl JsonText {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("null")
    }

    /// Returns true for the value of a missing field.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.view().is_null()
    }

    /// Returns the value as a tree; null if the text has more than `most` bytes.
    #[must_use]
    pub fn to_tree(&self, most: usize) -> Value {
        match self.as_str().len() <= most {
            true => self.view().to_tree(),
            false => Value::Null,
        }
    }

    /// Returns an object without fields.
    pub(crate) fn empty_object() -> Self {
        Self(Some("{}".into()))
    }

    /// Returns a text that is known to be JSON.
    pub(crate) fn of_valid(json: Vec<u8>) -> Self {
        Self(String::from_utf8(json).ok().map(Into::into))
    }

    pub(crate) fn view(&self) -> Json<'_> {
        Json::of_valid(self.as_str())
    }
}

impl From<Json<'_>> for JsonText {
    fn from(json: Json<'_>) -> Self {
        Self((!json.is_null()).then(|| json.raw().into()))
    }
}

impl From<Value> for JsonText {
    fn from(value: Value) -> Self {
        Self(Some(value.to_string().into()))
    }
}

impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue =
            serde_json::from_str(self.as_str()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tool {
    /// Name of the tool.
    pub name: String,
    /// Description for the model.
    pub description: Option<String>,
    /// JSON schema of its arguments; null if it takes none.
    pub parameters: JsonText,
    /// Enforce the schema on arguments.
    pub strict: Option<bool>,
}

/// A constraint on tool calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model chooses.
    Auto,
    /// No tools.
    None,
    /// At least one tool.
    Required,
    /// The named tool.
    Named(String),
}

/// A required format of the answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// Any JSON object.
    Json,
    /// JSON that fits a schema.
    Schema {
        /// Name of the schema.
        name: String,
        /// The JSON schema.
        schema: JsonText,
        /// Enforce the schema.
        strict: Option<bool>,
    },
}

/// Options of the reasoning before an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reasoning {
    /// Amount of reasoning.
    pub effort: Effort,
    /// Maximum reasoning tokens, if the client gave a number.
    pub budget: Option<u32>,
    /// The client wants to see the reasoning; `None` if it did not say, and takes it if it is
    /// there.
    pub shown: Option<bool>,
}

/// An amount of reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// `none`: no reasoning.
    None,
    /// `minimal`.
    Minimal,
    /// `low`.
    Low,
    /// `medium`.
    Medium,
    /// `high`.
    High,
    /// `xhigh` (OpenAI) or `max` (Anthropic).
    Highest,
}

impl Effort {
    /// Parses the word that OpenAI and Anthropic use.
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

    /// Returns OpenAI's word.
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

    /// Returns the effort that matches a budget in tokens, as one of the words that every model
    /// knows.
    #[must_use]
    pub fn from_budget(tokens: u32) -> Self {
        match tokens {
            0 => Effort::None,
            1..=4096 => Effort::Low,
            4097..=16_384 => Effort::Medium,
            _ => Effort::High,
        }
    }

    /// Returns the budget in tokens that matches the effort.
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

/// Sampling parameters; missing ones take the upstream's default.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sampling {
    /// Temperature, 0 to 2.
    pub temperature: Option<f64>,
    /// Nucleus probability, 0 to 1.
    pub top_p: Option<f64>,
    /// Number of candidate tokens.
    pub top_k: Option<u64>,
    /// Seed for repeatable answers.
    pub seed: Option<i64>,
    /// Presence penalty, −2 to 2.
    pub presence_penalty: Option<f64>,
    /// Frequency penalty, −2 to 2.
    pub frequency_penalty: Option<f64>,
}
