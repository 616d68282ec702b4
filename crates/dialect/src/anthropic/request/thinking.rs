//! Thinking: the form in which a model accepts it, which depends on the model's version.

use serde_json::{Value, json};

use crate::event::{ReasoningState, StateOrigin};
use crate::json::ObjectWriter;
use crate::request::{Effort, Message, Part, Request, Role, ToolChoice};

/// Tokens reserved for the answer when the client sets no limit.
const ANSWER_TOKENS: u32 = 8_000;
/// Smallest thinking budget that the API accepts.
const MIN_THINKING_TOKENS: u32 = 1024;

/// Returns the version in a model's name: 4.7 for `claude-opus-4-7`, 3.5 for
/// `claude-3-5-sonnet-20241022`, 0.0 if there is none.
pub(super) fn version(model: &str) -> (u32, u32) {
    let mut words = model
        .split(|c: char| !c.is_ascii_alphanumeric())
        .skip_while(|word| *word != "claude")
        .peekable();
    let number = |word: &&str| {
        word.len() <= 2 && word.bytes().all(|byte| byte.is_ascii_digit()) && !word.is_empty()
    };
    let major = words.by_ref().find(|word| number(word));
    let minor = words.peek().copied().filter(|word| number(word));
    let parse = |word: Option<&str>| word.and_then(|word| word.parse().ok()).unwrap_or(0);
    (parse(major), parse(minor))
}

/// First version that chooses its own amount of thinking and takes an effort instead of a budget.
const ADAPTIVE: (u32, u32) = (4, 6);
/// First version that rejects sampling parameters and hides its thinking unless asked to show it.
pub(super) const NO_SAMPLING: (u32, u32) = (4, 7);

/// Last version that goes on with an answer that its request begins.
const LAST_WITH_PREFILL: (u32, u32) = (4, 5);

/// Returns whether a model goes on with an answer that its request begins, as far as its name
/// tells.
pub(in crate::anthropic) fn takes_prefill(model: &str) -> bool {
    ((1, 0)..=LAST_WITH_PREFILL).contains(&version(model))
}

/// The thinking setting of a request.
pub(super) enum ThinkingMode {
    Budget(u32),
    Adaptive {
        effort: Option<&'static str>,
        display: Option<&'static str>,
    },
}

impl ThinkingMode {
    pub(super) fn json(&self) -> Value {
        match self {
            ThinkingMode::Budget(tokens) => json!({ "type": "enabled", "budget_tokens": tokens }),
            ThinkingMode::Adaptive { display: None, .. } => json!({ "type": "adaptive" }),
            ThinkingMode::Adaptive { display, .. } => {
                json!({ "type": "adaptive", "display": display })
            }
        }
    }
}

/// Chooses the thinking setting, `None` if the model must not think; reasons go into `dropped`.
pub(super) fn thinking(
    request: &Request,
    version: (u32, u32),
    goes_on: bool,
    dropped: &mut Vec<String>,
) -> Option<ThinkingMode> {
    let reasoning = request.reasoning.filter(|reasoning| !reasoning.is_off())?;
    let mut refuse = |why: &str| {
        dropped.push(format!("reasoning ({why})"));
        None
    };
    if matches!(
        request.tool_choice,
        Some(ToolChoice::Required | ToolChoice::Named(_))
    ) {
        return refuse("a tool call is required, and these models don't think then");
    }
    if goes_on {
        return refuse("the answer has begun without it");
    }
    // A turn that began without thinking can't start to think in the middle.
    let turn = request.current_turn();
    let unsigned_signature = |message: &Message| {
        message.role == Role::Assistant
            && message
                .parts
                .iter()
                .any(|part| matches!(part, Part::ToolCall { .. }))
            && !message.parts.iter().any(can_send_thought)
    };
    if request.messages[turn..].iter().any(unsigned_signature) {
        return refuse("this turn's tool calls came back without their thinking");
    }
    if version >= ADAPTIVE {
        let effort = reasoning.effort.map(|effort| match effort {
            Effort::None | Effort::Minimal | Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
            Effort::Highest => "max",
        });
        let display =
            (version >= NO_SAMPLING && reasoning.shown != Some(false)).then_some("summarized");
        return Some(ThinkingMode::Adaptive { effort, display });
    }
    let budget = reasoning
        .budget
        .unwrap_or_else(|| reasoning.effort_or_medium().budget())
        .max(MIN_THINKING_TOKENS);
    let budget = match request.max_tokens {
        Some(limit) if limit <= MIN_THINKING_TOKENS => {
            return refuse("the limit on tokens leaves no room for it");
        }
        Some(limit) => budget.min(limit - 1).max(MIN_THINKING_TOKENS),
        None => budget.min(DEFAULT_MAX_TOKENS - ANSWER_TOKENS),
    };
    Some(ThinkingMode::Budget(budget))
}

/// Returns the options about thinking, for the same models behind another API: by name, with its
/// value.
pub(crate) fn thinking_options(
    request: &Request,
    model: &str,
    dropped: &mut Vec<String>,
) -> Vec<(&'static str, Value)> {
    let Some(mode) = thinking(request, version(model), false, dropped) else {
        return Vec::new();
    };
    let mut options = vec![("thinking", mode.json())];
    if let ThinkingMode::Adaptive {
        effort: Some(effort),
        ..
    } = mode
    {
        options.push(("output_config", json!({ "effort": effort })));
    }
    options
}

/// Token limit when the client sets none: this API requires one.
pub(super) const DEFAULT_MAX_TOKENS: u32 = 32_000;

/// Returns true for reasoning that can be sent back here. That of other upstreams can't.
pub(super) fn can_send_thought(part: &Part) -> bool {
    let Part::Reasoning {
        state: Some(state), ..
    } = part
    else {
        return false;
    };
    matches!(
        state.origin,
        StateOrigin::Anthropic | StateOrigin::AnthropicRedacted
    )
}

/// Writes the block of reasoning that [can be sent back](can_send_thought).
pub(super) fn write_thought(text: &str, state: Option<&ReasoningState>, block: &mut ObjectWriter) {
    let Some(state) = state else {
        return;
    };
    if state.origin == StateOrigin::AnthropicRedacted {
        block.field("type", "redacted_thinking");
        block.field("data", &state.value);
    } else {
        block.field("type", "thinking");
        block.field("thinking", text);
        block.field("signature", &state.value);
    }
}
