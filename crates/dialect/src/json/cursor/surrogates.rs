//! Lone surrogates. JSON writes characters beyond 16 bits as two escapes, and some upstreams end a
//! token between the two; `serde_json` then refuses the whole string.

/// Returns the string with `\ufffd` in place of each lone surrogate. It must be valid JSON
/// otherwise.
pub(super) fn replaced(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let (keep, length) = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (true, 12),
            (Some(0xd800..=0xdfff), _) => (false, 6),
            (Some(_), _) => (true, 6),
            (None, _) => (true, 2),
        };
        let (escape, after) = escape.split_at_checked(length).unwrap_or((escape, ""));
        out.push_str(if keep { escape } else { "\\ufffd" });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Returns the code unit of a leading `\u` escape.
fn unit(escape: &str) -> Option<u16> {
    u16::from_str_radix(escape.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn halves_alone_are_replaced_and_nothing_else_is() {
        for (json, same) in [
            (r#""a""#, r#""a""#),
            (r#""abc\ud83d""#, r#""abc\ufffd""#),
            (r#""\ude00é\\ud83d""#, r#""\ufffdé\\ud83d""#),
            (
                r#""\ud83d\ude00\n\ud83d\ud83d\uDE00""#,
                r#""\ud83d\ude00\n\ufffd\ud83d\uDE00""#,
            ),
            (r#""\ud83d\u0041\"""#, r#""\ufffd\u0041\"""#),
        ] {
            assert_eq!(replaced(json), same);
            assert!(serde_json::from_str::<String>(same).is_ok());
        }
    }
}
