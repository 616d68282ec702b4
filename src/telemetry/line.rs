//! The bound of a line: whatever a field repeats of a client's or an upstream's words, no line of
//! the log is longer. Fields that may be long are cut where they are logged; this is for the rest.

use std::borrow::Cow;

use base::shorten::shorten;
use serde_json::{Map, Value};

use super::Format;

/// Longest line, with its end.
pub(super) const MAX_LINE_BYTES: usize = 16 * 1024;
/// Longest text of a field in a line that has to be cut.
const MAX_FIELD_BYTES: usize = 1024;
/// Room for the count of the rest behind a cut text, and the line's end.
const COUNT_ROOM: usize = 64;

/// Returns the line, or a shorter one in the same format that says how much of it is missing.
pub(super) fn bound_line(line: &[u8], format: Format) -> Cow<'_, [u8]> {
    if line.len() <= MAX_LINE_BYTES {
        return Cow::Borrowed(line);
    }
    let cut = match format {
        Format::Text => cut_text(line),
        Format::Json => cut_json(line),
    };
    Cow::Owned(cut)
}

fn cut_text(line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let mut cut = shorten(text.trim_end(), MAX_LINE_BYTES - COUNT_ROOM).into_owned();
    if text.contains('\x1b') {
        // Whatever colour was on where it was cut.
        cut.push_str("\x1b[0m");
    }
    cut.push('\n');
    cut.into_bytes()
}

fn cut_json(line: &[u8]) -> Vec<u8> {
    let mut fields: Map<String, Value> = serde_json::from_slice(line).unwrap_or_default();
    for value in fields.values_mut() {
        if let Value::String(text) = value
            && text.len() > MAX_FIELD_BYTES
        {
            *text = shorten(text, MAX_FIELD_BYTES).into_owned();
        }
    }
    let mut cut = Value::Object(fields.clone()).to_string();
    if cut.len() >= MAX_LINE_BYTES {
        // Many fields, or much that is escaped.
        fields.retain(|name, value| {
            matches!(
                name.as_str(),
                "timestamp" | "level" | "message" | "request_id"
            ) && value.as_str().is_some_and(|text| text.len() <= COUNT_ROOM)
        });
        fields.insert("cut_bytes".to_owned(), line.len().into());
        cut = Value::Object(fields).to_string();
    }
    cut.push('\n');
    cut.into_bytes()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_line_within_the_bound_is_as_it_was() {
        let line = [b'x'; MAX_LINE_BYTES];
        for format in [Format::Text, Format::Json] {
            assert!(matches!(bound_line(&line, format), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn a_long_text_line_is_cut_between_characters_and_counted() {
        let line = format!("x{}\n", "ü".repeat(MAX_LINE_BYTES));
        let cut = bound_line(line.as_bytes(), Format::Text);
        assert!(cut.len() <= MAX_LINE_BYTES);
        let cut = std::str::from_utf8(&cut).unwrap();
        assert!(cut.ends_with(" bytes more)\n"), "{cut}");
        assert_eq!(cut.lines().count(), 1);
    }

    #[test]
    fn a_long_json_line_stays_an_object_with_its_short_fields() {
        for long in ["x".repeat(MAX_LINE_BYTES), "\u{1}ü\"".repeat(1 << 20)] {
            let fields =
                serde_json::json!({ "level": "WARN", "long": long, "message": "m", "n": 7 });
            let cut = bound_line(format!("{fields}\n").as_bytes(), Format::Json).into_owned();
            assert!(cut.len() <= MAX_LINE_BYTES && cut.ends_with(b"}\n"));
            let cut: Value = serde_json::from_slice(&cut).unwrap();
            assert_eq!((&cut["message"], &cut["n"]), (&"m".into(), &7.into()));
            assert!(cut["long"].as_str().unwrap().ends_with(" bytes more)"));
        }
    }

    #[test]
    fn a_json_line_of_many_long_fields_keeps_what_names_it() {
        let mut fields = Map::new();
        fields.insert("message".to_owned(), "m".into());
        fields.extend((0..99).map(|n| (format!("f{n}"), "\u{1}".repeat(500).into())));
        let line = Value::Object(fields).to_string();
        let cut: Value =
            serde_json::from_slice(&bound_line(line.as_bytes(), Format::Json)).unwrap();
        assert_eq!(
            cut,
            serde_json::json!({ "message": "m", "cut_bytes": line.len() })
        );
    }
}
