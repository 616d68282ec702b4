//! TLS for clients: the certificate and its key, read once at the start, and HTTP/2 or HTTP/1.1 as the client prefers.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use super::socket::Protocol;

const H2: &[u8] = b"h2";

/// What is wrong with a certificate or its key, on one line.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is not there or not for us.
    #[error("{key}: can't read {file}: {source}")]
    Read {
        /// Which key names the file.
        key: &'static str,
        /// The file.
        file: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// There is nothing of that kind in the file.
    #[error("{key}: {file} holds no {what} in PEM")]
    Empty {
        /// Which key names the file.
        key: &'static str,
        /// The file.
        file: String,
        /// What was looked for.
        what: &'static str,
    },
    /// It is there, but broken.
    #[error("{key}: {file} is no PEM file: {source}")]
    Pem {
        /// Which key names the file.
        key: &'static str,
        /// The file.
        file: String,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// Certificate and key can't be used together.
    #[error("tls: {cert} and {key} can't be used: {source}")]
    Unusable {
        /// The certificate's file.
        cert: String,
        /// The key's file.
        key: String,
        /// Why.
        source: rustls::Error,
    },
}

/// Reads a certificate chain and its key, both PEM.
///
/// # Errors
///
/// When a file can't be read, holds something else, or the key is another certificate's.
pub fn load(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = read("tls.cert", cert, "certificate", |text| {
        CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>()
    })?;
    if chain.is_empty() {
        return Err(TlsError::Empty {
            key: "tls.cert",
            file: name(cert),
            what: "certificate",
        });
    }
    let secret = read("tls.key", key, "private key", PrivateKeyDer::from_pem_slice)?;
    let unusable = |source| TlsError::Unusable {
        cert: name(cert),
        key: name(key),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(unusable)?;
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read<T>(
    key: &'static str,
    file: &Path,
    what: &'static str,
    parse: impl FnOnce(&[u8]) -> Result<T, pem::Error>,
) -> Result<T, TlsError> {
    let text = std::fs::read(file).map_err(|source| TlsError::Read {
        key,
        file: name(file),
        source,
    })?;
    parse(&text).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::Empty {
            key,
            file: name(file),
            what,
        },
        source => TlsError::Pem {
            key,
            file: name(file),
            source,
        },
    })
}

fn name(file: &Path) -> String {
    file.display().to_string()
}

/// What was agreed on; a client that named nothing speaks HTTP/1.1.
pub(super) fn protocol<T>(stream: &TlsStream<T>) -> Protocol {
    match stream.get_ref().1.alpn_protocol() {
        Some(H2) => Protocol::Http2,
        _ => Protocol::Http1,
    }
}
