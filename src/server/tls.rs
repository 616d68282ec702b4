//! TLS for clients: the certificate and its key, read once at the start, and the protocol that a
//! client negotiates.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use super::protocol::Protocol;

const ALPN_HTTP2: &[u8] = b"h2";

/// An error about a certificate or its key, on one line.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is missing or can't be read.
    #[error("{key}: can't read {file}: {source}")]
    Read {
        /// The configuration key that names the file.
        key: &'static str,
        /// The file.
        file: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file has no item of the expected kind.
    #[error("{key}: {file} contains no {what} in PEM format")]
    Empty {
        /// The configuration key that names the file.
        key: &'static str,
        /// The file.
        file: String,
        /// The expected kind of item.
        what: &'static str,
    },
    /// The file is not valid PEM.
    #[error("{key}: {file} is not a PEM file: {source}")]
    Pem {
        /// The configuration key that names the file.
        key: &'static str,
        /// The file.
        file: String,
        /// The parser's error.
        source: pem::Error,
    },
    /// The certificate and the key can't be used together.
    #[error("tls: {cert} and {key} can't be used: {source}")]
    Unusable {
        /// The certificate's file.
        cert: String,
        /// The key's file.
        key: String,
        /// The TLS library's error.
        source: rustls::Error,
    },
}

/// Reads a certificate chain and its key, both PEM.
///
/// # Errors
///
/// When a file can't be read or has no such item, or when the key belongs to another certificate.
pub fn load_certificate(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = read_pem("tls.cert", cert, "certificate", |text| {
        CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>()
    })?;
    if chain.is_empty() {
        return Err(TlsError::Empty {
            key: "tls.cert",
            file: file_name(cert),
            what: "certificate",
        });
    }
    let secret = read_pem("tls.key", key, "private key", PrivateKeyDer::from_pem_slice)?;
    let unusable = |source| TlsError::Unusable {
        cert: file_name(cert),
        key: file_name(key),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(unusable)?;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Reads a file and parses it as PEM.
fn read_pem<T>(
    key: &'static str,
    file: &Path,
    what: &'static str,
    parse: impl FnOnce(&[u8]) -> Result<T, pem::Error>,
) -> Result<T, TlsError> {
    let text = std::fs::read(file).map_err(|source| TlsError::Read {
        key,
        file: file_name(file),
        source,
    })?;
    parse(&text).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::Empty {
            key,
            file: file_name(file),
            what,
        },
        source => TlsError::Pem {
            key,
            file: file_name(file),
            source,
        },
    })
}

fn file_name(file: &Path) -> String {
    file.display().to_string()
}

/// Returns the protocol agreed on by ALPN. A client that offered none speaks HTTP/1.1.
pub(super) fn negotiated_protocol<T>(stream: &TlsStream<T>) -> Protocol {
    match stream.get_ref().1.alpn_protocol() {
        Some(ALPN_HTTP2) => Protocol::Http2,
        _ => Protocol::Http1,
    }
}
