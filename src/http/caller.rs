//! The caller of a request, as far as a stream must know its owner.

use std::fmt::Write as _;

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};

use stream::Owner;

/// The headers in which clients of every API send their keys.
const CREDENTIALS: &[&str] = &["authorization", "x-api-key", "x-goog-api-key", "api-key"];

/// A digest of the credentials that came with a request; none if none did. A stream that was begun
/// without is open to whoever knows its id: a browser's `EventSource` can't send any.
pub(super) fn owner(headers: &HeaderMap) -> Option<Owner> {
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
    any.then(|| Owner::new(hex(&digest.finalize())))
}

/// A digest of what a request asks for.
pub(super) fn digest(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    hex(&digest.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
