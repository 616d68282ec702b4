//! The texts of the mock.

use serde_json::{Value, json};

use dialect::request::{Format, Request, Tool, ToolChoice};

const ANSWER: &str = "A rill is a small stream. This one carries words: each token leaves the model, crosses the wire \
and reaches you before the next one is born. Nothing is kept back, nothing is made up.\nPünktlich, naïve, 你好, こんにちは \
and a 🌊 pass through unharmed. Close the connection and the spring runs dry at once; read slowly and it waits for you.";

/// The readable answer to a question: the same words for every one, and its first words to tell
/// answers apart.
pub(super) fn answer(request: &Request, question: &str) -> String {
    match &request.format {
        None => {}
        Some(Format::Json) => return json!({ "answer": ANSWER }).to_string(),
        Some(Format::Schema { schema, .. }) => {
            let schema = schema.to_tree(MAX_SCHEMA_BYTES);
            return example(&schema, &schema, 0).to_string();
        }
    }
    let prompt: String = question
        .split_whitespace()
        .take(6)
        .collect::<Vec<_>>()
        .join(" ");
    let prompt: String = prompt.chars().take(60).collect();
    format!("You said “{prompt}”. {ANSWER}")
}

pub(super) fn reasoning(request: &Request) -> String {
    let words = request.last_user_text().split_whitespace().count();
    format!(
        "The prompt has {words} words. It asks for a stream, so I will answer with one, a word at a time."
    )
}

pub(super) struct ToolCall {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

/// The signature that the mock wants back with its reasoning.
pub(super) const SEAL: &str = "bW9jay1zaWduYXR1cmU=";

pub(super) const REFUSAL: &str = "I’m sorry, but I can’t help with that.";

/// The first half of the answer, cut between words.
pub(super) fn half(request: &Request) -> String {
    let answer = answer(request, &request.last_user_text());
    let half = tokens(&answer).count() / 2;
    tokens(&answer).take(half).collect()
}

/// The text up to the first stop sequence in it, and whether there is one.
pub(super) fn until<'a>(text: &'a str, stop: &[String]) -> (&'a str, bool) {
    match stop
        .iter()
        .filter(|stop| !stop.is_empty())
        .filter_map(|stop| text.find(stop.as_str()))
        .min()
    {
        Some(end) => (&text[..end], true),
        None => (text, false),
    }
}

/// The call that the request demands, if it demands one.
pub(super) fn demanded_calls(request: &Request) -> Vec<ToolCall> {
    match &request.tool_choice {
        Some(ToolChoice::Required | ToolChoice::Named(_)) => offered_calls(request, 1),
        _ => Vec::new(),
    }
}

/// Calls of the first tools that may be called, with arguments that fit their schemas. None
/// without tools, or once results came.
pub(super) fn tool_calls(request: &Request, most: usize) -> Vec<ToolCall> {
    if request
        .messages
        .last()
        .is_some_and(|m| m.role == dialect::request::Role::Tool)
    {
        return Vec::new();
    }
    offered_calls(request, most)
}

fn offered_calls(request: &Request, most: usize) -> Vec<ToolCall> {
    let named = match &request.tool_choice {
        Some(ToolChoice::None) => return Vec::new(),
        Some(ToolChoice::Named(name)) => Some(name),
        _ => None,
    };
    let call = |tool: &Tool| {
        let schema = tool.parameters.to_tree(MAX_SCHEMA_BYTES);
        ToolCall {
            id: format!("call_mock_{}", tool.name),
            name: tool.name.clone(),
            arguments: object(&schema, &schema, 0).to_string(),
        }
    };
    let is_allowed = |tool: &&Tool| named.is_none_or(|name| *name == tool.name);
    let allowed = request.tools.iter().filter(is_allowed);
    allowed.take(most).map(call).collect()
}

/// The largest schema that arguments are made for, in bytes; for a larger one they are empty.
const MAX_SCHEMA_BYTES: usize = 64 * 1024;
/// Deeper than any honest schema; one that refers to itself has no end.
const DEEPEST: usize = 8;

fn object(schema: &Value, root: &Value, depth: usize) -> Value {
    let Some(properties) = schema["properties"].as_object().filter(|_| depth < DEEPEST) else {
        return json!({});
    };
    let property =
        |(name, schema): (&String, &Value)| (name.clone(), example(schema, root, depth + 1));
    properties
        .iter()
        .map(property)
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A value that fits a schema; `$ref`s are looked up in `root`.
fn example(schema: &Value, root: &Value, depth: usize) -> Value {
    if let Some(place) = schema["$ref"]
        .as_str()
        .and_then(|path| path.strip_prefix('#'))
        .filter(|_| depth < DEEPEST)
    {
        return example(root.pointer(place).unwrap_or(&Value::Null), root, depth + 1);
    }
    if let Some(first) = schema["anyOf"]
        .as_array()
        .and_then(|any| any.first())
        .filter(|_| depth < DEEPEST)
    {
        return example(first, root, depth + 1);
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("integer") => json!(42),
        Some("number") => json!(4.2),
        Some("boolean") => json!(true),
        Some("array") if depth < DEEPEST && schema["items"].is_object() => {
            json!([example(&schema["items"], root, depth + 1)])
        }
        Some("array") => json!([]),
        Some("object") => object(schema, root, depth),
        Some("null") => Value::Null,
        _ => json!("Zürich"),
    }
}

/// Cuts a text into pieces as a tokenizer would, roughly: a word with the space before it; long
/// words in two. All pieces together are the text.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (token, after) = rest.split_at(token_length(rest));
        rest = after;
        (!token.is_empty()).then_some(token)
    })
}

/// Returns the length of a text's first token, in bytes.
fn token_length(text: &str) -> usize {
    const MAX_CHARS: usize = 12;
    let mut in_word = false;
    for (count, (at, char)) in text.char_indices().enumerate() {
        let is_space = char.is_whitespace();
        if (is_space && in_word) || count == MAX_CHARS {
            return at;
        }
        in_word = !is_space;
    }
    text.len()
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
            assert_eq!(tokens(text).collect::<String>(), text);
        }
        assert!(tokens("a bc  d").eq(["a", " bc", "  d"]));
        assert!(tokens("[DONE]").eq(["[DONE]"]));
    }
}
