//! A template for payloads that differ from an earlier one only in a few strings, as nearly all of
//! an answer do.
//!
//! Bytes equal to those of a payload that was validated need no second validation: comparing them
//! takes a fraction of the time.

use super::cursor::{Cursor, RawJson};

/// Largest payload that is kept: longer ones are rare.
const MAX_TEMPLATE_BYTES: usize = 2048;

/// A validated payload and the places of the two strings in it that may differ; the second may be
/// empty.
#[derive(Debug, Default)]
pub(crate) struct PayloadTemplate {
    payload: Vec<u8>,
    /// Ranges of those strings, quotes included. The first is the one that is returned.
    texts: [(usize, usize); 2],
}

impl PayloadTemplate {
    /// Remembers a valid payload. The strings must be slices of it.
    pub(crate) fn learn(&mut self, payload: &[u8], text: RawJson<'_>, other: Option<RawJson<'_>>) {
        self.payload.clear();
        // Other bytes would need a UTF-8 check of every part.
        if payload.len() > MAX_TEMPLATE_BYTES
            || !text.is_text()
            || std::str::from_utf8(payload).is_err()
        {
            return;
        }
        let place = |raw: RawJson<'_>| {
            let start = (raw.get().as_ptr() as usize).saturating_sub(payload.as_ptr() as usize);
            (start, start + raw.get().len())
        };
        self.payload.extend_from_slice(payload);
        let nowhere = (payload.len(), payload.len());
        self.texts = [
            place(text),
            other.filter(|raw| raw.is_text()).map_or(nowhere, place),
        ];
    }

    /// Returns the first string of another payload, if that payload differs in nothing else.
    pub(crate) fn match_payload<'a>(&self, payload: &'a [u8]) -> Option<RawJson<'a>> {
        if self.payload.is_empty() {
            return None;
        }
        let mut cursor = Cursor::over_parts(payload);
        let (mut from, mut wanted) = (0, None);
        let [first, other] = self.texts;
        for (start, end) in if first < other {
            [first, other]
        } else {
            [other, first]
        } {
            cursor.same(self.payload.get(from..start)?)?;
            if start < end {
                let is_wanted = (start, end) == first;
                let text = cursor.text(is_wanted).ok()?;
                if is_wanted {
                    wanted = text;
                }
            }
            from = end;
        }
        cursor.same(self.payload.get(from..)?)?;
        wanted.filter(|_| cursor.is_at_end())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::json::walk;

    /// Returns a template of `{"a": …, "b": {"c": …}, "d": 1}` in which the strings `c` and `a` may
    /// differ.
    fn template(payload: &str) -> PayloadTemplate {
        let (mut a, mut c) = (None, None);
        walk(payload.as_bytes(), |cursor| {
            cursor.object(|name, cursor| match name {
                b"a" => cursor.field_once(&mut a),
                b"b" => cursor.object(|_, cursor| cursor.field_once(&mut c)),
                _ => cursor.skip(),
            })
        })
        .unwrap();
        let mut template = PayloadTemplate::default();
        template.learn(payload.as_bytes(), c.unwrap(), a);
        template
    }

    #[test]
    fn only_what_differs_in_those_texts_fits() {
        for (a, c) in [
            ("", ""),
            ("x", "some text"),
            ("é\u{1f30a}", "\\\"\\u00e9\\n"),
            ("\\ud83c", "é"),
        ] {
            let learned = r#"{"a":"one","b":{"c":"two"},"d":1}"#;
            let whole = format!(r#"{{"a":"{a}","b":{{"c":"{c}"}},"d":1}}"#);
            assert_eq!(
                template(learned)
                    .match_payload(whole.as_bytes())
                    .unwrap()
                    .get(),
                format!("\"{c}\"")
            );
            let turned = format!(r#"{{"b":{{"c":"{c}"}},"a":"{a}","d":1}}"#);
            assert!(template(learned).match_payload(turned.as_bytes()).is_none());
            assert_eq!(
                template(&turned)
                    .match_payload(turned.as_bytes())
                    .unwrap()
                    .get(),
                format!("\"{c}\"")
            );
            for end in 0..whole.len() {
                assert!(
                    template(learned)
                        .match_payload(&whole.as_bytes()[..end])
                        .is_none(),
                    "cut"
                );
            }
            for more in [" ", "}", "x"] {
                assert!(
                    template(learned)
                        .match_payload(format!("{whole}{more}").as_bytes())
                        .is_none(),
                    "and more"
                );
            }
        }
        let template = template(r#"{"a":"one","b":{"c":"two"},"d":1}"#);
        for other in [
            &br#"{"a":"one","b":{"c":"two"},"d":2}"#[..],
            br#"{"a":1,"b":{"c":"two"},"d":1}"#,
            br#"{"a":"one","b":{"c":null},"d":1}"#,
            br#"{"a":"one","b":{"c":"tw"o"},"d":1}"#,
            br#"{"a":"one","b":{"c":"tw\"},"d":1}"#,
            b"{\"a\":\"one\",\"b\":{\"c\":\"a\tb\"},\"d\":1}",
            b"{\"a\":\"\xff\",\"b\":{\"c\":\"two\"},\"d\":1}",
            b"{\"a\":\"one\",\"b\":{\"c\":\"\xc3\"},\"d\":1}",
            br#"{"a":"one","b":{"c":"two","x":"y"},"d":1}"#,
            b"",
            b"[DONE]",
        ] {
            assert!(
                template.match_payload(other).is_none(),
                "{}",
                String::from_utf8_lossy(other)
            );
        }
    }

    #[test]
    fn what_is_no_text_or_no_utf_8_or_long_is_no_mould() {
        for payload in [
            r#"{"b":{"c":5}}"#.to_owned(),
            format!(
                r#"{{"a":"{}","b":{{"c":"t"}}}}"#,
                "x".repeat(MAX_TEMPLATE_BYTES)
            ),
        ] {
            assert!(
                template(&payload)
                    .match_payload(payload.as_bytes())
                    .is_none()
            );
        }
        let odd = r#"{"a":5,"b":{"c":"two"}}"#;
        assert_eq!(
            template(odd).match_payload(odd.as_bytes()).unwrap().get(),
            "\"two\""
        );
        assert!(
            template(odd)
                .match_payload(br#"{"a":6,"b":{"c":"two"}}"#)
                .is_none(),
            "what is no text stays"
        );
        assert!(PayloadTemplate::default().match_payload(b"").is_none());
    }
}
