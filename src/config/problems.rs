//! The problems of a configuration: collected while it is read, and told all at once.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

/// All that is wrong with a configuration: a line for each problem, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(Vec<String>);

impl ConfigError {
    /// The problems, each on one line: the place, what is wrong there, and what would be right.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    /// The line of the file; beyond all lines for what doesn't stand there.
    line: usize,
    /// The whole line for people. It begins with the place, and so sorts by it.
    text: String,
    /// The key that it concerns.
    key: String,
}

impl Problem {
    /// A problem of a key, at a place that people find: a line of the file, or a variable.
    pub(super) fn new(
        line: Option<usize>,
        key: &str,
        place: impl Display,
        problem: impl Display,
    ) -> Self {
        // A library's words may have several lines, and a key from a file anything.
        let text = format!("{place}: {problem}")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        Self {
            line: line.unwrap_or(usize::MAX),
            key: key.to_owned(),
            text: text.replace(char::is_control, ""),
        }
    }
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    /// Keys that an unknown one probably meant: they are not really missing.
    meant: BTreeSet<String>,
}

impl Problems {
    pub(super) fn add(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// Takes note that an unknown key was probably meant to be this one.
    pub(super) fn add_meant(&mut self, key: String) {
        self.meant.insert(key);
    }

    /// Returns whether that very key has a problem.
    pub(super) fn has(&self, key: &str) -> bool {
        self.found.iter().any(|problem| problem.key == key)
    }

    /// Returns whether that very key has a problem or is probably misspelled.
    pub(super) fn doubt(&self, key: &str) -> bool {
        self.has(key) || self.meant.contains(key)
    }

    /// Returns whether a key, or one below it, has a problem or is probably misspelled: then what
    /// depends on its value can't be judged.
    pub(super) fn concern(&self, key: &str) -> bool {
        let is_at = |found: &str| {
            found
                .strip_prefix(key)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.found.iter().any(|problem| is_at(&problem.key))
            || self.meant.iter().any(|meant| is_at(meant))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Returns all problems in the order of the file; those that don't stand there come last.
    pub(super) fn into_error(mut self) -> ConfigError {
        self.found.sort();
        let mut lines: Vec<String> = Vec::new();
        for problem in self.found {
            if !lines.contains(&problem.text) {
                lines.push(problem.text);
            }
        }
        ConfigError(lines)
    }
}
