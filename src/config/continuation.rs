//! The keys of continuation: whether an answer that breaks goes on from another target, and how a
//! target is asked for that.

use super::continue_turn::{ContinueTurn, continue_turn};
use super::key::Default::{Said, Value as Is};
use super::key::{Key, Kind};
use super::reader::Reader;

/// The rules by which the answers of a model are continued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContinuationRules {
    /// The turn that asks to go on.
    pub turn: ContinueTurn,
}

/// The way in which a target is asked to go on with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContinueBy {
    /// It is given the beginning of the answer as its own.
    Prefill,
    /// The user asks it to go on.
    Turn,
    /// It is not asked.
    Never,
}

pub(super) const CONTINUE: Key = Key::new(
    "continue",
    Kind::Word(&["off", "text"]),
    Is("off"),
    "`\"text\"`: an answer that breaks in its text goes on from another target; see [routing.md](routing.md#continuation)",
);
pub(super) const CONTINUE_BY: Key = Key::new(
    "continue",
    Kind::Word(&["prefill", "turn", "never"]),
    Said("`prefill` where the model is known to take one, else `turn`"),
    "how it is asked to go on with an answer that broke, where the model has `continue`",
);

/// Reads the rules of a model; none if its answers are not continued.
pub(super) fn continuation_rules(reader: &mut Reader<'_>) -> Option<ContinuationRules> {
    let turn = continue_turn(reader);
    let is_on = reader.word(&CONTINUE) == Some("text");
    is_on.then_some(ContinuationRules { turn })
}

/// Reads the way in which a target is asked; none if its model decides.
pub(super) fn continue_by(reader: &mut Reader<'_>) -> Option<ContinueBy> {
    Some(match reader.word(&CONTINUE_BY)? {
        "prefill" => ContinueBy::Prefill,
        "turn" => ContinueBy::Turn,
        _ => ContinueBy::Never,
    })
}
