//! The failures of clients that may not ask: their keys, and the models that these are for.

use std::borrow::Cow;

use crate::failure::{Failure, classes};

impl Failure {
    /// Returns a failure of class [`INVALID_API_KEY`](classes::INVALID_API_KEY).
    #[must_use]
    pub fn invalid_api_key(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_message(&classes::INVALID_API_KEY, message)
    }

    /// Returns a failure of class [`KEY_EXPIRED`](classes::KEY_EXPIRED).
    #[must_use]
    pub fn key_expired(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_message(&classes::KEY_EXPIRED, message)
    }

    /// Returns a failure of class [`KEY_REVOKED`](classes::KEY_REVOKED).
    #[must_use]
    pub fn key_revoked() -> Self {
        Self::with_message(&classes::KEY_REVOKED, classes::KEY_REVOKED.message)
    }

    /// Returns a failure of class [`MODEL_NOT_ALLOWED`](classes::MODEL_NOT_ALLOWED); `allowed` says
    /// which models are.
    #[must_use]
    pub fn model_not_allowed(model: &str, allowed: &str) -> Self {
        let values = [("model", model), ("allowed", allowed)];
        Self::new(&classes::MODEL_NOT_ALLOWED, &values).with_param("model".to_owned())
    }
}
