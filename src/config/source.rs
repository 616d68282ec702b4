//! The source of values: the file, the environment's overrides, and the place to name in an error.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::key::{Keys, Spelling};
use super::problems::{Problem, Problems};
use base::suggest::did_you_mean;

const PREFIX: &str = "TOKENRILL_";

/// All values, and where each stands.
#[derive(Debug)]
pub(super) struct Source {
    /// The keys there are.
    pub(super) keys: Keys,
    pub(super) table: Table,
    /// The file's name, for errors.
    file: String,
    /// Lines of the file by key.
    lines: BTreeMap<String, usize>,
    /// Variables by the key that they override.
    variables: BTreeMap<String, String>,
}

impl Source {
    /// Reads a file, if any, and the environment. None if the file is not TOML: then nothing can be
    /// said about its values.
    pub(super) fn load(
        file: Option<&Path>,
        env: &BTreeMap<String, String>,
        keys: Keys,
        problems: &mut Problems,
    ) -> Option<Self> {
        let Some(file) = file else {
            return Self::parse("", "", env, keys, problems);
        };
        let name = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(&name, &text, env, keys, problems),
            Err(error) => {
                let problem = format!("can't read the configuration: {error}");
                problems.add(Problem::new(None, "", name, problem));
                None
            }
        }
    }

    fn parse(
        file: &str,
        text: &str,
        env: &BTreeMap<String, String>,
        keys: Keys,
        problems: &mut Problems,
    ) -> Option<Self> {
        let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let (parsed, errors) = DeTable::parse_recoverable(text);
        let mut last = 0;
        for error in &errors {
            let line = error.span().map_or(1, |span| line_of(span.start));
            // The further errors of a line follow from its first.
            if line != last {
                let place = format!("{file}:{line}");
                problems.add(Problem::new(Some(line), "", place, error.message()));
            }
            last = line;
        }
        if !errors.is_empty() {
            return None;
        }
        let table: Table = toml::from_str(text)
            .map_err(|error| problems.add(Problem::new(None, "", file, error.message())))
            .ok()?;
        let mut lines = BTreeMap::new();
        index(parsed.get_ref(), "", &line_of, &mut lines);
        let mut source = Self {
            keys,
            table,
            file: file.to_owned(),
            lines,
            variables: BTreeMap::new(),
        };
        source.override_from(env, problems);
        Some(source)
    }

    /// The value of a key, such as `timeouts.connect`.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let mut parts = key.split('.');
        let first = self.table.get(parts.next()?)?;
        parts.try_fold(first, |value, part| {
            value
                .get(part)
                .or_else(|| value.get(part.parse::<usize>().ok()?))
        })
    }

    /// The names of all providers.
    pub(super) fn providers(&self) -> impl Iterator<Item = &str> {
        self.table
            .get("providers")
            .and_then(Value::as_table)
            .into_iter()
            .flat_map(Table::keys)
            .map(String::as_str)
    }

    /// Returns a problem of that key.
    pub(super) fn problem(&self, key: &str, problem: impl Display) -> Problem {
        self.problem_at(key, key, problem)
    }

    /// Returns a problem of a key that is missing in the table at `place`.
    pub(super) fn problem_at(&self, place: &str, key: &str, problem: impl Display) -> Problem {
        Problem::new(self.line(place), key, self.place(place), problem)
    }

    /// Returns the variable that overrides a key, or a key above it: what overrides a key overrides
    /// all that it holds.
    fn overriding<'a>(&'a self, key: &'a str) -> Option<(&'a str, &'a str)> {
        let mut upwards = upwards(key);
        upwards.find_map(|above| Some((above, self.variables.get(above)?.as_str())))
    }

    /// Returns the line of a key, or of the nearest one above it. None if a variable overrides it.
    fn line(&self, key: &str) -> Option<usize> {
        if self.overriding(key).is_some() {
            return None;
        }
        upwards(key).find_map(|known| self.lines.get(known).copied())
    }

    /// Returns the place of a key: `FILE:LINE: key`, or the variable that overrides it and the
    /// place in its value.
    fn place(&self, key: &str) -> String {
        if let Some((above, variable)) = self.overriding(key) {
            let within = key[above.len()..].trim_start_matches('.');
            return if within.is_empty() {
                variable.to_owned()
            } else {
                format!("{variable}: {within}")
            };
        }
        match self.line(key) {
            Some(line) => format!("{}:{line}: {key}", self.file),
            None if self.file.is_empty() => key.to_owned(),
            None => format!("{}: {key}", self.file),
        }
    }

    /// Returns the path and spelling of every key that a variable can override.
    fn overridable(&self) -> Vec<(String, Spelling)> {
        let general = self.keys.general();
        let mut keys: Vec<(String, Spelling)> = general
            .map(|key| (key.path.to_owned(), key.kind.spelling()))
            .collect();
        for provider in self.providers() {
            keys.extend(self.keys.provider.iter().map(|key| {
                let path = format!("providers.{provider}.{}", key.path);
                (path, key.kind.spelling())
            }));
        }
        keys
    }

    fn override_from(&mut self, env: &BTreeMap<String, String>, problems: &mut Problems) {
        let keys = self.overridable();
        for (variable, value) in env.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            if is_not_ours(variable) {
                continue;
            }
            let named: Vec<_> = keys
                .iter()
                .filter(|(key, _)| variable_of(key) == *variable)
                .collect();
            let (key, spelling) = match named.as_slice() {
                [] => {
                    self.report_unknown(variable, &keys, problems);
                    continue;
                }
                [one] => one,
                [(first, _), (second, _), ..] => {
                    let problem = format!(
                        "stands for both {first} and {second}; give one of the providers another name"
                    );
                    problems.add(Problem::new(None, variable, variable, problem));
                    for (key, _) in named {
                        problems.add_meant(key.clone());
                    }
                    continue;
                }
            };
            let value = match (spelling, literal(value)) {
                (Spelling::Text, _) => Value::String(value.clone()),
                (_, Some(literal)) => literal,
                // What is no literal stays text: the key's own check says what it should be.
                (Spelling::Literal, None) => Value::String(value.clone()),
                (Spelling::Toml, None) => {
                    let problem = "should be a TOML value";
                    problems.add(Problem::new(None, key, variable, problem));
                    continue;
                }
            };
            set(&mut self.table, key, value);
            self.variables.insert(key.clone(), variable.clone());
        }
    }

    fn report_unknown(&self, variable: &str, keys: &[(String, Spelling)], problems: &mut Problems) {
        let is_orphan =
            variable.starts_with("TOKENRILL_PROVIDERS_") && self.providers().next().is_none();
        let problem = if is_orphan {
            "there is no provider to override; add its section, such as [providers.openai]"
                .to_owned()
        } else {
            let known: Vec<String> = keys.iter().map(|(key, _)| variable_of(key)).collect();
            let names: Vec<&str> = known.iter().map(String::as_str).collect();
            let nearest = did_you_mean(variable, &names);
            let keys = keys.iter().zip(&known);
            for ((key, _), _) in keys.filter(|(_, name)| nearest == Some(name.as_str())) {
                problems.add_meant(key.clone());
            }
            let hint = nearest.map_or(String::new(), |name| format!("; did you mean {name}?"));
            format!("no key of the configuration has this name{hint}")
        };
        problems.add(Problem::new(None, variable, variable, problem));
    }
}

/// Returns a key and all that are above it.
fn upwards(key: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(key), |key| {
        key.rsplit_once('.').map(|(parent, _)| parent)
    })
}

/// Returns whether a variable is no key: the file's own name, or one that Kubernetes sets for a
/// service of our name.
fn is_not_ours(variable: &str) -> bool {
    let rest = variable.strip_prefix(PREFIX).unwrap_or(variable);
    matches!(rest, "CONFIG" | "PORT") || rest.starts_with("SERVICE_") || rest.starts_with("PORT_")
}

/// Returns the name of the variable that overrides a key.
fn variable_of(key: &str) -> String {
    let name: String = key
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    format!("{PREFIX}{name}")
}

/// Parses a TOML value.
pub(super) fn literal(text: &str) -> Option<Value> {
    toml::from_str::<Table>(&format!("value = {text}"))
        .ok()?
        .remove("value")
}

fn set(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((head, rest)) => {
            let inner = table
                .entry(head)
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

/// The line of every key, by its path.
fn index(
    table: &DeTable<'_>,
    at: &str,
    line_of: &dyn Fn(usize) -> usize,
    lines: &mut BTreeMap<String, usize>,
) {
    for (key, value) in table {
        let path = if at.is_empty() {
            key.get_ref().to_string()
        } else {
            format!("{at}.{}", key.get_ref())
        };
        index_value(value, &path, line_of, lines);
        lines.insert(path, line_of(key.span().start));
    }
}

fn index_value(
    value: &Spanned<DeValue<'_>>,
    path: &str,
    line_of: &dyn Fn(usize) -> usize,
    lines: &mut BTreeMap<String, usize>,
) {
    match value.get_ref() {
        DeValue::Table(table) => index(table, path, line_of, lines),
        DeValue::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                let path = format!("{path}.{at}");
                index_value(value, &path, line_of, lines);
                lines.insert(path, line_of(value.span().start));
            }
        }
        _ => {}
    }
}
