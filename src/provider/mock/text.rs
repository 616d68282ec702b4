//! What the mock says.

use serde_json::{Value, json};

use crate::request::{Request, Tool};

const ANSWER: &str = "A rill is a small stream. This one carries words: each token leaves the model, crosses the wire \
and reaches you before the next one is born. Nothing is kept back, nothing is made up.\nPünktlich, naïve, 你好, こんにちは \
and a 🌊 pass through unharmed. Close the connection and the spring runs dry at once; read slowly and it waits for you.";

/// The readable answer: the same words for every prompt, and the prompt's first words to tell answers apart.
pub(super) fn answer(request: &Request) -> String {
    let prompt: String = request.last_user_text().split_whitespace().take(6).collect::<Vec<_>>().join(" ");
    let prompt: String = prompt.chars().take(60).collect();
    format!("You said “{prompt}”. {ANSWER}")
}

pub(super) fn reasoning(request: &Request) -> String {
    let words = request.last_user_text().split_whitespace().count();
    format!("The prompt has {words} words. It asks for a stream, so I will answer with one, a word at a time.")
}

pub(super) struct ToolCall {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

/// A call of the first tool offered, with arguments that fit its schema. None without tools, or once its result came.
pub(super) fn tool_call(request: &Request) -> Option<ToolCall> {
    let tool = request.tools.first()?;
    if request.messages.last().is_some_and(|m| m.role == crate::request::Role::Tool) {
        return None;
    }
    Some(ToolCall {
        id: format!("call_mock_{}", tool.name),
        name: tool.name.clone(),
        arguments: arguments(tool).to_string(),
    })
}

fn arguments(tool: &Tool) -> Value {
    let Some(properties) = tool.parameters["properties"].as_object() else {
        return json!({});
    };
    properties.iter().map(|(name, schema)| (name.clone(), example(schema))).collect::<serde_json::Map<_, _>>().into()
}

fn example(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("integer") => json!(42),
        Some("number") => json!(4.2),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => json!("Zürich"),
    }
}

/// Cuts a text into pieces as a tokenizer would, roughly: a word with the space before it; long words in two. All pieces
/// together are the text.
pub(super) fn tokens(text: &str) -> Vec<&str> {
    const LONGEST: usize = 12;
    let mut tokens = Vec::new();
    let (mut start, mut length) = (0, 0);
    let mut in_word = false;
    for (at, c) in text.char_indices() {
        let space = c.is_whitespace();
        if at > start && ((space && in_word) || length >= LONGEST) {
            tokens.push(&text[start..at]);
            (start, length) = (at, 0);
        }
        in_word = !space;
        length += 1;
    }
    if start < text.len() {
        tokens.push(&text[start..]);
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_together_are_the_text() {
        for text in [
            "",
            " ",
            "a b",
            "  leading\r\n\r\nand trailing  ",
            "这是一个很长的没有空格的句子这是一个很长的",
            ANSWER,
            "[DONE]",
        ] {
            assert_eq!(tokens(text).concat(), text);
        }
        assert_eq!(tokens("a bc  d"), ["a", " bc", "  d"]);
        assert_eq!(tokens("[DONE]"), ["[DONE]"]);
    }
}
