//! Places at a provider: of all workers together, and of every kind of request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use serde_json::json;

use crate::support::*;

const WHOLE: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"real","choices":[{"index":0,"message":{"role":"assistant","content":"whole"},"finish_reason":"stop"}]}"#;

/// An upstream that answers requests in pairs, and notes how many it has at a time.
fn counting(running: &Arc<AtomicUsize>, most: &Arc<AtomicUsize>) -> Upstream {
    let (running, most) = (running.clone(), most.clone());
    let pair = Arc::new(Barrier::new(2));
    Upstream::start(move |c| {
        while let Some(request) = c.request() {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            let is_stream = request.json()["stream"] == true;
            if is_stream {
                c.stream_head();
                c.say("good");
            }
            pair.wait();
            running.fetch_sub(1, Ordering::SeqCst);
            if is_stream {
                c.chunk(format!("{STOP}{DONE}").as_bytes());
                c.end();
            } else {
                let length = WHOLE.len();
                c.send(format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{WHOLE}").as_bytes());
            }
        }
    })
}

fn server(upstream: &Upstream, places: usize, queue: &str) -> Server {
    Server::with(
        &format!(
            "workers = 2\n[log]\nlevel = \"tokenrill=debug\"\n[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"{}\"\nmax_in_flight = {places}\n\
             [[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\", model = \"real\" }}]\nqueue = {queue}\n",
            upstream.base_url()
        ),
        &[],
    )
}

#[test]
fn a_provider_never_has_more_requests_than_it_may_whatever_they_are() {
    let (running, most) = (Arc::default(), Arc::default());
    let upstream = counting(&running, &most);
    let server = server(&upstream, 2, "{ most = 100, wait = \"20s\" }");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(server.chat(json!({})).body().ends_with(DONE)));
            scope.spawn(|| assert_eq!(server.chat(json!({ "stream": false })).status(), 200));
            scope.spawn(|| {
                let body = chat_body(json!({})).to_string();
                let mut client = server.post("/v1/chat/completions", "x-linger: 5s\r\n", &body);
                assert!(client.body().contains("[DONE]"));
            });
            scope.spawn(|| {
                let mut client = server.post("/v1/embeddings", "", r#"{"model":"m"}"#);
                assert_eq!(client.body(), WHOLE);
            });
            scope.spawn(|| {
                let mut client = server.post("/v1/embeddings", "", "{}");
                assert_eq!(client.body(), WHOLE);
            });
        }
    });
    assert_eq!(upstream.requests().len(), 40);
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[test]
fn who_finds_no_place_is_told_when_to_come_again_and_who_asked_it() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        c.say("half");
        c.wait_closed();
    });
    let server = server(&upstream, 1, "{ most = 0, wait = \"5s\" }");
    let first = server.chat(json!({}));
    upstream.wait_requests(1);
    for (path, body) in [
        ("/v1/chat/completions", chat_body(json!({})).to_string()),
        (
            "/v1/chat/completions",
            chat_body(json!({ "stream": false })).to_string(),
        ),
        ("/v1/embeddings", r#"{"model":"m"}"#.to_owned()),
    ] {
        let mut client = server.post(path, "", &body);
        assert_eq!(client.status(), 503);
        assert_eq!(client.header("retry-after").as_deref(), Some("6"));
        assert_eq!(client.header("x-tokenrill-attempts").as_deref(), Some("0"));
        assert_eq!(client.header("x-tokenrill-target"), None);
        assert_eq!(client.json()["error"]["code"], "queue_full");
    }
    assert_eq!(upstream.requests().len(), 1);
    // A client that leaves gives its place back.
    first.reset();
    upstream.wait_closed(1);
    let client = server.chat(json!({}));
    upstream.wait_requests(2);
    client.reset();
}

#[test]
fn a_client_that_leaves_the_queue_is_never_sent() {
    let upstream = Upstream::start(|c| {
        while c.request().is_some() {
            c.stream_head();
            c.say("half");
            c.wait_closed();
        }
    });
    let server = server(&upstream, 1, "{ most = 1, wait = \"20s\" }");
    let first = server.chat(json!({ "user": "first" }));
    upstream.wait_requests(1);
    let second = server.chat(json!({ "user": "second" }));
    server.logged("waiting for a target", 1);
    let mut third = server.chat(json!({ "user": "third" }));
    assert_eq!(third.json()["error"]["code"], "queue_full");
    second.reset();
    server.logged("generation", 2);
    first.reset();
    upstream.wait_closed(1);
    let last = server.chat(json!({ "user": "last" }));
    upstream.wait_requests(2);
    let users: Vec<_> = upstream
        .requests()
        .iter()
        .map(|seen| seen.json()["user"].clone())
        .collect();
    assert!(!users.contains(&json!("second")), "{users:?}");
    last.reset();
}
