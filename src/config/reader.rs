//! Readers of values: each checks one kind and names the place in its error.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::num::NonZeroUsize;
use std::time::Duration;

use bytesize::ByteSize;
use http::HeaderValue;
use secrecy::SecretString;
use toml::Value;

use super::Secret;
use super::source::{ConfigError, Source};
use base::suggest::did_you_mean;

/// Longer than any request: whoever writes more meant another unit.
const MAX_DURATION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The resolution of the timers here.
const MIN_DURATION: Duration = Duration::from_millis(1);

/// Sizes beyond it are typing errors.
const MAX_SIZE: u64 = 1 << 30;

/// `; did you mean …? (there are: …)`
pub(super) fn among(name: &str, known: &[&str]) -> String {
    let hint =
        did_you_mean(name, known).map_or(String::new(), |name| format!("; did you mean `{name}`?"));
    format!("{hint} (there are: {})", known.join(", "))
}

pub(super) fn wrong(source: &Source, key: &str, want: impl Display, found: &Value) -> ConfigError {
    source.error(key, format!("should be {want}, not {}", excerpt(found)))
}

fn excerpt(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 {
        text.chars().take(60).chain(['…']).collect()
    } else {
        text
    }
}

pub(super) fn text<'a>(source: &'a Source, key: &str) -> Result<Option<&'a str>, ConfigError> {
    match source.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(other) => Err(wrong(source, key, "a text that is not empty", other)),
    }
}

pub(super) fn parsed<T: std::str::FromStr>(
    source: &Source,
    key: &str,
    default: &str,
    want: &str,
) -> Result<T, ConfigError> {
    let text = text(source, key)?.unwrap_or(default);
    text.parse()
        .map_err(|_| wrong(source, key, want, &Value::from(text)))
}

/// A duration of more than nothing.
pub(super) fn duration(source: &Source, key: &str, seconds: u64) -> Result<Duration, ConfigError> {
    let duration = any_duration(source, key, seconds)?;
    if duration.is_zero() {
        return Err(source.error(key, "should be longer than nothing, such as \"5s\""));
    }
    Ok(duration)
}

pub(super) fn any_duration(
    source: &Source,
    key: &str,
    seconds: u64,
) -> Result<Duration, ConfigError> {
    const WANT: &str = "a duration such as \"500ms\", \"15s\" or \"10m\"";
    let duration = match source.get(key) {
        None => Duration::from_secs(seconds),
        Some(Value::String(text)) => {
            let duration = humantime::parse_duration(text);
            duration.map_err(|_| wrong(source, key, WANT, &Value::from(text.as_str())))?
        }
        Some(other) => return Err(wrong(source, key, WANT, other)),
    };
    if !duration.is_zero() && duration < MIN_DURATION {
        return Err(source.error(key, "should be at least \"1ms\""));
    }
    if duration > MAX_DURATION {
        return Err(source.error(key, "should be at most a week"));
    }
    Ok(duration)
}

pub(super) fn size(source: &Source, key: &str, default: usize) -> Result<usize, ConfigError> {
    const WANT: &str = "a size from 1KiB to 1GiB, such as \"4MiB\"";
    let bytes = match source.get(key) {
        None => return Ok(default),
        Some(Value::String(text)) => text.parse::<ByteSize>().ok().map(|size| size.as_u64()),
        Some(_) => None,
    };
    let bytes = bytes
        .filter(|bytes| (1024..=MAX_SIZE).contains(bytes))
        .and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| {
        wrong(
            source,
            key,
            WANT,
            source.get(key).unwrap_or(&Value::Boolean(false)),
        )
    })
}

/// A whole number of at least one.
pub(super) fn count(
    source: &Source,
    key: &str,
    default: usize,
    most: usize,
) -> Result<NonZeroUsize, ConfigError> {
    let Some(value) = source.get(key) else {
        return Ok(NonZeroUsize::new(default).unwrap_or(NonZeroUsize::MIN));
    };
    let number = value
        .as_integer()
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| *n <= most);
    number.and_then(NonZeroUsize::new).ok_or_else(|| {
        wrong(
            source,
            key,
            format!("a whole number from 1 to {most}"),
            value,
        )
    })
}

/// One of some words; the first is the default.
pub(super) fn choice<T: Copy>(
    source: &Source,
    key: &str,
    choices: &[(&str, T)],
) -> Result<T, ConfigError> {
    let found = text(source, key)?;
    let chosen = choices
        .iter()
        .find(|(name, _)| found.is_none_or(|found| found == *name));
    chosen.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let hint = did_you_mean(found.unwrap_or_default(), &names)
            .map_or(String::new(), |n| format!("; did you mean `{n}`?"));
        source.error(
            key,
            format!(
                "should be one of {}, not `{}`{hint}",
                names.join(", "),
                found.unwrap_or_default()
            ),
        )
    })
}

/// The two keys that name where a secret is.
pub(super) struct Keys<'a> {
    pub(super) env: &'a str,
    pub(super) file: &'a str,
    /// A variable to give as an example in errors.
    pub(super) example: &'a str,
}

/// Returns the error for a variable that is not set. It repeats only what looks like a variable's
/// name: a key that was pasted there by mistake must not get into a log.
fn unset_variable(variable: &str, example: &str) -> String {
    let is_name = variable.len() <= 64
        && variable.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && variable
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if is_name {
        return format!("the environment variable {variable} is not set");
    }
    format!(
        "the environment variable that it names is not set; it should be a name, such as \"{example}\", \
         and not the key itself"
    )
}

/// Reads a secret from the variable or the file that one of two keys names.
pub(super) fn secret(
    source: &Source,
    env: &BTreeMap<String, String>,
    keys: &Keys<'_>,
) -> Result<Option<Secret>, ConfigError> {
    let (key, secret, whence) = match (text(source, keys.env)?, text(source, keys.file)?) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            let other = keys.env.rsplit('.').next().unwrap_or_default();
            return Err(source.error(
                keys.file,
                format!("stands beside {other}; give one of the two"),
            ));
        }
        (Some(variable), None) => {
            let Some(secret) = env.get(variable) else {
                return Err(source.error(keys.env, unset_variable(variable, keys.example)));
            };
            (
                keys.env,
                secret.clone(),
                format!("the environment variable {variable}"),
            )
        }
        (None, Some(file)) => {
            let secret = std::fs::read_to_string(file).map_err(|error| {
                source.error(
                    keys.file,
                    format!("can't read the key file {file}: {error}"),
                )
            })?;
            (keys.file, secret, format!("the key file {file}"))
        }
    };
    let secret = secret.trim();
    if secret.is_empty() {
        return Err(source.error(key, format!("{whence} is empty")));
    }
    if HeaderValue::from_str(secret).is_err() {
        return Err(source.error(
            key,
            format!("{whence} contains characters that are not allowed in an HTTP header"),
        ));
    }
    Ok(Some(Secret(SecretString::from(secret))))
}
