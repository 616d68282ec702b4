//! Sockets and keys: at the upgrade, by the first message, and until the key is revoked.

use std::net::TcpStream;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, client};

use crate::keys_support::*;
use crate::support::*;
use crate::ws_client::*;

const REFUSED: (u16, &str) = (4401, "no API key, or none that is valid");

fn closed(ws: &mut Ws) {
    let (code, reason) = ws.hear_close();
    assert_eq!((code, reason.as_str()), REFUSED);
}

/// The status of a handshake that is refused.
fn refused_handshake(server: &Server, path: &str, headers: &str) -> u16 {
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: t\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    Client::send(server.address, head.as_bytes()).status()
}

#[test]
fn a_key_comes_with_the_handshake_or_first_of_all() {
    let keyed = Keyed::mock("");
    let key = keyed.key("ci", &["--models", "mock-echo"]);
    let server = keyed.start();
    let authorization = format!("Bearer {key}");
    let mut with_header = Ws::open_with(&server, &[("authorization", &authorization)]);
    let mut with_token = Ws::open(&server);
    with_token.say(json!({ "type": "auth", "token": key }));
    let mut as_header = Ws::open(&server);
    as_header.say(json!({ "type": "auth", "authorization": authorization }));
    for ws in [&mut with_header, &mut with_token, &mut as_header] {
        ws.say(start("a", "mock-echo", "hello"));
        assert_eq!(status(&ws.hear_all("a")), "completed");
        // Its models are the key's.
        ws.say(start("b", "mock-fast", "hello"));
        let refused = ws.hear_all("b");
        let error = &refused[0]["error"];
        assert_eq!(
            (&error["code"], &error["status"]),
            (&"model_not_allowed".into(), &403.into())
        );
    }
    let mut responses = Ws::open_at(
        &server,
        "/v1/responses",
        &[("authorization", &authorization)],
    );
    responses.say(json!({ "type": "response.create", "model": "mock-echo", "input": "hello" }));
    while responses.hear()["type"] != "response.completed" {}
    // A handshake with a wrong key, or of a socket whose clients all can send headers.
    let wrong = "authorization: Bearer trk_wrong\r\n";
    assert_eq!(refused_handshake(&server, "/v1/ws", wrong), 401);
    assert_eq!(refused_handshake(&server, "/v1/responses", ""), 401);
}

#[test]
fn anything_but_a_key_closes_the_socket() {
    let keyed = Keyed::mock("");
    let key = keyed.key("ci", &[]);
    let server = keyed.start();
    let mut other = Ws::open(&server);
    other.say(start("a", "mock-echo", "hello"));
    assert_eq!(other.hear()["error"]["code"], "invalid_api_key");
    closed(&mut other);
    let mut wrong = Ws::open(&server);
    wrong.say(json!({ "type": "auth", "token": format!("{}x", &key[..65]) }));
    assert_eq!(wrong.hear()["error"]["status"], 401);
    closed(&mut wrong);
    let mut no_json = Ws::open(&server);
    assert!(no_json.raw(&frame(0x81, b"{")));
    closed(&mut no_json);
    let mut binary = Ws::open(&server);
    assert!(binary.raw(&frame(0x82, b"x")));
    closed(&mut binary);
    // More than a key can have: it is not even read.
    let mut long = Ws::open(&server);
    let text = json!({ "type": "auth", "token": "x".repeat(80 * 1024) }).to_string();
    long.raw(&frame(0x81, text.as_bytes()));
    match long.inner.read() {
        Ok(Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), REFUSED.0),
        other => panic!("it was read: {other:?}"),
    }
    assert_eq!(
        server.log().matches("\"message\":\"generation\"").count(),
        0
    );
}

#[test]
fn a_silent_socket_is_closed_and_only_so_many_may_be_silent() {
    let keyed = Keyed::mock("max_pending = 1\n");
    let key = keyed.key("ci", &[]);
    let server = keyed.start();
    let mut silent = Ws::open(&server);
    assert_eq!(refused_handshake(&server, "/v1/ws", ""), 401);
    // One that says who it is with the handshake waits for nobody.
    let authorization = format!("Bearer {key}");
    drop(Ws::open_with(&server, &[("authorization", &authorization)]));
    closed(&mut silent);
    drop(silent);
    // Its place is free again, and that of one that has said it.
    let mut next = until("there is a place", || open(&server));
    next.say(json!({ "type": "auth", "token": key }));
    next.say(start("a", "mock-echo", "hello"));
    assert_eq!(status(&next.hear_all("a")), "completed");
    drop(until("there is another place", || open(&server)));
}

/// Opens a socket, if there is a place for it.
fn open(server: &Server) -> Option<Ws> {
    let stream = TcpStream::connect(server.address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let opened = client(format!("ws://{}/v1/ws", server.address), stream);
    opened.ok().map(|(inner, _response)| Ws { inner })
}

#[test]
fn a_revoked_key_ends_what_runs_on_the_socket_and_closes_it() {
    let upstream = Upstream::start(|c| {
        if c.request().is_some() {
            c.stream_head();
            c.say("once");
            c.wait_closed();
        }
    });
    let keyed = Keyed::before(&upstream, "");
    let key = keyed.key("ci", &[]);
    let server = keyed.start();
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str())];
    let mut ws = Ws::open_with(&server, &headers);
    ws.begin(start("a", "m", "hi, canary-prompt"));
    let mut idle = Ws::open_with(&server, &headers);
    idle.say(json!({ "type": "leave", "id": "none" }));
    assert_eq!(idle.hear()["type"], "error");
    let output = keys(server.folder.path(), &["revoke", id(&key)]);
    assert!(output.status.success());
    let ended = ws.hear_all("a");
    let data: Value = serde_json::from_str(&data(&ended)[0]).unwrap();
    assert_eq!(data["error"]["code"], "key_revoked");
    closed(&mut ws);
    closed(&mut idle);
    upstream.wait_closed(1);
}
