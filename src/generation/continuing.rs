//! The answer with which further attempts are to go on, and the way in which a target is asked.

use std::sync::Arc;

use dialect::Continuation;
use dialect::failure::Failure;

use super::turn_language::turn_for;
use crate::provider::UpstreamRequest;
use crate::routing::{ContinueBy, ContinueTurn, LAST_WORDS, Target};

/// The most characters of an answer's end that a turn quotes.
const MAX_LAST_WORDS: usize = 100;

/// The answer that further attempts are to go on with.
#[derive(Debug)]
pub(super) struct Continuing {
    /// Its text so far; blank if there is none.
    pub(super) text: String,
    pub(super) max_tokens: Option<u32>,
    /// The provider whose answer broke, and the reason.
    pub(super) from: String,
    pub(super) reason: &'static str,
    /// Set once a target refused to be given the beginning of its answer.
    pub(super) uses_turns: bool,
    pub(super) is_prefill: bool,
    /// The comment that tells the client, until it was told.
    pub(super) mark: Option<String>,
}

impl Continuing {
    /// Changes a request so that it asks the target to go on.
    pub(super) fn ask(
        &mut self,
        target: &Target,
        turn: &ContinueTurn,
        request: &mut UpstreamRequest,
    ) {
        let to = target.provider.name();
        self.mark = Some(format!(
            ": tokenrill continued from={} to={to} reason={} at={}\n\n",
            self.from,
            self.reason,
            self.text.len()
        ));
        let beginning = self.text.trim_end();
        if beginning.is_empty() {
            // Nothing was said: it is asked as the first one was.
            return;
        }
        let thinks = request.request.reasoning;
        // Models that think can't be given the beginning of their answer.
        let thinks = thinks.is_some_and(|reasoning| !reasoning.is_off());
        let by_turn = self.uses_turns || thinks || target.continue_by() != ContinueBy::Prefill;
        self.is_prefill = !by_turn;
        let continuation = Continuation {
            beginning: beginning.to_owned(),
            turn: by_turn.then(|| {
                let turn = turn_for(turn, beginning, &request.headers);
                turn.replace(LAST_WORDS, &last_words(beginning))
            }),
            max_tokens: self.max_tokens,
        };
        request.request = Arc::new(continuation.extend(&request.request));
        request.continuation = Some(Arc::new(continuation));
    }
}

/// Returns the end of a text, quoted.
fn last_words(text: &str) -> String {
    let mut last = text.char_indices().rev().take(MAX_LAST_WORDS);
    let from = last.by_ref().last().map_or(0, |(at, _)| at);
    let dots = if from > 0 { "…" } else { "" };
    serde_json::Value::from(format!("{dots}{}", &text[from..])).to_string()
}

/// Returns whether an upstream's refusal says that it does not go on with an answer.
pub(super) fn speaks_of_prefill(failure: &Failure) -> bool {
    let report = failure
        .refusal()
        .and_then(|refusal| refusal.report.as_ref());
    let Some(report) = report else {
        return false;
    };
    let text = report.message.to_ascii_lowercase();
    let words = [
        "prefill",
        "user message",
        "model turn",
        "assistant message",
        "last message",
    ];
    words.iter().any(|words| text.contains(words))
}
