//! The kind of an upstream's body, by its first bytes. Labels are not asked: gateways set them
//! wrong, or leave them out.

/// The byte order mark, which may stand before anything.
const BOM: &[u8] = b"\xEF\xBB\xBF";
/// Fields with which a stream of events begins.
const FIELDS: [&[u8]; 4] = [b"data", b"event", b"id", b"retry"];

/// The kind of a body.
///
/// ```
/// use dialect::BodyKind;
///
/// assert_eq!(BodyKind::of(b"\n\ndata: {}", false), Some(BodyKind::Events));
/// assert_eq!(BodyKind::of(b" {\"id\"", false), Some(BodyKind::Json));
/// assert_eq!(BodyKind::of(b"dat", false), None);
/// assert_eq!(BodyKind::of(b"dat", true), Some(BodyKind::Other));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// Server-Sent Events.
    Events,
    /// JSON objects: one, or one after the other.
    Json,
    /// A list of JSON values.
    JsonList,
    /// Neither: a page, words, or bytes of another kind.
    Other,
    /// Nothing but blanks.
    Empty,
}

impl BodyKind {
    /// Returns the kind of a body that begins with those bytes; `None` if they don't tell yet.
    /// `is_whole` says that none follow.
    #[must_use]
    pub fn of(bytes: &[u8], is_whole: bool) -> Option<Self> {
        let start = skip_blanks(bytes);
        let Some(&first) = start.first() else {
            return is_whole.then_some(Self::Empty);
        };
        if !is_whole && BOM.starts_with(start) {
            return None;
        }
        match first {
            b':' => return Some(Self::Events),
            b'{' => return Some(Self::Json),
            b'[' => return Some(Self::JsonList),
            _ => {}
        }
        for field in FIELDS {
            match start.strip_prefix(field).map(<[u8]>::first) {
                Some(Some(b':' | b'\r' | b'\n')) => return Some(Self::Events),
                Some(None) if !is_whole => return None,
                None if !is_whole && field.starts_with(start) => return None,
                _ => {}
            }
        }
        Some(Self::Other)
    }
}

/// Returns a body from its first byte that says anything.
#[must_use]
pub fn skip_blanks(bytes: &[u8]) -> &[u8] {
    let start = bytes.trim_ascii_start();
    start.strip_prefix(BOM).unwrap_or(start).trim_ascii_start()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_kind() {
        let table: &[(&[u8], BodyKind)] = &[
            (b"data: {}\n\n", BodyKind::Events),
            (b"data\n", BodyKind::Events),
            (b"event: ping\n", BodyKind::Events),
            (b"id:1\n", BodyKind::Events),
            (b"retry: 5\n", BodyKind::Events),
            (b": a comment\n\n", BodyKind::Events),
            (b"\xEF\xBB\xBFdata: {}\n\n", BodyKind::Events),
            (b"\r\n\r\n \xEF\xBB\xBF\n{", BodyKind::Json),
            (b"[{", BodyKind::JsonList),
            (b"<!doctype html>", BodyKind::Other),
            (b"database is down", BodyKind::Other),
            (b"null", BodyKind::Other),
            (b"\x1f\x8b\x08", BodyKind::Other),
        ];
        for (bytes, kind) in table {
            assert_eq!(BodyKind::of(bytes, false), Some(*kind), "{bytes:?}");
            // However it is cut, no beginning tells another kind.
            for end in 0..bytes.len() {
                let told = BodyKind::of(&bytes[..end], false);
                assert!(told.is_none_or(|told| told == *kind), "{bytes:?} {end}");
            }
        }
        assert_eq!(BodyKind::of(b" \n", true), Some(BodyKind::Empty));
        assert_eq!(BodyKind::of(b" \n", false), None);
        assert_eq!(BodyKind::of(b"data", true), Some(BodyKind::Other));
    }
}
