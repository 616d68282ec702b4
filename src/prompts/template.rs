//! One template: read from a file's text, filled in with values.

use std::collections::BTreeMap;

use minijinja::Environment;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use toml::Spanned;

use super::PromptError;
use super::body::{self, Blocks};
use super::budget::{BoundedText, Budget, MAX_PROMPT_BYTES, MAX_STEPS, RENDER_TIMEOUT};
use super::engine::{self, Exceeded, NAME, describe, environment, scalar};
use super::variables::{
    RenderError, Variable, VariableType, check, check_one, complete, from_query,
};

/// Query parameters of our own, which a variable would hide.
const RESERVED: &[&str] = &["model", "heartbeat", "encoding", "linger", "last_event_id"];
/// Words of the template language, which a variable can't be called.
const WORDS: &[&str] = &[
    "true", "True", "false", "False", "none", "None", "not", "and", "or", "in", "is", "if", "else",
    "loop", "self", "super",
];
const FENCE: &str = "+++";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    name: Option<Spanned<String>>,
    #[serde(default)]
    description: String,
    model: Option<String>,
    temperature: Option<Spanned<f64>>,
    max_tokens: Option<Spanned<u32>>,
    #[serde(default)]
    variables: BTreeMap<Spanned<String>, VariableHead>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VariableHead {
    #[serde(default, rename = "type")]
    kind: VariableType,
    description: Option<String>,
    default: Option<Value>,
    required: Option<bool>,
    #[serde(default)]
    values: Vec<Value>,
}

/// A prompt template.
#[derive(Debug)]
pub struct Template {
    name: String,
    head: Head,
    variables: Vec<Variable>,
    environment: Environment<'static>,
    blocks: Blocks,
}

/// A template filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The system prompt, if the template has one.
    pub system: Option<String>,
    /// The user's prompt.
    pub user: String,
}

/// Checks the values of a head; `line_of` says on which line of the file an offset lies.
fn check_head(
    file: &str,
    name: &str,
    head: &Head,
    line_of: &dyn Fn(usize) -> usize,
) -> Result<(), PromptError> {
    if name.is_empty()
        || !name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
    {
        let problem = format!("the name `{name}` should be of small letters, digits, `-` and `_`");
        let line = head.name.as_ref().map(|name| line_of(name.span().start));
        return Err(PromptError::new(file, line, problem));
    }
    if let Some(temperature) = head
        .temperature
        .as_ref()
        .filter(|t| !(0.0..=2.0).contains(t.get_ref()))
    {
        let problem = format!(
            "temperature should be from 0 to 2, not {}",
            temperature.get_ref()
        );
        return Err(PromptError::new(
            file,
            Some(line_of(temperature.span().start)),
            problem,
        ));
    }
    if let Some(max_tokens) = head.max_tokens.as_ref().filter(|n| *n.get_ref() == 0) {
        let line = line_of(max_tokens.span().start);
        return Err(PromptError::new(
            file,
            Some(line),
            "max_tokens should be at least 1",
        ));
    }
    Ok(())
}

impl Template {
    /// Reads a template. `file` is for errors; the name is the head's or `stem`.
    pub(super) fn parse(file: &str, stem: &str, text: &str) -> Result<Self, PromptError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (head_text, body, body_line) = split(file, text)?;
        // The head begins on the file's second line.
        let line_of = |at: usize| head_text[..at.min(head_text.len())].matches('\n').count() + 2;
        let mut head: Head = toml::from_str(head_text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            PromptError::new(file, Some(line_of(at)), error.message())
        })?;
        let name = head
            .name
            .as_ref()
            .map_or(stem, |name| name.get_ref().as_str())
            .to_owned();
        check_head(file, &name, &head, &line_of)?;
        let mut variables = Vec::new();
        for (name, value) in std::mem::take(&mut head.variables) {
            let line = line_of(name.span().start);
            let variable = variable(name.get_ref(), value);
            variables
                .push(variable.map_err(|problem| PromptError::new(file, Some(line), problem))?);
        }
        let in_body = |error: &minijinja::Error| {
            PromptError::new(
                file,
                error.line().map(|line| line + body_line - 1),
                describe(error),
            )
        };
        let environment = environment(body).map_err(|error| in_body(&error))?;
        let template = environment
            .get_template(NAME)
            .map_err(|error| in_body(&error))?;
        let blocks = body::check(body, &variables, &environment, &template)
            .map_err(|(line, problem)| PromptError::new(file, Some(line + body_line), problem))?;
        Ok(Self {
            name,
            head,
            variables,
            environment,
            blocks,
        })
    }

    /// The name of its endpoint.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model that it wants.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.head.model.as_deref()
    }

    /// The sampling temperature that it wants.
    #[must_use]
    pub fn temperature(&self) -> Option<f64> {
        self.head
            .temperature
            .as_ref()
            .map(|temperature| *temperature.get_ref())
    }

    /// The most tokens that it wants.
    #[must_use]
    pub fn max_tokens(&self) -> Option<u32> {
        self.head
            .max_tokens
            .as_ref()
            .map(|max_tokens| *max_tokens.get_ref())
    }

    /// Returns the description for clients.
    #[must_use]
    pub fn describe(&self) -> Value {
        json!({
            "name": self.name,
            "description": self.head.description,
            "model": self.model(),
            "temperature": self.temperature(),
            "max_tokens": self.max_tokens(),
            "variables": self.variables,
        })
    }

    /// Returns whether it has a variable of that name.
    #[must_use]
    pub fn has_variable(&self, name: &str) -> bool {
        self.variables.iter().any(|variable| variable.name == name)
    }

    /// Query parameters as values of this template's variables.
    ///
    /// # Errors
    ///
    /// For a name that is no variable's, or one given twice.
    pub fn variables_from_query(
        &self,
        pairs: &[(String, String)],
    ) -> Result<Map<String, Value>, RenderError> {
        from_query(&self.variables, pairs)
    }

    /// Checks one given value; none stands for a list or an object.
    ///
    /// # Errors
    ///
    /// Names the variable that is unknown or wrong.
    pub fn check_variable(&self, name: &str, value: Option<&Value>) -> Result<(), RenderError> {
        check_one(&self.variables, name, value)
    }

    /// Fills the template in.
    ///
    /// # Errors
    ///
    /// Names the variable that is missing, unknown or wrong, or the bound that is exceeded.
    pub fn render(&self, values: Map<String, Value>) -> Result<Rendered, RenderError> {
        self.fill(&complete(&self.variables, values)?)
            .map_err(|error| match engine::exceeded(&error) {
                Some(Exceeded::Length) => RenderError::TooLong {
                    limit: MAX_PROMPT_BYTES,
                },
                Some(Exceeded::Time) => RenderError::TooSlow {
                    template: self.name.clone(),
                    seconds: RENDER_TIMEOUT.as_secs(),
                    steps: MAX_STEPS,
                },
                None => RenderError::Template(describe(&error)),
            })
    }

    fn fill(&self, values: &BTreeMap<String, Value>) -> Result<Rendered, minijinja::Error> {
        let values: BTreeMap<String, minijinja::Value> = values
            .iter()
            .map(|(name, value)| (name.clone(), scalar(value)))
            .collect();
        let mut user = BoundedText::default();
        let mut whole = self
            .environment
            .get_template(NAME)?
            .render_captured_to(values, &mut user)?;
        if !self.blocks.user {
            return Ok(Rendered {
                system: None,
                user: user.trimmed(),
            });
        }
        // The whole was for what is set outside the blocks; now the blocks by themselves.
        let mut block = |name| {
            let mut text = BoundedText::default();
            whole.with_state_mut(|state| {
                Budget::of(state).begin_text();
                state.render_block_to_write(name, &mut text)
            })?;
            Ok::<_, minijinja::Error>(text.trimmed())
        };
        let system = if self.blocks.system {
            Some(block("system")?)
        } else {
            None
        };
        Ok(Rendered {
            system: system.filter(|text| !text.is_empty()),
            user: block("user")?,
        })
    }
}

/// Splits head and body; also the line on which the body begins.
fn split<'a>(file: &str, text: &'a str) -> Result<(&'a str, &'a str, usize), PromptError> {
    let opens = text
        .lines()
        .next()
        .is_some_and(|line| line.trim_end() == FENCE);
    let start = text.find('\n').map_or(text.len(), |at| at + 1);
    if !opens {
        return Err(PromptError::new(
            file,
            Some(1),
            "should begin with a line of +++, then its head in TOML, then +++",
        ));
    }
    let mut at = start;
    for (number, line) in text[start..].split_inclusive('\n').enumerate() {
        if line.trim_end() == FENCE {
            return Ok((&text[start..at], &text[at + line.len()..], number + 3));
        }
        at += line.len();
    }
    Err(PromptError::new(
        file,
        Some(1),
        "the head is not closed by a second line of +++",
    ))
}

fn variable(name: &str, head: VariableHead) -> Result<Variable, String> {
    if RESERVED.contains(&name) {
        return Err(format!(
            "`{name}` is a parameter of ours; choose another name for the variable"
        ));
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        || name.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(format!(
            "`{name}` is no name for a variable: letters, digits and `_`"
        ));
    }
    if WORDS.contains(&name) {
        return Err(format!(
            "`{name}` is a word of the template language; choose another name for the variable"
        ));
    }
    let required = head.required.unwrap_or(head.default.is_none());
    let variable = Variable {
        name: name.to_owned(),
        kind: head.kind,
        description: head.description,
        default: head.default,
        required,
        values: head.values,
    };
    if let Some(wrong) = variable
        .values
        .iter()
        .find(|value| !variable.kind.fits(value))
    {
        return Err(format!(
            "variables.{name}: the allowed value {wrong} is of another type"
        ));
    }
    match &variable.default {
        Some(_) if required => {
            return Err(format!(
                "variables.{name}: a required variable has no use for a default"
            ));
        }
        Some(default) => check(&variable, default)
            .map_err(|error| format!("variables.{name}: its default: {error}"))?,
        None => {}
    }
    Ok(variable)
}
