//! The largest requests, events and answers of one model, where they differ from those of all.

use super::key::Default::Said;
use super::key::{Key, Kind};
use super::reader::Reader;

pub(super) const MAX_BODY_OF_MODEL: Key = Key::new(
    "max_body",
    Kind::Size,
    Said("`max_body`"),
    "the largest request body for this model, at most the server's `max_body`",
);
pub(super) const MAX_EVENT_OF_MODEL: Key = Key::new(
    "max_event_bytes",
    Kind::Size,
    Said("`max_event_bytes`"),
    "the same as `max_event_bytes`, for this model",
);
pub(super) const MAX_RESPONSE_OF_MODEL: Key = Key::new(
    "max_response_bytes",
    Kind::Size,
    Said("`max_response_bytes`"),
    "the same as `max_response_bytes`, for this model",
);

/// The sizes of a model's own, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModelSizes {
    /// The largest request body.
    pub body: Option<usize>,
    /// The sizes of what an upstream sends.
    pub answer: AnswerSizes,
}

/// The sizes of what an upstream sends, in bytes, where a model has its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerSizes {
    /// The longest event of a stream.
    pub event: Option<usize>,
    /// The largest answer that is no stream.
    pub response: Option<usize>,
}

/// The largest sizes of what an upstream sends, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerLimits {
    /// The longest event of a stream.
    pub event: usize,
    /// The largest answer that is no stream.
    pub response: usize,
}

impl AnswerSizes {
    /// Returns these sizes and, for what is not given, those of all models.
    #[must_use]
    pub fn or(self, defaults: AnswerLimits) -> AnswerLimits {
        AnswerLimits {
            event: self.event.unwrap_or(defaults.event),
            response: self.response.unwrap_or(defaults.response),
        }
    }
}

/// Reads the sizes of one model.
pub(super) fn model_sizes(reader: &mut Reader<'_>, max_body: usize) -> ModelSizes {
    let body = reader.size(&MAX_BODY_OF_MODEL);
    if body.is_some_and(|body| body > max_body) {
        let problem = "is more than the server's `max_body`, to which each body is read";
        reader.report(&reader.path(&MAX_BODY_OF_MODEL), problem);
    }
    ModelSizes {
        body,
        answer: AnswerSizes {
            event: reader.size(&MAX_EVENT_OF_MODEL),
            response: reader.size(&MAX_RESPONSE_OF_MODEL),
        },
    }
}
