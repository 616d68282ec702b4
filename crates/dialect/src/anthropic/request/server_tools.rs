//! Parses what Anthropic's own tools leave in a conversation, and documents. Calls and results of
//! those tools are calls and results for other dialects too: the model said what it said because of
//! them.

use crate::json::Json;
use crate::request::{File, JsonText, Message, Part, Request, Role, Tool, with_title};

/// Tools that Anthropic runs itself, without the dates that their types end with.
const HOSTED_TOOLS: &[&str] = &[
    "web_search_",
    "web_fetch_",
    "code_execution_",
    "tool_search_tool_",
    "advisor_",
    "mcp_toolset",
];

/// Returns true for the type of a tool that Anthropic runs itself.
pub(super) fn is_hosted_tool(kind: &str) -> bool {
    HOSTED_TOOLS.iter().any(|hosted| kind.starts_with(hosted))
}

/// Tools that clients run and that Anthropic describes to its models: the beginnings of their
/// types, and the schemas of their arguments.
const CLIENT_TOOLS: &[(&str, &str, &str)] = &[
    (
        "bash_",
        "Runs a command in a shell that persists, or restarts it.",
        r#"{"type":"object","properties":{"command":{"type":"string"},"restart":{"type":"boolean"}}}"#,
    ),
    (
        "text_editor_",
        "Views, creates and edits files.",
        r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert","undo_edit"]},"path":{"type":"string"},"view_range":{"type":"array","items":{"type":"integer"}},"file_text":{"type":"string"},"old_str":{"type":"string"},"new_str":{"type":"string"},"insert_line":{"type":"integer"},"insert_text":{"type":"string"}},"required":["command","path"]}"#,
    ),
    (
        "memory_",
        "Reads and changes files under /memories, which last beyond the conversation.",
        r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert","delete","rename"]},"path":{"type":"string"},"view_range":{"type":"array","items":{"type":"integer"}},"file_text":{"type":"string"},"old_str":{"type":"string"},"new_str":{"type":"string"},"insert_line":{"type":"integer"},"insert_text":{"type":"string"},"old_path":{"type":"string"},"new_path":{"type":"string"}},"required":["command"]}"#,
    ),
];

/// Returns the function for a tool that the client runs, by its type.
pub(super) fn client_tool(kind: &str, name: &str) -> Option<Tool> {
    let found = CLIENT_TOOLS
        .iter()
        .find(|(start, ..)| kind.starts_with(start));
    found.map(|(_, description, schema)| Tool {
        name: name.to_owned(),
        description: Some((*description).to_owned()),
        parameters: JsonText::of_valid(schema.as_bytes().to_vec()),
        ..Tool::default()
    })
}

/// Parses a block that Anthropic's own tools or documents make; `None` for one that is unknown.
pub(super) fn parse_block(name: &dyn Fn() -> String, kind: &str, block: Json<'_>) -> Option<Part> {
    let text = |field: &str| block.get(field).string();
    match kind {
        "document" => parse_document(name, block),
        "search_result" => {
            let title = format!("{}\n{}", text("title"), text("source"));
            Some(Part::Text(with_title(
                Some(title.trim()),
                &texts(block.get("content"))?,
            )))
        }
        "tool_reference" => Some(Part::Text(text("tool_name"))),
        "compaction" => block
            .get("content")
            .text()
            .map(|text| Part::Text(text.into())),
        "server_tool_use" | "mcp_tool_use" => Some(Part::ToolCall {
            id: text("id"),
            name: text("name"),
            arguments: match block.get("input") {
                input if input.is_null() => "{}".to_owned(),
                input => input.compact(),
            },
        }),
        kind if kind.ends_with("_tool_result") => {
            let content = block.get("content");
            let error = content.get("error_code");
            Some(Part::ToolResult {
                id: text("tool_use_id"),
                content: vec![Part::Text(result_text(content))],
                error: !error.is_null() || block.get("is_error").as_bool() == Some(true),
            })
        }
        _ => None,
    }
}

/// Returns the text of a server tool's result, without what only Anthropic can read.
fn result_text(content: Json<'_>) -> String {
    if let Some(text) = content.text() {
        return text.into();
    }
    let mut lines = Vec::new();
    if content.is_list() {
        content.items().for_each(|item| lines.push(item_text(item)));
    } else {
        lines.push(item_text(content));
    }
    lines.retain(|line| !line.is_empty());
    lines.join("\n\n")
}

fn item_text(item: Json<'_>) -> String {
    if let Some(text) = item.get("text").text() {
        return text.into();
    }
    if let Some(code) = item.get("error_code").text() {
        return format!("error: {code}");
    }
    let document = item.get("content");
    if document.get("type").is("document") {
        let source = document.get("source");
        let text = source
            .get("data")
            .text()
            .filter(|_| source.get("type").is("text"));
        let said = text.unwrap_or_default();
        return with_title(item.get("url").text().as_deref(), &said);
    }
    let mut lines = Vec::new();
    item.each_field(|name, value| {
        if !matches!(
            name,
            b"type" | b"encrypted_content" | b"encrypted_index" | b"retrieved_at"
        ) && !value.is_null()
        {
            let value = value.text().map_or_else(|| value.compact(), Into::into);
            if !value.is_empty() {
                lines.push(format!("{}: {value}", String::from_utf8_lossy(name)));
            }
        }
    });
    lines.join("\n")
}

fn parse_document(name: &dyn Fn() -> String, block: Json<'_>) -> Option<Part> {
    let source = block.get("source");
    let title = block.get("title").text().map(String::from);
    let data = || source.get("data").text();
    let media_type = source.get("media_type").text().map(String::from);
    Some(match &*source.get("type").text()? {
        "base64" => File::inline(name(), title, media_type, &data()?),
        "url" => File::linked(name(), title, media_type, &source.get("url").text()?),
        "text" => Part::Text(with_title(title.as_deref(), &data()?)),
        "content" => Part::Text(with_title(title.as_deref(), &texts(source.get("content"))?)),
        _ => return None,
    })
}

/// Returns a text, or the texts of a list of blocks; `None` if it has anything else.
fn texts(content: Json<'_>) -> Option<String> {
    if let Some(text) = content.text() {
        return Some(text.into());
    }
    let texts: Option<Vec<_>> = content
        .items()
        .map(|block| block.get("text").text())
        .collect();
    texts.map(|texts| texts.join("\n"))
}

/// Splits an assistant's parts where results of tools stand between them, which other dialects have
/// in messages of their own.
pub(super) fn push_assistant(request: &mut Request, parts: Vec<Part>) {
    for part in parts {
        let role = match part {
            Part::ToolResult { .. } => Role::Tool,
            _ => Role::Assistant,
        };
        match request.messages.last_mut() {
            Some(last) if last.role == role => last.parts.push(part),
            _ => request.messages.push(Message {
                role,
                parts: vec![part],
            }),
        }
    }
}
