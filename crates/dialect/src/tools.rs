//! Tool calls: helpers that dialects share for arguments, schemas and ids.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::json::{Json, ObjectWriter};
use crate::request::{CustomTool, Grammar, JsonText, Tool, ToolKind};

/// Tracks the nesting of JSON that arrives in pieces, outside of strings.
#[derive(Debug, Default)]
pub(super) struct NestingTracker {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl NestingTracker {
    /// Adds a byte; returns the depth after it.
    #[inline]
    pub(super) fn push(&mut self, byte: u8) -> usize {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            b'{' | b'[' if !self.in_string => self.depth += 1,
            b'}' | b']' if !self.in_string => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.depth
    }
}

/// Tracks arguments that arrive in fragments, to know when their JSON is complete.
#[derive(Debug, Default)]
pub(super) struct ArgumentsTracker {
    nesting: NestingTracker,
    begun: bool,
}

impl ArgumentsTracker {
    /// Adds a fragment; returns true once the object or array is closed.
    pub(super) fn push(&mut self, fragment: &str) -> bool {
        for byte in fragment.bytes() {
            self.begun |= self.nesting.push(byte) > 0;
        }
        self.begun && self.nesting.depth == 0 && !self.nesting.in_string
    }
}

/// Returns arguments as an object: none, and `null`, become an empty one, and anything else is kept
/// as text in one field, so that nothing is lost.
pub(super) fn object(arguments: &str) -> JsonText {
    whole_object(arguments).unwrap_or_else(|| {
        let mut kept = ObjectWriter::new();
        kept.field("arguments", arguments);
        JsonText::of_valid(kept.finish())
    })
}

/// Returns arguments as an object, if they are one: a call that was cut off must not be run.
pub(super) fn whole_object(arguments: &str) -> Option<JsonText> {
    if arguments.trim_ascii().is_empty() {
        return Some(JsonText::empty_object());
    }
    let value = Json::parse(arguments)?;
    if value.is_null() {
        return Some(JsonText::empty_object());
    }
    value
        .is_object()
        .then(|| JsonText::of_valid(value.compact().into_bytes()))
}

/// Returns the arguments of a call in a conversation as JSON text: the text of a string, and
/// anything else as it is, since some clients keep the object.
pub(super) fn given(arguments: Json<'_>) -> String {
    match arguments.text() {
        Some(text) => text.into_owned(),
        None if arguments.is_null() => "{}".to_owned(),
        None => arguments.compact(),
    }
}

/// Returns arguments as JSON text; `{}` for none.
pub(super) fn text(arguments: &str) -> &str {
    if arguments.trim_ascii().is_empty() {
        "{}"
    } else {
        arguments
    }
}

/// Returns an id of at most `longest` characters of `[A-Za-z0-9_-]`. Any other id is hashed, so
/// that a call and its result still match.
pub(super) fn fit_id(id: &str, longest: usize) -> Cow<'_, str> {
    let fits = !id.is_empty()
        && id.len() <= longest
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if fits {
        return id.into();
    }
    digest("call_", id).into()
}

/// Returns a name of 32 hexadecimal digits after a prefix, the same every time.
pub(super) fn digest(prefix: &str, text: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(text).into();
    let (half, _) = digest.split_at(16);
    half.iter().fold(prefix.to_owned(), |mut id, byte| {
        // Writing to a String can't fail.
        let _ = write!(id, "{byte:02x}");
        id
    })
}

/// A tool that a client runs and that its API describes to the model by itself.
#[derive(Debug)]
pub(super) struct ClientTool {
    /// The type of the tool, which is its name too.
    pub(super) name: &'static str,
    pub(super) kind: ToolKind,
    description: &'static str,
    /// The JSON schema of its arguments.
    schema: &'static str,
}

impl ClientTool {
    /// Returns the tool as a function.
    pub(super) fn tool(&self, name: String) -> Tool {
        Tool {
            name,
            description: Some(self.description.to_owned()),
            parameters: JsonText::of_valid(self.schema.as_bytes().to_vec()),
            ..Tool::default()
        }
    }
}

/// The tools that clients run and that have no schema in a request.
pub(super) const CLIENT_TOOLS: &[ClientTool] = &[
    ClientTool {
        name: "local_shell",
        kind: ToolKind::LocalShell,
        description: "Runs a command on the user's machine, and returns its output.",
        schema: r#"{"type":"object","properties":{"command":{"type":"array","items":{"type":"string"},"description":"The program and its arguments."},"working_directory":{"type":"string"},"timeout_ms":{"type":"integer"},"env":{"type":"object","additionalProperties":{"type":"string"}}},"required":["command"]}"#,
    },
    ClientTool {
        name: "shell",
        kind: ToolKind::Shell,
        description: "Runs shell commands on the user's machine, and returns their outputs.",
        schema: r#"{"type":"object","properties":{"commands":{"type":"array","items":{"type":"string"}},"timeout_ms":{"type":"integer"},"max_output_length":{"type":"integer"}},"required":["commands"]}"#,
    },
    ClientTool {
        name: "apply_patch",
        kind: ToolKind::ApplyPatch,
        description: "Creates, updates or deletes a file. `diff` is a V4A diff: lines that begin with a blank, `-` or `+`, after `@@` lines that say where.",
        schema: r#"{"type":"object","properties":{"type":{"type":"string","enum":["create_file","update_file","delete_file"]},"path":{"type":"string"},"diff":{"type":"string"}},"required":["type","path"]}"#,
    },
];

/// Returns a custom tool, also as the function that it is for most upstreams: it takes one text,
/// and its description has the grammar.
pub(super) fn custom_tool(name: String, description: Json<'_>, format: Json<'_>) -> Tool {
    const SCHEMA: &str = r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#;
    let grammar = match format.get("grammar") {
        // Chat Completions has it one level deeper.
        inner if inner.is_object() => inner,
        _ => format,
    };
    let grammar = grammar.get("definition").text().map(|definition| {
        let syntax = grammar.get("syntax").text();
        Grammar {
            syntax: syntax.map_or_else(|| "lark".to_owned(), Cow::into_owned),
            definition: definition.into_owned(),
        }
    });
    let mut said = description.string();
    if let Some(Grammar { syntax, definition }) = &grammar {
        // Writing to a String can't fail.
        let _ = write!(
            said,
            "\n\n`input` must match this {syntax} grammar:\n{definition}"
        );
    }
    let said = said.trim();
    Tool {
        name,
        description: (!said.is_empty()).then(|| said.to_owned()),
        parameters: JsonText::of_valid(SCHEMA.as_bytes().to_vec()),
        custom: Some(Box::new(CustomTool {
            description: description.text().map(Cow::into_owned),
            grammar,
        })),
        ..Tool::default()
    }
}

/// Returns the text that a custom tool is called with as a function's arguments.
pub(super) fn custom_arguments(input: &str) -> String {
    let mut arguments = CUSTOM_START.to_owned();
    push_escaped(&mut arguments, input);
    arguments + CUSTOM_END
}

/// The arguments of a custom tool before and behind its text, for one that comes in pieces.
pub(super) const CUSTOM_START: &str = "{\"input\":\"";
pub(super) const CUSTOM_END: &str = "\"}";

/// Appends a text as it is within a JSON string.
pub(super) fn push_escaped(out: &mut String, text: &str) {
    let quoted = Value::from(text).to_string();
    out.push_str(&quoted[1..quoted.len() - 1]);
}

/// Returns the text that a custom tool was called with: the one string of the arguments, or the
/// arguments as they are.
pub(super) fn custom_input(arguments: &str) -> Cow<'_, str> {
    let Some(value) = Json::parse(arguments) else {
        return arguments.into();
    };
    let only = match value.get("input").text() {
        Some(input) => Some(input),
        None if value.is_object() => {
            let mut texts = Vec::new();
            value.each_field(|_, value| texts.push(value.text()));
            match texts.len() {
                1 => texts.pop().flatten(),
                _ => None,
            }
        }
        None => value.text(),
    };
    only.unwrap_or_else(|| arguments.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_whole_when_they_close() {
        for (pieces, whole) in [
            (&["{", "}"][..], &[false, true][..]),
            (
                &["{\"a\": \"}", "\\\"", "\"", "}"],
                &[false, false, false, true],
            ),
            (
                &["", " ", "{\"a\":[", "{}]", "}"],
                &[false, false, false, false, true],
            ),
            (&["null"], &[false]),
        ] {
            let mut arguments = ArgumentsTracker::default();
            let got: Vec<bool> = pieces.iter().map(|piece| arguments.push(piece)).collect();
            assert_eq!(got, whole, "{pieces:?}");
        }
    }

    #[test]
    fn an_id_that_fits_stays_and_another_is_mapped_the_same_every_time() {
        assert_eq!(fit_id("call_1-a", 40), "call_1-a");
        let long = "x".repeat(65);
        for odd in ["", "a.b", &long] {
            let id = fit_id(odd, 64).into_owned();
            assert!(
                id.len() <= 40 && id.starts_with("call_") && id == fit_id(odd, 64),
                "{id}"
            );
        }
        assert_ne!(fit_id("a.b", 64), fit_id("a:b", 64));
    }
}
