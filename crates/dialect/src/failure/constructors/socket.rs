//! Constructors of the failures of requests over a WebSocket.

use crate::failure::{Failure, classes};

/// Longest part of an unknown response's id that is quoted to the client, in characters.
const MAX_QUOTED_CHARS: usize = 80;

impl Failure {
    /// Returns a failure of class
    /// [`PREVIOUS_RESPONSE_NOT_FOUND`](classes::PREVIOUS_RESPONSE_NOT_FOUND).
    #[must_use]
    pub fn previous_response_not_found(id: &str) -> Self {
        let quoted: String = id.chars().take(MAX_QUOTED_CHARS).collect();
        Self::new(&classes::PREVIOUS_RESPONSE_NOT_FOUND, &[("id", &quoted)])
            .with_param("previous_response_id".to_owned())
    }

    /// Returns a failure of class [`INVALID_STREAM_ID`](classes::INVALID_STREAM_ID).
    #[must_use]
    pub fn invalid_stream_id() -> Self {
        Self::with_message(
            &classes::INVALID_STREAM_ID,
            classes::INVALID_STREAM_ID.message,
        )
        .with_param("stream_id".to_owned())
    }

    /// Returns a failure of class [`TOO_MANY_STREAM_IDS`](classes::TOO_MANY_STREAM_IDS).
    #[must_use]
    pub fn too_many_stream_ids(limit: usize) -> Self {
        let limit = limit.to_string();
        Self::new(&classes::TOO_MANY_STREAM_IDS, &[("limit", &limit)])
            .with_param("stream_id".to_owned())
    }

    /// Returns a failure of class [`TOO_MANY_RUNNING`](classes::TOO_MANY_RUNNING).
    #[must_use]
    pub fn too_many_running(limit: usize) -> Self {
        Self::new(&classes::TOO_MANY_RUNNING, &[("limit", &limit.to_string())])
    }
}
