//! Token counts of Chat Completions.

use serde_json::{Value, json};

use crate::counts::count;
use crate::event::Usage;

/// Parses the usage of a chunk or of a complete answer. A count that can't be read is missing, and
/// voids no other.
pub(super) fn usage(json: &str) -> Option<Usage> {
    if !json.starts_with('{') {
        return None;
    }
    let counts: Value = serde_json::from_str(json).ok()?;
    let first = |at: &Value, names: &[&str]| names.iter().find_map(|name| count(&at[*name]));
    let (of_input, of_output) = (
        &counts["prompt_tokens_details"],
        &counts["completion_tokens_details"],
    );
    let total = count(&counts["total_tokens"]);
    let output = first(&counts, &["completion_tokens", "output_tokens"]);
    let input = first(&counts, &["prompt_tokens", "input_tokens"]);
    let input = match (input, output, total) {
        (None, None, None) => return None,
        (Some(input), ..) => input,
        (None, output, total) => total.unwrap_or(0).saturating_sub(output.unwrap_or(0)),
    };
    let mut output = output.unwrap_or(0);
    let reasoning =
        count(&of_output["reasoning_tokens"]).or_else(|| count(&counts["reasoning_tokens"]));
    // xAI counts reasoning apart from the output, which its total shows.
    let all = input
        .checked_add(output)
        .and_then(|sum| sum.checked_add(reasoning?));
    if reasoning != Some(0) && all.is_some() && all == total {
        output += reasoning.unwrap_or(0);
    }
    const CACHED: &[&str] = &[
        "cached_tokens",
        "prompt_cache_hit_tokens",
        "cache_read_input_tokens",
    ];
    const WRITTEN: &[&str] = &[
        "cache_write_tokens",
        "cache_creation_tokens",
        "cache_creation_input_tokens",
    ];
    Some(Usage {
        input,
        output,
        cached: first(of_input, CACHED).or_else(|| first(&counts, CACHED)),
        cache_written: first(of_input, WRITTEN).or_else(|| first(&counts, WRITTEN)),
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
