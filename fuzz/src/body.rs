//! The body of a message, read as far as it can be.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

/// A body as one side read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    data: Bytes,
    pub is_complete: bool,
}

/// Reads a body up to its end or an error.
pub async fn read_body(body: impl http_body::Body<Data = Bytes>) -> Body {
    let mut body = pin!(body);
    let mut data = BytesMut::new();
    let is_complete = loop {
        match body.frame().await {
            Some(Ok(frame)) => data.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Some(Err(_)) => break false,
            None => break true,
        }
    };
    Body {
        data: data.freeze(),
        is_complete,
    }
}

impl Body {
    /// Compares ours with the reference's. hyper takes more chunk extensions and line ends, and
    /// reads the trailers, which we skip: where only one of them finds an end, what the other read
    /// has to fit.
    pub fn agrees_with(&self, reference: &Self) -> bool {
        if self.is_complete {
            self.data == reference.data
        } else {
            reference.data.starts_with(&self.data)
        }
    }

    /// Returns true if an error came before any data.
    pub fn is_broken_at_start(&self) -> bool {
        self.data.is_empty() && !self.is_complete
    }
}

/// Returns true for lengths that are one to us, and none to hyper: lists, and the last ones of 64
/// bits.
pub fn is_odd_length(length: &[u8]) -> bool {
    let number = std::str::from_utf8(length)
        .ok()
        .and_then(|text| text.parse().ok());
    length.contains(&b',') || number.is_some_and(|number: u64| number > u64::MAX - 2)
}
