//! The line of the log for a failure. It tells no content: not the client's, whose request a
//! message may quote, and not the upstream's, whose words may quote anything. Those words are for
//! the client alone; the log has the code, the type and the length.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::Write as _;

use base::shorten::shorten;
use serde_json::error::Category;

use super::{Failure, classes};
use crate::error_report::ErrorReport;

/// Longest message of a failure in the log, in bytes.
const MAX_LOG_MESSAGE: usize = 1024;
/// Longest name of a field in such a message.
const MAX_LOGGED_PARAM: usize = 128;
/// Longest code or type of an upstream's that the log has.
const MAX_LOGGED_WORD: usize = 64;

impl Failure {
    /// Returns the message and the whole chain of causes on one line, for the log.
    #[must_use]
    pub fn log_message(&self) -> String {
        if self.is(&classes::INVALID_REQUEST) {
            let param = self.param().unwrap_or("its body");
            return format!(
                "the request is wrong at {}",
                shorten(param, MAX_LOGGED_PARAM)
            );
        }
        let mut line = match &self.0.log_text {
            Some(text) => text.clone(),
            None => self.to_string(),
        };
        let mut source = StdError::source(self);
        while let Some(cause) = source {
            let _ = write!(line, ": {}", describe_cause(cause));
            source = cause.source();
        }
        shorten(&line, MAX_LOG_MESSAGE).into_owned()
    }
}

/// Returns a cause's own message, unless that may quote what was parsed.
fn describe_cause(cause: &(dyn StdError + 'static)) -> Cow<'static, str> {
    match cause.downcast_ref::<serde_json::Error>() {
        Some(error) => {
            let what = match error.classify() {
                Category::Io => "JSON that can't be read",
                Category::Syntax => "malformed JSON",
                Category::Data => "JSON of another shape",
                Category::Eof => "JSON that breaks off",
            };
            format!("{what} (line {}, column {})", error.line(), error.column()).into()
        }
        None => cause.to_string().into(),
    }
}

/// Appends the type, the code and the length of an upstream's report.
pub(super) fn append_report(line: &mut String, report: &ErrorReport) {
    for (what, word) in [("type", &report.kind), ("code", &report.code)] {
        if let Some(word) = word.as_deref().filter(|word| is_identifier(word)) {
            let _ = write!(line, ", {what} `{word}`");
        }
    }
    let _ = write!(line, ", with {} bytes of message", report.message.len());
}

/// Returns whether a code or type is one, and no text.
fn is_identifier(word: &str) -> bool {
    word.len() <= MAX_LOGGED_WORD
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}
