//! The cursor against `serde_json`: both accept the same input and return the same values.

#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::*;

/// Builds a value through the cursor.
fn value(cursor: &mut Cursor<'_>) -> CursorResult<Value> {
    match cursor.space() {
        b'{' => {
            let mut fields = Map::new();
            cursor.object(|name, cursor| {
                fields.insert(
                    std::str::from_utf8(name).unwrap().to_owned(),
                    value(cursor)?,
                );
                Ok(())
            })?;
            Ok(fields.into())
        }
        b'[' => {
            let mut list = Vec::new();
            cursor.list(|cursor| {
                list.push(value(cursor)?);
                Ok(())
            })?;
            Ok(list.into())
        }
        b'"' => Ok(cursor.raw()?.exact().ok_or(CursorError::Characters)?.into()),
        _ if cursor.null()? => Ok(Value::Null),
        // The cursor does not convert numbers.
        _ => serde_json::from_str(cursor.raw()?.get()).map_err(|_| CursorError::Number),
    }
}

/// Asserts that the cursor and `serde_json` agree on a text.
fn agree(data: &[u8]) {
    let shown = String::from_utf8_lossy(data);
    let skipped = walk(data, Cursor::skip);
    assert_eq!(
        skipped.is_ok(),
        serde_json::from_slice::<IgnoredAny>(data).is_ok(),
        "skipped: {shown:?}"
    );
    let raw = walk(data, Cursor::raw).ok().map(RawJson::get);
    assert_eq!(
        raw,
        serde_json::from_slice::<&RawValue>(data)
            .ok()
            .map(RawValue::get),
        "as it stands: {shown:?}"
    );
    let built = serde_json::from_slice::<Value>(data).ok();
    assert_eq!(walk(data, value).ok(), built, "as a value: {shown:?}");
    if walk(data, |cursor| cursor.skip().map(|()| cursor.is_certain())).is_ok_and(|certain| certain)
    {
        assert!(built.is_some(), "nothing to doubt: {shown:?}");
    }
}

#[test]
fn every_corner_is_as_serde_json_has_it() {
    for text in [
        "",
        " ",
        "null",
        "nul",
        "nulll",
        "Null",
        "true",
        "truefalse",
        "false ",
        "\t\r\n{ } ",
        "\u{b}{}",
        "\u{feff}{}",
        "{}{}",
        "{}x",
        "{} \0",
        "\0",
        "[",
        "[]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "{]",
        "[{]}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\" : 1 , \"b\":[ ] }",
        "{a:1}",
        "{1:1}",
        "{\"a\":1 \"b\":2}",
        "{,}",
        "[[[[]]],{\"a\":{}}]",
        "0",
        "-0",
        "-",
        "00",
        "01",
        "-01",
        "1.",
        "1.5",
        ".5",
        "+1",
        "1e",
        "1e+",
        "1E-5",
        "1e5x",
        "1e999",
        "-1e999",
        "1e-999",
        "123456789012345678901234567890",
        "0x1",
        "\"",
        "\"a",
        "\"a\"",
        "\"a\\\"",
        "\"\\\"\"",
        "\"\\\\\"",
        "\"a\tb\"",
        "\"a\u{0}b\"",
        "\"\u{1f}\"",
        "\"\u{7f}\u{80}\u{1f30a}\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u00e9\\n\"",
        "\"\\ud83c\\udf0a\"",
        "\"\\ud83c\"",
        "\"\\udf0a\"",
        "\"\\ud83cx\"",
        "\"\\ud83c\\u0041\"",
        "{\"\\ud83c\":1}",
        "{\"\\u0061\":1}",
        "{\"a\":1,\"\\u0061\":2}",
        "{\"a\":{\"\\ud83c\":1}}",
        "'a'",
        "NaN",
        "Infinity",
        "// a\n{}",
        "\"12345678\\\"12345678\"",
        "\"1234567\"",
        "\"12345678\"",
        "\"123456789\"",
        "\"!!!!!!!!\"",
        "\"####[[[[]]]]\"",
    ] {
        agree(text.as_bytes());
    }
    for bytes in [
        &b"\"\xff\""[..],
        b"{\"\xff\":1}",
        b"{\"a\":{\"\xff\":1}}",
        b"\xff",
        b"\"\xc3\xa9\xc3\"",
        b"[\"\xed\xa0\x80\"]",
    ] {
        agree(bytes);
    }
    agree("9".repeat(309).as_bytes());
    agree("9".repeat(310).as_bytes());
    agree(format!("0.{}", "9".repeat(400)).as_bytes());
}

#[test]
fn a_special_byte_is_found_wherever_it_stands() {
    for byte in 0..=u8::MAX {
        for at in 0..20 {
            let mut text = [&b"\""[..], &[b'a'; 20], b"\""].concat();
            text[at + 1] = byte;
            agree(&text);
            // Bytes that differ from a special one by a bit, or by one, are around it.
            for around in [b'!', b'#', b'[', b']', 0x20, 0x7f, 0xa2, 0xdc] {
                let mut text = [around; 20];
                text[at] = byte;
                let want = text
                    .iter()
                    .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
                assert_eq!(
                    plain(&text),
                    want.unwrap_or(20),
                    "{byte:#x} at {at} in {around:#x}"
                );
            }
        }
    }
}

#[test]
fn nesting_has_no_end_where_nothing_is_built() {
    for depth in [1, 63, 64, 65, 127, 128, 129, 1000, 100_000] {
        for (open, close) in [("[", "]"), ("{\"a\":[", "]}"), ("[{\"a\":", "}]")] {
            let inner = if open.ends_with(':') { "1" } else { "" };
            let whole = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
            assert!(
                walk(whole.as_bytes(), Cursor::skip).is_ok(),
                "{depth} of {open}"
            );
            let (cut, swapped) = (&whole[..whole.len() - 1], whole.replacen("]", "}", 1));
            assert!(
                walk(cut.as_bytes(), Cursor::skip).is_err(),
                "{depth} of {open}, cut"
            );
            assert!(
                walk(swapped.as_bytes(), Cursor::skip).is_err(),
                "{depth} of {open}, swapped"
            );
            let certain = walk(whole.as_bytes(), |cursor| {
                cursor.skip().map(|()| cursor.is_certain())
            })
            .unwrap();
            assert!(
                !certain || serde_json::from_str::<Value>(&whole).is_ok(),
                "{depth} of {open}"
            );
        }
    }
}

#[test]
fn an_error_says_what_and_where() {
    for (text, says) in [
        ("{\"a\" 1}", "expected `:` (byte 5)"),
        ("[1", "expected `,` or the end of the container (byte 2)"),
        ("{}}", "unexpected data after the value (byte 2)"),
    ] {
        assert_eq!(
            walk(text.as_bytes(), Cursor::skip).unwrap_err().to_string(),
            says,
            "{text}"
        );
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z ]{0,20}",
        1 => "\\PC{0,8}",
        1 => any::<String>(),
        1 => Just("\"\\/\u{8}\u{c}\n\r\t\u{0}".to_owned()),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Inserted by mutations: bytes with a meaning in JSON, and some without.
fn junk() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        " ",
        "\n",
        "\0",
        "\u{1f}",
        "-",
        "0",
        "1",
        ".",
        "e",
        "E5",
        "e999",
        "+",
        "null",
        "true",
        "fals",
        "\\u",
        "\\ud83c",
        "\\udf0a",
        "\\u0061",
        "\\n",
        "\\x",
        "\"a\":",
        "\"a\":1,",
        "é",
        "\u{1f30a}",
        "//",
    ];
    prop_oneof![
        6 => prop::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..3),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_read_as_serde_json_reads_it(value in any_value(), pretty in any::<bool>()) {
        agree(&if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap());
    }

    #[test]
    fn broken_json_is_refused_as_serde_json_refuses_it(
        value in any_value(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, junk()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut text = serde_json::to_vec(&value).unwrap();
        for (at, gone, junk) in changes {
            let at = at.index(text.len() + 1);
            let end = text.len().min(at + gone);
            text.splice(at..end, junk);
        }
        if let Some(cut) = cut {
            text.truncate(cut.index(text.len() + 1));
        }
        agree(&text);
    }

    #[test]
    fn any_pieces_are_taken_or_refused_alike(pieces in prop::collection::vec(junk(), 0..12)) {
        agree(&pieces.concat());
    }
}
