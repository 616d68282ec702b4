//! Errors of the cursor.

/// An error and its byte offset.
#[derive(Debug, thiserror::Error)]
#[error("{what} (byte {at})")]
pub(crate) struct MalformedJson {
    pub(super) what: CursorError,
    pub(super) at: usize,
}

/// The kind of an error; small, because every step returns one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CursorError {
    #[error("expected a value")]
    Value,
    #[error("expected an object")]
    Object,
    #[error("expected a list")]
    List,
    #[error("expected a string")]
    Text,
    #[error("expected a field name")]
    Name,
    #[error("expected `:`")]
    Colon,
    #[error("expected `,` or the end of the container")]
    Comma,
    #[error("unterminated string, or a control character in it")]
    UnterminatedString,
    #[error("invalid escape")]
    Escape,
    #[error("invalid number")]
    Number,
    #[error("invalid UTF-8 or lone surrogate")]
    Characters,
    #[error("duplicate field")]
    DuplicateField,
    #[error("unexpected data after the value")]
    Trailing,
    #[error("unexpected content")]
    Mismatch,
}
