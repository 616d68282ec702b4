//! Several responses on one socket: their order, their ends and their bounds.

use serde_json::{Value, json};

use crate::log_content::config;
use crate::support::*;
use crate::websocket_responses::*;

/// Says one token to who asks for `slow`, and then nothing.
fn slow() -> Upstream {
    Upstream::start(|c| {
        while let Some(seen) = c.request() {
            c.stream_head();
            if String::from_utf8_lossy(&seen.body).contains("slow") {
                c.say("once");
                return c.wait_closed();
            }
            c.chunk(chat("quick").as_bytes());
            c.end();
        }
    })
}

#[test]
fn a_socket_that_closes_cancels_its_upstreams() {
    let upstream = slow();
    let server = Server::before(&upstream);
    let mut ws = open(&server);
    create(&mut ws, json!("slow"), json!({}));
    create(&mut ws, json!("waits"), json!({}));
    create(&mut ws, json!("slow"), json!({ "stream_id": "b" }));
    upstream.wait_requests(2);
    drop(ws);
    upstream.wait_closed(2);
    for nth in 1..=2 {
        assert_eq!(server.logged("generation", nth)["ended"], "client_left");
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn one_stream_is_in_order_and_others_are_not_held_up() {
    let upstream = slow();
    let server = Server::with(&config("openai-chat", &upstream), &[("UP_KEY", UP_KEY)]);
    let mut ws = open(&server);
    for text in ["1", "2", "3"] {
        create(&mut ws, json!(text), json!({}));
    }
    for _ in 0..3 {
        let told = hear_response(&mut ws);
        assert!(told.iter().all(|it| it.get("stream_id").is_none()));
        let numbers: Vec<_> = told
            .iter()
            .map(|it| it["sequence_number"].as_u64())
            .collect();
        let whole: Vec<_> = (0..told.len() as u64).map(Some).collect();
        assert_eq!(numbers, whole);
    }
    let seen = upstream.requests();
    let texts: Vec<Value> = seen
        .iter()
        .map(|it| it.json()["messages"][0]["content"].clone())
        .collect();
    assert_eq!(texts, ["1", "2", "3"]);
    create(&mut ws, json!("slow"), json!({ "stream_id": "a" }));
    upstream.wait_requests(4);
    create(&mut ws, json!("waits"), json!({ "stream_id": "a" }));
    create(&mut ws, json!("x"), json!({ "stream_id": "b-1._" }));
    let mut told = Vec::new();
    while told
        .last()
        .is_none_or(|it: &Value| it["type"] != "response.completed")
    {
        told.push(ws.hear());
    }
    assert!(told.iter().all(|it| it["stream_id"].is_string()));
    let last = told.last().unwrap();
    assert_eq!(last["stream_id"], "b-1._");
    // Another stream may go on from it.
    let fields = json!({ "stream_id": "c", "previous_response_id": last["response"]["id"] });
    create(&mut ws, json!("y"), fields);
    let end = loop {
        let told = ws.hear();
        if told["stream_id"] == "c" && told["type"] == "response.completed" {
            break told;
        }
    };
    assert!(end["response"]["id"].is_string());
    let seen = upstream.requests();
    assert_eq!(seen.len(), 6);
    assert_eq!(seen[5].json()["messages"].as_array().unwrap().len(), 3);
    create(&mut ws, json!("y"), json!({ "stream_id": "" }));
    assert_eq!(code(&ws.hear()).1, "invalid_stream_id");
    create(
        &mut ws,
        json!("y"),
        json!({ "stream_id": "d", "model": "none" }),
    );
    let told = ws.hear();
    assert_eq!(
        (&told["stream_id"], code(&told).1),
        (&json!("d"), "model_not_found")
    );
    for n in 0..29 {
        create(
            &mut ws,
            json!("y"),
            json!({ "stream_id": format!("n{n}"), "model": "none" }),
        );
        let wanted = if n < 28 {
            "model_not_found"
        } else {
            "websocket_stream_limit_reached"
        };
        assert_eq!(code(&ws.hear()).1, wanted);
    }
}

#[test]
fn what_waits_and_what_is_kept_has_bounds() {
    let long = "x".repeat(3000);
    let upstream = Upstream::start(move |c| {
        while let Some(seen) = c.request() {
            c.stream_head();
            if String::from_utf8_lossy(&seen.body).contains("slow") {
                return c.wait_closed();
            }
            c.chunk(chat(&long).as_bytes());
            c.end();
        }
    });
    let server = Server::before_with(
        &upstream,
        "max_body = \"4KiB\"\nwebsocket.max_running = 2\n",
        "",
    );
    let mut ws = open(&server);
    create(&mut ws, json!("hi"), json!({}));
    let first = hear_end(&mut ws);
    // The conversation is as long as a body may be, and with more it is longer.
    let id = &first["response"]["id"];
    create(
        &mut ws,
        json!("y".repeat(1500)),
        json!({ "previous_response_id": id }),
    );
    assert_eq!(code(&hear_end(&mut ws)), (&json!(413), "body_too_large"));
    create(&mut ws, json!("y".repeat(1500)), json!({}));
    let second = hear_end(&mut ws);
    create(
        &mut ws,
        json!("y"),
        json!({ "previous_response_id": second["response"]["id"] }),
    );
    assert_eq!(code(&hear_end(&mut ws)).1, "previous_response_not_found");
    create(&mut ws, json!("slow"), json!({}));
    upstream.wait_requests(3);
    for _ in 0..3 {
        create(&mut ws, json!("waits"), json!({}));
    }
    assert_eq!(code(&hear_end(&mut ws)), (&json!(429), "too_many_running"));
    ws.say(json!({ "type": "response.create", "input": "z".repeat(5000) }));
    assert_eq!(ws.hear_close().0, 1009);
    upstream.wait_closed(1);
    assert_eq!(upstream.requests().len(), 3);
}

#[test]
fn a_server_that_drains_ends_what_runs_and_closes() {
    let upstream = slow();
    let server = Server::before_with(&upstream, "drain = \"1s\"\n", "");
    let mut ws = open(&server);
    create(&mut ws, json!("slow"), json!({}));
    create(&mut ws, json!("waits"), json!({}));
    upstream.wait_requests(1);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(hear_end(&mut ws)["type"], "response.failed");
    assert_eq!(code(&hear_end(&mut ws)), (&json!(503), "draining"));
    assert_eq!(ws.hear_close().0, 1001);
}
