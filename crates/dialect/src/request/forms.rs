//! The forms in which a client knows its tools. Other dialects have functions only: a tool of
//! another form, or of a namespace, goes upstream as a function, and a call of it comes back in its
//! own form.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// The kind of a tool that the client runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolKind {
    /// Called with a JSON object.
    Function,
    /// Called with a JSON object, in Chat's form before there were tools: one call in an answer.
    LegacyFunction,
    /// Called with free text.
    Custom,
    /// OpenAI's `local_shell`, which runs one command.
    LocalShell,
    /// OpenAI's `shell`, which runs several.
    Shell,
    /// OpenAI's `apply_patch`.
    ApplyPatch,
    /// A search for more tools that the client runs.
    ToolSearch,
}

/// A tool as its client knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolForm {
    /// The kind of tool.
    pub kind: ToolKind,
    /// The namespace of the tool; empty if it has none.
    pub namespace: String,
    /// The tool's name within its namespace.
    pub name: String,
}

/// The forms of a request's tools, by the names under which they are sent upstream. Plain functions
/// need none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolForms {
    forms: BTreeMap<String, ToolForm>,
    /// The names of plain functions, while the request is parsed.
    functions: HashSet<String>,
}

/// The most tools of another form in one request, and the longest name of one, in bytes: a form is
/// kept as long as its answer.
const MAX_FORMS: usize = 2000;
const MAX_NAME: usize = 512;

/// Longest name of a function that every upstream takes.
const MAX_FUNCTION_NAME: usize = 64;

impl ToolForms {
    /// Adds a plain function; returns false if there is one of that name.
    pub(crate) fn add_function(&mut self, name: &str) -> bool {
        self.functions.insert(name.to_owned())
    }

    /// Forgets what only parsing needs.
    pub(crate) fn finish(&mut self) {
        self.functions = HashSet::new();
    }

    /// Adds a tool, and returns the name under which it is sent upstream; `None` if there are too
    /// many. A name that is taken by another tool is told apart.
    pub(crate) fn add(&mut self, form: ToolForm) -> Option<String> {
        let size = form.namespace.len() + form.name.len();
        if self.forms.len() >= MAX_FORMS || size > MAX_NAME {
            return None;
        }
        let mut name = flat_name(&form.namespace, &form.name);
        let is_other = |name: &str| self.forms.get(name).is_some_and(|known| *known != form);
        if is_other(&name) || self.functions.contains(&name) {
            name = digested_name(&form.namespace, &form.name);
        }
        self.forms.insert(name.clone(), form);
        Some(name)
    }

    /// Returns true if the tool was added before.
    pub(crate) fn contains(&self, form: &ToolForm) -> bool {
        let name = self.upstream_name(&form.namespace, &form.name);
        self.get(&name) == Some(form)
    }

    /// Returns the form of the tool that was sent upstream under that name; `None` for a function
    /// that the client knows by the same name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ToolForm> {
        self.forms.get(name)
    }

    /// Returns the name under which a client's tool is sent upstream.
    pub(crate) fn upstream_name(&self, namespace: &str, name: &str) -> String {
        let is_it = |known: &&ToolForm| known.namespace == namespace && known.name == name;
        let flat = flat_name(namespace, name);
        if self.forms.get(&flat).filter(is_it).is_some() {
            return flat;
        }
        let digested = digested_name(namespace, name);
        if self.forms.get(&digested).filter(is_it).is_some() {
            return digested;
        }
        // A function, or a tool that is no longer offered.
        flat
    }
}

/// Returns a name that has the namespace, if there is one.
fn flat_name(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        return name.to_owned();
    }
    let flat = joined(namespace, name);
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match flat.len() <= MAX_FUNCTION_NAME && flat.chars().all(fits) {
        true => flat,
        false => digested_name(namespace, name),
    }
}

/// Some namespaces end with the separator themselves.
fn joined(namespace: &str, name: &str) -> String {
    match namespace.ends_with("__") {
        true => format!("{namespace}{name}"),
        false => format!("{namespace}__{name}"),
    }
}

/// Returns a name of at most [`MAX_FUNCTION_NAME`] characters that no other tool has.
fn digested_name(namespace: &str, name: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(format!("{namespace}\n{name}")).into();
    let mut whole = joined(namespace, name);
    if namespace.is_empty() {
        name.clone_into(&mut whole);
    }
    let mut short: String = whole
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .take(MAX_FUNCTION_NAME - 9)
        .collect();
    short.push('_');
    for byte in digest.iter().take(4) {
        // Writing to a String can't fail.
        let _ = write!(short, "{byte:02x}");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(namespace: &str, name: &str) -> ToolForm {
        ToolForm {
            kind: ToolKind::Function,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn names_that_would_clash_are_told_apart_and_found_again() {
        let mut forms = ToolForms::default();
        assert!(forms.add_function("a__b") && !forms.add_function("a__b"));
        let long = "ü".repeat(90);
        let cases = [("a", "b"), ("mcp__x__", "b"), ("a.b", &*long)];
        let sent = cases.map(|(namespace, name)| forms.add(form(namespace, name)));
        for ((namespace, name), sent) in cases.into_iter().zip(&sent) {
            let sent = sent.as_deref().unwrap_or_default();
            assert!((4..=64).contains(&sent.len()) && sent.is_ascii(), "{sent}");
            assert_eq!(forms.upstream_name(namespace, name), sent);
            assert_eq!(forms.get(sent), Some(&form(namespace, name)));
        }
        assert_ne!(sent[0].as_deref(), Some("a__b"));
        assert_eq!(sent[1].as_deref(), Some("mcp__x__b"));
        assert_eq!(forms.upstream_name("", "plain"), "plain");
        assert_eq!(forms.get("plain"), None);
    }
}
