//! Families of models: what they refuse and want, as data.
//!
//! The table is `families.toml`; a configuration adds to it. The rules for one model are put
//! together from all families that match its name, key by key: the last one decides.
//!
//! ```
//! use dialect::families::Families;
//!
//! let rules = Families::built_in().rules("openai-chat", "openai/gpt-5-mini");
//! assert!(rules.drops("temperature"));
//! assert_eq!(rules.name_of("max_tokens"), "max_completion_tokens");
//! assert!(!Families::built_in().rules("openai-chat", "my-model").drops("temperature"));
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::request::{Effort, Request, Role};

/// A family of models, or the rules for one model: what is not set is another family's to decide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Family {
    /// Patterns of names, in which `*` stands for any letters.
    pub models: Vec<String>,
    /// The dialects of the upstreams for which it holds; all if empty.
    pub dialects: Vec<String>,
    /// Fields of the upstream's body that are left out.
    pub drop: Option<Vec<String>>,
    /// Fields of the upstream's body that have another name.
    pub rename: Option<BTreeMap<String, String>>,
    /// Words for the effort that are sent as another word.
    pub efforts: Option<BTreeMap<String, String>>,
    /// The place of system messages that follow others.
    pub system: Option<SystemPlace>,
    /// The turns whose reasoning is sent back.
    pub reasoning_history: Option<ReasoningHistory>,
    /// The most stop sequences.
    pub max_stop: Option<usize>,
    /// Longest name of a user, in characters; a longer one is sent as a digest.
    pub max_user: Option<usize>,
    /// The smallest thinking budget, in tokens.
    pub min_thinking: Option<u32>,
    /// The model goes on with an answer that the request begins.
    pub prefill: Option<bool>,
    /// Calls of other models need a placeholder for their thought signature.
    pub thought_signatures: Option<bool>,
    /// The model reasons without being asked to.
    pub reasons: Option<bool>,
    /// The way to tell the model not to reason.
    pub off: Option<ReasoningOff>,
}

/// The way to tell a model not to reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningOff {
    /// The effort `none`.
    Effort,
    /// `thinking: {type: "disabled"}`.
    Thinking,
    /// `enable_thinking: false`.
    EnableThinking,
}

/// The place of system messages that follow others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemPlace {
    /// Their own.
    Keep,
    /// One message at the beginning, with all of them.
    Join,
    /// Their own, as the user's.
    User,
}

/// The turns whose reasoning is sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReasoningHistory {
    /// None.
    None,
    /// The current one.
    Turn,
    /// All.
    All,
    /// All; calls that came back without any get the text of what another model thought, or an
    /// empty one.
    Required,
}

impl Family {
    /// Returns whether the field is left out.
    #[must_use]
    pub fn drops(&self, field: &str) -> bool {
        let mut dropped = self.drop.iter().flatten();
        dropped.any(|name| name == field)
    }

    /// Returns the name under which a field is sent.
    #[must_use]
    pub fn name_of<'a>(&'a self, field: &'a str) -> &'a str {
        let renamed = self.rename.as_ref().and_then(|names| names.get(field));
        renamed.map_or(field, String::as_str)
    }

    /// Returns the word for an effort.
    pub(crate) fn effort(&self, effort: Effort) -> &str {
        let word: &str = effort.word();
        let mapped = self.efforts.as_ref().and_then(|words| words.get(word));
        mapped.map_or(word, String::as_str)
    }

    /// Returns the user's name, or a digest if it is too long, which is the same every time.
    pub(crate) fn user<'a>(&self, user: &'a str) -> Cow<'a, str> {
        match self.max_user {
            Some(most) if user.chars().count() > most => crate::tools::digest("user_", user).into(),
            _ => user.into(),
        }
    }

    /// Returns all system texts for the beginning, if they may have no other place and some do.
    pub(crate) fn joined_system(&self, request: &Request) -> Option<String> {
        if self.system != Some(SystemPlace::Join) {
            return None;
        }
        let mut later = request.messages.iter().skip(1);
        let (system, _) = request.system();
        let is_elsewhere = later.any(|message| message.role == Role::System);
        system.filter(|_| is_elsewhere)
    }

    fn matches(&self, dialect: &str, model: &str) -> bool {
        (self.dialects.is_empty() || self.dialects.iter().any(|own| own == dialect))
            && self.models.iter().any(|pattern| fits(pattern, model))
    }

    /// Takes what another family has set.
    fn update(&mut self, other: &Family) {
        fn take<T: Clone>(own: &mut Option<T>, other: &Option<T>) {
            if other.is_some() {
                own.clone_from(other);
            }
        }
        take(&mut self.drop, &other.drop);
        take(&mut self.rename, &other.rename);
        take(&mut self.efforts, &other.efforts);
        take(&mut self.system, &other.system);
        take(&mut self.reasoning_history, &other.reasoning_history);
        take(&mut self.max_stop, &other.max_stop);
        take(&mut self.max_user, &other.max_user);
        take(&mut self.min_thinking, &other.min_thinking);
        take(&mut self.prefill, &other.prefill);
        take(&mut self.thought_signatures, &other.thought_signatures);
        take(&mut self.reasons, &other.reasons);
        take(&mut self.off, &other.off);
    }
}

/// A table of families, in order.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Families {
    families: Vec<Family>,
}

impl Families {
    /// Returns the table that comes with the program.
    #[must_use]
    pub fn built_in() -> &'static Self {
        static TABLE: LazyLock<Families> = LazyLock::new(|| {
            // A test parses it.
            toml::from_str(include_str!("../families.toml")).unwrap_or_default()
        });
        &TABLE
    }

    /// Returns the table with further families after its own.
    #[must_use]
    pub fn with(&self, more: &[Family]) -> Self {
        let families = self.families.iter().chain(more);
        Self {
            families: families.cloned().collect(),
        }
    }

    /// Returns the rules for a model behind an upstream of that dialect.
    #[must_use]
    pub fn rules(&self, dialect: &str, model: &str) -> Family {
        // Behind aggregators names begin with the maker's.
        let name = model.rsplit('/').next().unwrap_or(model);
        let name = without_makers(name).to_ascii_lowercase();
        let mut rules = Family::default();
        for family in &self.families {
            if family.matches(dialect, &name) {
                rules.update(family);
            }
        }
        rules
    }
}

/// Returns a name without what stands before it behind a cloud's API: regions and makers, as in
/// `eu.anthropic.claude-sonnet-5`. A version has digits.
fn without_makers(name: &str) -> &str {
    let mut rest = name;
    while let Some((maker, after)) = rest.split_once('.') {
        if maker.is_empty() || maker.bytes().any(|byte| byte.is_ascii_digit()) {
            break;
        }
        rest = after;
    }
    rest
}

/// Returns whether a name fits a pattern. Works from the last `*` that was met: no pattern takes
/// more than the product of both lengths.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match (pattern.get(at), star) {
            (Some(b'*'), _) => {
                star = Some((at + 1, read));
                at += 1;
            }
            (Some(byte), _) if byte.eq_ignore_ascii_case(&name[read]) => {
                at += 1;
                read += 1;
            }
            (_, Some((after, from))) => {
                star = Some((after, from + 1));
                (at, read) = (after, from + 1);
            }
            (_, None) => return false,
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_stands_before_a_name_is_no_part_of_it() {
        for (name, want) in [
            ("openai.gpt-oss-120b-1:0", "gpt-oss-120b-1:0"),
            ("eu.anthropic.claude-sonnet-5", "claude-sonnet-5"),
            ("moonshot.kimi-k2-thinking", "kimi-k2-thinking"),
            ("gpt-5.1", "gpt-5.1"),
            ("claude-opus-4.6", "claude-opus-4.6"),
            (".x", ".x"),
        ] {
            assert_eq!(without_makers(name), want);
        }
    }

    #[test]
    fn the_table_parses_and_speaks_of_dialects_that_exist() {
        let table: Families = toml::from_str(include_str!("../families.toml")).unwrap();
        assert!(!table.families.is_empty());
        for family in &table.families {
            assert!(!family.models.is_empty(), "{family:?}");
            for dialect in &family.dialects {
                assert!(
                    crate::Dialect::with_upstream(dialect).is_some(),
                    "{dialect}"
                );
            }
        }
    }

    #[test]
    fn names_fit_patterns() {
        for (pattern, name, is_fit) in [
            ("*", "", true),
            ("gpt-5*", "gpt-5", true),
            ("gpt-5*", "GPT-5-mini", true),
            ("gpt-5", "gpt-5-mini", false),
            ("*claude-opus-5*", "us.anthropic.claude-opus-5-v1:0", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbXbd", false),
            ("", "a", false),
        ] {
            assert_eq!(fits(pattern, name), is_fit, "{pattern} {name}");
        }
    }

    #[test]
    fn of_several_families_the_last_decides_key_by_key() {
        let own = Family {
            models: vec!["gpt-5-chat*".to_owned()],
            drop: Some(Vec::new()),
            ..Family::default()
        };
        let table = Families::built_in().with(&[own]);
        let rules = table.rules("openai-chat", "gpt-5-chat-latest");
        assert!(!rules.drops("temperature"));
        assert_eq!(rules.name_of("max_tokens"), "max_completion_tokens");
        assert!(
            table
                .rules("openai-chat", "gpt-5-mini")
                .drops("temperature")
        );
    }
}
