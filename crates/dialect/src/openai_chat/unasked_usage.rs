//! The usage of a stream whose client did not ask for it: asked for upstream, and hidden from the
//! client, which gets the bytes that it would have got without.
//!
//! Where it is asked for, each chunk has `"usage": null`, and the last one has no choices.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::value::RawValue;

use crate::UnaskedUsage;
use crate::failure::Failure;
use crate::json::{Json, RawJson, walk};

const FIELD: &[u8] = b"\"usage\"";

/// Returns a body that asks for the usage; all else stays byte for byte the same.
///
/// # Errors
///
/// Never for a body that is an object.
pub(super) fn with_usage(body: &Bytes) -> Result<Bytes, Failure> {
    let whole: &RawValue = serde_json::from_slice(body).map_err(|e| Failure::internal(e.into()))?;
    // A raw value is a slice of the body.
    let place = |raw: &str| {
        let start = (raw.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
        start..start + raw.len()
    };
    let (mut options, mut is_empty) = (None, true);
    let whole = Json::from(whole);
    whole.each_field(|field, value| {
        is_empty = false;
        if field == b"stream_options" {
            options = Some(value);
        }
    });
    let after_brace = |range: Range<usize>| range.start + 1..range.start + 1;
    let (replaced, text) = match options {
        None => {
            let comma = if is_empty { "" } else { "," };
            let text = format!("\"stream_options\":{{\"include_usage\":true}}{comma}");
            (after_brace(place(whole.raw())), text)
        }
        Some(options) if !options.is_object() => {
            (place(options.raw()), "{\"include_usage\":true}".to_owned())
        }
        Some(options) => {
            let (mut own, mut is_empty) = (None, true);
            options.each_field(|field, value| {
                is_empty = false;
                if field == b"include_usage" {
                    own = Some(value);
                }
            });
            match own {
                Some(own) => (place(own.raw()), "true".to_owned()),
                None => {
                    let comma = if is_empty { "" } else { "," };
                    let text = format!("\"include_usage\":true{comma}");
                    (after_brace(place(options.raw())), text)
                }
            }
        }
    };
    let mut out = BytesMut::with_capacity(body.len() + text.len());
    out.put_slice(&body[..replaced.start]);
    out.put_slice(text.as_bytes());
    out.put_slice(&body[replaced.end..]);
    Ok(out.freeze())
}

/// Returns what a chunk has only because the usage was asked for.
pub(super) fn find_usage(data: &[u8]) -> UnaskedUsage {
    if memchr::memmem::rfind(data, FIELD).is_none() {
        return UnaskedUsage::None;
    }
    let (mut usage, mut choices) = (None, None);
    let read = walk(data, |cursor| {
        cursor.object(|name, cursor| match name {
            b"usage" => cursor.field_once(&mut usage),
            b"choices" => cursor.field_once(&mut choices),
            _ => cursor.skip(),
        })
    });
    let Some(usage) = usage.filter(|_| read.is_ok()) else {
        return UnaskedUsage::None;
    };
    if usage.get() == "null" {
        return field_range(data, usage).map_or(UnaskedUsage::None, UnaskedUsage::Field);
    }
    let is_bare = |choices: RawJson<'_>| {
        let inner = choices
            .get()
            .strip_prefix('[')
            .and_then(|it| it.strip_suffix(']'));
        inner.is_some_and(|inner| inner.trim_ascii().is_empty())
    };
    // An upstream that reports it beside the last choice does so unasked.
    match choices.is_some_and(is_bare) && usage.get().starts_with('{') {
        true => UnaskedUsage::Whole,
        false => UnaskedUsage::None,
    }
}

/// Returns the place of a field of an object, with one comma; `value` is a slice of the object.
fn field_range(data: &[u8], value: RawJson<'_>) -> Option<Range<usize>> {
    let at = (value.get().as_ptr() as usize).checked_sub(data.as_ptr() as usize)?;
    let mut end = at.checked_add(value.get().len())?;
    let before = data.get(..at)?.trim_ascii_end().strip_suffix(b":")?;
    let before = before
        .trim_ascii_end()
        .strip_suffix(FIELD)?
        .trim_ascii_end();
    if let Some(before) = before.strip_suffix(b",") {
        return Some(before.len()..end);
    }
    let rest = data.get(end..)?;
    let blank = rest
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace())
        .count();
    if rest.get(blank) == Some(&b',') {
        end += blank + 1;
        let rest = data.get(end..)?;
        end += rest
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
    }
    Some(before.len()..end)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn usage_is_asked_for_and_all_else_stays() {
        for (body, want) in [
            (
                r#"{ "model" : "m", "messages": []}"#,
                r#"{"stream_options":{"include_usage":true}, "model" : "m", "messages": []}"#,
            ),
            (
                r#"{"stream_options": { "x": 1 }, "n": 1.0}"#,
                r#"{"stream_options": {"include_usage":true, "x": 1 }, "n": 1.0}"#,
            ),
            (
                r#"{"stream_options":{},"n":1}"#,
                r#"{"stream_options":{"include_usage":true},"n":1}"#,
            ),
            (
                r#"{"stream_options":{"include_usage": false},"n":1}"#,
                r#"{"stream_options":{"include_usage": true},"n":1}"#,
            ),
            (
                r#"{"stream_options":null,"n":1}"#,
                r#"{"stream_options":{"include_usage":true},"n":1}"#,
            ),
            ("{}", r#"{"stream_options":{"include_usage":true}}"#),
        ] {
            assert_eq!(with_usage(&Bytes::from(body)).unwrap(), want, "{body}");
        }
    }

    #[test]
    fn what_came_by_asking_is_cut_out() {
        let cut = |data: &str| match find_usage(data.as_bytes()) {
            UnaskedUsage::None => data.to_owned(),
            UnaskedUsage::Field(range) => format!("{}{}", &data[..range.start], &data[range.end..]),
            UnaskedUsage::Whole => String::new(),
        };
        for (data, want) in [
            (
                r#"{"choices":[{"a":1}],"usage":null}"#,
                r#"{"choices":[{"a":1}]}"#,
            ),
            (
                r#"{"choices": [], "usage": null, "obfuscation": "x"}"#,
                r#"{"choices": [], "obfuscation": "x"}"#,
            ),
            (r#"{"usage": null, "choices": [1]}"#, r#"{"choices": [1]}"#),
            (r#"{"usage":null}"#, "{}"),
            (
                r#"{"id":"a","choices":[ ],"usage":{"prompt_tokens":1}}"#,
                "",
            ),
            // Beside a choice it came unasked, and in a choice it is the upstream's own.
            (
                r#"{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}"#,
                r#"{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}"#,
            ),
            (
                r#"{"choices":[{"delta":{"content":",\"usage\":null"},"usage":null}]}"#,
                r#"{"choices":[{"delta":{"content":",\"usage\":null"},"usage":null}]}"#,
            ),
            ("[DONE]", "[DONE]"),
        ] {
            assert_eq!(cut(data), want, "{data}");
        }
    }
}
