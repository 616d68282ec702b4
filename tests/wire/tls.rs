//! TLS for clients: HTTP/2 or HTTP/1.1 as they prefer, and nothing is lost by it.

use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::h2_client::{H2, run, tls, tls_server};
use crate::support::*;

const FAST: &str = "[mock]\ntokens_per_second = 0\n";
const PATH: &str = "/stream?prompt=hi&model=mock-echo";

#[test]
fn the_client_chooses_the_protocol() {
    let (server, cert) = tls_server(FAST);
    run(async {
        for alpn in [&["h2", "http/1.1"][..], &["h2"]] {
            let stream = tls(server.address, &cert, alpn).await;
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let stream = H2::over(stream).await.get(PATH).await;
            assert_eq!(stream.head.status, 200);
            assert!(
                stream
                    .text()
                    .await
                    .ends_with("data: hi\n\ndata: [DONE]\n\n")
            );
        }
        for alpn in [&["http/1.1"][..], &[]] {
            let mut stream = tls(server.address, &cert, alpn).await;
            assert_eq!(
                stream.get_ref().1.alpn_protocol(),
                alpn.first().map(|name| name.as_bytes())
            );
            let request = format!("GET {PATH} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            // It ends as TLS should, or this would be an error.
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("data: [DONE]"),
                "{answer}"
            );
        }
    });
}

#[test]
fn a_client_that_leaves_cancels_its_upstream() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        c.say("first");
        c.wait_closed();
    });
    let config = format!(
        "[timeouts]\nbetween_tokens = \"10m\"\n[sse]\nheartbeat = \"10m\"\n[providers.up]\ndialect = \"openai-chat\"\n\
         base_url = \"{}\"\n[[models]]\nname = \"*\"\ntargets = [{{ provider = \"up\" }}]\n",
        upstream.base_url()
    );
    let (server, cert) = tls_server(&config);
    run(async {
        let client = H2::over(tls(server.address, &cert, &["h2"]).await).await;
        let mut stream = client.get("/stream?prompt=x+canary-prompt&model=m").await;
        stream.wait_for("first").await;
        stream.cancel();
        upstream.wait_closed(1);
        let mut stream = client.get("/stream?prompt=x+canary-prompt&model=m").await;
        stream.wait_for("first").await;
        client.leave();
        upstream.wait_closed(2);
        let mut stream = tls(server.address, &cert, &["http/1.1"]).await;
        stream
            .write_all(b"GET /stream?prompt=x+canary-prompt&model=m HTTP/1.1\r\nhost: t\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        while find(&answer, b"first").is_none() {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
        drop(stream);
        upstream.wait_closed(3);
    });
}

#[test]
fn handshakes_that_never_end_hold_nobody_up_and_are_closed() {
    let (server, cert) = tls_server(&format!("[timeouts]\nrequest_head = \"400ms\"\n{FAST}"));
    // A record that promises more than comes, no TLS at all, and silence.
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let mut silent: Vec<Client> = [&hello[..], b"GET / HTTP/1.1\r\nhost: t\r\n\r\n", b""]
        .map(|bytes| Client::send(server.address, bytes))
        .into();
    run(async {
        let stream = H2::over(tls(server.address, &cert, &["h2"]).await)
            .await
            .get("/healthz")
            .await;
        assert_eq!(stream.text().await, "ok");
        // A handshake, and then nothing.
        for alpn in ["h2", "http/1.1"] {
            let mut stream = tls(server.address, &cert, &[alpn]).await;
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
    });
    silent.iter_mut().for_each(Client::wait_end);
}

#[test]
fn a_refusal_reaches_a_client_that_sends_all_of_a_big_body_before_it_reads() {
    let (server, cert) = tls_server("max_body = \"4MiB\"\n");
    run(async {
        let mut stream = tls(server.address, &cert, &["http/1.1"]).await;
        stream
            .write_all(&post("/stream", "", &vec![b'x'; 10_000_000]))
            .await
            .expect("all of it is taken");
        stream.flush().await.expect("all of it is taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    });
}

#[test]
fn our_own_tools_reach_it() {
    let (server, _) = tls_server(FAST);
    let url = |path: &str| format!("https://localhost:{}{path}", server.address.port());
    let tokenrill = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokenrill"));
        command
            .args(arguments)
            .env("SSL_CERT_FILE", server.path("cert.pem"))
            .output()
            .unwrap()
    };
    assert!(
        tokenrill(&[
            "healthcheck",
            &format!("https://{}/healthz", server.address)
        ])
        .status
        .success()
    );
    let tail = tokenrill(&["tail", &url(PATH)]);
    assert_eq!(
        (
            String::from_utf8_lossy(&tail.stdout).as_ref(),
            tail.status.code()
        ),
        ("hi\n", Some(0))
    );
}

#[test]
fn in_the_clear_nothing_is_told() {
    let (server, _) = tls_server("");
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(find(&answer, b"HTTP/1.1").is_none());
}
