//! Parses the tools of a request, and the calls in its messages: functions, custom tools, and the
//! `functions` that there were before tools. For other dialects all of them are functions.

use std::collections::BTreeSet;

use crate::event::{ReasoningState, StateOrigin};
use crate::failure::Failure;
use crate::json::{Json, RequestFields};
use crate::request::{CacheTtl, Part, Request, Tool, ToolChoice, ToolForm, ToolKind};
use crate::tools;

/// Parses the tools, and the constraint on calls of them.
pub(super) fn parse_tools(
    request: &mut Request,
    body: &mut RequestFields<'_>,
) -> Result<(), Failure> {
    let list = body.list("tools", "a list of tools")?;
    let legacy = body.list("functions", "a list of functions")?;
    let is_custom = |tool: Json<'_>| tool.get("custom").is_object();
    let has_forms = list.items().any(is_custom) || !legacy.is_empty();
    request.tools.reserve_exact(list.len() + legacy.len());
    for (at, tool) in list
        .items()
        .enumerate()
        .filter(|(_, tool)| !is_custom(*tool))
    {
        let function = tool.get("function");
        match parse_function(function) {
            Some(function) => {
                if has_forms {
                    request.tool_forms.add_function(&function.name);
                }
                let cache = CacheTtl::parse(tool.get("cache_control")).or(function.cache);
                request.tools.push(Tool { cache, ..function });
            }
            None => request.require(format!("tools[{at}]")),
        }
    }
    for (at, tool) in list
        .items()
        .enumerate()
        .filter(|(_, tool)| is_custom(*tool))
    {
        let custom = tool.get("custom");
        let parsed = custom.get("name").text().map(|name| {
            tools::custom_tool(name.into(), custom.get("description"), custom.get("format"))
        });
        add(request, &format!("tools[{at}]"), ToolKind::Custom, parsed);
    }
    for (at, function) in legacy.items().enumerate() {
        let parsed = parse_function(function);
        add(
            request,
            &format!("functions[{at}]"),
            ToolKind::LegacyFunction,
            parsed,
        );
    }
    if !legacy.is_empty() {
        // An answer has a place for one call.
        request.parallel_tool_calls = Some(false);
    }
    parse_choices(request, body);
    Ok(())
}

fn parse_function(function: Json<'_>) -> Option<Tool> {
    Some(Tool {
        name: function.get("name").text()?.into(),
        description: function.get("description").text().map(Into::into),
        parameters: function.get("parameters").into(),
        strict: function.get("strict").as_bool(),
        cache: CacheTtl::parse(function.get("cache_control")),
        custom: None,
    })
}

/// Adds a tool that is no function for its client.
fn add(request: &mut Request, path: &str, kind: ToolKind, tool: Option<Tool>) {
    let added = tool.and_then(|tool| {
        let name = request.tool_forms.add(ToolForm {
            kind,
            namespace: String::new(),
            name: tool.name.clone(),
        })?;
        Some(Tool { name, ..tool })
    });
    match added {
        Some(tool) => request.tools.push(tool),
        None => request.require(path),
    }
}

/// Parses `tool_choice`, or the `function_call` that there was before it.
fn parse_choices(request: &mut Request, body: &mut RequestFields<'_>) {
    let (choice, legacy) = (body.json("tool_choice"), body.json("function_call"));
    request.tool_choice = match choice.get("type").is("allowed_tools") {
        true => allow_only(request, choice.get("allowed_tools")),
        false => parse_choice(request, choice, named(choice)),
    };
    if request.tool_choice.is_none() && !choice.is_null() {
        request.require("tool_choice");
    }
    if request.tool_choice.is_none() && !legacy.is_empty() {
        request.tool_choice = parse_choice(request, legacy, legacy);
        if request.tool_choice.is_none() {
            request.require("function_call");
        }
    }
}

/// Returns the part of a choice that has the tool's name.
fn named(choice: Json<'_>) -> Json<'_> {
    match choice.get("custom") {
        custom if custom.is_object() => custom,
        _ => choice.get("function"),
    }
}

fn parse_choice(request: &Request, choice: Json<'_>, named: Json<'_>) -> Option<ToolChoice> {
    // Some write the word as the type of an object.
    let word = choice.text().or_else(|| choice.get("type").text());
    match word.as_deref() {
        Some("auto") => Some(ToolChoice::Auto),
        Some("none") => Some(ToolChoice::None),
        Some("required" | "any") => Some(ToolChoice::Required),
        _ => {
            let name = named.get("name").text()?;
            let sent = request.tool_forms.upstream_name("", &name);
            Some(ToolChoice::Named(sent))
        }
    }
}

/// Leaves only the tools that a choice allows.
fn allow_only(request: &mut Request, allowed: Json<'_>) -> Option<ToolChoice> {
    let names = allowed.get("tools").items();
    let names = names.filter_map(|tool| named(tool).get("name").text());
    let names: BTreeSet<String> = names
        .map(|name| request.tool_forms.upstream_name("", &name))
        .collect();
    request.tools.retain(|tool| names.contains(&tool.name));
    parse_choice(request, allowed.get("mode"), Json::NULL)
}

/// Parses the calls of an assistant's message.
pub(super) fn parse_tool_calls(
    request: &mut Request,
    name: &impl Fn() -> String,
    calls: Json<'_>,
    parts: &mut Vec<Part>,
) {
    parts.reserve_exact(calls.len());
    for (at, call) in calls.items().enumerate() {
        parts.extend(thought_signature(call));
        let (function, custom) = (call.get("function"), call.get("custom"));
        let id = call.get("id").text();
        let called = match (function.get("name").text(), custom.get("name").text()) {
            (Some(name), _) => Some((name.into(), tools::given(function.get("arguments")))),
            (None, Some(name)) => Some((
                request.tool_forms.upstream_name("", &name),
                tools::custom_arguments(&custom.get("input").string()),
            )),
            (None, None) => None,
        };
        match id.zip(called) {
            Some((id, (name, arguments))) => parts.push(Part::ToolCall {
                id: id.into(),
                name,
                arguments,
            }),
            None => request.require(format!("{}.tool_calls[{at}]", name())),
        }
    }
}

/// Parses the call of an assistant's message in the form that there was before tools; returns the
/// id that it gets, the same every time.
pub(super) fn parse_legacy_call(
    request: &mut Request,
    at: usize,
    call: Json<'_>,
) -> Option<(String, Part)> {
    if call.is_null() {
        return None;
    }
    let Some(name) = call.get("name").text() else {
        request.require(format!("messages[{at}].function_call"));
        return None;
    };
    let id = format!("call_{at}");
    let call = Part::ToolCall {
        id: id.clone(),
        name: request.tool_forms.upstream_name("", &name),
        arguments: tools::given(call.get("arguments")),
    };
    Some((id, call))
}

/// Returns the signature that Google wants back with a call, as its clients keep it.
fn thought_signature(call: Json<'_>) -> Option<Part> {
    let google = call.get("extra_content").get("google");
    let signature = google.get("thought_signature").text()?;
    let state = ReasoningState::decode(&signature, StateOrigin::Gemini);
    (!signature.is_empty()).then(|| Part::Reasoning {
        text: String::new(),
        state: Some(ReasoningState {
            origin: state.origin,
            value: state.value.into_owned().into(),
        }),
    })
}
