//! A note on an answer that was continued, in a place that each dialect leaves to strangers:
//! clients that don't know the field pass over it.

use serde_json::{Value, json};

/// The name of the field.
pub(crate) const NOTE: &str = "tokenrill";

/// The facts of an answer that broke, and that other attempts went on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContinuedNote {
    /// The number of times that it broke.
    pub breaks: u32,
    /// The way in which the last attempt was asked.
    pub by: &'static str,
    /// Set if the usage of a part was not reported.
    pub usage_estimated: bool,
}

impl ContinuedNote {
    /// Returns the value of the field.
    ///
    /// ```
    /// let note = dialect::ContinuedNote { breaks: 1, by: "turn", usage_estimated: true };
    /// let field = r#"{"continued":{"breaks":1,"by":"turn","usage_estimated":true}}"#;
    /// assert_eq!(note.to_json().to_string(), field);
    /// ```
    #[must_use]
    pub fn to_json(self) -> Value {
        let Self {
            breaks,
            by,
            usage_estimated,
        } = self;
        json!({ "continued": { "breaks": breaks, "by": by, "usage_estimated": usage_estimated } })
    }
}
