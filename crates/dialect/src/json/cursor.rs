//! A cursor over JSON text that builds nothing.
//!
//! A payload is read once per token, for a few of its fields: those are returned as slices of the
//! payload, and all else is only validated, exactly as `serde_json` would. Callers match on the
//! field names.
//!
//! All four dialects use it, although only Chat and Gemini gain much: one mechanism with one set of
//! differential tests is worth more than a second one. docs/performance.md has the comparison with
//! serde_json, sonic-rs and jiter.

mod error;
mod nesting;
mod raw;
mod surrogates;
#[cfg(test)]
mod tests;

pub(crate) use self::error::CursorError;
use self::error::MalformedJson;
use self::nesting::Nesting;
pub(crate) use self::raw::{BorrowedText, RawJson, optional_text};

/// A position in JSON text.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    /// The input as text, if it is UTF-8: checking it once costs less than checking every part.
    text: Option<&'a str>,
    at: usize,
    lenient: bool,
}

pub(crate) type CursorResult<T> = Result<T, CursorError>;

/// Parses a whole text with the closure.
///
/// # Errors
///
/// [`MalformedJson`] for invalid JSON, or JSON of another shape than the closure accepts.
#[inline]
pub(crate) fn walk<'a, T>(
    data: &'a [u8],
    walk: impl FnOnce(&mut Cursor<'a>) -> CursorResult<T>,
) -> Result<T, MalformedJson> {
    walk_on(
        Cursor {
            bytes: data,
            text: std::str::from_utf8(data).ok(),
            at: 0,
            lenient: false,
        },
        walk,
    )
}

/// Parses a value that is known to be valid.
#[inline]
pub(crate) fn walk_raw<'a, T>(
    raw: RawJson<'a>,
    walk: impl FnOnce(&mut Cursor<'a>) -> CursorResult<T>,
) -> Result<T, MalformedJson> {
    walk_on(
        Cursor {
            bytes: raw.0.as_bytes(),
            text: Some(raw.0),
            at: 0,
            lenient: false,
        },
        walk,
    )
}

#[inline]
fn walk_on<'a, T>(
    mut cursor: Cursor<'a>,
    walk: impl FnOnce(&mut Cursor<'a>) -> CursorResult<T>,
) -> Result<T, MalformedJson> {
    let walked = walk(&mut cursor).and_then(|value| {
        cursor.space();
        if cursor.is_at_end() {
            Ok(value)
        } else {
            Err(CursorError::Trailing)
        }
    });
    walked.map_err(|what| MalformedJson {
        what,
        at: cursor.at,
    })
}

impl<'a> Cursor<'a> {
    /// Visits the fields of an object. The closure must consume each value.
    #[inline]
    pub(crate) fn object(
        &mut self,
        mut field: impl FnMut(&[u8], &mut Self) -> CursorResult<()>,
    ) -> CursorResult<()> {
        if self.space() != b'{' {
            return Err(CursorError::Object);
        }
        self.at += 1;
        if self.space() == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.space() != b'"' {
                return Err(CursorError::Name);
            }
            let start = self.at;
            let escaped = self.string()?;
            let end = self.at;
            self.colon()?;
            if escaped || self.text.is_none() {
                let name = RawJson(self.slice(start, end)?)
                    .exact()
                    .ok_or(CursorError::Characters)?;
                field(name.as_bytes(), self)?;
            } else {
                field(self.bytes.get(start + 1..end - 1).unwrap_or_default(), self)?;
            }
            if self.is_last(b'}')? {
                return Ok(());
            }
        }
    }

    /// Visits the elements of a list. The closure must consume each element.
    #[inline]
    pub(crate) fn list(
        &mut self,
        mut value: impl FnMut(&mut Self) -> CursorResult<()>,
    ) -> CursorResult<()> {
        if self.space() != b'[' {
            return Err(CursorError::List);
        }
        self.at += 1;
        if self.space() == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            value(self)?;
            if self.is_last(b']')? {
                return Ok(());
            }
        }
    }

    /// Returns a cursor before the first element of a list that is known to be valid.
    pub(crate) fn at_list(list: RawJson<'a>) -> Self {
        Self {
            bytes: list.0.as_bytes(),
            text: Some(list.0),
            at: 1,
            lenient: false,
        }
    }

    /// Consumes the next element of a list, if there is one, and the comma after it.
    pub(crate) fn next_element(&mut self) -> Option<RawJson<'a>> {
        if self.space() == b']' {
            return None;
        }
        let element = self.raw().ok()?;
        if self.space() == b',' {
            self.at += 1;
        }
        Some(element)
    }

    /// Consumes a null, if the next value is one.
    #[inline]
    pub(crate) fn null(&mut self) -> CursorResult<bool> {
        if self.space() != b'n' {
            return Ok(false);
        }
        self.literal(b"null").map(|()| true)
    }

    /// Consumes a value and returns it.
    #[inline]
    pub(crate) fn raw(&mut self) -> CursorResult<RawJson<'a>> {
        self.space();
        let start = self.at;
        self.skip()?;
        Ok(RawJson(self.slice(start, self.at)?))
    }

    /// Consumes a value and returns it if it is UTF-8; other bytes are tolerated.
    #[inline]
    pub(crate) fn raw_lossy(&mut self) -> CursorResult<Option<RawJson<'a>>> {
        self.space();
        let start = self.at;
        self.skip()?;
        Ok(self.slice(start, self.at).ok().map(RawJson))
    }

    /// Consumes the value of a field and stores it. A repeated field is an error: it could mean
    /// either.
    #[inline]
    pub(crate) fn field_once(&mut self, field: &mut Option<RawJson<'a>>) -> CursorResult<()> {
        if field.is_some() {
            return Err(CursorError::DuplicateField);
        }
        *field = Some(self.raw()?);
        Ok(())
    }

    /// Consumes a value.
    pub(crate) fn skip(&mut self) -> CursorResult<()> {
        match self.space() {
            b'"' => self.string().map(drop),
            b'{' | b'[' => self.nested(),
            first => self.scalar(first),
        }
    }

    /// Consumes a nested value of any depth. One bit tracks each open level, so the sender can't
    /// exhaust the stack.
    fn nested(&mut self) -> CursorResult<()> {
        let mut open = Nesting::default();
        loop {
            match self.space() {
                first @ (b'{' | b'[') => {
                    self.at += 1;
                    let is_object = first == b'{';
                    // The closing brackets are two code points after the opening ones in ASCII.
                    if self.space() == first + 2 {
                        self.at += 1;
                    } else {
                        open.push(is_object);
                        // serde_json may refuse a tree of this depth.
                        self.lenient |= open.depth > Nesting::AT_ONCE;
                        if is_object {
                            self.name()?;
                        }
                        continue;
                    }
                }
                first => self.scalar(first)?,
            }
            loop {
                let Some(is_object) = open.last() else {
                    return Ok(());
                };
                if !self.is_last(if is_object { b'}' } else { b']' })? {
                    if is_object {
                        self.name()?;
                    }
                    break;
                }
                open.pop();
            }
        }
    }

    /// Returns a cursor that validates UTF-8 part by part.
    #[inline]
    pub(super) fn over_parts(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            text: None,
            at: 0,
            lenient: false,
        }
    }

    /// Consumes exactly these bytes.
    #[inline]
    pub(super) fn same(&mut self, bytes: &[u8]) -> Option<()> {
        let same = self.rest().starts_with(bytes);
        self.at += bytes.len();
        same.then_some(())
    }

    #[inline]
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Consumes a string and returns it if it is wanted.
    #[inline]
    pub(super) fn text(&mut self, is_wanted: bool) -> CursorResult<Option<RawJson<'a>>> {
        let start = self.at;
        if self.peek() != b'"' {
            return Err(CursorError::Text);
        }
        self.string()?;
        // An ASCII check is cheaper than a UTF-8 conversion.
        if !is_wanted && self.bytes.get(start..self.at).is_some_and(<[u8]>::is_ascii) {
            return Ok(None);
        }
        Ok(Some(RawJson(self.slice(start, self.at)?)))
    }

    /// Returns true if serde_json would surely build a tree of the consumed values: strings and
    /// numbers were validated only in shape.
    pub(crate) fn is_certain(&self) -> bool {
        !self.lenient && self.text.is_some()
    }

    /// Consumes a field's name and the colon after it.
    #[inline]
    fn name(&mut self) -> CursorResult<()> {
        if self.space() != b'"' {
            return Err(CursorError::Name);
        }
        self.string()?;
        self.colon()
    }

    #[inline]
    fn colon(&mut self) -> CursorResult<()> {
        if self.space() != b':' {
            return Err(CursorError::Colon);
        }
        self.at += 1;
        Ok(())
    }

    /// Consumes the `,` after a value, or the end of its container; returns true for the end.
    #[inline]
    fn is_last(&mut self, end: u8) -> CursorResult<bool> {
        let byte = self.space();
        if byte != b',' && byte != end {
            return Err(CursorError::Comma);
        }
        self.at += 1;
        Ok(byte == end)
    }

    fn scalar(&mut self, first: u8) -> CursorResult<()> {
        match first {
            b'"' => self.string().map(drop),
            b'n' => self.literal(b"null"),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(CursorError::Value),
        }
    }

    #[inline]
    fn literal(&mut self, word: &[u8]) -> CursorResult<()> {
        if !self.rest().starts_with(word) {
            return Err(CursorError::Value);
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> CursorResult<()> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        let first = self.peek();
        let digits = self.digits();
        if digits == 0 || (first == b'0' && digits > 1) {
            return Err(CursorError::Number);
        }
        if self.peek() == b'.' {
            self.at += 1;
            if self.digits() == 0 {
                return Err(CursorError::Number);
            }
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(CursorError::Number);
            }
            self.lenient = true;
        }
        // A number of this length may exceed the range of a float.
        self.lenient |= self.at - start > 300;
        Ok(())
    }

    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        self.at - start
    }

    /// Consumes a string from its opening quote; returns true if it has escapes.
    fn string(&mut self) -> CursorResult<bool> {
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain(self.rest());
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(escaped);
                }
                b'\\' => {
                    self.escape()?;
                    escaped = true;
                }
                _ => return Err(CursorError::UnterminatedString),
            }
        }
    }

    /// Consumes an escape. Surrogate pairs are checked only when the string is decoded.
    fn escape(&mut self) -> CursorResult<()> {
        match *self.rest() {
            [
                _,
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                ..,
            ] => self.at += 2,
            [_, b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(u8::is_ascii_hexdigit) => {
                self.lenient |= matches!(
                    (a, b),
                    (b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F')
                );
                self.at += 6;
            }
            _ => return Err(CursorError::Escape),
        }
        Ok(())
    }

    /// Skips white space and returns the next byte without consuming it; 0 at the end, which is
    /// valid nowhere outside strings.
    #[inline]
    fn space(&mut self) -> u8 {
        loop {
            let byte = self.peek();
            // Nearly all payloads have none.
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return byte;
            }
            self.at += 1;
        }
    }

    #[inline]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    #[inline]
    fn slice(&self, start: usize, end: usize) -> CursorResult<&'a str> {
        match self.text {
            Some(text) => text.get(start..end),
            None => self
                .bytes
                .get(start..end)
                .and_then(|bytes| std::str::from_utf8(bytes).ok()),
        }
        .ok_or(CursorError::Characters)
    }
}

/// Returns the number of leading bytes that are no quote, backslash or control character, eight at
/// a time.
#[inline]
fn plain(text: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let mut rest = text;
    while let Some((eight, after)) = rest.split_first_chunk() {
        let bytes = u64::from_le_bytes(*eight);
        // Flipping bit 1 moves the quote next to the control characters. The subtraction sets the
        // high bit of every byte below the bound; bytes above ASCII have it set anyway and are
        // masked out. A borrow can only disturb bytes after the first match, which are not looked
        // at.
        let quote_or_control = (bytes ^ (ONES * 2)).wrapping_sub(ONES * 0x21);
        let backslash = (bytes ^ (ONES * 0x5c)).wrapping_sub(ONES);
        let found = (quote_or_control | backslash) & !bytes & (ONES * 0x80);
        if found != 0 {
            return text.len() - rest.len() + found.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    let special = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
    text.len() - rest.len() + special.unwrap_or(rest.len())
}
