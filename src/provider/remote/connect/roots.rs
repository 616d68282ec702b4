//! The certificates by which upstreams are trusted: the system's, or those of `SSL_CERT_FILE` and
//! `SSL_CERT_DIR`.

use rustls::{ClientConfig, RootCertStore};

/// The variables that name certificates in place of the system's.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// An error about the certificates by which upstreams are trusted, on one line.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// A file or folder can't be read.
    #[error("{origin}: {source}")]
    Read {
        /// The variables that name it, or the system.
        origin: String,
        /// The reason.
        source: rustls_native_certs::Error,
    },
    /// There is no certificate.
    #[error(
        "{origin}: no certificate in PEM format was found, so that no upstream could be trusted"
    )]
    Empty {
        /// The variables that name it, or the system.
        origin: String,
    },
    /// The TLS library has no usable versions.
    #[error("TLS can't be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// Builds the TLS configuration for upstreams. `required` says that there is an upstream behind
/// TLS, so that the system must have certificates.
///
/// Reads the system's certificate store: called once for the process, and shared.
///
/// # Errors
///
/// When the certificates can't be read, or there are none.
pub fn tls_config(required: bool) -> Result<ClientConfig, CertificatesError> {
    let crypto = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(crypto.into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(root_certificates(required)?)
        .with_no_client_auth();
    Ok(config)
}

fn root_certificates(required: bool) -> Result<RootCertStore, CertificatesError> {
    let named: Vec<_> = VARIABLES
        .iter()
        .filter_map(|name| Some(format!("{name} = {}", std::env::var(name).ok()?)))
        .collect();
    let origin = if named.is_empty() {
        "the system's certificates".to_owned()
    } else {
        named.join(", ")
    };
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _unusable) = roots.add_parsable_certificates(found.certs);
    if added > 0 || (!required && named.is_empty()) {
        return Ok(roots);
    }
    Err(match found.errors.into_iter().next() {
        Some(source) => CertificatesError::Read { origin, source },
        None => CertificatesError::Empty { origin },
    })
}
