//! Every timeout is a failure of its own, told before the head by a status and after it by an error
//! frame.

use std::time::Duration;

use serde_json::json;

use crate::support::*;

fn code(body: &str) -> String {
    let (_, data) = events(body).pop().expect("a last event");
    let error: serde_json::Value = serde_json::from_str(&data).expect("an error");
    error["error"]["code"].as_str().expect("a code").to_owned()
}

#[test]
fn the_first_token() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.wait_closed();
    });
    let server = Server::before_with(&upstream, "[timeouts]\nfirst_token = \"150ms\"\n", "");
    let mut client = server.chat(json!({}));
    assert_eq!(client.status(), 504);
    assert_eq!(client.json()["error"]["code"], "first_token_timeout");
    upstream.wait_closed(1);
    assert_eq!(server.ended(), "first_token_timeout");
}

#[test]
fn the_first_token_after_our_head() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        c.chunk(b"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n");
        c.wait_closed();
    });
    let server = Server::before_with(&upstream, "[timeouts]\nfirst_token = \"150ms\"\n", "");
    let body = server.chat(json!({})).body();
    assert_eq!(code(&body), "first_token_timeout");
    assert!(!body.contains("[DONE]"));
    upstream.wait_closed(1);
}

#[test]
fn the_first_token_is_awaited_from_the_request_however_late_the_head_is() {
    let upstream = Upstream::start(|c| {
        c.request();
        std::thread::sleep(Duration::from_millis(1500));
        c.stream_head();
        c.wait_closed();
    });
    let server = Server::before_with(&upstream, "[timeouts]\nfirst_token = \"2s\"\n", "");
    let body = server.chat(json!({})).body();
    assert_eq!(code(&body), "first_token_timeout");
    // Counted anew from the head it would be 3.5 s.
    let took = server.logged("generation", 1)["duration_ms"].as_u64();
    assert!(took.is_some_and(|took| took < 3000), "{took:?}");
}

#[test]
fn between_tokens_and_neither_comments_nor_heartbeats_put_it_off() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        c.say("one");
        while c.chunk(b": still here\n\n") {
            std::thread::sleep(Duration::from_millis(20));
        }
        c.wait_closed();
    });
    let top = "[timeouts]\nbetween_tokens = \"300ms\"\n[sse]\nheartbeat = \"20ms\"\n";
    let server = Server::before_with(&upstream, top, "");
    let body = server.chat(json!({})).body();
    assert!(
        body.contains("one") && body.contains(": still here") && !body.contains("[DONE]"),
        "{body}"
    );
    assert_eq!(code(&body), "between_tokens_timeout");
    upstream.wait_closed(1);
    assert_eq!(server.ended(), "between_tokens_timeout");
}

#[test]
fn the_total() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        while c.say("more") {
            std::thread::sleep(Duration::from_millis(20));
        }
        c.wait_closed();
    });
    let server = Server::before_with(&upstream, "[timeouts]\ntotal = \"300ms\"\n", "");
    let body = server.chat(json!({})).body();
    assert_eq!(code(&body), "total_timeout");
    upstream.wait_closed(1);
}

#[test]
fn the_total_of_an_upstream_that_never_pauses() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        let run = says("more").repeat(100);
        while c.chunk(run.as_bytes()) {}
        c.wait_closed();
    });
    let server = Server::before_with(&upstream, "[timeouts]\ntotal = \"300ms\"\n", "");
    assert_eq!(code(&server.chat(json!({})).body()), "total_timeout");
    upstream.wait_closed(1);
}

#[test]
fn the_connection() {
    let (address, _full) = unanswering();
    let config = format!(
        "[timeouts]\nconnect = \"200ms\"\n[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"http://{address}\"\n\
         [[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\" }}]\n"
    );
    let server = Server::with(&config, &[]);
    let mut client = server.chat(json!({}));
    assert_eq!(
        (client.status(), client.json()["error"]["code"].as_str()),
        (504, Some("connect_timeout"))
    );
    assert_eq!(server.ended(), "connect_timeout");
}

#[test]
fn the_total_of_a_request_that_is_no_stream() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.wait_closed();
    });
    let server = Server::before_with(
        &upstream,
        "[timeouts]\nfirst_token = \"50ms\"\ntotal = \"300ms\"\n",
        "",
    );
    let mut client = server.chat(json!({ "stream": false }));
    assert_eq!(client.status(), 504);
    assert_eq!(
        client.json()["error"]["code"],
        "total_timeout",
        "no single token is awaited here"
    );
}

#[test]
fn our_head_comes_though_the_upstream_is_silent_then_heartbeats_then_its_refusal() {
    let (refuse, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let upstream = Upstream::start(move |c| {
        c.request();
        gate.lock()
            .unwrap()
            .recv_timeout(PATIENCE)
            .expect("heartbeats came");
        c.send(b"HTTP/1.1 429 Too Many\r\ncontent-type: application/json\r\ncontent-length: 28\r\n\r\n{\"error\":{\"message\":\"slow\"}}");
        c.wait_closed();
    });
    let server = Server::before_with(
        &upstream,
        "[sse]\nheartbeat = \"50ms\"\ncommit_after = \"100ms\"\n",
        "",
    );
    let mut client = server.chat(json!({}));
    client.wait_for(": heartbeat\n\n");
    refuse.send(()).unwrap();
    let body = client.body();
    assert_eq!(client.status(), 200);
    assert_eq!(code(&body), "upstream_refused");
    assert!(!body.contains("[DONE]"));
}

#[test]
fn heartbeats_stand_between_events_and_can_be_switched_off() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        let frame = says("cut in two");
        let (first, second) = frame.split_at(20);
        c.chunk(first.as_bytes());
        std::thread::sleep(Duration::from_millis(200));
        c.chunk(second.as_bytes());
        c.chunk(format!(": theirs\n\n{STOP}{DONE}").as_bytes());
        c.end();
    });
    let server = Server::before_with(&upstream, "[sse]\nheartbeat = \"30ms\"\n", "");
    let body = server.chat(json!({})).body();
    assert!(
        body.contains(": heartbeat\n\n") && body.contains(&says("cut in two")),
        "{body}"
    );
    for (path, headers) in [
        ("/v1/chat/completions?heartbeat=off", ""),
        ("/v1/chat/completions", "x-heartbeat: off\r\n"),
    ] {
        let body = server
            .post(path, headers, &chat_body(json!({})).to_string())
            .body();
        assert_eq!(body, format!("{}{STOP}{DONE}", says("cut in two")));
    }
}

#[test]
fn a_silent_connection_and_half_a_head_are_closed() {
    let server = Server::with("[timeouts]\nrequest_head = \"200ms\"\n", &[]);
    for bytes in [
        &b""[..],
        b"GET / HTT",
        b"GET / HTTP/1.1\r\nhost: t\r\n",
        b"P",
        b"PRI * HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ] {
        Client::send(server.address, bytes).wait_end();
    }
}

#[test]
fn a_slow_body() {
    let server = Server::with("[timeouts]\nrequest_body = \"200ms\"\n", &[]);
    let mut request = post("/stream", "", b"{\"prompt\":\"hello\"}");
    request.truncate(request.len() - 5);
    let mut client = Client::send(server.address, &request);
    assert_eq!(client.status(), 408);
    assert_eq!(client.json()["error"]["code"], "body_timeout");
}
