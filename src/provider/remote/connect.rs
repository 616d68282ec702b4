//! Connects to an upstream: name, TCP and TLS under one time limit, and the failure of each.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use dialect::failure::Failure;
use http::Uri;
use hyper_rustls::{ConfigBuilderExt, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder};

use crate::provider::upstream::HyperSocket;

/// Size of the kernel's receive buffer for a connection, in bytes. The kernel doubles it.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// Silence after which TCP probes a connection.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);

/// Opens connections that yield `C`.
pub(super) type Connector<C> = BoxCloneSyncService<Uri, C, BoxError>;

/// Builds the TLS configuration for upstreams, with the system's root certificates.
///
/// Reads the system's certificate store: called once for the process, and shared.
///
/// # Errors
///
/// When the system's certificates can't be read.
pub fn tls_config() -> io::Result<ClientConfig> {
    let crypto = rustls::crypto::aws_lc_rs::default_provider();
    let config = ClientConfig::builder_with_provider(crypto.into())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_native_roots()?
        .with_no_client_auth();
    Ok(config)
}

/// Builds a connector whose connections take at most `timeout` to open.
pub(super) fn connector(
    tls: ClientConfig,
    http2: bool,
    timeout: Duration,
) -> Connector<HyperSocket> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE_IDLE));
    tcp.set_recv_buffer_size(Some(RECEIVE_BUFFER));
    let builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http();
    let https = if http2 {
        builder.enable_http2().wrap_connector(tcp)
    } else {
        builder.enable_http1().wrap_connector(tcp)
    };
    BoxCloneSyncService::new(ServiceBuilder::new().timeout(timeout).service(https))
}

/// Classifies the error of a connector whose time limit was `timeout`.
pub(super) fn connect_failure(source: BoxError, provider: &str, timeout: Duration) -> Failure {
    if chain_has::<tower::timeout::error::Elapsed>(&*source) {
        Failure::connect_timeout(provider, timeout)
    } else if chain_has::<rustls::Error>(&*source) {
        Failure::tls_failed(provider, source)
    } else if any_in_chain(&*source, &|cause| cause.to_string() == "dns error") {
        // hyper-util's error for this is private: its text is all that tells it apart.
        Failure::dns_failed(provider, source)
    } else {
        Failure::connect_failed(provider, source)
    }
}

fn any_in_chain(
    error: &(dyn StdError + 'static),
    matches: &dyn Fn(&(dyn StdError + 'static)) -> bool,
) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        // The source of an `io::Error` is that of the error it wraps, not the wrapped error.
        let wrapped = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if matches(cause) || wrapped.is_some_and(|inner| any_in_chain(inner, matches)) {
            return true;
        }
        next = cause.source();
    }
    false
}

fn chain_has<E: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    any_in_chain(error, &|cause| cause.is::<E>())
}
