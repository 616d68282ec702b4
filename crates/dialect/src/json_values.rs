//! JSON values that come one after the other: as lines, as a list, or as one pretty-printed whole.
//!
//! Only the ends of values are looked for; whether one is well-formed is for its reader to say.

use bytes::{Buf, Bytes, BytesMut};

use crate::failure::Failure;

/// Splits a body into the JSON objects and lists that it is made of.
///
/// ```
/// use bytes::Bytes;
/// use dialect::JsonValues;
///
/// let mut values = JsonValues::new();
/// let mut chunk = Bytes::from("{\"a\":\"}\"}\n{\"b\"");
/// assert_eq!(values.next_value(&mut chunk, 100)?.unwrap(), "{\"a\":\"}\"}");
/// assert_eq!(values.next_value(&mut chunk, 100)?, None);
/// assert!(values.is_within_value());
/// let mut chunk = Bytes::from(":1}");
/// assert_eq!(values.next_value(&mut chunk, 100)?.unwrap(), "{\"b\":1}");
/// # Ok::<(), dialect::failure::Failure>(())
/// ```
#[derive(Debug, Default)]
pub struct JsonValues {
    /// The start of an unfinished value.
    held: BytesMut,
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// The values are those of a list.
    in_list: bool,
    /// A value, or the list around them, has begun.
    begun: bool,
}

/// The place of a byte.
enum Place {
    Between,
    Within,
    /// The last byte of a value.
    Last,
}

impl JsonValues {
    /// Returns a splitter at the beginning of a body. A list is split into its values.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes up to the end of the next value and returns that, or takes them all.
    ///
    /// # Errors
    ///
    /// When something else stands between two values, or one is longer than `limit`.
    pub fn next_value(
        &mut self,
        bytes: &mut Bytes,
        limit: usize,
    ) -> Result<Option<Bytes>, Failure> {
        let mut start = 0;
        for at in 0..bytes.len() {
            match self.place(bytes, at)? {
                Place::Between => start = at + 1,
                Place::Within if self.held.len() + at - start < limit => {}
                Place::Within => return Err(Failure::response_too_large(limit)),
                Place::Last => {
                    bytes.advance(start);
                    let value = bytes.split_to(at + 1 - start);
                    if self.held.is_empty() {
                        return Ok(Some(value));
                    }
                    let mut held = std::mem::take(&mut self.held);
                    held.extend_from_slice(&value);
                    return Ok(Some(held.freeze()));
                }
            }
        }
        self.held.extend_from_slice(&bytes[start..]);
        bytes.clear();
        Ok(None)
    }

    /// Returns whether a value has begun and not ended.
    #[must_use]
    pub fn is_within_value(&self) -> bool {
        self.depth > 0
    }

    /// Returns the size of the unfinished value so far.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    fn place(&mut self, bytes: &[u8], at: usize) -> Result<Place, Failure> {
        let byte = bytes[at];
        if self.in_string {
            self.in_string = self.escaped || byte != b'"';
            self.escaped = !self.escaped && byte == b'\\';
            return Ok(Place::Within);
        }
        match byte {
            b'"' if self.depth > 0 => self.in_string = true,
            b'[' if !self.begun => {
                (self.begun, self.in_list) = (true, true);
                return Ok(Place::Between);
            }
            b'{' | b'[' => {
                self.begun = true;
                self.depth += 1;
            }
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                if self.depth == 0 {
                    return Ok(Place::Last);
                }
            }
            _ if self.depth > 0 => {}
            b']' if self.in_list => self.in_list = false,
            // 0x1E stands before each value of a JSON text sequence; the others are a byte order
            // mark.
            b' ' | b'\t' | b'\r' | b'\n' | b',' | 0x1E | 0xEF | 0xBB | 0xBF => {}
            _ => {
                return Err(Failure::bad_payload(
                    "JSON",
                    "it stands between two values".into(),
                ));
            }
        }
        Ok(if self.depth > 0 {
            Place::Within
        } else {
            Place::Between
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn split(text: &str, piece: usize) -> Vec<String> {
        let (mut values, mut found) = (JsonValues::new(), Vec::new());
        for chunk in text.as_bytes().chunks(piece) {
            let mut chunk = Bytes::copy_from_slice(chunk);
            while let Some(value) = values.next_value(&mut chunk, 100).unwrap() {
                found.push(String::from_utf8(value.to_vec()).unwrap());
            }
        }
        assert!(!values.is_within_value());
        found
    }

    #[test]
    fn values_are_split_however_they_arrive() {
        for (text, expected) in [
            (
                "{\"a\":{}}\n{\"b\":[1]}\n",
                vec!["{\"a\":{}}", "{\"b\":[1]}"],
            ),
            (
                "[{\"a\":1}\n,\r\n{\"b\":2}]\n",
                vec!["{\"a\":1}", "{\"b\":2}"],
            ),
            (
                "{\"a\":\"\\\"}\\\\\"}[DONE]",
                vec!["{\"a\":\"\\\"}\\\\\"}", "[DONE]"],
            ),
            ("\u{feff}{}\u{1e}{}", vec!["{}", "{}"]),
            ("[]", vec![]),
        ] {
            for piece in 1..=text.len() {
                assert_eq!(split(text, piece), expected, "{text} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_no_value_or_too_long_is_an_error() {
        for text in ["{} x", "[1]", "{}}"] {
            let (mut values, mut bytes) = (JsonValues::new(), Bytes::from(text));
            let mut read = || values.next_value(&mut bytes, 100);
            assert!(read().and_then(|_| read()).is_err(), "{text}");
        }
        let mut values = JsonValues::new();
        for _ in 0..3 {
            assert!(values.next_value(&mut "{\"a".into(), 9).unwrap().is_none());
        }
        assert!(values.next_value(&mut "{\"a".into(), 9).is_err());
    }
}
