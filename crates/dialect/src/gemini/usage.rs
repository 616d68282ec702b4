//! Token counts of Gemini.

use serde_json::{Value, json};

use crate::counts;
use crate::event::Usage;

/// Parses `usageMetadata`.
pub(super) fn parse_usage(value: &Value) -> Option<Usage> {
    let count = |name: &str| counts::count(&value[name]);
    usage_of(
        count("promptTokenCount"),
        count("toolUsePromptTokenCount"),
        count("candidatesTokenCount"),
        count("thoughtsTokenCount"),
        count("cachedContentTokenCount"),
        count("totalTokenCount"),
    )
}

/// Adds up the counts: thoughts are reported apart from the answer, cached tokens within the
/// prompt.
pub(super) fn usage_of(
    prompt: Option<u64>,
    tools: Option<u64>,
    answer: Option<u64>,
    thoughts: Option<u64>,
    cached: Option<u64>,
    total: Option<u64>,
) -> Option<Usage> {
    let output = answer.unwrap_or(0).saturating_add(thoughts.unwrap_or(0));
    let input = match (prompt, answer.or(thoughts), total) {
        (None, None, None) => return None,
        (Some(prompt), ..) => prompt.saturating_add(tools.unwrap_or(0)),
        // The first report of some answers has no prompt.
        (None, _, total) => total.unwrap_or(0).saturating_sub(output),
    };
    Some(Usage {
        input,
        output,
        cached,
        cache_written: None,
        reasoning: thoughts,
    })
}

/// Encodes the usage as `usageMetadata`.
pub(super) fn usage_json(usage: &Usage) -> Value {
    // A part of the output, although some upstreams report more reasoning than output.
    let reasoning = usage.reasoning.map(|reasoning| reasoning.min(usage.output));
    let mut value = json!({
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output - reasoning.unwrap_or(0),
        "totalTokenCount": usage.input.saturating_add(usage.output),
    });
    if let Some(cached) = usage.cached {
        value["cachedContentTokenCount"] = cached.into();
    }
    if let Some(reasoning) = reasoning {
        value["thoughtsTokenCount"] = reasoning.into();
    }
    value
}
