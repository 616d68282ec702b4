//! The error of a field that can't be read, kept for whoever needs the neutral form.

use super::Request;
use crate::failure::Failure;

/// A field of a request that can't be read, and all that follows it in the neutral form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidField {
    param: String,
    message: String,
}

impl Request {
    /// Checks that all of the request was read, for whoever needs its neutral form.
    ///
    /// # Errors
    ///
    /// A 400 that names the field which could not be read.
    pub fn check(&self) -> Result<(), Failure> {
        match &self.invalid {
            None => Ok(()),
            Some(InvalidField { param, message }) => Err(Failure::invalid(param, message.clone())),
        }
    }

    /// Keeps the error of a field that could not be read.
    pub(crate) fn keep_invalid(&mut self, read: Result<(), Failure>) {
        self.invalid = read.err().map(|failure| InvalidField {
            param: failure.param().unwrap_or_default().to_owned(),
            message: failure.to_string(),
        });
    }
}
