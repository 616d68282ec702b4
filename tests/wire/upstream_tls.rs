//! Upstreams behind TLS: why there is no secure connection, in words, and connections that are kept.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::support::*;

/// An upstream behind TLS that answers one request a connection, and then closes it in silence.
struct TlsUpstream {
    address: SocketAddr,
    /// The certificate, which is its own issuer.
    pem: String,
    connections: Arc<AtomicUsize>,
    _runtime: tokio::runtime::Runtime,
}

impl TlsUpstream {
    fn start(name: &str, expired: bool) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let acceptor = acceptor(certificate.der().clone(), &key);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, count) = (acceptor.clone(), count.clone());
                tokio::spawn(async move {
                    let Ok(mut tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                    let mut request = Vec::new();
                    while find(&request, b"\"messages\"").is_none() {
                        if tls.read_buf(&mut request).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let body = format!("{STOP}{DONE}");
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream";
                    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    let _ = tls.write_all(answer.as_bytes()).await;
                    let _ = tls.flush().await;
                    // The connection is kept, and closed before it is used again.
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    let _ = tls.shutdown().await;
                });
            }
        });
        Self {
            address,
            pem: certificate.pem(),
            connections,
            _runtime: runtime,
        }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

fn acceptor(certificate: CertificateDer<'static>, key: &KeyPair) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A server before that address, which trusts that certificate.
fn server(url: &str, trusted: &str, provider: &str) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "workers = 1\n[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\n{provider}\n\
         [[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\" }}]\n"
    );
    std::fs::write(folder.path().join("c.toml"), config).unwrap();
    std::fs::write(folder.path().join("roots.pem"), trusted).unwrap();
    Server::in_folder(folder, &[("SSL_CERT_FILE", "roots.pem")])
}

#[test]
fn the_client_is_told_why_tls_failed_and_the_log_where() {
    let well = TlsUpstream::start("localhost", false);
    let other = TlsUpstream::start("localhost", false);
    let misnamed = TlsUpstream::start("other.test", false);
    let expired = TlsUpstream::start("localhost", true);
    // One that speaks first, one that closes at the first bytes of TLS, and ours.
    let closing = Upstream::start(|c| {
        let _ = c.stream.peek(&mut [0]);
    });
    let greeting = Upstream::start(|c| {
        c.send(b"SSH-2.0-none\r\n");
        c.wait_closed();
    });
    let tokenrill = Server::mock();
    let url = |address: SocketAddr| format!("https://localhost:{}", address.port());
    for (url, trusted, provider, reason) in [
        (
            well.url(),
            &other.pem,
            "",
            "the issuer of its certificate is not trusted here",
        ),
        (
            misnamed.url(),
            &misnamed.pem,
            "",
            "its certificate is for another name",
        ),
        (
            expired.url(),
            &expired.pem,
            "",
            "its certificate has expired",
        ),
        (url(greeting.address), &well.pem, "", "it speaks no TLS"),
        (url(tokenrill.address), &well.pem, "", "it speaks no TLS"),
        (
            url(closing.address),
            &well.pem,
            "",
            "perhaps it speaks no TLS",
        ),
        (well.url(), &well.pem, "http2 = true", "it speaks no HTTP/2"),
    ] {
        let server = server(&url, trusted, provider);
        let mut client = server.chat(json!({}));
        assert_eq!(client.status(), 502, "{reason}: {}", client.text());
        let error = client.json()["error"].clone();
        assert_eq!(error["code"], "tls_failed", "{reason}");
        let message = error["message"].as_str().unwrap();
        assert!(message.ends_with(reason), "{reason}: {message}");
        assert!(!message.contains("127.0.0.1"), "{message}");
        let line = server.logged("generation", 1);
        let told = line["error"].as_str().unwrap();
        assert!(told.contains("TLS with 127.0.0.1:"), "{told}");
    }
}

#[test]
fn a_kept_connection_that_was_closed_is_seen_before_a_request_is_sent_on_it() {
    let upstream = TlsUpstream::start("localhost", false);
    let server = server(&upstream.url(), &upstream.pem, "");
    for count in 1..=5 {
        assert!(server.chat(json!({})).body().ends_with(DONE));
        assert_eq!(upstream.connections.load(Ordering::Relaxed), count);
        // Its close is on its way meanwhile, and arrives while nothing else happens.
        std::thread::sleep(std::time::Duration::from_millis(60));
    }
}

#[test]
fn a_file_of_certificates_without_any_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"https://localhost\"\n\
                  [[models]]\nname = \"m\"\ntargets = [{ provider = \"up\" }]\n";
    std::fs::write(folder.path().join("c.toml"), config).unwrap();
    std::fs::write(folder.path().join("none.pem"), "nothing").unwrap();
    for (file, told) in [
        ("none.pem", "no certificate in PEM format"),
        ("missing.pem", "missing.pem"),
    ] {
        let ran = std::process::Command::new(env!("CARGO_BIN_EXE_tokenrill"))
            .args(["--config", "c.toml", "--listen", "127.0.0.1:0"])
            .current_dir(folder.path())
            .env("SSL_CERT_FILE", file)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success());
        assert!(
            text.contains("SSL_CERT_FILE") && text.contains(told),
            "{text}"
        );
    }
}
