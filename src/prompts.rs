//! Prompt templates: files that are served as endpoints.
//!
//! A file `prompts/NAME.md` has a head in TOML between two lines of `+++`, which declares its
//! variables, and a body in [minijinja](https://docs.rs/minijinja). Blocks named `system` and
//! `user` become those messages; without blocks the whole body is the user's. Values are data: they
//! are never read as templates, and no template reaches another file.
//!
//! [`Library`] looks at the folder at each use, so an edit is served by the next request; an edit
//! that is broken is reported and the last good version stays.

mod body;
mod budget;
mod builtins;
mod checkpoints;
mod engine;
mod library;
mod template;
mod variables;

pub use library::{Library, Set};
pub use template::{Rendered, Template};
pub use variables::{RenderError, Variable, VariableType};

/// An error of a template: one line that begins with the file and, where known, the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {problem}", line.map_or(String::new(), |line| format!(":{line}")))]
pub struct PromptError {
    file: String,
    line: Option<usize>,
    problem: String,
}

impl PromptError {
    fn new(file: &str, line: Option<usize>, problem: impl Into<String>) -> Self {
        let problem = problem
            .into()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        Self {
            file: file.to_owned(),
            line,
            problem,
        }
    }
}

#[cfg(test)]
mod tests;
