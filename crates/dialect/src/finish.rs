//! The finish reasons that upstreams give, as a table for each dialect, and their meanings.
//!
//! A reason that is in no table is never taken for success: the answer is broken then, and says
//! which reason came.

use base::shorten::shorten;

use crate::error_report::ErrorReport;
use crate::event::FinishReason;
use crate::failure::Failure;

/// Longest reason, and longest explanation of one, that a message repeats, in bytes.
const MAX_REASON: usize = 64;
const MAX_EXPLANATION: usize = 400;

/// The finish reasons of a dialect and of the upstreams that speak it, by their meaning. Case does
/// not matter, nor whether words are joined by `_` or `-`.
#[derive(Debug)]
pub(crate) struct FinishTable {
    /// The field of the payload.
    pub(crate) field: &'static str,
    /// The model has said all.
    stop: &'static [&'static str],
    stop_sequence: &'static [&'static str],
    /// A limit of tokens, context or time.
    length: &'static [&'static str],
    tools: &'static [&'static str],
    /// A filter, or the model itself, refused.
    filter: &'static [&'static str],
    /// The answer broke off.
    broken: &'static [&'static str],
    /// No reason at all: the answer goes on.
    none: &'static [&'static str],
}

/// OpenAI's own, Mistral, DeepSeek, z.ai, Cohere, TGI, vLLM, SGLang, watsonx, Qianfan and others.
pub(crate) static CHAT: FinishTable = FinishTable {
    field: "finish_reason",
    stop: &[
        "stop",
        "eos",
        "eos_token",
        "endoftext",
        "end",
        "complete",
        "completed",
        "finish",
        "finished",
        "done",
        "normal",
    ],
    stop_sequence: &["stop_str", "stop_token"],
    length: &[
        "length",
        "model_length",
        "max_length",
        "max_output",
        "max_new_tokens",
        "token_limit",
        "context_length",
        "context_length_exceeded",
        "limit",
        "time_limit",
        "repetition",
    ],
    tools: &["tool_calls", "tool_call", "function_call", "function_calls"],
    filter: &[
        "content_filter",
        "content_filtered",
        "sensitive",
        "error_toxic",
        "moderation",
        "flagged",
        "blocked",
        "unsafe",
        "guardrail_intervened",
    ],
    broken: &[
        "error",
        "abort",
        "aborted",
        "cancel",
        "cancelled",
        "canceled",
        "user_cancel",
        "interrupted",
        "failed",
        "failure",
        "network_error",
        "server_error",
        "internal_error",
        "model_error",
        "insufficient_system_resource",
        "overloaded",
        "error_limit",
        "timeout",
        "malformed_model_output",
        "malformed_tool_use",
        "unknown",
        "other",
    ],
    none: &["", "null", "none", "not_finished"],
};

pub(crate) static ANTHROPIC: FinishTable = FinishTable {
    field: "stop_reason",
    stop: &["end_turn"],
    stop_sequence: &["stop_sequence"],
    // A paused turn is incomplete as well: only the same upstream could continue it.
    length: &[
        "max_tokens",
        "model_context_window_exceeded",
        "pause_turn",
        "compaction",
    ],
    tools: &["tool_use"],
    filter: &["refusal"],
    broken: &[],
    none: &["", "null"],
};

/// Of a response: its status, or the reason for which it is incomplete.
pub(crate) static RESPONSES: FinishTable = FinishTable {
    field: "status",
    stop: &["completed"],
    stop_sequence: &[],
    length: &["incomplete", "max_output_tokens", "max_tool_calls"],
    tools: &[],
    filter: &["content_filter"],
    broken: &["failed", "cancelled", "in_progress", "queued"],
    none: &[],
};

/// Of Converse.
pub(crate) static CONVERSE: FinishTable = FinishTable {
    field: "stopReason",
    stop: &["end_turn"],
    stop_sequence: &["stop_sequence"],
    length: &["max_tokens", "model_context_window_exceeded"],
    tools: &["tool_use"],
    filter: &["guardrail_intervened", "content_filtered"],
    broken: &["malformed_model_output", "malformed_tool_use"],
    none: &["", "null"],
};

pub(crate) static GEMINI: FinishTable = FinishTable {
    field: "finishReason",
    stop: &["STOP"],
    stop_sequence: &[],
    length: &["MAX_TOKENS"],
    tools: &[],
    filter: &[
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "JAILBREAK",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    ],
    broken: &[
        "OTHER",
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "IMAGE_OTHER",
        "NO_IMAGE",
    ],
    none: &["", "FINISH_REASON_UNSPECIFIED"],
};

/// The order in which the other tables are searched: gateways pass on what the model behind them
/// says, in the words of its own API.
static TABLES: [&FinishTable; 4] = [&CHAT, &ANTHROPIC, &RESPONSES, &GEMINI];

impl FinishTable {
    /// Returns the meaning of a reason; `None` if it says that the answer goes on. `called` says
    /// that the answer calls tools, `why` is the upstream's explanation, if there is one.
    ///
    /// # Errors
    ///
    /// [`Failure::upstream_report`] for a reason that says that the answer broke, or that is not
    /// known.
    pub(crate) fn read(
        &self,
        reason: &str,
        called: bool,
        why: &str,
    ) -> Result<Option<FinishReason>, Failure> {
        let tables = std::iter::once(self).chain(TABLES);
        match tables
            .filter_map(|table| table.meaning(reason.trim()))
            .next()
        {
            Some(Meaning::Ends(FinishReason::Stop)) if called => Ok(Some(FinishReason::ToolCalls)),
            Some(Meaning::Ends(reason)) => Ok(Some(reason)),
            Some(Meaning::GoesOn) => Ok(None),
            Some(Meaning::Breaks) => Err(self.failure("the upstream gave up", reason, why)),
            None => {
                let unknown = "the upstream ended its answer for a reason that is not known here";
                Err(self.failure(unknown, reason, why))
            }
        }
    }

    fn failure(&self, what: &str, reason: &str, why: &str) -> Failure {
        let code = shorten(reason, MAX_REASON);
        let mut message = format!("{what} ({} `{code}`)", self.field);
        if !why.is_empty() {
            message.push_str(": ");
            message.push_str(&shorten(why, MAX_EXPLANATION));
        }
        ErrorReport {
            message,
            kind: None,
            code: Some(code.into_owned()),
        }
        .into()
    }

    fn meaning(&self, reason: &str) -> Option<Meaning> {
        let meanings = [
            (Meaning::Ends(FinishReason::Stop), self.stop),
            (
                Meaning::Ends(FinishReason::StopSequence),
                self.stop_sequence,
            ),
            (Meaning::Ends(FinishReason::Length), self.length),
            (Meaning::Ends(FinishReason::ToolCalls), self.tools),
            (Meaning::Ends(FinishReason::ContentFilter), self.filter),
            (Meaning::Breaks, self.broken),
            (Meaning::GoesOn, self.none),
        ];
        let is_listed = |words: &[&str]| words.iter().any(|word| is_same_word(word, reason));
        meanings
            .into_iter()
            .find(|(_, words)| is_listed(words))
            .map(|(meaning, _)| meaning)
    }
}

/// The meaning of a finish reason.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    Ends(FinishReason),
    Breaks,
    GoesOn,
}

fn is_same_word(known: &str, reason: &str) -> bool {
    let spelled = |byte: u8| match byte {
        b'-' | b' ' => b'_',
        other => other.to_ascii_lowercase(),
    };
    known.len() == reason.len()
        && known
            .bytes()
            .zip(reason.bytes())
            .all(|(known, reason)| spelled(known) == spelled(reason))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn no_word_has_two_meanings_in_one_table_nor_is_success_in_one_and_broken_in_another() {
        for table in TABLES {
            let lists = [
                table.stop,
                table.stop_sequence,
                table.length,
                table.tools,
                table.filter,
                table.broken,
                table.none,
            ];
            let words: Vec<_> = lists.into_iter().flatten().collect();
            for (at, word) in words.iter().enumerate() {
                assert!(
                    !words[..at].iter().any(|other| is_same_word(other, word)),
                    "{word}"
                );
            }
            for word in table.broken {
                for other in TABLES {
                    assert!(other.read(word, false, "").is_err(), "{word}");
                }
            }
        }
    }

    #[test]
    fn reasons_are_read_in_any_case_and_from_any_api_and_an_unknown_one_is_no_success() {
        for (table, reason, means) in [
            (&CHAT, "stop", FinishReason::Stop),
            (&CHAT, "STOP", FinishReason::Stop),
            (&CHAT, "end_turn", FinishReason::Stop),
            (&CHAT, "tool-calls", FinishReason::ToolCalls),
            (&CHAT, "tool_use", FinishReason::ToolCalls),
            (&CHAT, "model_length", FinishReason::Length),
            (&CHAT, "MAX_TOKENS", FinishReason::Length),
            (&CHAT, "sensitive", FinishReason::ContentFilter),
            (&CHAT, "recitation", FinishReason::ContentFilter),
            (&ANTHROPIC, "sensitive", FinishReason::ContentFilter),
            (&ANTHROPIC, "stop", FinishReason::Stop),
            (&ANTHROPIC, "length", FinishReason::Length),
            (&GEMINI, "max_tokens", FinishReason::Length),
            (&RESPONSES, "max_tokens", FinishReason::Length),
        ] {
            assert_eq!(
                table.read(reason, false, "").unwrap(),
                Some(means),
                "{reason}"
            );
        }
        assert_eq!(
            CHAT.read("stop", true, "").unwrap(),
            Some(FinishReason::ToolCalls)
        );
        assert_eq!(CHAT.read("null", false, "").unwrap(), None);
        let broken = CHAT.read("network_error", false, "").unwrap_err();
        assert_eq!(
            broken.to_string(),
            "the upstream gave up (finish_reason `network_error`)"
        );
        let unknown = ANTHROPIC.read("moonlight", true, "it is late").unwrap_err();
        assert!(
            unknown
                .to_string()
                .ends_with("not known here (stop_reason `moonlight`): it is late")
        );
    }
}
