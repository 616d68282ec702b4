//! The cost of a body: at most ten times its size in memory, whatever it is made of; and the bounds
//! over all bodies and connections.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::support::*;

/// The size of each body, in bytes.
const SIZE: usize = 2 << 20;
/// Change of a server's memory without any body, in KiB.
const NOISE: u64 = 8 * 1024;
const MOST: u64 = 10;
/// A provider of each dialect, in front of an upstream that takes everything and refuses it.
const PROVIDERS: [(&str, &str, &str); 4] = [
    ("chat", "openai-chat", "/v1"),
    ("responses", "openai-responses", "/v1"),
    ("anthropic", "anthropic", ""),
    ("gemini", "gemini", "/v1beta"),
];

/// Returns `before`, as many of `unit` as fit, and `after`.
fn filled(before: &str, unit: &str, after: &str) -> String {
    let count = (SIZE - before.len() - after.len()) / (unit.len() + 1);
    let units = vec![unit; count].join(",");
    format!("{before}{units}{after}")
}

fn server(upstream: &Upstream) -> Server {
    let mut config = "workers = 1\n".to_owned();
    for (name, dialect, path) in PROVIDERS {
        let address = upstream.base_url();
        let host = address.trim_end_matches("/v1");
        config += &format!(
            "[providers.{name}]\ndialect = \"{dialect}\"\nbase_url = \"{host}{path}\"\n\
             [[models]]\nname = \"{name}\"\ntargets = [{{ provider = \"{name}\" }}]\n"
        );
    }
    Server::with(&config, &[])
}

/// Returns the most memory that the server has had since the last call, in KiB.
fn take_peak(server: &Server) -> u64 {
    let folder = format!("/proc/{}", server.pid());
    let status = std::fs::read_to_string(format!("{folder}/status")).unwrap();
    std::fs::write(format!("{folder}/clear_refs"), "5").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// Sends a body for each provider and checks what it cost.
fn costs_at_most(path: &str, body: &str) {
    let upstream = Upstream::start(|c| {
        while c.request().is_some() {
            c.send(
                b"HTTP/1.1 400 No\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
            );
        }
    });
    let server = server(&upstream);
    for (model, ..) in PROVIDERS {
        let body = body.replacen("MODEL", model, 1);
        take_peak(&server);
        let before = server.resident();
        let mut client = TcpStream::connect(server.address).unwrap();
        let path = path.replace("MODEL", model);
        client
            .write_all(&post(&path, "connection: close\r\n", body.as_bytes()))
            .unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert!(
            answer.starts_with(b"HTTP/1.1 4"),
            "{model}: refused, one way or another"
        );
        let cost = take_peak(&server).saturating_sub(before);
        let most = MOST * SIZE as u64 / 1024 + NOISE;
        assert!(
            cost < most,
            "{model}: {cost} KiB of {most} for {}",
            &body[..80]
        );
    }
}

const USER: &str = r#"{"role":"user","content":"x"}"#;

#[test]
fn chat() {
    for (before, unit, after) in [
        (r#"{"model":"MODEL","messages":["#.to_owned(), "0", "]}"),
        (r#"{"model":"MODEL","messages":["#.to_owned(), USER, "]}"),
        (
            format!(
                r#"{{"model":"MODEL","messages":[{USER}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{{"x":["#
            ),
            "[]",
            "]}}}]}",
        ),
        (
            r#"{"model":"MODEL","messages":[{"role":"user","content":["#.to_owned(),
            r#"{"type":"text","text":""}"#,
            "]}]}",
        ),
        (
            format!(r#"{{"model":"MODEL","messages":[{USER}],"x":["#),
            "[]",
            "]}",
        ),
        (
            format!(r#"{{"model":"MODEL","messages":[{USER}],"stop":["#),
            "\"\"",
            "]}",
        ),
        (
            format!(
                r#"{{"model":"MODEL","messages":[{USER}],"response_format":{{"type":"json_schema","json_schema":{{"schema":{{"x":["#
            ),
            "[]",
            "]}}}}",
        ),
    ] {
        costs_at_most("/v1/chat/completions", &filled(&before, unit, after));
    }
}

#[test]
fn messages() {
    let start = r#"{"model":"MODEL","max_tokens":9,"messages":["#;
    for (before, unit, after) in [
        (start.to_owned(), "0", "]}"),
        (
            format!(r#"{start}{{"role":"user","content":["#),
            r#"{"type":"tool_result","tool_use_id":"a"}"#,
            "]}]}",
        ),
        (
            format!(
                r#"{start}{{"role":"assistant","content":[{{"type":"tool_use","id":"a","name":"f","input":{{"x":["#
            ),
            "[]",
            "]}}]}]}",
        ),
        (
            format!(r#"{start}{USER}],"tools":[{{"name":"f","input_schema":{{"x":["#),
            "[]",
            "]}}]}",
        ),
    ] {
        costs_at_most("/v1/messages", &filled(&before, unit, after));
    }
}

#[test]
fn responses() {
    for (before, unit, after) in [
        (r#"{"model":"MODEL","input":["#, USER, "]}"),
        (
            r#"{"model":"MODEL","input":"x","tools":[{"type":"function","name":"f","parameters":{"x":["#,
            "[]",
            "]}}]}",
        ),
        (
            r#"{"model":"MODEL","input":[{"role":"user","content":["#,
            r#"{"type":"input_text","text":"a"}"#,
            "]}]}",
        ),
    ] {
        costs_at_most("/v1/responses", &filled(before, unit, after));
    }
}

#[test]
fn gemini() {
    for (before, unit, after) in [
        (
            r#"{"contents":["#,
            r#"{"role":"user","parts":[{"text":"x"}]}"#,
            "]}",
        ),
        (
            r#"{"contents":[{"parts":[{"text":"x"}]}],"tools":[{"functionDeclarations":[{"name":"f","parameters":{"x":["#,
            "[]",
            "]}}]}]}",
        ),
        (
            r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"responseSchema":{"x":["#,
            "[]",
            "]}}}",
        ),
    ] {
        costs_at_most(
            "/v1beta/models/MODEL:generateContent",
            &filled(before, unit, after),
        );
    }
}

#[test]
fn a_frame_that_is_announced_takes_no_memory() {
    // One worker takes up what has arrived in the order in which it came.
    let server = Server::with("workers = 1\n", &[]);
    let before = server.resident();
    let open = |_| {
        let mut client = TcpStream::connect(server.address).unwrap();
        client
            .write_all(
                b"GET /v1/ws HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                  sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            .unwrap();
        let mut head = [0; 12];
        client.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
        // The header of a masked text of 4 MiB less one byte, and nothing of it.
        client
            .write_all(&[0x81, 0xff, 0, 0, 0, 0, 0, 0x3f, 0xff, 0xff, 1, 2, 3, 4])
            .unwrap();
        client
    };
    let clients: Vec<TcpStream> = (0..100).map(open).collect();
    // By then the frames before it have been read.
    assert_eq!(server.get("/healthz").status(), 200);
    let cost = server.resident().saturating_sub(before);
    assert!(
        cost < 100 * 64 + NOISE,
        "{cost} KiB for {} sockets",
        clients.len()
    );
}

#[test]
fn what_bodies_hold_together_is_bounded() {
    // It takes the first request and says nothing: until it does, the request's memory is held.
    let upstream = Upstream::start(|c| {
        c.request();
        c.wait_closed();
    });
    let server = Server::before_with(&upstream, "max_bodies = \"4MiB\"\n", "");
    let large = json!({ "messages": [{ "role": "user", "content": "x".repeat(3_000_000) }] });
    let first = server.chat(large.clone());
    upstream.wait_requests(1);
    let mut second = server.chat(large.clone());
    assert_eq!(second.status(), 503);
    assert!(second.header("retry-after").is_some());
    assert_eq!(second.json()["error"]["code"], "memory_capacity");
    // Small ones are served all the same.
    let small = server.chat(json!({}));
    upstream.wait_requests(2);
    drop((first, small));
    upstream.wait_closed(2);
    let _third = server.chat(large);
    upstream.wait_requests(3);
}

#[test]
fn beyond_the_most_connections_the_longest_idle_makes_room() {
    let server = Server::with("max_connections = 20\nworkers = 1\n", &[]);
    let ask = b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n";
    // Silent ones, kept ones and some that begin a head, many times as many as there may be.
    let said: [&[u8]; 3] = [ask, b"", b"GET /readyz HTTP/1.1\r\nho"];
    let idle: Vec<Client> = (0..200)
        .map(|n| Client::send(server.address, said[n % 3]))
        .collect();
    let mut stream = server.get("/stream?prompt=x&model=mock-stall");
    stream.head();
    for _ in 0..30 {
        assert_eq!(server.get("/healthz").status(), 200);
    }
    drop(idle);
    // One that is busy is never closed; if all are, the next is told so.
    let mut streams: Vec<Client> = (0..19)
        .map(|_| {
            let mut client = server.get("/stream?prompt=x&model=mock-stall");
            client.head();
            client
        })
        .collect();
    let mut refused = Client::send(server.address, ask);
    assert_eq!(refused.status(), 503);
    assert!(refused.header("retry-after").is_some());
    for client in streams.iter_mut().chain([&mut stream]) {
        assert_eq!(client.status(), 200);
        assert!(!client.text().contains("error"));
    }
}
