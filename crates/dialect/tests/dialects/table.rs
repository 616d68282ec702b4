//! The tables of `docs/dialects.md` are what the code does: each is made anew here and must stand
//! there as it is. `UPDATE_DOCS=1 cargo test -p tokenrill-dialect --test dialects` writes them.

use std::fmt::Write as _;
use std::path::Path;

use dialect::event::Event;
use dialect::request::Request;
use dialect::{Dialect, translate};
use serde_json::Value;

use crate::probes::{MARK, NUMBER, events, requests};
use crate::said::{dialects, write};

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
