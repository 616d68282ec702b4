//! The words of the turn that asks to go on with an answer, in one language or in several.

use std::collections::BTreeMap;

use toml::Value;

use super::key::Default::Said;
use super::key::{Key, Kind};
use super::reader::{Reader, wrong};

/// The place of the last words of an answer in the turn that asks to go on.
pub const LAST_WORDS: &str = "{last_words}";

/// The turn that asks to go on, unless the configuration has another.
const TURN: &str = "Your previous message was cut off by a lost connection. It ended with: {last_words}\n\
    Go on from exactly there: your first characters are those that would have come next. Repeat \
    nothing, announce nothing.";

/// The key of the words for every other language.
const DEFAULT: &str = "default";

/// The user's turn that asks to go on; [`LAST_WORDS`] stands for the end of the answer so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContinueTurn {
    /// The words for every other language.
    pub default: String,
    /// The words by language, such as `de`.
    pub by_language: BTreeMap<String, String>,
}

impl Default for ContinueTurn {
    fn default() -> Self {
        Self::from(TURN)
    }
}

impl From<&str> for ContinueTurn {
    fn from(text: &str) -> Self {
        Self {
            default: text.to_owned(),
            by_language: BTreeMap::new(),
        }
    }
}

pub(super) const CONTINUE_TURN: Key = Key::new(
    "continue_turn",
    Kind::TextOrTexts,
    Said("an English sentence"),
    "what the user says to a target that takes no prefill; `{last_words}` stands for the quoted end of the answer so far. By language: `{ default = \"…\", de = \"…\" }`",
);

/// Reads the turn.
pub(super) fn continue_turn(reader: &mut Reader<'_>) -> ContinueTurn {
    let turn = reader.read(&CONTINUE_TURN, |value| {
        turn_of(value).ok_or_else(|| {
            wrong(
                "a text that is not empty, or texts by language such as { default = \"…\", de = \"…\" }",
                value,
            )
        })
    });
    turn.unwrap_or_default()
}

fn turn_of(value: &Value) -> Option<ContinueTurn> {
    let text = |value: &Value| {
        let text = value.as_str().filter(|text| !text.is_empty());
        text.map(str::to_owned)
    };
    if let Some(text) = text(value) {
        return Some(ContinueTurn::from(text.as_str()));
    }
    let mut turn = ContinueTurn::default();
    for (name, value) in value.as_table()? {
        let text = text(value)?;
        let is_language =
            matches!(name.len(), 2 | 3) && name.bytes().all(|byte| byte.is_ascii_lowercase());
        match name.as_str() {
            DEFAULT => turn.default = text,
            name if is_language => {
                turn.by_language.insert(name.to_owned(), text);
            }
            _ => return None,
        }
    }
    Some(turn)
}
