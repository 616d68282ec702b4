//! The caller of a request, as far as a stream must know its owner.

use http::HeaderMap;
use sha2::{Digest, Sha256};

use stream::Owner;

/// The headers in which clients of every API send their keys.
const CREDENTIALS: &[&str] = &["authorization", "x-api-key", "x-goog-api-key", "api-key"];

/// The caller of a request, made once by the front door it came through.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    owner: Option<Owner>,
}

impl Caller {
    /// Returns the caller whose credentials are in those headers.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut digest = Sha256::new();
        let mut any = false;
        for name in CREDENTIALS {
            for value in headers.get_all(*name) {
                any = true;
                digest.update(name.as_bytes());
                digest.update([0]);
                digest.update(value.as_bytes());
                digest.update([0]);
            }
        }
        Self {
            owner: any.then(|| Owner::new(format!("{:x}", digest.finalize()))),
        }
    }

    /// Returns the owner of the streams that the caller begins: a digest of its credentials, or
    /// none if it sent none. Whoever knows the id of a stream without an owner may read it: a
    /// browser's `EventSource` can't send any credentials.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }
}
