//! Parses the tools of a request. Those that are no functions become functions for other dialects;
//! those that OpenAI runs itself are left out there.

use crate::json::Json;
use crate::request::{Request, Tool, ToolChoice, ToolForm, ToolKind};
use crate::tools::{self, CLIENT_TOOLS};

/// Tools that OpenAI runs itself, without the dates and stages that their types end with.
const HOSTED_TOOLS: &[&str] = &[
    "web_search",
    "image_generation",
    "file_search",
    "code_interpreter",
    "mcp",
    "tool_search",
    "programmatic_tool_calling",
];

/// Returns true for the type of a tool that OpenAI runs itself.
fn is_hosted(kind: &str) -> bool {
    let is_dated = |rest: &str| rest.is_empty() || rest.starts_with("_20") || rest == "_preview";
    HOSTED_TOOLS.iter().any(|hosted| {
        kind.strip_prefix(hosted).is_some_and(|rest| {
            is_dated(rest) || rest.strip_prefix("_preview").is_some_and(is_dated)
        })
    })
}

/// Parses a list of tools; `name` is the list's name for errors.
pub(super) fn parse_tools(request: &mut Request, name: &str, list: Json<'_>) {
    request.tools.reserve_exact(list.len());
    // Functions first: their names stay as they are.
    for function in list.items().filter(|tool| tool.get("type").is("function")) {
        parse_function(request, function);
    }
    let others = list.items().enumerate();
    for (at, tool) in others.filter(|(_, tool)| !tool.get("type").is("function")) {
        parse_other(request, &|| format!("{name}[{at}]"), "", tool);
    }
    for (at, function) in list.items().enumerate() {
        if function.get("type").is("function") && function.get("name").text().is_none() {
            request.require(format!("{name}[{at}]"));
        }
    }
}

fn parse_function(request: &mut Request, tool: Json<'_>) {
    if let Some(name) = tool.get("name").text()
        && request.tool_forms.add_function(&name)
    {
        let function = function(name.into(), tool);
        request.tools.push(function);
    }
}

fn function(name: String, tool: Json<'_>) -> Tool {
    Tool {
        name,
        description: tool.get("description").text().map(Into::into),
        parameters: tool.get("parameters").into(),
        strict: tool.get("strict").as_bool(),
        ..Tool::default()
    }
}

/// Parses a tool that is no plain function.
fn parse_other(request: &mut Request, name: &dyn Fn() -> String, namespace: &str, tool: Json<'_>) {
    let kind = tool.get("type").text();
    let own_name = tool.get("name").text();
    let is_local = || {
        !tool
            .get("environment")
            .get("type")
            .text()
            .is_some_and(is_container)
    };
    match (kind.as_deref(), own_name.as_deref()) {
        (Some("function"), Some(own)) => {
            add(
                request,
                name,
                (ToolKind::Function, namespace, own),
                |name| function(name, tool),
            );
        }
        (Some("custom"), Some(own)) => {
            add(request, name, (ToolKind::Custom, namespace, own), |name| {
                tools::custom_tool(name, tool.get("description"), tool.get("format"))
            });
        }
        (Some("namespace"), Some(own)) => {
            for (at, tool) in tool.get("tools").items().enumerate() {
                // A namespace holds no other.
                match tool.get("type").is("namespace") {
                    true => request.require(format!("{}.tools[{at}]", name())),
                    false => {
                        parse_other(request, &|| format!("{}.tools[{at}]", name()), own, tool);
                    }
                }
            }
        }
        (Some("tool_search"), _) if tool.get("execution").is("client") => {
            let form = (ToolKind::ToolSearch, namespace, "tool_search");
            add(request, name, form, |name| function(name, tool));
        }
        (Some(own @ ("local_shell" | "shell" | "apply_patch")), _) if is_local() => {
            let found = CLIENT_TOOLS.iter().find(|known| known.name == own);
            if let Some(known) = found {
                add(request, name, (known.kind, namespace, own), |name| {
                    known.tool(name)
                });
            }
        }
        (Some(kind), _) if is_hosted(kind) || kind == "shell" => {
            request.leave_out_tool(name(), kind);
        }
        (kind, _) => request.require_kind(name(), kind),
    }
}

fn is_container(environment: std::borrow::Cow<'_, str>) -> bool {
    environment.starts_with("container")
}

/// Adds a tool that its client knows in another form.
fn add(
    request: &mut Request,
    path: &dyn Fn() -> String,
    (kind, namespace, name): (ToolKind, &str, &str),
    tool: impl FnOnce(String) -> Tool,
) {
    let form = ToolForm {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    if request.tool_forms.contains(&form) {
        // Tools that were found before come again.
        return;
    }
    match request.tool_forms.add(form) {
        Some(name) => request.tools.push(tool(name)),
        None => request.require(path()),
    }
}

/// Parses the constraint on tool calls; a list of allowed tools leaves only those.
pub(super) fn parse_tool_choice(request: &mut Request, choice: Json<'_>) {
    if choice.is_null() {
        return;
    }
    let kind = choice.get("type").text();
    request.tool_choice = match (choice.text().as_deref(), kind.as_deref()) {
        (Some(word), _) => word_choice(word),
        (None, Some("allowed_tools")) => {
            allow_only(request, choice.get("tools"));
            choice.get("mode").text().as_deref().and_then(word_choice)
        }
        (None, Some(_)) => {
            let name = chosen_name(request, choice);
            let is_offered = |name: &String| request.tools.iter().any(|tool| tool.name == *name);
            name.filter(is_offered).map(ToolChoice::Named)
        }
        (None, None) => None,
    };
    if request.tool_choice.is_none() {
        request.require_kind("tool_choice", kind.as_deref());
    }
}

/// Refuses to ask for a call if there is no tool left that could be called.
pub(super) fn check_tool_choice(request: &mut Request) {
    if request.tools.is_empty() && request.tool_choice == Some(ToolChoice::Required) {
        request.require("tool_choice");
    }
}

fn word_choice(word: &str) -> Option<ToolChoice> {
    Some(match word {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "required" => ToolChoice::Required,
        _ => return None,
    })
}

/// Returns the upstream name of the tool that a choice names.
fn chosen_name(request: &Request, choice: Json<'_>) -> Option<String> {
    let namespace = choice.get("namespace").string();
    let kind = choice.get("type").text()?;
    let name = match &*kind {
        "function" | "custom" => choice.get("name").text()?,
        _ => kind,
    };
    Some(request.tool_forms.upstream_name(&namespace, &name))
}

fn allow_only(request: &mut Request, allowed: Json<'_>) {
    let names: std::collections::BTreeSet<String> = allowed
        .items()
        .filter_map(|tool| chosen_name(request, tool))
        .collect();
    request.tools.retain(|tool| names.contains(&tool.name));
}
