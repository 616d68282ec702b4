//! Writes the messages of a Messages request: turns of content blocks.

use serde_json::{Value, json};

use super::thinking::{can_send_thought, write_thought};
use crate::json::{ListWriter, ObjectWriter};
use crate::request::{
    CacheTtl, File, FileSource, Image, Message, Part, Request, Role, cache_control, texts_of,
    with_marks,
};
use crate::tools;

/// Writes the messages as alternating turns: adjacent messages of one side are merged.
pub(super) fn write_messages(request: &Request, messages: &mut ListWriter) {
    let said: Vec<&Message> = request
        .messages
        .iter()
        .filter(|message| message.role != Role::System)
        .collect();
    let end = said
        .last()
        .and_then(|last| last.parts.iter().rfind(|part| says(part)));
    for turn in said.chunk_by(|a, b| side(a) == side(b)) {
        let Some(role) = turn.first().map(|message| side(message)) else {
            continue;
        };
        // The API refuses white space at the end of an answer that has begun.
        let is_answer = role == "assistant";
        let is_end = |part: &Part| end.is_some_and(|end| std::ptr::eq(end, part));
        // The results of tools must come first.
        let (results, others): (Vec<&Message>, Vec<&Message>) =
            turn.iter().partition(|message| message.role == Role::Tool);
        let parts = results
            .iter()
            .chain(&others)
            .flat_map(|message| &message.parts);
        match &*with_marks(parts, says) {
            [] => {}
            [(part @ (Part::Text(text) | Part::Refusal(text)), None)] => {
                let text = trimmed(text, is_answer && is_end(part));
                messages.value(json!({ "role": role, "content": text }));
            }
            said => messages.object(|message| {
                message.field("role", role);
                message.list("content", |content| {
                    for (part, mark) in said {
                        let at_end = is_answer && is_end(part);
                        content.object(|block| write_block(part, at_end, *mark, block));
                    }
                });
            }),
        }
    }
}

fn trimmed(text: &str, at_end: bool) -> &str {
    if at_end { text.trim_end() } else { text }
}

fn side(message: &Message) -> &'static str {
    match message.role {
        Role::Assistant => "assistant",
        Role::System | Role::User | Role::Tool => "user",
    }
}

/// Returns true if this API has a block for the part.
pub(super) fn says(part: &Part) -> bool {
    match part {
        Part::Text(text) | Part::Refusal(text) => !text.trim().is_empty(),
        Part::Reasoning { .. } => can_send_thought(part),
        Part::Image(..) | Part::File(_) | Part::ToolCall { .. } | Part::ToolResult { .. } => true,
        Part::CacheBreakpoint(_) => false,
    }
}

/// Writes the block of a part that [`says`] something; at the end of an answer that has begun
/// without white space there.
fn write_block(part: &Part, at_end: bool, mark: Option<CacheTtl>, block: &mut ObjectWriter) {
    match part {
        Part::Text(text) | Part::Refusal(text) => {
            block.field("type", "text");
            block.field("text", trimmed(text, at_end));
        }
        Part::Image(image, _) => {
            block.field("type", "image");
            block.field("source", image_source(image));
        }
        Part::File(file) => {
            block.field("type", "document");
            block.field("source", file_source(file));
            if let Some(name) = &file.name {
                block.field("title", name);
            }
        }
        Part::Reasoning { text, state } => write_thought(text, state.as_ref(), block),
        Part::ToolCall {
            id,
            name,
            arguments,
        } => {
            block.field("type", "tool_use");
            block.field("id", tools::fit_id(id, 64));
            block.field("name", name);
            block.raw("input", tools::object(arguments).as_str());
        }
        Part::ToolResult { id, content, error } => {
            block.field("type", "tool_result");
            block.field("tool_use_id", tools::fit_id(id, 64));
            let is_text = |part: &Part| matches!(part, Part::Text(_) | Part::CacheBreakpoint(_));
            if content.iter().all(is_text) {
                block.field("content", texts_of(content, "\n"));
            } else {
                block.list("content", |blocks| {
                    for part in content.iter().filter(|part| says(part)) {
                        blocks.object(|block| write_block(part, false, None, block));
                    }
                });
            }
            if *error {
                block.field("is_error", true);
            }
        }
        Part::CacheBreakpoint(_) => {}
    }
    if let Some(ttl) = mark {
        block.field("cache_control", cache_control(ttl));
    }
}

fn file_source(file: &File) -> Value {
    match &file.source {
        // Those that are stored are refused before.
        FileSource::Url(url) | FileSource::Stored(url) => json!({ "type": "url", "url": url }),
        FileSource::Base64(data) => {
            json!({ "type": "base64", "media_type": file.media_type, "data": data })
        }
    }
}

fn image_source(image: &Image) -> Value {
    match image {
        Image::Url(url) => json!({ "type": "url", "url": url }),
        Image::Data { media_type, base64 } => {
            json!({ "type": "base64", "media_type": media_type, "data": base64 })
        }
    }
}
