//! One template: read from a file's text, filled in with values.

use std::collections::BTreeMap;

use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::PromptError;
use super::variables::{RenderError, Variable, VariableType, check, complete, from_query};

/// Steps that filling in may take: loops over what a value holds, not more.
const FUEL: u64 = 1_000_000;
/// The longest text that a template may become.
const LONGEST: usize = 8 << 20;
/// Query parameters of our own, which a variable would hide.
const RESERVED: &[&str] = &["model", "heartbeat", "encoding", "linger", "last_event_id"];
/// The only template of its environment.
const NAME: &str = "template";
const FENCE: &str = "+++";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    name: Option<String>,
    #[serde(default)]
    description: String,
    model: Option<String>,
    temperature: Option<f64>,
    max_tokens: Option<u32>,
    #[serde(default)]
    variables: toml::map::Map<String, toml::Value>,
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
    system: bool,
    user: bool,
}

/// A template filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The system prompt, if the template has one.
    pub system: Option<String>,
    /// The user's prompt.
    pub user: String,
}

impl Template {
    /// Reads a template. `file` is for errors; the name is the head's or `stem`.
    pub(super) fn parse(file: &str, stem: &str, text: &str) -> Result<Self, PromptError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (head_text, body, body_line) = split(file, text)?;
        let head: Head = toml::from_str(head_text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start).min(head_text.len());
            // The head begins on the file's second line.
            PromptError::new(file, Some(head_text[..at].matches('\n').count() + 2), error.message())
        })?;
        let line_of = |what: &str| text.lines().position(|line| line.trim_start().starts_with(what)).map(|at| at + 1);
        let name = head.name.clone().unwrap_or_else(|| stem.to_owned());
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c)) {
            let problem = format!("the name `{name}` should be of small letters, digits, `-` and `_`");
            return Err(PromptError::new(file, line_of("name"), problem));
        }
        let mut variables = Vec::new();
        for (name, value) in &head.variables {
            let line = line_of(&format!("[variables.{name}]")).or_else(|| line_of(name));
            variables.push(variable(name, value).map_err(|problem| PromptError::new(file, line, problem))?);
        }
        let environment = environment(body)
            .map_err(|error| PromptError::new(file, error.line().map(|line| line + body_line - 1), describe(&error)))?;
        let mut template = Self { name, head, variables, environment, system: false, user: false };
        template.check(file, body, body_line)?;
        Ok(template)
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
        self.head.temperature
    }

    /// The most tokens that it wants.
    #[must_use]
    pub fn max_tokens(&self) -> Option<u32> {
        self.head.max_tokens
    }

    /// What a client may know of it.
    #[must_use]
    pub fn describe(&self) -> Value {
        json!({
            "name": self.name,
            "description": self.head.description,
            "model": self.head.model,
            "temperature": self.head.temperature,
            "max_tokens": self.head.max_tokens,
            "variables": self.variables,
        })
    }

    /// Query parameters as values of this template's variables.
    ///
    /// # Errors
    ///
    /// For a name that is no variable's, or one given twice.
    pub fn variables_from_query(&self, pairs: &[(String, String)]) -> Result<Map<String, Value>, RenderError> {
        from_query(&self.variables, pairs)
    }

    /// Fills the template in.
    ///
    /// # Errors
    ///
    /// Names the variable that is missing, unknown or wrong.
    pub fn render(&self, values: Map<String, Value>) -> Result<Rendered, RenderError> {
        self.fill(&complete(&self.variables, values)?).map_err(|error| RenderError::Template(describe(&error)))
    }

    fn fill(&self, values: &BTreeMap<String, Value>) -> Result<Rendered, minijinja::Error> {
        let values: BTreeMap<String, minijinja::Value> =
            values.iter().map(|(name, value)| (name.clone(), scalar(value))).collect();
        let mut whole = self.environment.get_template(NAME)?.render_captured(values)?;
        bounded(whole.output())?;
        if !self.user {
            return Ok(Rendered { system: None, user: whole.into_output().trim().to_owned() });
        }
        let mut block = |name| whole.with_state_mut(|state| state.render_block(name));
        let system = if self.system { Some(block("system")?.trim().to_owned()) } else { None };
        Ok(Rendered { system: system.filter(|text| !text.is_empty()), user: block("user")?.trim().to_owned() })
    }

    /// What can be known before anyone asks: blocks, variables, defaults.
    fn check(&mut self, file: &str, body: &str, body_line: usize) -> Result<(), PromptError> {
        let at = |needle: &str| {
            let position = body.lines().position(|line| line.contains(needle));
            position.map(|at| at + body_line)
        };
        for forbidden in ["include", "import", "extends", "from"] {
            let tag = |line: &str| {
                line.split("{%")
                    .skip(1)
                    .any(|tag| tag.trim_start_matches(['-', '+']).trim_start().starts_with(forbidden))
            };
            if let Some(line) = body.lines().position(tag) {
                let problem = format!("`{forbidden}` would reach another file; a template stands alone");
                return Err(PromptError::new(file, Some(line + body_line), problem));
            }
        }
        let template = self
            .environment
            .get_template(NAME)
            .map_err(|error| PromptError::new(file, error.line(), describe(&error)))?;
        let mut unknown: Vec<String> = template
            .undeclared_variables(false)
            .into_iter()
            .filter(|name| !self.variables.iter().any(|variable| variable.name == *name))
            .filter(|name| !self.environment.globals().any(|(global, _)| global == name))
            .collect();
        unknown.sort();
        if let Some(name) = unknown.first() {
            let problem = format!("`{name}` is used but not declared; add [variables.{name}]");
            return Err(PromptError::new(file, at(name), problem));
        }
        let blocks: Vec<&str> = body.split("{%").skip(1).filter_map(block_name).collect();
        if let Some(other) = blocks.iter().find(|name| !matches!(**name, "system" | "user")) {
            let problem = format!("there is no place for a block `{other}`; blocks are `system` and `user`");
            return Err(PromptError::new(file, at(other), problem));
        }
        (self.system, self.user) = (blocks.contains(&"system"), blocks.contains(&"user"));
        if self.system && !self.user {
            let problem = "a block `system` needs a block `user` beside it";
            return Err(PromptError::new(file, at("system"), problem));
        }
        Ok(())
    }
}

/// The name of the block that a tag opens, if it opens one.
fn block_name(tag: &str) -> Option<&str> {
    let mut words = tag.split(['%', '}', ' ', '\n', '-', '+']).filter(|word| !word.is_empty());
    (words.next()? == "block").then(|| words.next())?
}

/// Splits head and body; also the line on which the body begins.
fn split<'a>(file: &str, text: &'a str) -> Result<(&'a str, &'a str, usize), PromptError> {
    let opens = text.lines().next().is_some_and(|line| line.trim_end() == FENCE);
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
    Err(PromptError::new(file, Some(1), "the head is not closed by a second line of +++"))
}

fn variable(name: &str, value: &toml::Value) -> Result<Variable, String> {
    if RESERVED.contains(&name) {
        return Err(format!("`{name}` is a parameter of ours; choose another name for the variable"));
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("`{name}` is no name for a variable: letters, digits and `_`"));
    }
    let head: VariableHead =
        value.clone().try_into().map_err(|error: toml::de::Error| format!("variables.{name}: {}", error.message()))?;
    let required = head.required.unwrap_or(head.default.is_none());
    let variable = Variable {
        name: name.to_owned(),
        kind: head.kind,
        description: head.description,
        default: head.default,
        required,
        values: head.values,
    };
    if let Some(wrong) = variable.values.iter().find(|value| !variable.kind.fits(value)) {
        return Err(format!("variables.{name}: the allowed value {wrong} is of another type"));
    }
    match &variable.default {
        Some(_) if required => return Err(format!("variables.{name}: a required variable has no use for a default")),
        Some(default) => {
            check(&variable, default).map_err(|error| format!("variables.{name}: its default: {error}"))?
        }
        None => {}
    }
    Ok(variable)
}

fn environment(body: &str) -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.add_template_owned(NAME, body.to_owned())?;
    Ok(environment)
}

/// Variables hold nothing but scalars: their types see to that.
fn scalar(value: &Value) -> minijinja::Value {
    match value {
        Value::String(text) => text.as_str().into(),
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => n.into(),
            (None, Some(n)) => n.into(),
            (None, None) => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        _ => ().into(),
    }
}

fn bounded(text: &str) -> Result<(), minijinja::Error> {
    if text.len() <= LONGEST {
        return Ok(());
    }
    let problem = format!("it would be longer than {LONGEST} bytes");
    Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, problem))
}

/// minijinja's words without its position, which is the body's and not the file's.
fn describe(error: &minijinja::Error) -> String {
    let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
    format!("{}{detail}", error.kind())
}
