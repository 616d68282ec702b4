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
    #[error("a value should stand here")]
    Value,
    #[error("an object should stand here")]
    Object,
    #[error("a list should stand here")]
    List,
    #[error("a text should have stood here")]
    Text,
    #[error("a field's name should stand here")]
    Name,
    #[error("a `:` should stand here")]
    Colon,
    #[error("a `,` or the end of what it stands in should stand here")]
    Comma,
    #[error("this text has no end, or a control character in it")]
    UnterminatedString,
    #[error("this is no escape")]
    Escape,
    #[error("this is no number")]
    Number,
    #[error("this is not UTF-8, or half of a character")]
    Characters,
    #[error("this field is there twice")]
    DuplicateField,
    #[error("the text should end here")]
    Trailing,
    #[error("this is not what was looked for")]
    Mismatch,
}
