//! Options of a request: tools, format, reasoning and sampling.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::CacheTtl;
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
        Self((!json.is_null()).then(|| without_lone_surrogates(json.raw()).into()))
    }
}

impl From<Value> for JsonText {
    fn from(value: Value) -> Self {
        Self(Some(value.to_string().into()))
    }
}

/// Returns JSON with U+FFFD for every half of a surrogate pair without the other half: strict
/// parsers refuse those, and with them the whole request.
fn without_lone_surrogates(raw: &str) -> Cow<'_, str> {
    if !raw.contains("\\ud") && !raw.contains("\\uD") {
        return raw.into();
    }
    let unit = |at: usize| {
        let digits = raw.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut out = String::with_capacity(raw.len());
    let (mut copied, mut at) = (0, 0);
    while let Some(next) = memchr::memchr(b'\\', &raw.as_bytes()[at..]) {
        at += next;
        match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(0xD800..=0xDFFF) => {
                out.push_str(&raw[copied..at]);
                out.push_str("\\ufffd");
                at += 6;
                copied = at;
            }
            Some(_) => at += 6,
            // Some other escape, of two characters.
            None => at = raw.len().min(at + 2),
        }
    }
    out.push_str(&raw[copied..]);
    out.into()
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
    /// The tools up to this one are to be cached.
    pub cache: Option<CacheTtl>,
    /// The tool as both of OpenAI's dialects have it, if it takes a text. All else describes it as
    /// a function.
    pub custom: Option<Box<CustomTool>>,
}

/// A tool that is called with a text instead of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CustomTool {
    /// Description for the model, without the grammar.
    pub description: Option<String>,
    /// The grammar that the text must match, if it has one.
    pub grammar: Option<Grammar>,
}

/// A grammar for the text of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grammar {
    /// The language of the grammar: `lark` or `regex`.
    pub syntax: String,
    /// The grammar.
    pub definition: String,
}

/// Options that both of OpenAI's dialects have, and no other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenAiOptions {
    /// Labels of the request.
    pub metadata: JsonText,
    /// The way to process the request, which has its price.
    pub service_tier: Option<String>,
    /// A key of requests that begin alike.
    pub prompt_cache_key: Option<String>,
    /// The time for which the beginning is cached.
    pub prompt_cache_retention: Option<String>,
    /// The length of the answer, as a word.
    pub verbosity: Option<String>,
}

impl OpenAiOptions {
    /// Returns the options' names, each with whether it is there.
    pub(crate) fn present(&self) -> [(&'static str, bool); 5] {
        [
            ("metadata", !self.metadata.is_null()),
            ("service_tier", self.service_tier.is_some()),
            ("prompt_cache_key", self.prompt_cache_key.is_some()),
            (
                "prompt_cache_retention",
                self.prompt_cache_retention.is_some(),
            ),
            ("verbosity", self.verbosity.is_some()),
        ]
    }
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
    /// Amount of reasoning; `None` if the client leaves it to the model.
    pub effort: Option<Effort>,
    /// Maximum reasoning tokens, if the client gave a number.
    pub budget: Option<u32>,
    /// The client wants to see the reasoning; `None` if it did not say, and takes it if it is
    /// there.
    pub shown: Option<bool>,
}

impl Reasoning {
    /// Returns true if the client wants none.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.effort == Some(Effort::None) || self.budget == Some(0)
    }

    /// Returns the effort; a medium one if it is left to the model.
    #[must_use]
    pub fn effort_or_medium(&self) -> Effort {
        self.effort.unwrap_or(Effort::Medium)
    }
}

/// Log probabilities that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logprobs {
    /// The number of alternatives for each token.
    pub alternatives: u32,
    /// The field that asks for them, if an answer without them is none.
    pub param: Option<&'static str>,
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
