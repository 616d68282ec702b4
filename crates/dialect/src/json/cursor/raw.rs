//! JSON values as they were sent.

use std::borrow::Cow;

use serde::Deserialize;

use super::error::CursorError;
use super::{CursorResult, surrogates};

/// A string that borrows from its payload where it has no escapes. (A bare `Cow` in an `Option`
/// always allocates.)
#[derive(Debug, Deserialize)]
pub(crate) struct BorrowedText<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// A valid JSON value, as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawJson<'a>(pub(super) &'a str);

impl<'a> RawJson<'a> {
    pub(crate) const NULL: Self = Self("null");

    /// Returns a text that is known to be valid JSON.
    pub(crate) fn of_valid(text: &'a str) -> Self {
        Self(text)
    }

    pub(crate) fn get(self) -> &'a str {
        self.0
    }

    pub(crate) fn is_text(self) -> bool {
        self.0.starts_with('"')
    }

    /// Returns the text of a string. A lone half of a surrogate pair becomes U+FFFD, so that the
    /// text around it is not lost.
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

    /// Returns the value with U+FFFD in place of each lone half of a surrogate pair.
    pub(crate) fn without_lone_surrogates(self) -> Cow<'a, str> {
        match memchr::memmem::find(self.0.as_bytes(), b"\\u") {
            None => Cow::Borrowed(self.0),
            Some(_) => Cow::Owned(surrogates::replaced(self.0)),
        }
    }

    /// Returns the text of a string; `None` if it holds a lone surrogate.
    pub(super) fn exact(self) -> Option<Cow<'a, str>> {
        serde_json::from_str::<BorrowedText<'_>>(self.0)
            .ok()
            .map(|text| text.0)
    }
}

/// Returns the text of a field that may be missing or null.
pub(crate) fn optional_text(field: Option<RawJson<'_>>) -> CursorResult<Option<Cow<'_, str>>> {
    match field {
        None | Some(RawJson("null")) => Ok(None),
        Some(raw) => raw.text().map(Some).ok_or(CursorError::Text),
    }
}
