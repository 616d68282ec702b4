//! Token counts of Chat Completions.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::event::Usage;

/// Parses the usage of a chunk or of a complete answer.
pub(super) fn usage(json: &str) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Counts {
        prompt_tokens: Option<u64>,
        completion_tokens: Option<u64>,
        total_tokens: Option<u64>,
        prompt_tokens_details: Option<Details>,
        completion_tokens_details: Option<Details>,
        prompt_cache_hit_tokens: Option<u64>,
    }
    #[derive(Deserialize)]
    struct Details {
        cached_tokens: Option<u64>,
        cache_write_tokens: Option<u64>,
        reasoning_tokens: Option<u64>,
    }
    if json == "null" {
        return None;
    }
    let counts: Counts = serde_json::from_str(json).ok()?;
    let details = counts.prompt_tokens_details;
    let (input, mut output) = (counts.prompt_tokens?, counts.completion_tokens.unwrap_or(0));
    let reasoning = counts
        .completion_tokens_details
        .and_then(|d| d.reasoning_tokens);
    // xAI counts reasoning apart from the output, which its total shows.
    let all = input
        .checked_add(output)
        .and_then(|sum| sum.checked_add(reasoning?));
    if reasoning != Some(0) && all.is_some() && all == counts.total_tokens {
        output += reasoning.unwrap_or(0);
    }
    Some(Usage {
        input,
        output,
        cached: details
            .as_ref()
            .and_then(|d| d.cached_tokens)
            .or(counts.prompt_cache_hit_tokens),
        cache_written: details.and_then(|d| d.cache_write_tokens),
        reasoning,
    })
}

/// Encodes the usage.
pub(super) fn usage_json(usage: &Usage) -> Value {
    let mut value = json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input.saturating_add(usage.output),
    });
    if let Some(cached) = usage.cached {
        value["prompt_tokens_details"] = json!({ "cached_tokens": cached });
    }
    if let Some(written) = usage.cache_written {
        value["prompt_tokens_details"]["cache_write_tokens"] = written.into();
    }
    if let Some(reasoning) = usage.reasoning {
        value["completion_tokens_details"] = json!({ "reasoning_tokens": reasoning });
    }
    value
}
