//! An HTTP/2 client that sees every frame, in the clear or over TLS.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{PATIENCE, Server, chat_body, ends_with_error};

/// Runs a test that waits for nothing without an end.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("in time") })
}

/// One connection.
#[derive(Clone)]
pub(crate) struct H2 {
    send: SendRequest<Bytes>,
    connection: Arc<tokio::task::JoinHandle<Result<(), h2::Error>>>,
}

/// One stream's answer, and the way to give it up.
pub(crate) struct Stream {
    pub(crate) head: http::response::Parts,
    pub(crate) body: RecvStream,
    request: SendStream<Bytes>,
}

impl H2 {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the server listens");
        Self::over(stream).await
    }

    /// Over something connected, with much room for the connection, and 64 KiB for each stream.
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(65_535)
            .initial_connection_window_size(64 << 20);
        let (send, connection) = builder.handshake(stream).await.expect("HTTP/2");
        Self {
            send,
            connection: Arc::new(tokio::spawn(connection)),
        }
    }

    pub(crate) async fn ready(&self) -> SendRequest<Bytes> {
        self.send.clone().ready().await.expect("room for a stream")
    }

    /// Sends a request; the answer comes later.
    pub(crate) async fn send(
        &self,
        request: Request<()>,
        body: Option<Bytes>,
    ) -> Result<
        (
            impl Future<Output = Result<Response<RecvStream>, h2::Error>>,
            SendStream<Bytes>,
        ),
        h2::Error,
    > {
        let (answer, mut stream) = self
            .send
            .clone()
            .ready()
            .await?
            .send_request(request, body.is_none())?;
        if let Some(body) = body {
            stream.send_data(body, true)?;
        }
        Ok((answer, stream))
    }

    pub(crate) async fn ask(
        &self,
        request: Request<()>,
        body: Option<Bytes>,
    ) -> Result<Stream, h2::Error> {
        let (answer, request) = self.send(request, body).await?;
        Ok(Stream::new(answer.await?, request))
    }

    pub(crate) async fn get(&self, path: &str) -> Stream {
        self.ask(get(path), None).await.expect("an answer")
    }

    pub(crate) async fn chat(&self, fields: serde_json::Value) -> Stream {
        self.ask(
            post("/v1/chat/completions"),
            Some(chat_body(fields).to_string().into()),
        )
        .await
        .expect("an answer")
    }

    /// Waits until the other side has closed the connection.
    pub(crate) async fn wait_closed(self) {
        let Self { send, connection } = self;
        drop(send);
        let connection = Arc::into_inner(connection).expect("the only one");
        let _ = connection.await.expect("no panic");
    }

    /// Leaves without a word.
    pub(crate) fn leave(self) {
        self.connection.abort();
    }
}

impl Stream {
    pub(crate) fn new(answer: Response<RecvStream>, request: SendStream<Bytes>) -> Self {
        let (head, body) = answer.into_parts();
        Self {
            head,
            body,
            request,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    }

    /// The next piece of the body.
    pub(crate) async fn piece(&mut self) -> Option<Result<String, h2::Error>> {
        let piece = self.body.data().await?;
        Some(piece.map(|piece| {
            let _ = self.body.flow_control().release_capacity(piece.len());
            String::from_utf8_lossy(&piece).into_owned()
        }))
    }

    pub(crate) async fn wait_for(&mut self, needle: &str) {
        let mut text = String::new();
        while !text.contains(needle) {
            text.push_str(&self.piece().await.expect("more").expect("no error"));
        }
    }

    /// All of the body. It must end properly, unless it ends with an error: then the stream is
    /// reset.
    pub(crate) async fn text(mut self) -> String {
        let mut text = String::new();
        let mut reset = None;
        while let Some(piece) = self.piece().await {
            match piece {
                Ok(piece) => text.push_str(&piece),
                Err(error) => {
                    reset = Some(error.reason());
                    break;
                }
            }
        }
        let broken = ends_with_error(&text).then_some(Some(Reason::INTERNAL_ERROR));
        assert_eq!(reset, broken, "reset, and with an error: {text}");
        text
    }

    pub(crate) async fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.text().await).expect("JSON")
    }

    /// Waits until the other side resets the stream.
    pub(crate) async fn reset(&mut self) -> Reason {
        std::future::poll_fn(|cx| self.request.poll_reset(cx))
            .await
            .expect("a reset")
    }

    /// Resets the stream.
    pub(crate) fn cancel(mut self) {
        self.request.send_reset(Reason::CANCEL);
    }
}

pub(crate) fn get(path: &str) -> Request<()> {
    Request::get(format!("http://t{path}"))
        .body(())
        .expect("a request")
}

pub(crate) fn post(path: &str) -> Request<()> {
    let request =
        Request::post(format!("http://t{path}")).header("content-type", "application/json");
    request.body(()).expect("a request")
}

/// A server that speaks TLS, and the certificate to know it by.
pub(crate) fn tls_server(config: &str) -> (Server, CertificateDer<'static>) {
    let folder = tempfile::tempdir().expect("a folder");
    let names = ["rill.test", "localhost"].map(str::to_owned);
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).expect("a key");
    std::fs::write(folder.path().join("cert.pem"), cert.pem()).expect("written");
    std::fs::write(folder.path().join("key.pem"), signing_key.serialize_pem()).expect("written");
    let config = format!("{config}\n[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n");
    std::fs::write(folder.path().join("c.toml"), config).expect("written");
    (Server::in_folder(folder, &[]), cert.der().clone())
}

/// Connects over TLS, offering these protocols.
pub(crate) async fn tls(
    address: SocketAddr,
    cert: &CertificateDer<'static>,
    alpn: &[&str],
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions");
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    let name = ServerName::try_from("rill.test").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .expect("TLS")
}
