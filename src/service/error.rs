//! The error of a generation that could not be started.

use http::HeaderMap;

use crate::generation::RefusedGeneration;
use dialect::failure::Failure;

/// The error of a generation that could not be started.
#[derive(Debug)]
pub struct StartError {
    /// The failure.
    pub failure: Failure,
    /// The generation, if it had begun: it records the failure, once the status is known.
    pub generation: Option<Box<RefusedGeneration>>,
    /// Headers of the response: the limits of its client.
    pub headers: Option<Box<HeaderMap>>,
}

impl StartError {
    /// Returns the error with headers of the response.
    #[must_use]
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = (!headers.is_empty()).then(|| Box::new(headers));
        self
    }

    /// Returns the error of a generation that had begun.
    #[must_use]
    pub fn of_generation(failure: Failure, generation: RefusedGeneration) -> Self {
        Self {
            failure,
            generation: Some(Box::new(generation)),
            headers: None,
        }
    }
}

impl From<Failure> for StartError {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            generation: None,
            headers: None,
        }
    }
}
