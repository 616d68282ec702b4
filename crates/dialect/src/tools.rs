//! Tool calls: helpers that dialects share for arguments, schemas and ids.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::json::{Json, ObjectWriter};
use crate::request::JsonText;

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

/// Returns a tool's schema with the fields that some upstreams require even if they are empty.
pub(super) fn schema(parameters: &JsonText) -> JsonText {
    let fields = parameters.view();
    let (mut is_typed, mut has_properties) = (false, false);
    // Room for what is added.
    let mut whole = ObjectWriter::with_capacity(fields.raw().len() + 64);
    fields.each_field(|name, value| {
        is_typed |= matches!(name, b"type" | b"$ref" | b"anyOf" | b"oneOf" | b"allOf");
        has_properties |= name == b"properties";
        whole.raw(&String::from_utf8_lossy(name), value.raw());
    });
    if !is_typed {
        whole.field("type", "object");
    }
    let is_object = !is_typed || fields.get("type").is("object");
    if is_object && !has_properties {
        whole.raw("properties", "{}");
    }
    JsonText::of_valid(whole.finish())
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
    let digest: [u8; 32] = Sha256::digest(id).into();
    let (half, _) = digest.split_at(16);
    half.iter()
        .fold("call_".to_owned(), |mut id, byte| {
            // Writing to a String can't fail.
            let _ = write!(id, "{byte:02x}");
            id
        })
        .into()
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
