//! Text within a bound, for lines of the log that repeat what others sent.

use std::borrow::Cow;

/// Returns the text, or its first `limit` bytes at most and a count of the rest.
///
/// ```
/// use base::shorten::shorten;
///
/// assert_eq!(shorten("short", 8), "short");
/// assert_eq!(shorten("a longer one", 8), "a longer… (4 bytes more)");
/// ```
#[must_use]
pub fn shorten(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let kept = &text[..(0..=limit).rev().find(is_boundary).unwrap_or_default()];
    Cow::Owned(format!("{kept}… ({} bytes more)", text.len() - kept.len()))
}

/// Returns the first `limit` names, each of at most `name_limit` bytes, separated by commas, and a
/// count of the rest and of `unnamed` others.
///
/// ```
/// use base::shorten::shorten_list;
///
/// let names = ["one", "two", "three"];
/// assert_eq!(shorten_list(&names, 3, 8, 0), "one, two, three");
/// assert_eq!(shorten_list(&names, 2, 8, 5), "one, two, and 6 more");
/// ```
#[must_use]
pub fn shorten_list(
    names: &[impl AsRef<str>],
    limit: usize,
    name_limit: usize,
    unnamed: usize,
) -> String {
    let kept = names.iter().take(limit);
    let kept: Vec<_> = kept
        .map(|name| shorten(name.as_ref(), name_limit))
        .collect();
    let list = kept.join(", ");
    match names.len().saturating_sub(limit) + unnamed {
        0 => list,
        more => format!("{list}, and {more} more"),
    }
}
