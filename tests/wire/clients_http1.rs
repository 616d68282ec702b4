//! HTTP/1.1 as clients write it, and as they read the answers: kept and closed connections, both
//! versions, bodies in every framing, heads that can't be read.

use std::io::{Read, Write};
use std::net::Shutdown;

use serde_json::json;

use super::support::*;

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n";

/// The answers of a connection that the server closes, as they came.
fn until_close(server: &Server, request: &str) -> String {
    let mut client = Client::send(server.address, request.as_bytes());
    client.wait_end();
    client.text()
}

fn chunked(path: &str, chunks: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: t\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"
    )
}

#[test]
fn requests_that_come_together_are_answered_in_turn() {
    let server = Server::mock();
    let body =
        String::from_utf8(post("/stream", "content-type: text/plain\r\n", b"one two")).unwrap();
    let last = "GET /nowhere HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
    let chunks = chunked(
        "/stream",
        "3;x=y\r\none\r\n4\r\n two\r\n0\r\ntrailer: x\r\n\r\n",
    );
    let all = until_close(
        &server,
        &format!("{HEALTH}{body}\r\n\r\n{chunks}{HEALTH}{last}"),
    );
    assert_eq!(all.matches("HTTP/1.1 200 OK\r\n").count(), 4, "{all}");
    assert_eq!(
        all.matches("data: [DONE]\n\n\r\n0\r\n\r\nHTTP/1.1 ")
            .count(),
        2,
        "{all}"
    );
    let (before, after) = all
        .split_once("HTTP/1.1 404 Not Found\r\n")
        .expect("the last");
    assert!(
        before.ends_with("\r\n\r\nok") && after.contains("connection: close\r\n"),
        "{all}"
    );
}

#[test]
fn a_head_and_a_body_in_single_bytes() {
    let server = Server::mock();
    let request = chunked("/stream", "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n");
    let mut client = Client::connect(server.address);
    for byte in request.bytes() {
        client.stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(client.status(), 200);
    assert!(client.body().ends_with("data: [DONE]\n\n"));
    client.stream.write_all(HEALTH.as_bytes()).unwrap();
    client.wait_for("\r\n\r\nok");
}

#[test]
fn the_old_version_has_no_chunks_and_ends_with_the_connection() {
    let server = Server::mock();
    let all = until_close(
        &server,
        "GET /stream?prompt=hello+canary-prompt HTTP/1.0\r\n\r\n",
    );
    assert!(
        all.starts_with("HTTP/1.1 200 OK\r\n") && all.ends_with("data: [DONE]\n\n"),
        "{all}"
    );
    assert!(
        all.contains("connection: close\r\n") && !all.contains("transfer-encoding"),
        "{all}"
    );
    // One that would keep it is let, where the end can be told.
    let keep = "GET /healthz HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
    let all = until_close(
        &server,
        &format!("{keep}{keep}GET /healthz HTTP/1.0\r\n\r\n"),
    );
    assert_eq!(
        all.matches("connection: keep-alive\r\n").count(),
        2,
        "{all}"
    );
    assert_eq!(all.matches("\r\n\r\nok").count(), 3, "{all}");
}

#[test]
fn heads_alone_and_other_targets() {
    let server = Server::mock();
    let head = "HEAD /healthz HTTP/1.1\r\nhost: t\r\n\r\n";
    let absolute = "GET http://t/healthz HTTP/1.1\r\nhost: t\r\n\r\n";
    let close = HEALTH.replace("\r\n\r\n", "\r\nconnection: Keep-Alive, Close\r\n\r\n");
    let all = until_close(&server, &format!("\r\n\n{head}{absolute}{close}"));
    let answers: Vec<&str> = all.split("HTTP/1.1 200 OK\r\n").collect();
    assert_eq!(answers.len(), 4, "{all}");
    assert!(
        answers[1].contains("content-length: 2\r\n") && answers[1].ends_with("\r\n\r\n"),
        "{all}"
    );
    assert!(
        answers[2].ends_with("\r\n\r\nok") && answers[3].ends_with("\r\n\r\nok"),
        "{all}"
    );
    assert!(
        answers
            .iter()
            .skip(1)
            .all(|answer| answer.contains("\r\ndate: ")),
        "{all}"
    );
}

#[test]
fn a_body_that_waits_to_be_asked_for() {
    let server = Server::with("max_body = \"1KiB\"", &[]);
    let head = |length: usize| {
        format!(
            "POST /stream HTTP/1.1\r\nhost: t\r\ncontent-type: text/plain\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut client = Client::send(server.address, head(5).as_bytes());
    client.wait_for("HTTP/1.1 100 Continue\r\n\r\n");
    client.stream.write_all(b"hello").unwrap();
    client.wait_for("data: [DONE]\n\n\r\n0\r\n\r\n");
    assert!(client.text().contains("HTTP/1.1 200 OK\r\n"));
    // One that is refused is not asked for, and need not come.
    let mut refused = Client::send(server.address, head(5000).as_bytes());
    assert_eq!(
        (refused.status(), refused.header("connection").as_deref()),
        (413, Some("close"))
    );
    let _ = refused.stream.shutdown(Shutdown::Write);
    refused.wait_end();
    assert!(!refused.text().contains("100 Continue"));
}

#[test]
fn a_body_that_nobody_reads_is_passed_over_if_it_is_there() {
    let server = Server::mock();
    let nowhere =
        String::from_utf8(post("/nowhere", "", b"{\"GET /healthz HTTP/1.1\":1}")).unwrap();
    let close = HEALTH.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    let all = until_close(&server, &format!("{nowhere}{close}"));
    assert!(
        all.starts_with("HTTP/1.1 404 ") && all.ends_with("\r\n\r\nok"),
        "{all}"
    );
    assert_eq!(all.matches("HTTP/1.1 ").count(), 2, "{all}");
    // Of one that is not, the client is told that nothing can follow it.
    let mut client = Client::send(server.address, &nowhere.as_bytes()[..nowhere.len() - 5]);
    assert_eq!(
        (client.status(), client.header("connection").as_deref()),
        (404, Some("close"))
    );
}

#[test]
fn heads_that_cannot_be_read_are_told_why() {
    let server = Server::mock();
    let many: String = (0..300).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = "y".repeat(45 * 1024);
    for (request, status, why) in [
        ("GET /v1/models HTTP/1.1\r\n\r\n".to_owned(), 400, "the host header is missing"),
        ("GET /v1/models HTTP/1.1\r\nhost: t\r\nhost: u\r\n\r\n".to_owned(), 400, "more than one host header"),
        ("GET /v1/models HTTP/1.1\r\nhost: a, b\r\n\r\n".to_owned(), 400, "invalid host header"),
        ("GET v1/models HTTP/1.1\r\nhost: t\r\n\r\n".to_owned(), 400, "invalid request target"),
        ("GET * HTTP/1.1\r\nhost: t\r\n\r\n".to_owned(), 400, "invalid request target"),
        // A handshake of TLS has no end that a reader of heads would see.
        ("\x16\x03\x01\x02\0\x01\0\x01".to_owned(), 400, "malformed request head: "),
        ("GET /v1/models\r\nhost: t\r\n\r\n".to_owned(), 400, "malformed request head: "),
        ("GET /v1/models HTTP/2.0\r\nhost: t\r\n\r\n".to_owned(), 400, "malformed request head: "),
        ("GET /v1/models HTTP/1.1\r\nhost: t\r\nx y: z\r\n\r\n".to_owned(), 400, "malformed request head: "),
        ("GET /v1/mod\u{7f}els HTTP/1.1\r\nhost: t\r\n\r\n".to_owned(), 400, "malformed request head: "),
        ("\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n".to_owned(), 400, "malformed request head: "),
        (
            "POST /v1/models HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
            400,
            "both content-length and transfer-encoding are present",
        ),
        ("POST /v1/models HTTP/1.1\r\nhost: t\r\ncontent-length: +3\r\n\r\n".to_owned(), 400, "invalid content-length"),
        ("POST /v1/models HTTP/1.1\r\nhost: t\r\ntransfer-encoding: gzip\r\n\r\n".to_owned(), 400, "transfer-encoding"),
        ("POST /v1/models HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(), 400, "transfer-encoding in an HTTP/1.0"),
        (format!("GET /v1/models HTTP/1.1\r\nhost: t\r\n{many}\r\n"), 431, "more than 256 headers"),
        (format!("GET /v1/models HTTP/1.1\r\nhost: t\r\nx: {long}\r\n\r\n"), 431, "longer than 40960 bytes"),
        (format!("GET /v1/models?{long} HTTP/1.1\r\nhost: t\r\n\r\n"), 431, "longer than 40960 bytes"),
    ] {
        let mut client = Client::send(server.address, request.as_bytes());
        let shown = &request[..request.len().min(80)];
        assert_eq!(client.status(), status, "{shown}");
        assert_eq!(client.header("connection").as_deref(), Some("close"), "{shown}");
        assert!(client.header("x-request-id").is_some(), "{shown}");
        let message = client.json()["error"]["message"].as_str().expect("a message").to_owned();
        assert!(message.contains(why), "{shown}: {message}");
        // What comes after a head that can't be read is nobody's request.
        let _ = client.stream.write_all(HEALTH.as_bytes());
        let _ = client.stream.shutdown(Shutdown::Write);
        client.wait_end();
        assert_eq!(client.text().matches("HTTP/1.1 ").count(), 1, "{shown}");
    }
    server.logged("refused", 18);
}

#[test]
fn a_broken_body_is_an_error_and_the_end_of_its_connection() {
    let server = Server::mock();
    for chunks in [
        "x\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nx : y\r\n\r\n",
        "5\r\nhello\r\n0\r\n: y\r\n\r\n",
        "5\r\nhello\r\n0\r\nx: \0\r\n\r\n",
        "5\r\nhello\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
    ] {
        let all = until_close(&server, &format!("{}{HEALTH}", chunked("/stream", chunks)));
        assert!(
            all.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{chunks:?}: {all}"
        );
        assert!(
            all.contains("connection: close\r\n") && all.matches("HTTP/1.1 ").count() == 1,
            "{chunks:?}: {all}"
        );
    }
}

#[test]
fn a_large_answer_is_whole_however_slowly_it_is_read() {
    let prompt = "word ".repeat(20_000);
    let server = Server::with("max_body = \"1MiB\"", &[]);
    let body = json!({ "model": "mock-echo", "messages": [{ "role": "user", "content": prompt }] });
    let request = post(
        "/v1/chat/completions",
        "connection: close\r\n",
        body.to_string().as_bytes(),
    );
    let mut client = Client::send(server.address, &request);
    let (mut all, mut piece) = (Vec::new(), [0; 700]);
    loop {
        match client.stream.read(&mut piece).expect("more") {
            0 => break,
            read => all.extend_from_slice(&piece[..read]),
        }
    }
    let text = String::from_utf8(all).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains(&format!("content-length: {}", body.len())),
        "{head}"
    );
    let answer: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        answer["choices"][0]["message"]["content"]
            .as_str()
            .map(str::len),
        Some(prompt.len())
    );
}

#[test]
fn a_broken_body_never_ends_well() {
    let server = Server::mock();
    // Chunks, up to a bare line feed in the trailers. Read again as trailers, they would end where
    // the data begins.
    let hidden = "\r\nGET /nowhere HTTP/1.1\r\nhost: t\r\n\r\n";
    let chunks = format!("{:x}\r\n{hidden}\r\n0\r\nx: y\n\r\n", hidden.len());
    for path in ["/stream", "/healthz"] {
        let all = until_close(&server, &chunked(path, &chunks));
        assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{all}");
        assert!(
            !all.contains("404") && all.contains("connection: close\r\n"),
            "{all}"
        );
    }
}

#[test]
fn a_stray_line_end_is_no_request_that_a_server_would_wait_for_at_its_end() {
    let mut server = Server::mock();
    let body =
        String::from_utf8(post("/stream", "content-type: text/plain\r\n", b"hello")).unwrap();
    let mut client = Client::send(server.address, format!("{body}\r\n").as_bytes());
    client.wait_for("data: [DONE]\n\n\r\n0\r\n\r\n");
    server.signal(nix::sys::signal::Signal::SIGTERM);
    client.wait_end();
    assert!(server.wait_exit().success());
}

#[test]
fn a_body_before_another_protocol_is_none_of_that_protocol() {
    let server = Server::mock();
    let head = "GET /v1/ws HTTP/1.1\r\nhost: t\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for framing in ["content-length: 10", "transfer-encoding: chunked"] {
        let mut client = Client::send(
            server.address,
            format!("{head}{framing}\r\n\r\n").as_bytes(),
        );
        assert_eq!(
            (client.status(), client.header("connection").as_deref()),
            (426, Some("close"))
        );
    }
    let mut client = Client::send(
        server.address,
        format!("{head}content-length: 0\r\n\r\n").as_bytes(),
    );
    assert_eq!(client.status(), 101);
}
