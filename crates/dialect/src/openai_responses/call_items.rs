//! The items of tool calls in an answer, each in the form in which the client knows its tool.

use serde_json::{Map, Value, json};

use crate::json::Json;
use crate::request::{ToolForm, ToolKind};
use crate::tools;

/// Returns the item of a call: its id, the name of its tool, and the form of that.
pub(super) fn call_json(
    id: &str,
    (call, name, form): (&str, &str, Option<&ToolForm>),
    arguments: &str,
    status: &str,
) -> Value {
    let call = tools::fit_id(call, 64);
    let is_complete = status == "completed";
    let kind = form.map_or(ToolKind::Function, |form| form.kind);
    let mut item = json!({ "id": id, "type": item_type(kind), "status": status, "call_id": call });
    match kind {
        ToolKind::Function | ToolKind::LegacyFunction => {
            let arguments = match is_complete {
                true => tools::text(arguments),
                false => arguments,
            };
            item["name"] = form.map_or(name, |form| &form.name).into();
            item["arguments"] = arguments.into();
        }
        ToolKind::Custom => {
            item["name"] = form.map_or(name, |form| &form.name).into();
            item["input"] = tools::custom_input(arguments).into();
        }
        ToolKind::LocalShell => {
            let mut action = fields(arguments);
            action.insert("type".to_owned(), "exec".into());
            if let Some(Value::String(command)) = action.get("command") {
                action["command"] = json!(["bash", "-lc", command]);
            }
            for (name, default) in [("command", json!([])), ("env", json!({}))] {
                action.entry(name).or_insert(default);
            }
            item["action"] = action.into();
        }
        ToolKind::Shell => {
            let mut action = fields(arguments);
            for (name, default) in [
                ("commands", json!([])),
                ("timeout_ms", Value::Null),
                ("max_output_length", Value::Null),
            ] {
                action.entry(name).or_insert(default);
            }
            item["action"] = action.into();
        }
        ToolKind::ApplyPatch => item["operation"] = fields(arguments).into(),
        ToolKind::ToolSearch => {
            item["execution"] = "client".into();
            item["arguments"] = fields(arguments).into();
        }
    }
    if let Some(form) = form.filter(|form| !form.namespace.is_empty()) {
        item["namespace"] = form.namespace.as_str().into();
    }
    item
}

/// Returns the type of the item of a call.
fn item_type(kind: ToolKind) -> &'static str {
    match kind {
        ToolKind::Function | ToolKind::LegacyFunction => "function_call",
        ToolKind::Custom => "custom_tool_call",
        ToolKind::LocalShell => "local_shell_call",
        ToolKind::Shell => "shell_call",
        ToolKind::ApplyPatch => "apply_patch_call",
        ToolKind::ToolSearch => "tool_search_call",
    }
}

/// Returns arguments as fields; arguments that are no object are kept in one field.
fn fields(arguments: &str) -> Map<String, Value> {
    match Json::parse(arguments).map(Json::to_tree) {
        Some(Value::Object(fields)) => fields,
        _ if arguments.trim_ascii().is_empty() => Map::new(),
        _ => Map::from_iter([("arguments".to_owned(), arguments.into())]),
    }
}
