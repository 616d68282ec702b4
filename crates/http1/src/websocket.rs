//! The opening handshake of a WebSocket (RFC 6455 §4.2), on the server's side. The protocol spoken
//! afterwards is not here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use sha1::{Digest, Sha1};

use crate::{OnUpgrade, list_contains};

/// The version of the protocol, the only one there is.
const VERSION: &str = "13";
/// Bytes of a key, which comes in base64.
const KEY_BYTES: usize = 16;
/// The string that a server appends to the key (RFC 6455 §1.3).
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The reason for which a request is no opening handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The request does not ask for a WebSocket, or its connection can't be upgraded.
    #[error("the request is no WebSocket handshake over HTTP/1.1")]
    NotWebSocket,
    /// `sec-websocket-version` is missing, there twice, or another one than 13.
    #[error("the version of the WebSocket is not 13")]
    Version,
    /// `sec-websocket-key` is missing, there twice, no base64, or of the wrong length.
    #[error("`sec-websocket-key` is not 16 bytes in base64")]
    Key,
}

/// Checks an opening handshake and returns the `sec-websocket-accept` of its answer.
///
/// The `origin` is not checked.
///
/// # Errors
///
/// When the request violates RFC 6455 §4.2.1, or
/// [`serve_connection`](crate::server::serve_connection) has not marked its connection as one that
/// may be upgraded.
pub fn websocket_accept<B>(request: &Request<B>) -> Result<HeaderValue, HandshakeError> {
    let headers = request.headers();
    if request.method() != Method::GET
        || request.version() != Version::HTTP_11
        || !list_contains(headers, &CONNECTION, b"upgrade")
        || !list_contains(headers, &UPGRADE, b"websocket")
        || request.extensions().get::<OnUpgrade>().is_none()
    {
        return Err(HandshakeError::NotWebSocket);
    }
    if single(headers, &SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        return Err(HandshakeError::Version);
    }
    single(headers, &SEC_WEBSOCKET_KEY)
        .filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == KEY_BYTES))
        .and_then(|key| HeaderValue::try_from(derive_accept(key.as_bytes())).ok())
        .ok_or(HandshakeError::Key)
}

/// Returns a header's value, if there is exactly one: of two, an intermediary might have read the
/// other.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Derives `sec-websocket-accept` from `sec-websocket-key`.
fn derive_accept(key: &[u8]) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(ACCEPT_SUFFIX);
    STANDARD.encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let accept = derive_accept(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    /// The last two were found by fuzzing: 24 characters that are no base64.
    #[test]
    fn a_key_is_16_bytes_in_base64() {
        for (key, is_valid) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("", false),
            ("dGhlIHNhbXBsZSBub25j", false),
            ("dGhlIHNhbXBsZSBub25jZQZQ", false),
            ("dGhlIHNhbXBsZSBub25jZQ=t", false),
            ("dGhlIHNhbXBsZSBub25jZR==", false),
        ] {
            let mut request = Request::builder()
                .header(CONNECTION, "keep-alive, Upgrade")
                .header(UPGRADE, "WebSocket")
                .header(SEC_WEBSOCKET_VERSION, VERSION)
                .header(SEC_WEBSOCKET_KEY, key)
                .body(())
                .unwrap_or_default();
            request.extensions_mut().insert(OnUpgrade::new().0);
            let accepted = websocket_accept(&request);
            assert_eq!(accepted.is_ok(), is_valid, "{key}: {accepted:?}");
        }
    }

    #[test]
    fn a_request_that_asks_for_no_upgrade_is_refused() {
        let request = Request::builder().body(()).unwrap_or_default();
        assert_eq!(
            websocket_accept(&request),
            Err(HandshakeError::NotWebSocket)
        );
    }
}
