//! The tables of `docs/dialects.md` are what the code does: each is made anew here and must stand
//! there as it is. `UPDATE_DOCS=1 cargo test -p tokenrill-dialect --test dialects` writes them.

use std::fmt::Write as _;
use std::path::Path;

use dialect::event::{Citation, Event, FinishReason, ReasoningState, StateOrigin, Usage};
use dialect::request::{
    Effort, Format, Image, Message, Part, Reasoning, Request, Role, Sampling, Tool, ToolChoice,
};
use dialect::{Dialect, translate};
use serde_json::{Value, json};

use crate::said::{dialects, write};

/// Text that can't be mistaken for anything else.
const MARK: &str = "MARK";
const NUMBER: u32 = 31_337;

/// A thing that a request may ask for, by the name that the table gives it: a request without it,
/// and one with.
fn requests() -> Vec<(&'static str, Request, Request)> {
    let base = Request {
        model: Some("m".to_owned()),
        n: 1,
        ..Request::prompt("Hello")
    };
    let and = |request: &Request, role, parts| {
        let mut request = request.clone();
        request.messages.push(Message { role, parts });
        request
    };
    let call = |arguments: String| Part::ToolCall {
        id: "call_1".to_owned(),
        name: "f".to_owned(),
        arguments,
    };
    let called = and(&base, Role::Assistant, vec![call(String::new())]);
    let image = Image::Data {
        media_type: "image/png".to_owned(),
        base64: MARK.to_owned(),
    };
    let tool = |description: Option<&str>| Tool {
        name: "f".to_owned(),
        description: description.map(str::to_owned),
        parameters: json!({ "type": "object" }).into(),
        strict: None,
    };
    let offered = Request {
        tools: vec![tool(None)],
        ..base.clone()
    };
    let mut table = Vec::new();
    let mut add = |name, before: &Request, after| table.push((name, before.clone(), after));

    let mut system = base.clone();
    system.messages.insert(0, Message::text(Role::System, MARK));
    add("system prompt", &base, system);
    let reasoning = |origin| Part::Reasoning {
        text: "thought".to_owned(),
        state: Some(ReasoningState {
            origin,
            value: format!("rs_1 {MARK}").into(),
        }),
    };
    for (name, role, part) in [
        ("user text", Role::User, Part::Text(MARK.to_owned())),
        (
            "assistant text",
            Role::Assistant,
            Part::Text(MARK.to_owned()),
        ),
        ("image, base64", Role::User, Part::Image(image.clone())),
        (
            "image, address",
            Role::User,
            Part::Image(Image::Url(format!("https://example.org/{MARK}.png"))),
        ),
        (
            "refusal said before",
            Role::Assistant,
            Part::Refusal(MARK.to_owned()),
        ),
        (
            "tool call",
            Role::Assistant,
            call(format!("{{\"x\":\"{MARK}\"}}")),
        ),
        (
            "thinking sealed by Anthropic",
            Role::Assistant,
            reasoning(StateOrigin::Anthropic),
        ),
        (
            "thinking sealed by Responses",
            Role::Assistant,
            reasoning(StateOrigin::OpenAiResponses),
        ),
        (
            "thinking sealed by Gemini",
            Role::Assistant,
            reasoning(StateOrigin::Gemini),
        ),
    ] {
        add(name, &base, and(&base, role, vec![part]));
    }
    for (name, content, error) in [
        ("tool result", Part::Text(MARK.to_owned()), false),
        ("tool result, failed", Part::Text(MARK.to_owned()), true),
        ("tool result, image", Part::Image(image), false),
    ] {
        let part = Part::ToolResult {
            id: "call_1".to_owned(),
            content: vec![content],
            error,
        };
        add(name, &called, and(&called, Role::Tool, vec![part]));
    }
    add(
        "tool",
        &base,
        Request {
            tools: vec![tool(Some(MARK))],
            ..base.clone()
        },
    );
    for (name, choice) in [
        ("tool choice: auto", ToolChoice::Auto),
        ("tool choice: none", ToolChoice::None),
        ("tool choice: any", ToolChoice::Required),
        ("tool choice: one", ToolChoice::Named("f".to_owned())),
    ] {
        add(
            name,
            &offered,
            Request {
                tool_choice: Some(choice),
                ..offered.clone()
            },
        );
    }
    add(
        "no parallel calls",
        &offered,
        Request {
            parallel_tool_calls: Some(false),
            ..offered.clone()
        },
    );
    add(
        "JSON",
        &base,
        Request {
            format: Some(Format::Json),
            ..base.clone()
        },
    );
    let schema = Format::Schema {
        name: "n".to_owned(),
        schema: json!({ "title": MARK }).into(),
        strict: None,
    };
    add(
        "JSON of a schema",
        &base,
        Request {
            format: Some(schema),
            ..base.clone()
        },
    );
    for (name, budget) in [
        ("reasoning effort", None),
        ("thinking budget", Some(NUMBER)),
    ] {
        let reasoning = Some(Reasoning {
            effort: Effort::High,
            budget,
            shown: Some(true),
        });
        add(
            name,
            &base,
            Request {
                reasoning,
                ..base.clone()
            },
        );
    }
    add(
        "limit on tokens",
        &base,
        Request {
            max_tokens: Some(NUMBER),
            ..base.clone()
        },
    );
    let none = Sampling::default();
    for (name, sampling) in [
        (
            "temperature 0.5",
            Sampling {
                temperature: Some(0.5),
                ..none
            },
        ),
        (
            "temperature 1.5",
            Sampling {
                temperature: Some(1.5),
                ..none
            },
        ),
        (
            "top_p",
            Sampling {
                top_p: Some(0.5),
                ..none
            },
        ),
        (
            "top_k",
            Sampling {
                top_k: Some(u64::from(NUMBER)),
                ..none
            },
        ),
        (
            "seed",
            Sampling {
                seed: Some(i64::from(NUMBER)),
                ..none
            },
        ),
        (
            "presence penalty",
            Sampling {
                presence_penalty: Some(0.5),
                ..none
            },
        ),
        (
            "frequency penalty",
            Sampling {
                frequency_penalty: Some(0.5),
                ..none
            },
        ),
    ] {
        add(
            name,
            &base,
            Request {
                sampling,
                ..base.clone()
            },
        );
    }
    add(
        "stop sequences",
        &base,
        Request {
            stop: vec![MARK.to_owned()],
            ..base.clone()
        },
    );
    add(
        "user",
        &base,
        Request {
            user: Some(MARK.to_owned()),
            ..base.clone()
        },
    );
    add(
        "several answers (`n`)",
        &base,
        Request {
            n: 2,
            ..base.clone()
        },
    );
    table
}

/// Where two values differ: the shallowest places that only the second has, or has otherwise.
fn differences(before: &Value, after: &Value, at: &str, out: &mut Vec<String>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in new {
                let at = if at.is_empty() {
                    name.clone()
                } else {
                    format!("{at}.{name}")
                };
                match old.get(name) {
                    Some(old) => differences(old, value, &at, out),
                    None => leaf(value, &at, out),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for (place, value) in new.iter().enumerate() {
                match old.get(place) {
                    Some(old) => differences(old, value, &format!("{at}[]"), out),
                    None => leaf(value, &format!("{at}[]"), out),
                }
            }
        }
        (_, value) => leaf(value, at, out),
    }
}

/// The place of the mark within a value, or the value's own place.
fn leaf(value: &Value, at: &str, out: &mut Vec<String>) {
    let marked = |value: &Value| {
        let text = value.to_string();
        text.contains(MARK) || text.contains(&NUMBER.to_string())
    };
    match value {
        Value::Object(fields) if marked(value) => {
            for (name, value) in fields.iter().filter(|(_, value)| marked(value)) {
                leaf(value, &format!("{at}.{name}"), out);
            }
        }
        Value::Array(list) if marked(value) => {
            list.iter()
                .filter(|value| marked(value))
                .for_each(|value| leaf(value, &format!("{at}[]"), out));
        }
        Value::String(_) | Value::Object(_) | Value::Array(_)
            if !at.is_empty() && marked(value) =>
        {
            out.push(format!("`{at}`"))
        }
        Value::String(text) => out.push(format!("`{at}: {text}`")),
        Value::Object(fields) if fields.len() == 1 => {
            for (name, value) in fields {
                leaf(value, &format!("{at}.{name}"), out);
            }
        }
        Value::Object(fields) if fields.get("type").is_some_and(Value::is_string) => {
            out.push(format!(
                "`{at}: {}`",
                fields["type"].as_str().unwrap_or_default()
            ));
        }
        Value::Number(number) if !marked(value) => out.push(format!("`{at}: {number}`")),
        Value::Bool(_) => out.push(format!("`{at}: {value}`")),
        _ => out.push(format!("`{at}`")),
    }
}

fn cell(dialect: &Dialect, before: &Request, after: &Request) -> String {
    let side = dialect.upstream.unwrap();
    let written = |request| translate(dialect, side, request, "m");
    let body = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).unwrap() };
    let after = match written(after) {
        Err(failure) => {
            return format!(
                "refused: {}",
                failure
                    .to_string()
                    .replace("the provider of this model", "this provider")
            );
        }
        Ok(after) => after,
    };
    let mut cells = Vec::new();
    differences(
        &body(&written(before).unwrap().body),
        &body(&after.body),
        "",
        &mut cells,
    );
    cells.dedup();
    if !after.dropped.is_empty() {
        cells.push(format!(
            "left out, with a warning: {}",
            after.dropped.join(", ")
        ));
    }
    if cells.is_empty() {
        "left out".to_owned()
    } else {
        cells.join(", ")
    }
}

fn request_table() -> String {
    let mut table = String::from("| asked for |");
    for dialect in dialects() {
        write!(table, " {} |", dialect.name).unwrap();
    }
    table.push_str("\n| --- | --- | --- | --- | --- |\n");
    for (name, before, after) in requests() {
        write!(table, "| {name} |").unwrap();
        for dialect in dialects() {
            write!(
                table,
                " {} |",
                cell(dialect, &before, &after).replace('|', "\\|")
            )
            .unwrap();
        }
        table.push('\n');
    }
    table
}

fn events() -> Vec<(&'static str, Vec<Event<'static>>)> {
    let call = || Event::ToolCall {
        index: 0,
        id: "call_1".into(),
        name: MARK.into(),
    };
    let state = |origin| {
        Event::State(ReasoningState {
            origin,
            value: MARK.into(),
        })
    };
    let finish = |reason| vec![Event::Finish(reason)];
    vec![
        ("text", vec![Event::Text(MARK.into())]),
        (
            "source of the text",
            vec![
                Event::Text("x".into()),
                Event::Citation(Citation {
                    url: MARK.to_owned(),
                    title: "t".to_owned(),
                    ..Citation::default()
                }),
            ],
        ),
        ("reasoning", vec![Event::Reasoning(MARK.into())]),
        (
            "seal of reasoning",
            vec![Event::Reasoning("x".into()), state(StateOrigin::Anthropic)],
        ),
        (
            "reasoning sealed whole",
            vec![state(StateOrigin::AnthropicRedacted)],
        ),
        ("refusal", vec![Event::Refusal(MARK.into())]),
        ("tool call", vec![call(), Event::ToolEnd { index: 0 }]),
        (
            "its arguments",
            vec![
                Event::ToolCall {
                    index: 0,
                    id: "call_1".into(),
                    name: "f".into(),
                },
                Event::ToolArguments {
                    index: 0,
                    fragment: format!("{{\"x\":\"{MARK}\"}}").into(),
                },
                Event::ToolEnd { index: 0 },
            ],
        ),
        ("end: all said", finish(FinishReason::Stop)),
        ("end: stop sequence", finish(FinishReason::StopSequence)),
        ("end: length", finish(FinishReason::Length)),
        ("end: tool calls", finish(FinishReason::ToolCalls)),
        ("end: filter", finish(FinishReason::ContentFilter)),
        (
            "input tokens",
            vec![Event::Usage(Usage {
                input: u64::from(NUMBER),
                output: 1,
                ..Usage::default()
            })],
        ),
        (
            "of them cached",
            vec![Event::Usage(Usage {
                input: 90_000,
                output: 1,
                cached: Some(u64::from(NUMBER)),
                ..Usage::default()
            })],
        ),
        (
            "output tokens",
            vec![Event::Usage(Usage {
                input: 1,
                output: u64::from(NUMBER),
                ..Usage::default()
            })],
        ),
        (
            "of them reasoning",
            vec![Event::Usage(Usage {
                input: 1,
                output: 90_000,
                reasoning: Some(u64::from(NUMBER)),
                ..Usage::default()
            })],
        ),
    ]
}

/// The spelling of the ends of answers.
const ENDS: &[&str] = &[
    "/choices/0/finish_reason",
    "/delta/stop_reason",
    "/candidates/0/finishReason",
    "/response/incomplete_details/reason",
];

fn answer_cell(dialect: &Dialect, is_end: bool, events: &[Event<'_>]) -> String {
    let wire = write(dialect, events);
    let frames = dialect::sse::frames(&wire)
        .filter_map(|frame| serde_json::from_slice::<Value>(&frame.data?).ok());
    let mut cells: Vec<String> = Vec::new();
    for frame in frames {
        let kind = frame["type"].as_str().unwrap_or_default();
        let mut places = Vec::new();
        if is_end {
            let reason = ENDS
                .iter()
                .find_map(|place| frame.pointer(place).and_then(Value::as_str));
            let reason = reason.or(Some(kind).filter(|kind| *kind == "response.completed"));
            places.extend(reason.map(|reason| format!("`{reason}`")));
        } else {
            // A seal of another dialect is in base64 there.
            let text = frame.to_string().replace("dG9rZW5yaWxs", MARK);
            if text.contains(MARK) || text.contains(&NUMBER.to_string()) {
                leaf(&serde_json::from_str(&text).unwrap(), "", &mut places);
            }
        }
        // What was said in pieces is said again in the end: the first time tells.
        if kind.starts_with("response.") && !cells.is_empty() {
            continue;
        }
        for place in places {
            let place = place
                .replace("`.", "`")
                .replace("choices[].", "")
                .replace("candidates[].", "");
            let place = if kind.is_empty() || is_end {
                place
            } else {
                format!("`{kind}` {place}")
            };
            if !cells.contains(&place) {
                cells.push(place);
            }
        }
    }
    if cells.is_empty() {
        "left out".to_owned()
    } else {
        cells.join(", ")
    }
}

fn answer_table() -> String {
    let all: Vec<&Dialect> = dialect::DIALECTS.to_vec();
    let mut table = String::from("| said |");
    for dialect in &all {
        write!(table, " {} |", dialect.name).unwrap();
    }
    table.push_str("\n| --- | --- | --- | --- | --- | --- |\n");
    for (name, events) in events() {
        write!(table, "| {name} |").unwrap();
        for dialect in &all {
            let cell = if dialect.upstream.is_none() {
                let wire = String::from_utf8(write(dialect, &events)).unwrap();
                if wire.contains(MARK) {
                    "the frame's data".to_owned()
                } else {
                    "left out".to_owned()
                }
            } else {
                answer_cell(dialect, name.starts_with("end: "), &events)
            };
            write!(table, " {cell} |").unwrap();
        }
        table.push('\n');
    }
    table
}

/// Checks that a table stands in a page of `docs`, between the marks that bear its name.
pub(crate) fn check_table(page: &str, name: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let (before, rest) = text
        .split_once(&begin)
        .unwrap_or_else(|| panic!("docs/{page} has no {begin}"));
    let (there, after) = rest
        .split_once(&end)
        .unwrap_or_else(|| panic!("docs/{page} has no {end}"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{table}{end}{after}")).unwrap();
    } else {
        assert_eq!(
            there, table,
            "docs/{page} is out of date: UPDATE_DOCS=1 cargo test -p tokenrill-dialect --test dialects"
        );
    }
}

#[test]
fn the_tables_in_the_docs_are_what_the_code_does() {
    check_table("dialects.md", "requests", &request_table());
    check_table("dialects.md", "answers", &answer_table());
}
