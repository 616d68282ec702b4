//! Encodes a neutral request as a Chat Completions request.

use serde_json::{Value, json};

use super::messages::write_messages;
use crate::failure::Failure;
use crate::families::{Family, ReasoningOff};
use crate::json::ObjectWriter;
use crate::openai_chat::hosts::ChatHost;
use crate::payload_builder::PayloadBuilder;
use crate::request::{
    CustomNames, CustomTool, Effort, Format, Reasoning, Request, Tool, ToolChoice,
};
use crate::{UpstreamPayload, tool_schema};

/// Encodes a request of another dialect, and asks for the usage.
pub(in crate::openai_chat) fn encode_request(
    request: &Request,
    model: &str,
    (host, rules): (&ChatHost, &Family),
) -> Result<UpstreamPayload, Failure> {
    let mut payload = PayloadBuilder::new(request, rules);
    payload.set("model", Some(model));
    let custom = host.custom_tools(request);
    payload.list("messages", |list, dropped| {
        write_messages(request, (host, rules, &custom), list, dropped);
    });
    payload.set("stream", Some(request.stream));
    let options = request.stream.then(|| json!({ "include_usage": true }));
    payload.set("stream_options", options);
    set_sampling(&mut payload, request, rules);
    payload.set("user", request.user.as_deref().map(|user| rules.user(user)));
    payload.set("n", (request.n > 1).then_some(request.n));
    payload.drop_present(&[
        ("top_k", request.sampling.top_k.is_some()),
        ("cache_control", host.leaves_out_marks(request)),
    ]);
    set_reasoning(&mut payload, request.reasoning, rules.off);
    if let Some(asked) = request.logprobs {
        payload.set("logprobs", Some(true));
        let alternatives = Some(asked.alternatives).filter(|count| *count > 0);
        payload.set("top_logprobs", alternatives);
    }
    if !request.tools.is_empty() {
        payload.list("tools", |list, _| {
            for tool in &request.tools {
                list.object(|object| match &tool.custom {
                    Some(own) if custom.contains(&tool.name) => {
                        write_custom_tool(&tool.name, own, object);
                    }
                    _ => write_tool(tool, host, object),
                });
            }
        });
        payload.set("parallel_tool_calls", request.parallel_tool_calls);
        let choice = request.tool_choice.as_ref();
        let choice = choice.map(|choice| choice_json(choice, &custom));
        payload.set("tool_choice", choice);
    }
    set_format(&mut payload, request.format.as_ref());
    payload.set_openai_options(&request.openai);
    payload.set("verbosity", request.openai.verbosity.as_deref());
    Ok(payload.finish())
}

/// Sets the token limit, the sampling parameters and the stop sequences.
fn set_sampling(payload: &mut PayloadBuilder<'_>, request: &Request, rules: &Family) {
    payload.set("max_tokens", request.max_tokens);
    let sampling = &request.sampling;
    payload.set("seed", sampling.seed);
    payload.set("temperature", sampling.temperature);
    payload.set("top_p", sampling.top_p);
    payload.set("presence_penalty", sampling.presence_penalty);
    payload.set("frequency_penalty", sampling.frequency_penalty);
    payload.set_stop("stop", &request.stop, rules.max_stop);
}

fn set_reasoning(
    payload: &mut PayloadBuilder<'_>,
    reasoning: Option<Reasoning>,
    off: Option<ReasoningOff>,
) {
    let Some(reasoning) = reasoning else {
        return;
    };
    match off.filter(|_| reasoning.is_off()) {
        Some(ReasoningOff::Thinking) => {
            return payload.set("thinking", Some(json!({ "type": "disabled" })));
        }
        Some(ReasoningOff::EnableThinking) => return payload.set("enable_thinking", Some(false)),
        Some(ReasoningOff::Effort) => {
            if payload.takes("reasoning_effort") {
                let word = payload.effort(Effort::None);
                payload.set("reasoning_effort", Some(word));
            }
            return;
        }
        None => {}
    }
    let Reasoning { effort, budget, .. } = reasoning;
    match budget {
        // Few models know the effort `none`, so it is sent only if the client used that word.
        Some(0) => return payload.drop_param("the thinking budget of 0"),
        Some(_) => payload.drop_param("the thinking budget (sent as reasoning_effort)"),
        None => {}
    }
    if let Some(effort) = effort
        && payload.takes("reasoning_effort")
    {
        let word = payload.effort(effort);
        payload.set("reasoning_effort", Some(word));
    }
}

fn choice_json(choice: &ToolChoice, custom: &CustomNames<'_>) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) if custom.contains(name) => {
            json!({ "type": "custom", "custom": { "name": name } })
        }
        ToolChoice::Named(name) => json!({ "type": "function", "function": { "name": name } }),
    }
}

fn set_format(payload: &mut PayloadBuilder<'_>, format: Option<&Format>) {
    match format {
        None => {}
        Some(Format::Json) => {
            payload.set("response_format", Some(json!({ "type": "json_object" })))
        }
        Some(Format::Schema {
            name,
            schema,
            strict,
        }) => payload.object("response_format", |format| {
            format.field("type", "json_schema");
            format.object("json_schema", |inner| {
                inner.field("name", name);
                inner.raw("schema", schema.as_str());
                if let Some(strict) = strict {
                    inner.field("strict", strict);
                }
            });
        }),
    }
}

fn write_tool(tool: &Tool, host: &ChatHost, object: &mut ObjectWriter) {
    object.field("type", "function");
    object.object("function", |function| {
        function.field("name", &tool.name);
        if let Some(description) = &tool.description {
            function.field("description", description);
        }
        if !tool.parameters.is_null() {
            function.raw("parameters", tool_schema::schema(&tool.parameters).as_str());
        }
        if let Some(strict) = tool.strict {
            function.field("strict", strict);
        }
    });
    if let Some(mark) = host.tool_mark(tool) {
        object.field("cache_control", mark);
    }
}

fn write_custom_tool(name: &str, tool: &CustomTool, object: &mut ObjectWriter) {
    object.field("type", "custom");
    object.object("custom", |custom| {
        custom.field("name", name);
        if let Some(description) = &tool.description {
            custom.field("description", description);
        }
        if let Some(grammar) = &tool.grammar {
            let rules = json!({ "syntax": grammar.syntax, "definition": grammar.definition });
            custom.field("format", json!({ "type": "grammar", "grammar": rules }));
        }
    });
}
