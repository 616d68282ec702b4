//! The constructors of failures by limits: rates, sizes and money.

use std::time::Duration;

use super::classes;
use crate::failure::Failure;

impl Failure {
    /// Returns a failure of class [`RATE_LIMITED`](classes::RATE_LIMITED).
    #[must_use]
    pub fn rate_limited(message: String, after: Duration) -> Self {
        Self::with_message(&classes::RATE_LIMITED, message).with_retry_after(after)
    }

    /// Returns a failure of class [`TOO_LARGE_FOR_LIMIT`](classes::TOO_LARGE_FOR_LIMIT). To wait
    /// would not help.
    #[must_use]
    pub fn too_large_for_limit(message: String) -> Self {
        Self::with_message(&classes::TOO_LARGE_FOR_LIMIT, message).without_client_retry()
    }

    /// Returns a failure of class [`BUDGET_EXCEEDED`](classes::BUDGET_EXCEEDED); `after` is the
    /// time until there is money again, if there ever will be. Nobody waits for that.
    #[must_use]
    pub fn budget_exceeded(message: String, after: Option<Duration>) -> Self {
        let failure = Self::with_message(&classes::BUDGET_EXCEEDED, message).without_client_retry();
        match after {
            Some(after) => failure.with_retry_after(after),
            None => failure,
        }
    }

    /// Returns a failure of class [`MODEL_WITHOUT_PRICE`](classes::MODEL_WITHOUT_PRICE).
    #[must_use]
    pub fn model_without_price(model: &str, scope: &str) -> Self {
        let values = [("model", model), ("scope", scope)];
        Self::new(&classes::MODEL_WITHOUT_PRICE, &values)
    }
}
