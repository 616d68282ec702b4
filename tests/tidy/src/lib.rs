//! Measures the sources of this workspace and holds the rules that neither the compiler nor clippy checks.
//!
//! `tests/figures` prints the table; `cargo test -p tidy` holds the rules, each of which is also tried
//! on code that breaks it. Only parsed syntax is looked at: no types are known here, so a rule that
//! needs them belongs to clippy (`clippy.toml`).

pub mod circles;
pub mod figures;
pub mod paths;
pub mod rules;
pub mod source;

/// A place in a source file, with a remark.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, from the root of the workspace.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// The offender, or the rule that it breaks.
    pub text: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}
