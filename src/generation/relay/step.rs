//! One step of a relay, and the end of a stream.

use bytes::Bytes;

use dialect::failure::Failure;

/// The end of a stream. `already_sent` says that the client has been told by what was passed
/// through.
#[derive(Debug)]
pub(in crate::generation) enum StreamEnd {
    Complete {
        already_sent: bool,
    },
    Failed {
        failure: Failure,
        already_sent: bool,
    },
}

impl StreamEnd {
    pub(in crate::generation) fn failed(failure: Failure) -> Self {
        Self::Failed {
            failure,
            already_sent: false,
        }
    }
}

impl From<Result<(), Failure>> for StreamEnd {
    fn from(result: Result<(), Failure>) -> Self {
        match result {
            Ok(()) => Self::Complete {
                already_sent: false,
            },
            Err(failure) => Self::failed(failure),
        }
    }
}

/// The result of one step of a relay.
#[derive(Debug)]
pub(in crate::generation) struct RelayStep {
    /// Whole frames for the client; may be empty.
    pub(in crate::generation) bytes: Bytes,
    /// Set if the upstream sent a payload. Comments are none.
    pub(in crate::generation) has_payload: bool,
    pub(in crate::generation) end: Option<StreamEnd>,
}

impl RelayStep {
    /// Returns a step that ends the stream without further bytes.
    pub(in crate::generation) fn ended(end: StreamEnd) -> Self {
        Self {
            bytes: Bytes::new(),
            has_payload: false,
            end: Some(end),
        }
    }
}
