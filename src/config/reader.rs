//! The reader of values: each method checks one type. What is wrong becomes a problem, and reading
//! goes on with the default or a placeholder, so that all problems are found at once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::num::NonZeroUsize;
use std::time::Duration;

use bytesize::ByteSize;
use toml::Value;

use super::key::{Default, Key, Kind, Spelling};
use super::problems::{Problem, Problems};
use super::source::Source;
use base::suggest::did_you_mean;

/// Longer than any request: whoever writes more meant another unit.
const MAX_DURATION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The resolution of the timers here.
const MIN_DURATION: Duration = Duration::from_millis(1);

/// Sizes below it are typing errors.
const MIN_SIZE: u64 = 1 << 10;

/// Sizes beyond it are typing errors.
const MAX_SIZE: u64 = 1 << 30;

/// The most characters of a wrong value that an error repeats.
const MAX_EXCERPT: usize = 60;

/// `; did you mean …? (there are: …)`
pub(super) fn among(name: &str, known: &[&str]) -> String {
    let hint =
        did_you_mean(name, known).map_or(String::new(), |name| format!("; did you mean `{name}`?"));
    format!("{hint} (there are: {})", known.join(", "))
}

/// Returns the complaint about a value of another type or form.
pub(super) fn wrong(want: impl Display, found: &Value) -> String {
    let text = found.to_string();
    let excerpt = if text.chars().count() > MAX_EXCERPT {
        text.chars().take(MAX_EXCERPT).chain(['…']).collect()
    } else {
        text
    };
    format!("should be {want}, not {excerpt}")
}

/// A reader of values that collects what is wrong with them.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    source: &'a Source,
    env: &'a BTreeMap<String, String>,
    problems: &'a mut Problems,
    /// The section or list entry whose keys it reads; empty for keys with a path of their own.
    section: String,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        source: &'a Source,
        env: &'a BTreeMap<String, String>,
        problems: &'a mut Problems,
    ) -> Self {
        Self {
            source,
            env,
            problems,
            section: String::new(),
        }
    }

    /// Returns a reader of the keys in a section.
    pub(super) fn within(&mut self, section: String) -> Reader<'_> {
        Reader {
            source: self.source,
            env: self.env,
            problems: self.problems,
            section,
        }
    }

    /// Returns the path of the section whose keys it reads.
    pub(super) fn section(&self) -> &str {
        &self.section
    }

    /// Returns the path of a key in this section.
    pub(super) fn path(&self, key: &Key) -> String {
        if self.section.is_empty() {
            key.path.to_owned()
        } else {
            format!("{}.{}", self.section, key.path)
        }
    }

    /// Returns the value of a path; none if a problem of that path is known already.
    pub(super) fn get(&self, path: &str) -> Option<&'a Value> {
        self.source.get(path).filter(|_| !self.problems.has(path))
    }

    /// Returns the value of a variable.
    pub(super) fn variable(&self, name: &str) -> Option<&'a str> {
        self.env.get(name).map(String::as_str)
    }

    /// Returns the names of all providers.
    pub(super) fn providers(&self) -> Vec<&'a str> {
        self.source.providers().collect()
    }

    /// Returns whether nothing is wrong with a path, nor with anything below it.
    pub(super) fn is_sound(&self, path: &str) -> bool {
        !self.problems.concern(path)
    }

    /// Returns whether a path has a value, right or wrong.
    pub(super) fn has_value(&self, path: &str) -> bool {
        self.source.get(path).is_some()
    }

    /// Returns whether a path itself has a problem or is probably misspelled.
    pub(super) fn is_doubtful(&self, path: &str) -> bool {
        self.problems.doubt(path)
    }

    /// Returns a problem of a path, for [`keep`](Self::keep).
    pub(super) fn problem(&self, path: &str, problem: impl Display) -> Problem {
        self.source.problem(path, problem)
    }

    /// Takes note of a problem of a path.
    pub(super) fn report(&mut self, path: &str, problem: impl Display) {
        self.problems.add(self.source.problem(path, problem));
    }

    /// Takes note of a problem of the section itself: a key that is missing. A key that is there
    /// but broken or misspelled is not missing.
    pub(super) fn report_missing(&mut self, key: &Key, such_as: impl Display) {
        if self.is_sound(&self.path(key)) {
            let problem = format!("`{}` is missing, {such_as}", key.path);
            let path = self.path(key);
            self.problems
                .add(self.source.problem_at(&self.section, &path, problem));
        }
    }

    /// Returns what was read, or takes note of the problem.
    pub(super) fn keep<T>(&mut self, read: Result<T, Problem>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problems.add(problem);
                None
            }
        }
    }

    /// Reads a key, or else its default, by a function that says what is wrong.
    pub(super) fn read<T>(
        &mut self,
        key: &Key,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        debug_assert!(self.source.keys.contains(key), "{} is in no list", key.path);
        let path = self.path(key);
        let value = match self.get(&path) {
            Some(value) => Cow::Borrowed(value),
            None => Cow::Owned(default_value(key)?),
        };
        match parse(&value) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.report(&path, problem);
                None
            }
        }
    }

    pub(super) fn text(&mut self, key: &Key) -> Option<String> {
        self.read(key, |value| match value {
            Value::String(text) if !text.is_empty() => Ok(text.clone()),
            other => Err(wrong("a text that is not empty", other)),
        })
    }

    pub(super) fn parsed<T: std::str::FromStr>(&mut self, key: &Key, want: &str) -> Option<T> {
        self.read(key, |value| {
            let parsed = value.as_str().and_then(|text| text.parse().ok());
            parsed.ok_or_else(|| wrong(want, value))
        })
    }

    /// Reads a text by a parser of its own.
    pub(super) fn parsed_by<T>(
        &mut self,
        key: &Key,
        want: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        self.read(key, |value| {
            let parsed = value.as_str().and_then(&parse);
            parsed.ok_or_else(|| wrong(want, value))
        })
    }

    /// Returns whether a key holds a table; what is there and is none becomes a problem.
    pub(super) fn has_table(&mut self, key: &Key, such_as: &str) -> bool {
        let is_table = self.read(key, |value| match value {
            Value::Table(_) => Ok(()),
            other => Err(wrong(format!("a table, as in {such_as}"), other)),
        });
        is_table.is_some()
    }

    pub(super) fn flag(&mut self, key: &Key) -> bool {
        let flag = self.read(key, |value| {
            value.as_bool().ok_or_else(|| wrong("true or false", value))
        });
        flag.unwrap_or_default()
    }

    pub(super) fn duration(&mut self, key: &Key) -> Duration {
        const WANT: &str = "a duration such as \"500ms\", \"15s\" or \"10m\"";
        let duration = self.read(key, |value| {
            let duration = value
                .as_str()
                .and_then(|text| humantime::parse_duration(text).ok())
                .ok_or_else(|| wrong(WANT, value))?;
            if duration.is_zero() && key.kind != Kind::DurationOrZero {
                return Err("should be longer than nothing, such as \"5s\"".to_owned());
            }
            if !duration.is_zero() && duration < MIN_DURATION {
                return Err("should be at least \"1ms\"".to_owned());
            }
            if duration > MAX_DURATION {
                return Err("should be at most a week".to_owned());
            }
            Ok(duration)
        });
        duration.unwrap_or_default()
    }

    pub(super) fn size(&mut self, key: &Key) -> Option<usize> {
        self.read(key, |value| {
            let size = value
                .as_str()
                .and_then(|text| text.parse::<ByteSize>().ok());
            size.map(|size| size.as_u64())
                .filter(|bytes| (MIN_SIZE..=MAX_SIZE).contains(bytes))
                .and_then(|bytes| usize::try_from(bytes).ok())
                .ok_or_else(|| wrong("a size from 1KiB to 1GiB, such as \"4MiB\"", value))
        })
    }

    /// Reads a whole number within the bounds of its kind.
    pub(super) fn number(&mut self, key: &Key) -> Option<usize> {
        let (least, most) = match key.kind {
            Kind::Number(least, most) => (least, most),
            _ => (0, usize::MAX),
        };
        self.read(key, |value| {
            let number = value.as_integer().and_then(|n| usize::try_from(n).ok());
            number
                .filter(|n| (least..=most).contains(n))
                .ok_or_else(|| wrong(format!("a whole number from {least} to {most}"), value))
        })
    }

    /// Reads a whole number of at least one.
    pub(super) fn count(&mut self, key: &Key) -> Option<NonZeroUsize> {
        self.number(key).and_then(NonZeroUsize::new)
    }

    /// Reads one of the words of its kind.
    pub(super) fn word(&mut self, key: &Key) -> Option<&'static str> {
        match key.kind {
            Kind::Word(words) => self.word_of(key, words),
            _ => None,
        }
    }

    /// Reads one of some words.
    pub(super) fn word_of(&mut self, key: &Key, words: &[&'static str]) -> Option<&'static str> {
        let found = self.text(key)?;
        if let Some(word) = words.iter().find(|word| **word == found) {
            return Some(word);
        }
        let hint = did_you_mean(&found, words)
            .map_or(String::new(), |word| format!("; did you mean `{word}`?"));
        let path = self.path(key);
        let words = words.join(", ");
        self.report(
            &path,
            format!("should be one of {words}, not `{found}`{hint}"),
        );
        None
    }
}

fn default_value(key: &Key) -> Option<Value> {
    let Default::Value(text) = key.default else {
        return None;
    };
    Some(match key.kind.spelling() {
        Spelling::Text => Value::from(text),
        Spelling::Literal | Spelling::Toml => super::source::literal(text)?,
    })
}
