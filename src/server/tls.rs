//! TLS for clients: the certificate and its key, which may be read again, and the protocol that a
//! client negotiates.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
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

/// The certificate that is shown to clients, which its files' new content may replace.
#[derive(Debug, Clone)]
pub struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    current: Arc<CurrentCertificate>,
}

/// The certificate of each new connection.
#[derive(Debug)]
struct CurrentCertificate(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(current.clone())
    }
}

impl Certificate {
    /// Reads a certificate chain and its key, both PEM.
    ///
    /// # Errors
    ///
    /// When a file can't be read or has no such item, or when the key belongs to another
    /// certificate.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let current = CurrentCertificate(RwLock::new(Arc::new(read_certificate(cert, key)?)));
        Ok(Self {
            cert: cert.to_owned(),
            key: key.to_owned(),
            current: Arc::new(current),
        })
    }

    /// Reads the files again. Connections that there are keep the certificate that they began
    /// with.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load); the certificate stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = Arc::new(read_certificate(&self.cert, &self.key)?);
        *self
            .current
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Returns the settings with which clients are spoken to.
    ///
    /// # Errors
    ///
    /// Never, with the protocol versions that the TLS library has.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|source| unusable(&self.cert, &self.key, source))?
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn unusable(cert: &Path, key: &Path, source: rustls::Error) -> TlsError {
    TlsError::Unusable {
        cert: file_name(cert),
        key: file_name(key),
        source,
    }
}

fn read_certificate(cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
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
    CertifiedKey::from_der(chain, secret, &ring::default_provider())
        .map_err(|source| unusable(cert, key, source))
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
