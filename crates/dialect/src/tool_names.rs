//! Names of tools, fitted to an upstream that takes fewer than the client's dialect, and the way
//! back.
//!
//! A name that the upstream takes stays. Any other is replaced by as much of it as is allowed and a
//! digest of the whole, which depends on nothing else: a conversation has the same one in every
//! turn, and an upstream's cache of its beginning stays of use.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::event::Event;
use crate::request::{Part, Request, ToolChoice};

/// The tool names that an upstream takes, besides letters, digits, `_` and `-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolNameRule {
    /// Longest name, in bytes.
    pub max_length: usize,
    /// Further characters that a name may have.
    pub more_chars: &'static str,
    /// A name begins with a letter or `_`.
    pub begins_with_letter: bool,
}

/// Hexadecimal digits of a digest, unless another tool's name happens to end with the same.
const DIGEST_DIGITS: usize = 8;
/// Hexadecimal digits of a whole digest, which fits into any name.
const MAX_DIGEST_DIGITS: usize = 32;

impl ToolNameRule {
    fn allows(self, name: &str) -> bool {
        let begins_well = !self.begins_with_letter || name.starts_with(begins_name);
        (1..=self.max_length).contains(&name.len())
            && begins_well
            && name.chars().all(|char| self.allows_char(char))
    }

    fn allows_char(self, char: char) -> bool {
        char.is_ascii_alphanumeric() || matches!(char, '_' | '-') || self.more_chars.contains(char)
    }

    /// Returns the replacement for a name that is not allowed, with that many digits of its digest.
    fn fitted(self, name: &str, digits: usize) -> String {
        let room = self.max_length.saturating_sub(digits + 1);
        let mut fitted = String::with_capacity(self.max_length);
        if !name.starts_with(begins_name) {
            fitted.push_str("tool_");
        }
        let allowed = |char| if self.allows_char(char) { char } else { '_' };
        fitted.extend(name.chars().take(room).map(allowed));
        fitted.truncate(room);
        fitted.push('_');
        let digest: [u8; 32] = Sha256::digest(name).into();
        for byte in digest.iter().take(digits / 2) {
            // Writing to a String can't fail.
            let _ = write!(fitted, "{byte:02x}");
        }
        fitted
    }
}

fn begins_name(char: char) -> bool {
    char.is_ascii_alphabetic() || char == '_'
}

/// The client's own names of tools that an upstream knows by fitted ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolNames {
    /// The client's names, by those that were sent.
    own: HashMap<String, String>,
}

impl ToolNames {
    /// Fits the names of a request: of its tools, its tool choice, and the calls of its
    /// conversation. Returns the changed request, if a name had to be changed.
    pub(crate) fn fit<'a>(request: &'a Request, rule: ToolNameRule) -> (Cow<'a, Request>, Self) {
        if names(request).all(|name| rule.allows(name)) {
            return (Cow::Borrowed(request), Self::default());
        }
        let mut taken: HashSet<Cow<'a, str>> = names(request)
            .filter(|name| rule.allows(name))
            .map(Cow::Borrowed)
            .collect();
        let mut sent: HashMap<&str, String> = HashMap::new();
        for name in names(request).filter(|name| !rule.allows(name)) {
            if sent.contains_key(name) {
                continue;
            }
            let mut fitted = rule.fitted(name, DIGEST_DIGITS);
            if taken.contains(&*fitted) {
                fitted = rule.fitted(name, MAX_DIGEST_DIGITS);
            }
            taken.insert(fitted.clone().into());
            sent.insert(name, fitted);
        }
        let mut changed = request.clone();
        for name in names_mut(&mut changed) {
            if let Some(fitted) = sent.get(name.as_str()) {
                name.clone_from(fitted);
            }
        }
        // Only what is offered can be called, and is kept for as long as the answer.
        let offered: HashSet<&str> = request.tools.iter().map(|tool| &*tool.name).collect();
        let own = sent.into_iter().filter(|(name, _)| offered.contains(name));
        let own = own.map(|(name, fitted)| (fitted, name.to_owned()));
        let own = own.collect();
        (Cow::Owned(changed), Self { own })
    }

    /// Returns an event with the client's name of a tool in place of the one that was sent.
    #[must_use]
    pub fn restore<'a>(&'a self, event: Event<'a>) -> Event<'a> {
        match event {
            Event::ToolCall { index, id, name } => {
                let own = self.own.get(&*name).map(String::as_str);
                let name = own.map_or(name, Cow::Borrowed);
                Event::ToolCall { index, id, name }
            }
            event => event,
        }
    }

    /// Returns true if every name was sent as it is.
    pub(crate) fn is_empty(&self) -> bool {
        self.own.is_empty()
    }
}

/// Returns the names of tools in a request, as often as they are there.
fn names(request: &Request) -> impl Iterator<Item = &str> {
    let tools = request.tools.iter().map(|tool| tool.name.as_str());
    let chosen = match &request.tool_choice {
        Some(ToolChoice::Named(name)) => Some(name.as_str()),
        _ => None,
    };
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    let called = parts.filter_map(|part| match part {
        Part::ToolCall { name, .. } => Some(name.as_str()),
        _ => None,
    });
    tools.chain(chosen).chain(called)
}

/// Returns the same names to be changed.
fn names_mut(request: &mut Request) -> impl Iterator<Item = &mut String> {
    let tools = request.tools.iter_mut().map(|tool| &mut tool.name);
    let chosen = match &mut request.tool_choice {
        Some(ToolChoice::Named(name)) => Some(name),
        _ => None,
    };
    let messages = request.messages.iter_mut();
    let parts = messages.flat_map(|message| &mut message.parts);
    let called = parts.filter_map(|part| match part {
        Part::ToolCall { name, .. } => Some(name),
        _ => None,
    });
    tools.chain(chosen).chain(called)
}
