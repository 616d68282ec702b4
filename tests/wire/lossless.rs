//! Same dialect on both sides: what the upstream said is what the client gets, byte for byte.

use serde_json::json;

use crate::support::*;

/// Each worker has connections of its own.
const ONE_POOL: &str = "workers = 1";

/// Streams these bytes and returns what the client got.
fn through(body: impl Into<Vec<u8>>) -> String {
    let upstream = Upstream::streaming(body);
    let server = Server::before(&upstream);
    let body = server.chat(json!({})).body();
    assert_eq!(server.ended(), "complete");
    body
}

#[test]
fn fields_never_heard_of_pass_as_they_are() {
    let body = format!(
        ": OPENROUTER PROCESSING\n\nevent: message\nid: 7\ndata: {{\"choices\":[],\"prompt_filter_results\":[{{}}]}}\n\n\
         data: {{\"x\":1.50,\"choices\":[{{\"index\":0,\"delta\":{{\"role\":\"assistant\",\"reasoning_content\":\"hm\"}},\
         \"logprobs\":{{\"content\":[]}}}}],\"p\":\"abc\"   }}\n\n{}{STOP}\
         data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":2}},\"timings\":{{}}}}\n\n{DONE}",
        says("你好 🌊")
    );
    assert_eq!(through(body.clone()), body);
}

#[test]
fn crlf_cr_and_a_missing_space_pass_as_they_are() {
    for body in [
        format!("{}{STOP}{DONE}", says("a")).replace('\n', "\r\n"),
        format!("{}{STOP}{DONE}", says("a")).replace('\n', "\r"),
        format!("{}{STOP}{DONE}", says("a")).replace("data: ", "data:"),
    ] {
        assert_eq!(through(body.clone()), body);
    }
}

#[test]
fn a_byte_order_mark_is_not_passed_on() {
    let body = format!("{}{STOP}{DONE}", says("a"));
    assert_eq!(through(format!("\u{feff}{body}")), body);
}

#[test]
fn a_missing_done_is_added_after_a_finish() {
    let body = format!("{}{STOP}", says("a"));
    assert_eq!(through(body.clone()), format!("{body}{DONE}"));
    // … and so is the blank line that a last event lacks.
    assert_eq!(
        through(format!("{body}data: [DONE]")),
        format!("{body}{DONE}")
    );
}

#[test]
fn what_follows_the_end_is_not_passed_on() {
    let body = format!("{}{STOP}{DONE}", says("a"));
    assert_eq!(through(format!("{body}{}", says("ghost"))), body);
}

#[test]
fn frames_that_say_nothing_and_choke_clients_are_left_out() {
    let body = format!("{}id: 9\n\nretry: 5\n\ndata:\n\n{STOP}{DONE}", says("a"));
    assert_eq!(through(body), format!("{}{STOP}{DONE}", says("a")));
}

#[test]
fn one_byte_at_a_time_is_the_same_stream() {
    let body = format!(": c\r\n\r\n{}{STOP}{DONE}", says("é你🌊"));
    let sent = body.clone();
    let upstream = Upstream::start(move |c| {
        if c.request().is_some() {
            c.stream_head();
            for byte in sent.as_bytes() {
                c.chunk(&[*byte]);
            }
            c.end();
        }
    });
    let server = Server::before(&upstream);
    assert_eq!(server.chat(json!({})).body(), body);
}

#[test]
fn a_token_waits_for_nobody() {
    let (next, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let upstream = Upstream::start(move |c| {
        c.request();
        c.stream_head();
        let gate = gate.lock().unwrap();
        for n in 0..5 {
            c.say(&format!("token-{n}"));
            // Not a word more before the client has this one.
            gate.recv_timeout(PATIENCE)
                .expect("the client got the token");
        }
        c.chunk(format!("{STOP}{DONE}").as_bytes());
        c.end();
    });
    let server = Server::before(&upstream);
    let mut client = server.chat(json!({}));
    assert_eq!(
        client.status(),
        200,
        "the head comes before the first token"
    );
    for n in 0..5 {
        client.wait_for(&format!("token-{n}"));
        next.send(()).unwrap();
    }
    assert!(client.body().ends_with(DONE));
}

#[test]
fn the_upstream_sees_the_clients_bytes_but_for_the_models_name() {
    let upstream = Upstream::streaming(format!("{STOP}{DONE}"));
    let server = Server::before_with(
        &upstream,
        "",
        "headers = { \"x-extra\" = \"yes\" }\nforward_headers = [\"openai-project\"]",
    );
    let body = r#"{ "stream":true,  "model" : "m", "messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}],
        "tools":[{"type":"function","function":{"name":"f"}}], "vendor":{"model":"m","n":1.0} }"#;
    let headers = "authorization: Bearer client-key\r\ncookie: a=b\r\naccept-encoding: gzip\r\nopenai-project: p\r\nopenai-organization: o\r\n\
                   traceparent: 00-1\r\nidempotency-key: k\r\nx-api-key: client-key\r\n";
    assert_eq!(
        server.post("/v1/chat/completions", headers, body).status(),
        200
    );
    let seen = upstream.requests().remove(0);
    assert_eq!(
        String::from_utf8_lossy(&seen.body),
        body.replace(r#""model" : "m""#, r#""model" : "real""#)
    );
    assert!(
        seen.head
            .starts_with("POST /v1/chat/completions HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    for (name, value) in [
        ("authorization", "Bearer sk-canary-key"),
        ("openai-project", "p"),
        ("traceparent", "00-1"),
        ("idempotency-key", "k"),
        ("accept", "text/event-stream"),
        ("accept-encoding", "identity"),
        ("x-extra", "yes"),
        ("host", &upstream.address.to_string()),
    ] {
        assert_eq!(seen.header(name).as_deref(), Some(value), "{name}");
    }
    assert!(
        !seen.head.contains("client-key")
            && seen.header("cookie").is_none()
            && seen.header("openai-organization").is_none(),
        "{}",
        seen.head
    );
    assert!(!server.log().contains("canary"));
}

#[test]
fn a_connection_that_ended_cleanly_is_used_again() {
    let upstream = Upstream::streaming(format!("{STOP}{DONE}"));
    let server = Server::before_with(&upstream, ONE_POOL, "");
    // The answer's last byte may come after the client has seen its end: a request in between opens
    // a connection.
    until("a connection is used twice", || {
        assert!(server.chat(json!({})).body().ends_with(DONE));
        (upstream.requests().len() > upstream.connections()).then_some(())
    });
}

#[test]
fn a_connection_that_says_more_after_its_end_is_closed() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        c.chunk(format!("{STOP}{DONE}").as_bytes());
        while c.say("ghost") {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        c.wait_closed();
    });
    let server = Server::before_with(&upstream, ONE_POOL, "");
    assert!(server.chat(json!({})).body().ends_with(DONE));
    upstream.wait_closed(1);
    assert!(server.chat(json!({})).body().ends_with(DONE));
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn a_whole_answer_passes_as_it_is() {
    let answer = r#"{ "id":"x",  "choices":[{"message":{"content":"hi canary-prompt"},"vendor":1.50}], "usage":{"prompt_tokens":1,"completion_tokens":7} }"#;
    let length = answer.len();
    let upstream = Upstream::raw(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nx-request-id: up-1\r\n\
         x-ratelimit-remaining-tokens: 5\r\nset-cookie: a=b\r\nserver: secret\r\n\r\n{answer}"
    ));
    let server = Server::before(&upstream);
    let mut client = server.chat(json!({ "stream": false }));
    assert_eq!(client.body(), answer);
    assert_eq!(
        client.header("x-upstream-request-id").as_deref(),
        Some("up-1")
    );
    // Those of the provider's account are no client's.
    assert_eq!(client.header("x-ratelimit-remaining-tokens"), None);
    assert!(client.header("set-cookie").is_none() && client.header("server").is_none());
    let line = server.logged("generation", 1);
    assert_eq!(
        (
            line["tokens"].as_u64(),
            line["ended"].as_str(),
            line["status"].as_u64()
        ),
        (Some(7), Some("complete"), Some(200))
    );
}
