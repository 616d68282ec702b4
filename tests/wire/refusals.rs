//! Bad requests: the right status, the dialect's error shape, an id, and words that say what would
//! be right.

use std::io::Write;

use serde_json::{Value, json};

use crate::support::*;

/// Sends and checks the shape; returns the message.
fn refused(mut client: Client, status: u16, code: &str, param: Option<&str>) -> String {
    assert_eq!(client.status(), status, "{}", client.text());
    assert!(client.header("x-request-id").unwrap().starts_with("req_"));
    assert_eq!(
        client.header("content-type").as_deref(),
        Some("application/json")
    );
    let error = client.json();
    assert_eq!(
        (
            error["error"]["code"].as_str(),
            error["error"]["param"].as_str()
        ),
        (Some(code), param),
        "{error}"
    );
    error["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn requests_that_make_no_sense() {
    let server = Server::mock();
    let chat = "/v1/chat/completions";
    let messages = r#""messages":[{"role":"user","content":"x canary-prompt"}]"#;
    let deep = format!("{{\"prompt\":{}", "[".repeat(10_000));
    for (path, body, param, says) in [
        ("/stream", "{", None, "not JSON"),
        ("/stream", "", None, "empty"),
        ("/stream", "[1]", None, "wrong shape"),
        ("/stream", "{}", Some("prompt"), "missing"),
        ("/stream", r#"{"prompt":""}"#, Some("prompt"), "missing"),
        (
            "/stream",
            r#"{"prompt":5}"#,
            Some("prompt"),
            "should be a string",
        ),
        (
            "/stream",
            r#"{"promt":"x"}"#,
            Some("promt"),
            "Did you mean `prompt`?",
        ),
        (
            "/stream",
            r#"{"prompt":"x canary-prompt","max_tokens":1e18}"#,
            Some("max_tokens"),
            "whole number",
        ),
        (
            "/stream",
            r#"{"prompt":"x canary-prompt","max_tokens":0}"#,
            Some("max_tokens"),
            "from 1",
        ),
        (
            "/stream",
            r#"{"prompt":"x canary-prompt","temperature":-1}"#,
            Some("temperature"),
            "from 0 to 2",
        ),
        ("/stream", deep.as_str(), None, "nested deeper"),
        (
            "/stream?heartbeat=maybe",
            r#"{"prompt":"x canary-prompt"}"#,
            Some("heartbeat"),
            "`on` or `off`",
        ),
        (chat, "{}", Some("messages"), "missing or empty"),
        (
            chat,
            r#"{"model":"mock"}"#,
            Some("messages"),
            "missing or empty",
        ),
        (
            chat,
            &format!(r#"{{"model":5,{messages}}}"#),
            Some("model"),
            "should be a string",
        ),
        (
            chat,
            &format!(r#"{{"model":"mock","stream":1,{messages}}}"#),
            Some("stream"),
            "true or false",
        ),
        (
            chat,
            &format!(r#"{{"model":"mock","n":1000000,{messages}}}"#),
            Some("n"),
            "from 1 to 128",
        ),
        (
            chat,
            &format!(r#"{{"model":"mock","n":2,{messages}}}"#),
            Some("n"),
            "one answer",
        ),
        (
            chat,
            &format!(r#"{{"model":"mock","max_tokens":-5,{messages}}}"#),
            Some("max_tokens"),
            "whole number",
        ),
    ] {
        let message = refused(server.post(path, "", body), 400, "invalid_request", param);
        assert!(message.contains(says), "{message}");
    }
    for path in [
        "/stream",
        "/stream?prompt=x+canary-prompt&bogus=1",
        "/stream?prompt=x+canary-prompt&prompt=y",
        "/stream?prompt=x+canary-prompt&max_tokens=many",
        "/stream?prompt=%ff",
    ] {
        assert_eq!(server.get(path).status(), 400, "{path}");
    }
    let mut bytes = post("/stream", "", b"{\"prompt\":\"????\"}");
    let at = bytes.len() - 4;
    bytes[at] = 0xff;
    let message = refused(
        Client::send(server.address, &bytes),
        400,
        "invalid_request",
        None,
    );
    assert!(message.contains("not UTF-8: byte 13"), "{message}");
}

#[test]
fn models_methods_paths_and_types() {
    let server = Server::mock();
    let message = refused(
        server.chat(json!({ "model": "gpt" })),
        404,
        "model_not_found",
        Some("model"),
    );
    assert!(
        message.contains("known models: mock, mock-fast"),
        "{message}"
    );
    refused(
        server.get("/stream?prompt=x+canary-prompt&model=gpt"),
        404,
        "model_not_found",
        Some("model"),
    );
    refused(server.get("/nowhere"), 404, "not_found", None);
    for (method, path, allow) in [
        ("DELETE", "/stream", "GET,HEAD,POST"),
        ("GET", "/v1/chat/completions", "POST"),
        ("PUT", "/prompts", "GET,HEAD"),
    ] {
        let mut client = Client::send(
            server.address,
            format!("{method} {path} HTTP/1.1\r\nhost: t\r\n\r\n").as_bytes(),
        );
        assert_eq!(client.header("allow").as_deref(), Some(allow));
        refused(client, 405, "method_not_allowed", None);
    }
    let mut head = Client::send(
        server.address,
        b"HEAD /stream?prompt=x+canary-prompt HTTP/1.1\r\nhost: t\r\n\r\n",
    );
    assert_eq!(head.status(), 405, "a HEAD runs no model");
    for (path, kind) in [
        ("/stream", "image/png"),
        ("/v1/chat/completions", "text/plain"),
        ("/v1/chat/completions", "application/x-www-form-urlencoded"),
    ] {
        let client = server.post(path, &format!("content-type: {kind}\r\n"), "x");
        assert!(refused(client, 415, "unsupported_media_type", None).contains(kind));
    }
    refused(
        server.post("/stream", "content-encoding: gzip\r\n", "x"),
        415,
        "unsupported_media_type",
        None,
    );
}

#[test]
fn sizes() {
    let server = Server::with("max_body = \"1KiB\"", &[]);
    let long = "x".repeat(2000);
    refused(
        server.post("/stream", "", &long),
        413,
        "body_too_large",
        None,
    );
    // Without a length it is found out by reading.
    let chunked = format!(
        "POST /stream HTTP/1.1\r\nhost: t\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n{long}\r\n0\r\n\r\n"
    );
    refused(
        Client::send(server.address, chunked.as_bytes()),
        413,
        "body_too_large",
        None,
    );
    let many: String = (0..101).map(|n| format!("x-{n}: y\r\n")).collect();
    refused(
        Client::send(
            server.address,
            format!("GET /healthz HTTP/1.1\r\nhost: t\r\n{many}\r\n").as_bytes(),
        ),
        431,
        "headers_too_large",
        None,
    );
    let mut large = Client::send(
        server.address,
        format!(
            "GET /healthz HTTP/1.1\r\nhost: t\r\nx: {}\r\n\r\n",
            "y".repeat(64 * 1024)
        )
        .as_bytes(),
    );
    assert_eq!(large.status(), 431);
}

#[test]
fn a_refusal_reaches_a_client_that_sends_all_of_a_big_body_before_it_reads() {
    let server = Server::with("max_body = \"4MiB\"", &[]);
    let body = vec![b'x'; 10_000_000];
    for (kind, status, code) in [
        ("application/json", 413, "body_too_large"),
        ("image/png", 415, "unsupported_media_type"),
        ("text/plain\r\nx-heartbeat: maybe", 400, "invalid_request"),
    ] {
        for _ in 0..4 {
            let request = post("/stream", &format!("content-type: {kind}\r\n"), &body);
            let mut client = Client::connect(server.address);
            client
                .stream
                .write_all(&request)
                .expect("all of it is taken");
            assert_eq!(client.status(), status);
            assert_eq!(client.json()["error"]["code"], code);
            client.wait_end();
        }
    }
    // A head that is refused before it is read.
    let mut client = Client::connect(server.address);
    let head = format!(
        "GET /healthz HTTP/1.1\r\nhost: t\r\nx: {}\r\n\r\n",
        "y".repeat(5_000_000)
    );
    client
        .stream
        .write_all(head.as_bytes())
        .expect("all of it is taken");
    assert_eq!(client.status(), 431);
}

#[test]
fn ids_are_the_clients_if_harmless() {
    let server = Server::mock();
    for (id, kept) in [
        ("abc-1.2_3", true),
        ("a b", false),
        ("{x}", false),
        (&*"a".repeat(129), false),
    ] {
        let mut client = Client::send(
            server.address,
            format!("GET /healthz HTTP/1.1\r\nhost: t\r\nx-request-id: {id}\r\n\r\n").as_bytes(),
        );
        assert_eq!(
            client.header("x-request-id").as_deref() == Some(id),
            kept,
            "{id}"
        );
    }
}

#[test]
fn smuggled_requests_reach_no_upstream() {
    let upstream = Upstream::streaming(format!("{STOP}{DONE}"));
    let server = Server::before(&upstream);
    let body = chat_body(json!({})).to_string();
    let length = body.len();
    for request in [
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: {length}\r\ncontent-length: 5\r\n\r\n{body}"
        ),
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ntransfer-encoding: xchunked\r\n\r\n{body}"
        ),
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n content-length: {length}\r\n\r\n{body}"
        ),
    ] {
        let mut client = Client::send(server.address, request.as_bytes());
        assert_eq!(client.status(), 400, "{request}");
        client.wait_end();
    }
    assert_eq!(upstream.requests().len(), 0);
    // Both framings at once: the chunks count, and the connection is not used for what follows
    // them.
    let both = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
    );
    let _ = Client::send(server.address, both.as_bytes()).status();
    assert!(upstream.requests().len() <= 1);
}

#[test]
fn nothing_that_was_asked_and_no_key_is_logged() {
    let server = Server::with(
        "[log]\nlevel = \"trace\"\n[mock]\ntokens_per_second = 0\n",
        &[],
    );
    for body in [
        json!({ "prompt": "canary-prompt" }),
        json!({ "prompt": { "deep": "canary-prompt" } }),
        json!({ "prompt": "x canary-prompt", "system": ["canary-prompt"] }),
    ] {
        server
            .post(
                "/stream",
                "authorization: Bearer canary-key\r\n",
                &body.to_string(),
            )
            .body();
    }
    server.logged("generation", 1);
    server.logged("refused", 2);
    let ours: Vec<Value> = server
        .log()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert!(!ours.is_empty());
    let lines = ours
        .iter()
        .filter(|line| matches!(line["message"].as_str(), Some("generation" | "refused")));
    assert!(
        lines
            .map(Value::to_string)
            .all(|line| !line.contains("canary")),
        "{}",
        server.log()
    );
}

#[test]
fn a_callers_own_upstream_is_ignored() {
    let canary = Upstream::streaming("");
    let upstream = Upstream::streaming(format!("{STOP}{DONE}"));
    let server = Server::before(&upstream);
    let url = canary.base_url();
    server
        .chat(json!({ "api_base": url, "base_url": url }))
        .body();
    assert_eq!((upstream.requests().len(), canary.connections()), (1, 0));
}
