//! Walking a JSON text without building anything.
//!
//! A payload is looked at once per token, for a few of its fields: what need not be known is only checked, as
//! `serde_json` would check it, and what must be is a slice of the payload. The caller names the fields.

mod error;
mod nesting;
mod surrogates;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub(crate) use self::error::CursorError;
use self::error::MalformedJson;
use self::nesting::Nesting;
use super::BorrowedText;

/// Where a walk through a text is.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    /// The same as text, if it is one: to look at it as a whole costs less than at each of its parts.
    text: Option<&'a str>,
    at: usize,
    lenient: bool,
}

pub(crate) type CursorResult<T> = Result<T, CursorError>;

/// A value as it stands, which was found well-formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawJson<'a>(&'a str);

impl<'a> RawJson<'a> {
    pub(crate) fn get(self) -> &'a str {
        self.0
    }

    pub(crate) fn is_text(self) -> bool {
        self.0.starts_with('"')
    }

    /// What it says, if it is a text. A character that was cut in two is U+FFFD: what stands around it is not lost for it.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
            return Some(Cow::Borrowed(inner));
        }
        match self.exact() {
            Some(text) => Some(text),
            None => serde_json::from_str(&surrogates::replaced(self.0))
                .ok()
                .map(Cow::Owned),
        }
    }

    /// The same, but for texts with such characters, which are none.
    fn exact(self) -> Option<Cow<'a, str>> {
        serde_json::from_str::<BorrowedText<'_>>(self.0)
            .ok()
            .map(|text| text.0)
    }
}

/// What a field says that is a text or nothing.
pub(crate) fn optional_text(field: Option<RawJson<'_>>) -> CursorResult<Option<Cow<'_, str>>> {
    match field {
        None | Some(RawJson("null")) => Ok(None),
        Some(raw) => raw.text().map(Some).ok_or(CursorError::Text),
    }
}

/// Walks through a whole text.
///
/// # Errors
///
/// [`MalformedJson`] for what is no JSON, or not what the walk looks for.
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

/// Walks through a value that was found well-formed.
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
    /// Walks through an object. Each field's value is where the cursor is, and must be walked over.
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

    /// Walks through a list. Each value is where the cursor is, and must be walked over.
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

    /// Walks over a null, if one is here.
    #[inline]
    pub(crate) fn null(&mut self) -> CursorResult<bool> {
        if self.space() != b'n' {
            return Ok(false);
        }
        self.literal(b"null").map(|()| true)
    }

    /// Walks over a value, which is kept as it stands.
    #[inline]
    pub(crate) fn raw(&mut self) -> CursorResult<RawJson<'a>> {
        self.space();
        let start = self.at;
        self.skip()?;
        Ok(RawJson(self.slice(start, self.at)?))
    }

    /// Walks over a value, which is kept as it stands if it can be: it need not be known.
    #[inline]
    pub(crate) fn raw_lossy(&mut self) -> CursorResult<Option<RawJson<'a>>> {
        self.space();
        let start = self.at;
        self.skip()?;
        Ok(self.slice(start, self.at).ok().map(RawJson))
    }

    /// Walks over a field's value, which is kept as it stands; a field that is there twice could mean either.
    #[inline]
    pub(crate) fn field_once(&mut self, field: &mut Option<RawJson<'a>>) -> CursorResult<()> {
        if field.is_some() {
            return Err(CursorError::DuplicateField);
        }
        *field = Some(self.raw()?);
        Ok(())
    }

    /// Walks over a value.
    pub(crate) fn skip(&mut self) -> CursorResult<()> {
        match self.space() {
            b'"' => self.string().map(drop),
            b'{' | b'[' => self.nested(),
            first => self.scalar(first),
        }
    }

    /// Walks over a value that nests others, however deep: what is open is told by a bit each, so that the stack is not
    /// the sender's to fill.
    fn nested(&mut self) -> CursorResult<()> {
        let mut open = Nesting::default();
        loop {
            match self.space() {
                first @ (b'{' | b'[') => {
                    self.at += 1;
                    let is_object = first == b'{';
                    // `]` and `}` lie two after `[` and `{`.
                    if self.space() == first + 2 {
                        self.at += 1;
                    } else {
                        open.push(is_object);
                        // A tree this deep may be refused.
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

    /// A cursor that knows nothing of the whole.
    #[inline]
    pub(super) fn over_parts(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            text: None,
            at: 0,
            lenient: false,
        }
    }

    /// Goes over these very bytes.
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

    /// Walks over a text, which is kept as it stands if it is wanted.
    #[inline]
    pub(super) fn text(&mut self, is_wanted: bool) -> CursorResult<Option<RawJson<'a>>> {
        let start = self.at;
        if self.peek() != b'"' {
            return Err(CursorError::Text);
        }
        self.string()?;
        // To find out that a text is ASCII costs less than to make one of it.
        if !is_wanted && self.bytes.get(start..self.at).is_some_and(<[u8]>::is_ascii) {
            return Ok(None);
        }
        Ok(Some(RawJson(self.slice(start, self.at)?)))
    }

    /// Whether a tree could be built of what was walked over: texts and numbers that no tree takes were not looked at.
    pub(crate) fn is_certain(&self) -> bool {
        !self.lenient && self.text.is_some()
    }

    /// Walks over a field's name.
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

    /// Walks over the `,` after a value, or over what ends the object or the list that it stands in.
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
        // One of so many digits may be more than a float can hold.
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

    /// Walks over a text, at whose opening quote the cursor is, and says whether it has escapes.
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

    /// Walks over an escape. Whether surrogates of characters are paired is seen where they are decoded.
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

    /// Goes on to what is no white space, which it returns: 0, that stands nowhere outside of texts, at the end.
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

/// How many bytes of a text come before a quote, a backslash or a control character: eight at a time.
#[inline]
fn plain(text: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let mut rest = text;
    while let Some((eight, after)) = rest.split_first_chunk() {
        let bytes = u64::from_le_bytes(*eight);
        // With the bit of 2 flipped, a quote comes to lie next to the control characters. A subtraction leaves the high bit
        // of a byte set that was too small; bytes above ASCII have it anyway. What is borrowed from the byte above can't
        // matter: only the first byte found does.
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
