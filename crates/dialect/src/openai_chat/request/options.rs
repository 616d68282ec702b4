//! Parses what is asked about reasoning, and the options that Responses has as well.

use crate::json::{Json, RequestFields};
use crate::request::{Effort, Logprobs, OpenAiOptions, Reasoning, Request};

/// Parses what the client says about reasoning: OpenAI's `reasoning_effort`, OpenRouter's
/// `reasoning`, the `thinking` of Anthropic, DeepSeek, Moonshot and Z.ai, and Qwen's
/// `enable_thinking`, which chat templates have too.
pub(super) fn parse_reasoning_options(
    request: &mut Request,
    body: &mut RequestFields<'_>,
) -> Option<Reasoning> {
    let (object, thinking) = (body.json("reasoning"), body.json("thinking"));
    let template = body.json("chat_template_kwargs");
    let mut other = false;
    template.each_field(|name, _| other |= name != b"enable_thinking");
    if other {
        request.ignore("chat_template_kwargs");
    }
    let efforts = [body.json("reasoning_effort"), object.get("effort")];
    let mut effort = efforts
        .into_iter()
        .find_map(|value| Effort::from_word(&value.text()?));
    let budgets = [
        object.get("max_tokens"),
        thinking.get("budget_tokens"),
        body.json("thinking_budget"),
    ];
    let budget = budgets.into_iter().find_map(Json::number::<u32>);
    let switches = [
        object.get("enabled").as_bool(),
        thinking_switch(thinking),
        body.json("enable_thinking").as_bool(),
        template.get("enable_thinking").as_bool(),
    ];
    let switch = switches.into_iter().flatten().next();
    if switch == Some(false) {
        effort = Some(Effort::None);
    }
    let is_hidden = object.get("exclude").as_bool() == Some(true)
        || body.json("include_reasoning").as_bool() == Some(false);
    let says_nothing = effort.is_none() && budget.is_none() && switch.is_none() && !is_hidden;
    (!says_nothing).then(|| Reasoning {
        effort: effort.or(budget.map(Effort::from_budget)),
        budget: budget.filter(|_| effort != Some(Effort::None)),
        shown: is_hidden.then_some(false),
    })
}

fn thinking_switch(thinking: Json<'_>) -> Option<bool> {
    match thinking.get("type").text().as_deref() {
        Some("enabled" | "adaptive") => Some(true),
        Some("disabled") => Some(false),
        _ => None,
    }
}

/// Parses what is asked about log probabilities.
pub(super) fn parse_logprobs(body: &mut RequestFields<'_>) -> Option<Logprobs> {
    let (switch, top) = (body.json("logprobs"), body.json("top_logprobs"));
    let is_asked = switch.as_bool() == Some(true);
    let alternatives = top.number().unwrap_or(0);
    (is_asked || alternatives > 0).then_some(Logprobs {
        alternatives,
        param: Some(if is_asked { "logprobs" } else { "top_logprobs" }),
    })
}

/// Parses the options that Responses has as well.
pub(super) fn parse_openai_options(body: &mut RequestFields<'_>) -> OpenAiOptions {
    let text = |json: Json<'_>| json.text().map(Into::into);
    OpenAiOptions {
        metadata: body.json("metadata").into(),
        service_tier: text(body.json("service_tier")),
        prompt_cache_key: text(body.json("prompt_cache_key")),
        prompt_cache_retention: text(body.json("prompt_cache_retention")),
        verbosity: text(body.json("verbosity")),
    }
}
