//! The source of values: the known keys, the environment's overrides, and the place to name in an
//! error.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use base::suggest::did_you_mean;

/// An error of the configuration, on one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    pub(super) fn at(place: impl Display, problem: impl Display) -> Self {
        // A library's words may have several lines, and a key from a file anything.
        let line = format!("{place}: {problem}")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        Self(line.replace(char::is_control, ""))
    }
}

/// The spelling of a value in the environment, where everything is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// A whole number, or true or false.
    Literal,
    /// TOML: a list or a table.
    Toml,
}

/// Every key but those of providers.
const KEYS: &[(&str, Kind)] = &[
    ("listen", Kind::Text),
    ("tls.cert", Kind::Text),
    ("tls.key", Kind::Text),
    ("cors.origins", Kind::Toml),
    ("workers", Kind::Literal),
    ("max_body", Kind::Text),
    ("max_bodies", Kind::Text),
    ("max_event_bytes", Kind::Text),
    ("max_response_bytes", Kind::Text),
    ("drain", Kind::Text),
    ("prompts", Kind::Text),
    ("default_model", Kind::Text),
    ("log.format", Kind::Text),
    ("log.level", Kind::Text),
    ("timeouts.connect", Kind::Text),
    ("timeouts.first_token", Kind::Text),
    ("timeouts.between_tokens", Kind::Text),
    ("timeouts.total", Kind::Text),
    ("timeouts.client_stall", Kind::Text),
    ("timeouts.request_head", Kind::Text),
    ("timeouts.request_body", Kind::Text),
    ("sse.heartbeat", Kind::Text),
    ("sse.commit_after", Kind::Text),
    ("streams.store", Kind::Text),
    ("streams.password_env", Kind::Text),
    ("streams.password_file", Kind::Text),
    ("streams.key_prefix", Kind::Text),
    ("streams.linger", Kind::Text),
    ("streams.max_linger", Kind::Text),
    ("streams.ttl", Kind::Text),
    ("streams.max_bytes", Kind::Text),
    ("streams.max_total_bytes", Kind::Text),
    ("streams.max_readers", Kind::Literal),
    ("streams.long_poll", Kind::Text),
    ("websocket.ping", Kind::Text),
    ("websocket.idle", Kind::Text),
    ("websocket.max_message", Kind::Text),
    ("websocket.max_running", Kind::Literal),
    ("mock.tokens_per_second", Kind::Literal),
    ("models", Kind::Toml),
];

/// The keys of each provider.
const PROVIDER_KEYS: &[(&str, Kind)] = &[
    ("dialect", Kind::Text),
    ("base_url", Kind::Text),
    ("api_key_env", Kind::Text),
    ("api_key_file", Kind::Text),
    ("headers", Kind::Toml),
    ("http2", Kind::Literal),
    ("finish_reason", Kind::Text),
];

const MODEL_KEYS: &[&str] = &["name", "targets"];
const TARGET_KEYS: &[&str] = &["provider", "model"];

const PREFIX: &str = "TOKENRILL_";

/// All values, and where each stands.
#[derive(Debug)]
pub(super) struct Source {
    table: Table,
    /// The file's name, for errors.
    file: String,
    /// Lines of the file by key.
    lines: BTreeMap<String, usize>,
    /// Variables by the key that they override.
    variables: BTreeMap<String, String>,
}

impl Source {
    pub(super) fn load(file: &Path, env: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| {
            ConfigError::at(&name, format!("can't read the configuration: {error}"))
        })?;
        Self::parse(&name, &text, env)
    }

    pub(super) fn parse(
        file: &str,
        text: &str,
        env: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let parsed = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(span.start));
            ConfigError::at(format!("{file}:{line}"), error.message())
        })?;
        let table: Table =
            toml::from_str(text).map_err(|error| ConfigError::at(file, error.message()))?;
        let mut lines = BTreeMap::new();
        index(parsed.get_ref(), "", &line_of, &mut lines);
        let mut source = Self {
            table,
            file: file.to_owned(),
            lines,
            variables: BTreeMap::new(),
        };
        source.check_keys()?;
        source.override_from(env)?;
        Ok(source)
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

    /// An error about that key.
    pub(super) fn error(&self, key: &str, problem: impl Display) -> ConfigError {
        ConfigError::at(self.place(key), problem)
    }

    /// Returns the place of a key: `FILE:LINE: key`, or the variable that overrides it and the
    /// place in its value.
    fn place(&self, key: &str) -> String {
        // What overrides a key overrides all that it holds.
        let mut upwards = std::iter::successors(Some(key), |key| {
            key.rsplit_once('.').map(|(parent, _)| parent)
        });
        if let Some((above, variable)) =
            upwards.find_map(|above| Some((above, self.variables.get(above)?)))
        {
            let within = key[above.len()..].trim_start_matches('.');
            return if within.is_empty() {
                variable.clone()
            } else {
                format!("{variable}: {within}")
            };
        }
        let mut known = key;
        loop {
            if let Some(line) = self.lines.get(known) {
                return format!("{}:{line}: {key}", self.file);
            }
            match known.rsplit_once('.') {
                Some((parent, _)) => known = parent,
                None if self.file.is_empty() => return key.to_owned(),
                None => return format!("{}: {key}", self.file),
            }
        }
    }

    fn check_keys(&self) -> Result<(), ConfigError> {
        for (name, value) in &self.table {
            let known: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
            let section: Vec<&str> = known
                .iter()
                .filter_map(|key| key.strip_prefix(&format!("{name}.")))
                .collect();
            match (name.as_str(), value) {
                ("providers", Value::Table(providers)) => {
                    let keys: Vec<&str> = PROVIDER_KEYS.iter().map(|(key, _)| *key).collect();
                    for (provider, value) in providers {
                        let key = format!("providers.{provider}");
                        let Value::Table(table) = value else {
                            return Err(
                                self.error(&key, "should be a table, as in [providers.openai]")
                            );
                        };
                        self.check_table(&key, table, &keys)?;
                    }
                }
                ("providers", _) => {
                    return Err(self.error(name, "should hold tables, as in [providers.openai]"));
                }
                ("models", Value::Array(models)) => self.check_models(models)?,
                (_, Value::Table(table)) if !section.is_empty() => {
                    self.check_table(name, table, &section)?
                }
                (_, _) if !section.is_empty() => {
                    return Err(self.error(name, format!("should be a section, [{name}]")));
                }
                _ if known.contains(&name.as_str()) => {}
                _ => {
                    let mut top: Vec<&str> = known
                        .iter()
                        .map(|key| key.split('.').next().unwrap_or(key))
                        .collect();
                    top.push("providers");
                    top.dedup();
                    // A key may also stand in the wrong section.
                    let leaf = known
                        .iter()
                        .copied()
                        .find(|key| key.rsplit('.').next() == Some(name));
                    return Err(self.error(
                        name,
                        unknown(leaf.or_else(|| did_you_mean(name, &top)), &top),
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_table(&self, at: &str, table: &Table, keys: &[&str]) -> Result<(), ConfigError> {
        match table.keys().find(|key| !keys.contains(&key.as_str())) {
            Some(key) if key == "api_key" && keys.contains(&"api_key_env") => Err(self.error(
                &format!("{at}.{key}"),
                "a key doesn't stand here; name the variable that holds it by api_key_env, or the file by api_key_file",
            )),
            Some(key) => Err(self.error(&format!("{at}.{key}"), unknown(did_you_mean(key, keys), keys))),
            None => Ok(()),
        }
    }

    fn check_models(&self, models: &[Value]) -> Result<(), ConfigError> {
        for (at, model) in models.iter().enumerate() {
            let key = format!("models.{at}");
            let Value::Table(model) = model else {
                return Err(self.error(&key, "should be a table, as in [[models]]"));
            };
            self.check_table(&key, model, MODEL_KEYS)?;
            for (nth, target) in model
                .get("targets")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .enumerate()
            {
                if let Value::Table(target) = target {
                    self.check_table(&format!("{key}.targets.{nth}"), target, TARGET_KEYS)?;
                }
            }
        }
        Ok(())
    }

    fn override_from(&mut self, env: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        let mut keys: Vec<(String, Kind)> = KEYS
            .iter()
            .map(|(key, kind)| ((*key).to_owned(), *kind))
            .collect();
        for provider in self.providers() {
            keys.extend(
                PROVIDER_KEYS
                    .iter()
                    .map(|(key, kind)| (format!("providers.{provider}.{key}"), *kind)),
            );
        }
        for (variable, value) in env.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            if is_not_ours(variable) {
                continue;
            }
            let mut named = keys.iter().filter(|(key, _)| variable_of(key) == *variable);
            let (first, second) = (named.next(), named.next());
            if let (Some((first, _)), Some((second, _))) = (first, second) {
                let problem = format!(
                    "stands for both {first} and {second}; give one of the providers another name"
                );
                return Err(ConfigError::at(variable, problem));
            }
            let Some((key, kind)) = first else {
                if variable.starts_with("TOKENRILL_PROVIDERS_") && self.providers().next().is_none()
                {
                    let problem = "there is no provider to override; add its section, such as [providers.openai]";
                    return Err(ConfigError::at(variable, problem));
                }
                let known: Vec<String> = keys.iter().map(|(key, _)| variable_of(key)).collect();
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let hint = did_you_mean(variable, &known)
                    .map_or(String::new(), |name| format!("; did you mean {name}?"));
                return Err(ConfigError::at(
                    variable,
                    format!("no key of the configuration has this name{hint}"),
                ));
            };
            let value = match kind {
                Kind::Text => Value::String(value.clone()),
                // What is no literal stays text: the key's own check says what it should be.
                Kind::Literal => literal(value).unwrap_or_else(|| Value::String(value.clone())),
                Kind::Toml => literal(value)
                    .ok_or_else(|| ConfigError::at(variable, "should be a TOML value"))?,
            };
            set(&mut self.table, key, value);
            self.variables.insert(key.clone(), variable.clone());
        }
        if !self.variables.is_empty() {
            self.check_keys()?;
        }
        Ok(())
    }
}

/// Returns whether a variable is no key: the file's own name, or one that Kubernetes sets for a
/// service of our name.
fn is_not_ours(variable: &str) -> bool {
    let rest = variable.strip_prefix(PREFIX).unwrap_or(variable);
    matches!(rest, "CONFIG" | "PORT") || rest.starts_with("SERVICE_") || rest.starts_with("PORT_")
}

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

fn literal(text: &str) -> Option<Value> {
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

fn unknown(nearest: Option<&str>, known: &[&str]) -> String {
    let hint = nearest.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
    format!(
        "there is no such key{hint} (known here: {})",
        known.join(", ")
    )
}

#[cfg(test)]
mod tests {
    //! `docs/configuration.md` names exactly the keys that exist.

    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use super::*;

    /// Returns the keys in the first column of a part's tables.
    fn documented(part: &str) -> BTreeSet<&str> {
        let rows = part.lines().filter(|line| line.starts_with("| `"));
        let cells = rows.filter_map(|row| row.split('|').nth(1));
        cells
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect()
    }

    #[test]
    fn the_page_names_every_key_and_no_other() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        let page = std::fs::read_to_string(path).unwrap();
        let part = |heading: &str| {
            let rest = page.split_once(heading).map_or("", |(_, rest)| rest);
            documented(rest.split("\n## ").next().unwrap_or_default())
        };
        let general = documented(page.split("\n## Protocols").next().unwrap_or_default());
        let known = KEYS.iter().map(|(key, _)| *key);
        assert_eq!(general, known.filter(|key| *key != "models").collect());
        let known = PROVIDER_KEYS.iter().map(|(key, _)| *key);
        assert_eq!(part("\n## `[providers.NAME]`"), known.collect());
        let known = MODEL_KEYS.iter().copied();
        assert_eq!(part("\n## `[[models]]`"), known.collect());
    }
}
