//! The reasons that there is no connection to an upstream, told apart for the log and the client.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage};
use tower::BoxError;

use super::resolve::LookupError;

/// The reason that there is no connection. `Display` is for the log.
#[derive(Debug)]
pub(in crate::provider::remote) struct ConnectError {
    step: ConnectStep,
    message: String,
    source: Option<BoxError>,
}

/// The step that failed, in the order in which one is told before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::provider::remote) enum ConnectStep {
    /// The upstream's name has no address.
    Lookup,
    /// No address takes connections.
    Open,
    /// Any of the steps took too long.
    InTime,
    /// TLS, with the reason in words for the client.
    Secure(&'static str),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl ConnectError {
    fn new(step: ConnectStep, message: String, source: Option<BoxError>) -> Self {
        Self {
            step,
            message,
            source,
        }
    }

    /// Returns the step that failed.
    pub(in crate::provider::remote) fn step(&self) -> ConnectStep {
        self.step
    }

    /// Returns the same failure, with its causes in its message.
    pub(super) fn without_source(&self) -> Self {
        let message = match &self.source {
            Some(source) => format!("{}: {source}", self.message),
            None => self.message.clone(),
        };
        Self::new(self.step, message, None)
    }

    pub(super) fn of_lookup(host: &str, error: LookupError) -> Self {
        match error {
            LookupError::Timeout => Self::of_slow_lookup(host),
            error => Self::new(
                ConnectStep::Lookup,
                format!("looking up `{host}`"),
                Some(error.into()),
            ),
        }
    }

    pub(super) fn of_slow_lookup(host: &str) -> Self {
        let message = format!("no name server answered for `{host}`");
        Self::new(ConnectStep::InTime, message, None)
    }

    /// A name that no certificate can have.
    pub(super) fn of_name(host: &str, error: impl StdError + Send + Sync + 'static) -> Self {
        let step = ConnectStep::Secure("its name is none that a certificate can have");
        Self::new(step, format!("TLS with `{host}`"), Some(error.into()))
    }

    pub(super) fn of_no_address() -> Self {
        let message = "the name has no address".to_owned();
        Self::new(ConnectStep::Lookup, message, None)
    }

    pub(super) fn of_tcp(address: SocketAddr, error: io::Error) -> Self {
        let step = match error.kind() {
            io::ErrorKind::TimedOut => ConnectStep::InTime,
            _ => ConnectStep::Open,
        };
        Self::new(step, format!("connecting to {address}: {error}"), None)
    }

    pub(super) fn of_tls(address: SocketAddr, error: io::Error) -> Self {
        let reason = match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(error) => tls_reason(error),
            None => "it ended the connection during the TLS handshake; perhaps it speaks no TLS",
        };
        let message = format!("TLS with {address}: {error}");
        Self::new(ConnectStep::Secure(reason), message, None)
    }

    pub(super) fn of_http2(address: SocketAddr) -> Self {
        let message = format!("TLS with {address}: HTTP/2 was not agreed on");
        Self::new(ConnectStep::Secure(NO_HTTP2), message, None)
    }

    /// The addresses that have not answered when the time was over, with those that finished all
    /// but the TLS handshake, beside what had failed before.
    pub(super) fn of_silence(pending: &[(SocketAddr, bool)], failed: Option<Self>) -> Self {
        let told = |(address, is_open): &(SocketAddr, bool)| match is_open {
            true => format!("the TLS handshake with {address} was not finished"),
            false => format!("{address} did not answer"),
        };
        let message = pending.iter().map(told).collect::<Vec<_>>().join("; ");
        let silence = Self::new(ConnectStep::InTime, message, None);
        match failed {
            // Whether that one would have been trusted is unknown.
            Some(failed) => silence.beside(&failed),
            None => silence,
        }
    }

    /// Joins the failures of two addresses: the one that got further is told first.
    pub(super) fn and(self, other: Self) -> Self {
        if other.step >= self.step {
            other.beside(&self)
        } else {
            self.beside(&other)
        }
    }

    fn beside(mut self, other: &Self) -> Self {
        self.message = format!("{}; {}", self.message, other.message);
        self
    }
}

const NO_HTTP2: &str = "it speaks no HTTP/2";

/// Says in words why TLS failed, without internals.
fn tls_reason(error: &TlsError) -> &'static str {
    match error {
        TlsError::InvalidCertificate(error) => certificate_reason(error),
        TlsError::NoCertificatesPresented => "it has no certificate",
        TlsError::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        ) => "it speaks no TLS",
        TlsError::NoApplicationProtocol
        | TlsError::AlertReceived(AlertDescription::NoApplicationProtocol) => NO_HTTP2,
        TlsError::PeerIncompatible(_)
        | TlsError::AlertReceived(
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity,
        ) => "it accepts no version or cipher of TLS that is spoken here",
        TlsError::AlertReceived(AlertDescription::UnrecognisedName) => "it does not know this name",
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => {
            "it demands a certificate of its clients"
        }
        TlsError::AlertReceived(_) => "it refused the TLS handshake",
        _ => "the TLS handshake failed",
    }
}

fn certificate_reason(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet"
        }
        // A wrong signature is that of an issuer with a trusted one's name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the issuer of its certificate is not trusted here"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name"
        }
        CertificateError::Revoked => "its certificate was revoked",
        _ => "its certificate is not valid",
    }
}

/// Finds the connector's own error among the causes of a client's.
pub(in crate::provider::remote) fn find_connect_error<'a>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a ConnectError> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}
