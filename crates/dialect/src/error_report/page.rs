//! Errors as text: JSON, events of a stream, pages of proxies, and plain words.

use base::shorten::shorten;
use serde_json::Value;

use super::ErrorReport;

/// Longest message taken of a text that is not JSON, in bytes.
const MAX_TEXT: usize = 400;
/// Elements of a page whose text is its reason, the most telling first.
const TELLING_ELEMENTS: &[&str] = &["title", "message", "h1", "h2", "p", "body"];
/// Names of characters in pages.
const ENTITIES: &[(&str, &str)] = &[
    ("&nbsp;", " "),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&#39;", "'"),
    ("&apos;", "'"),
    ("&mdash;", "–"),
    ("&ndash;", "–"),
    ("&amp;", "&"),
];

/// Parses an error of any kind of text; `None` if it gives no reason.
pub(super) fn parse_text(text: &str) -> Option<ErrorReport> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        return ErrorReport::worded(&value);
    }
    // An error of a stream: as events, or a line for each payload.
    let is_field = |line: &str| {
        ["data:", "event:", "id:", "retry:"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    let mut payloads = text.lines().filter_map(|line| line.strip_prefix("data:"));
    if text.lines().next().is_some_and(is_field) {
        return payloads.find_map(|payload| match serde_json::from_str(payload) {
            Ok(value) => ErrorReport::worded(&value),
            Err(_) => plain(payload),
        });
    }
    if text.starts_with('{')
        && let Some(value) = text
            .lines()
            .next()
            .and_then(|line| serde_json::from_str(line).ok())
    {
        return ErrorReport::worded(&value);
    }
    if text.starts_with('<') {
        return page_reason(text);
    }
    plain(text)
}

/// Returns plain words as one line; `None` for bytes that are no text.
fn plain(text: &str) -> Option<ErrorReport> {
    let is_text = |c: char| !c.is_control() || c.is_whitespace();
    if text.contains(char::REPLACEMENT_CHARACTER) || !text.chars().all(is_text) {
        return None;
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then(|| ErrorReport {
        message: shorten(&line, MAX_TEXT).into_owned(),
        ..ErrorReport::default()
    })
}

/// Returns the reason that a page gives: its title, or the first element that says anything.
fn page_reason(page: &str) -> Option<ErrorReport> {
    let lower = page.to_ascii_lowercase();
    let text = TELLING_ELEMENTS
        .iter()
        .find_map(|name| element_text(page, &lower, name))
        .or_else(|| Some(without_tags(page)).filter(|text| !text.trim().is_empty()))?;
    plain(&text)
}

/// Returns the text of the first element of that name; `lower` is the page in lower case.
fn element_text(page: &str, lower: &str, name: &str) -> Option<String> {
    let ends_name = |rest: &str| rest.starts_with(['>', ' ', '\n', '\t', '\r']);
    let opening = format!("<{name}");
    let at = lower
        .match_indices(&opening)
        .map(|(at, _)| at + opening.len())
        .find(|at| ends_name(&lower[*at..]))?;
    let begin = at + lower[at..].find('>')? + 1;
    let length = lower[begin..].find(&format!("</{name}"))?;
    let text = without_tags(&page[begin..begin + length]);
    (!text.trim().is_empty()).then_some(text)
}

fn without_tags(page: &str) -> String {
    let mut text = String::new();
    for (at, piece) in page.split('<').enumerate() {
        match (at, piece.split_once('>')) {
            (0, _) => text.push_str(piece),
            (_, Some((_, after))) => {
                text.push(' ');
                text.push_str(after);
            }
            (_, None) => {}
        }
    }
    for (name, character) in ENTITIES {
        text = text.replace(name, character);
    }
    text
}
