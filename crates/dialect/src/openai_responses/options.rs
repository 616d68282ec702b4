//! Options that a request has and its answer repeats: the format, the tools, the tool choice.

use serde_json::{Value, json};

use crate::json::ObjectWriter;
use crate::request::{CustomTool, Format, Request, Tool, ToolChoice};
use crate::tool_schema;

/// Returns the format and the tools of a request as its answer repeats them. If they are large they
/// are left out, since each event that has the response would have them again.
pub(super) fn repeated_options(request: &Request) -> (Value, Value) {
    let is_small = request.has_small_options();
    let mut repeated = ObjectWriter::new();
    repeated.object("format", |object| match &request.format {
        Some(Format::Json) => write_format(&Format::Json, object),
        Some(format) if is_small => write_format(format, object),
        _ => object.field("type", "text"),
    });
    repeated.list("tools", |list| {
        for tool in request.tools.iter().filter(|_| is_small) {
            list.object(|object| write_tool(tool, true, object));
        }
    });
    let mut repeated: Value = serde_json::from_slice(&repeated.finish()).unwrap_or_default();
    (repeated["format"].take(), repeated["tools"].take())
}

pub(super) fn write_format(format: &Format, object: &mut ObjectWriter) {
    match format {
        Format::Json => object.field("type", "json_object"),
        Format::Schema {
            name,
            schema,
            strict,
        } => {
            object.field("type", "json_schema");
            object.field("name", name);
            object.raw("schema", schema.as_str());
            if let Some(strict) = strict {
                object.field("strict", strict);
            }
        }
    }
}

/// Writes a tool: a custom one as such if the reader knows them. `strict` of a function is always
/// sent: here its default is true, and schemas of other dialects need not comply.
pub(super) fn write_tool(tool: &Tool, knows_custom: bool, object: &mut ObjectWriter) {
    if let Some(custom) = tool.custom.as_ref().filter(|_| knows_custom) {
        return write_custom_tool(&tool.name, custom, object);
    }
    object.field("type", "function");
    object.field("name", &tool.name);
    object.field("description", &tool.description);
    object.raw("parameters", tool_schema::schema(&tool.parameters).as_str());
    object.field("strict", tool.strict.unwrap_or(false));
}

fn write_custom_tool(name: &str, tool: &CustomTool, object: &mut ObjectWriter) {
    object.field("type", "custom");
    object.field("name", name);
    if let Some(description) = &tool.description {
        object.field("description", description);
    }
    object.object("format", |format| match &tool.grammar {
        None => format.field("type", "text"),
        Some(grammar) => {
            format.field("type", "grammar");
            format.field("syntax", &grammar.syntax);
            format.field("definition", &grammar.definition);
        }
    });
}

pub(super) fn tool_choice_json(choice: &ToolChoice, is_custom: impl Fn(&str) -> bool) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) if is_custom(name) => json!({ "type": "custom", "name": name }),
        ToolChoice::Named(name) => json!({ "type": "function", "name": name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_repeats_tools_unless_they_are_large() {
        let tool = |description: String| Tool {
            name: "f".to_owned(),
            description: Some(description),
            ..Tool::default()
        };
        let mut request = Request::prompt("x");
        request.format = Some(Format::Json);
        request.tools = vec![tool("small".to_owned())];
        let (format, tools) = repeated_options(&request);
        assert_eq!(
            (&format["type"], &tools[0]["description"]),
            (&"json_object".into(), &"small".into())
        );
        request.tools.push(tool("x".repeat(1 << 20)));
        let (format, tools) = repeated_options(&request);
        assert_eq!((&format["type"], tools), (&"json_object".into(), json!([])));
    }
}
