//! The text of a custom tool, read out of a function's arguments while they come in pieces.
//!
//! Upstreams that know functions only call a custom tool with `{"input": "…"}`. As far as the
//! arguments begin so, each piece is a piece of the text; any others are read when they are whole.

use crate::json::RawJson;
use crate::tools;

/// A text that is read piece by piece.
#[derive(Debug, Default)]
pub(crate) struct CustomInput {
    place: Place,
    /// Arguments that are not read yet: an unfinished beginning, or an unfinished escape.
    waiting: String,
    /// The text so far.
    text: String,
}

/// The part of the arguments that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// The part before the text.
    #[default]
    Before,
    /// The text.
    Within,
    /// The part behind the text, which says nothing.
    Behind,
    /// Arguments of another shape, which are read when they are whole.
    Other,
}

/// The tokens before the text, between which there may be blanks.
const BEGINNING: [&str; 4] = ["{", "\"input\"", ":", "\""];

impl CustomInput {
    /// Adds a fragment of the arguments; returns the piece of the text that it has.
    pub(crate) fn push(&mut self, fragment: &str) -> &str {
        let known = self.text.len();
        match self.place {
            Place::Behind => {}
            Place::Other => self.waiting.push_str(fragment),
            Place::Before | Place::Within => {
                self.waiting.push_str(fragment);
                if self.place == Place::Before {
                    self.read_beginning();
                }
                if self.place == Place::Within {
                    self.read_text();
                }
            }
        }
        &self.text[known..]
    }

    /// Ends the arguments; returns the rest of the text.
    pub(crate) fn end(&mut self) -> &str {
        let known = self.text.len();
        let waiting = std::mem::take(&mut self.waiting);
        if matches!(self.place, Place::Before | Place::Other) {
            self.text.push_str(&tools::custom_input(&waiting));
        }
        self.place = Place::Behind;
        &self.text[known..]
    }

    /// Returns the text so far.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the size of what is held, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.text.len() + self.waiting.len()
    }

    fn read_beginning(&mut self) {
        let mut rest = self.waiting.as_str();
        for token in BEGINNING {
            rest = rest.trim_ascii_start();
            match rest.strip_prefix(token) {
                Some(after) => rest = after,
                // More of it may follow.
                None if token.starts_with(rest) => return,
                None => {
                    self.place = Place::Other;
                    return;
                }
            }
        }
        let read = self.waiting.len() - rest.len();
        self.waiting.drain(..read);
        self.place = Place::Within;
    }

    /// Reads the text up to its end, or to an escape that is not whole.
    fn read_text(&mut self) {
        let mut at = 0;
        while let Some(found) = memchr::memchr2(b'"', b'\\', &self.waiting.as_bytes()[at..]) {
            self.text.push_str(&self.waiting[at..at + found]);
            at += found;
            if self.waiting.as_bytes()[at] == b'"' {
                self.place = Place::Behind;
                self.waiting.clear();
                return;
            }
            let Some(length) = escape_length(&self.waiting[at..]) else {
                self.waiting.drain(..at);
                return;
            };
            let escape = &self.waiting[at..at + length];
            match RawJson::of_valid(&format!("\"{escape}\"")).text() {
                Some(text) => self.text.push_str(&text),
                None => self.text.push_str(escape),
            }
            at += length;
        }
        self.text.push_str(&self.waiting[at..]);
        self.waiting.clear();
    }
}

/// Returns the length of the escape with which a text begins: of both, if it is half of a pair.
/// `None` if it is not whole yet.
fn escape_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let length = match bytes.get(1)? {
        b'u' => 6,
        _ => return text.chars().nth(1).map(|char| 1 + char.len_utf8()),
    };
    let digits = text.get(2..length);
    if bytes.len() < length {
        return None;
    }
    let unit = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
    let Some(0xD800..=0xDBFF) = unit else {
        // Of other characters than digits only the first two are taken.
        return Some(if unit.is_some() { length } else { 2 });
    };
    let pair = &bytes[length..bytes.len().min(2 * length)];
    let may_follow = b"\\u".iter().zip(pair).all(|(want, got)| want == got);
    match (may_follow, pair.len()) {
        (false, _) => Some(length),
        (true, 6) => Some(2 * length),
        (true, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of arguments that come in pieces of that many characters.
    fn read(arguments: &str, size: usize) -> String {
        let chars: Vec<char> = arguments.chars().collect();
        let mut input = CustomInput::default();
        let mut said = String::new();
        for piece in chars.chunks(size) {
            let piece: String = piece.iter().collect();
            said.push_str(input.push(&piece));
        }
        said.push_str(input.end());
        assert_eq!(said, input.text());
        said
    }

    #[test]
    fn the_text_is_the_same_however_its_arguments_come() {
        for (arguments, text) in [
            (r#"{"input":"a\"b\n\\c\u00e9 é 🌊"}"#, "a\"b\n\\cé é 🌊"),
            (r#" { "input" : "spaced" } "#, "spaced"),
            (r#"{"input":"\ud83c\udf0a!\ud83c?"}"#, "🌊!\u{fffd}?"),
            (r#"{"input":"a","more":1}"#, "a"),
            (r#"{"code":"only"}"#, "only"),
            (r#"{"a":1,"input":"late"}"#, "late"),
            ("plain", "plain"),
            ("", ""),
            (r#"{"input":"cut of"#, "cut of"),
            (r#"{"input":7}"#, r#"{"input":7}"#),
        ] {
            for size in [1, 2, 3, 7, 100] {
                assert_eq!(read(arguments, size), text, "{arguments} by {size}");
            }
        }
    }

    #[test]
    fn a_piece_of_the_text_does_not_wait() {
        let mut input = CustomInput::default();
        assert_eq!(input.push(r#"{"input": "on"#), "on");
        assert_eq!(input.push(r"e\"), "e");
        assert_eq!(input.push("ntwo"), "\ntwo");
        assert_eq!(input.push("\"}"), "");
        assert_eq!(input.end(), "");
    }
}
