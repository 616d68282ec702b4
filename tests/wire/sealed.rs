//! Thoughts that one provider sealed come back to it, and reach no other of the same dialect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::*;

/// An upstream of Messages that seals its thoughts in its own way, and fails as long as it is told.
struct Sealing {
    upstream: Upstream,
    fails: Arc<AtomicBool>,
}

fn sealing(seal: &'static str) -> Sealing {
    let fails = Arc::new(AtomicBool::new(false));
    let is_failing = fails.clone();
    let upstream = Upstream::start(move |c| {
        while let Some(request) = c.request() {
            if is_failing.load(Ordering::SeqCst) {
                c.send(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n");
                continue;
            }
            if request.json()["stream"] == true {
                c.stream_head();
                c.chunk(streamed(seal).as_bytes());
                c.end();
                continue;
            }
            let whole = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "real",
                "content": [thought(seal), { "type": "text", "text": "Yes" }],
                "stop_reason": "end_turn", "stop_sequence": null, "usage": { "input_tokens": 1, "output_tokens": 2 } });
            let whole = whole.to_string();
            let length = whole.len();
            c.send(format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{whole}").as_bytes());
        }
    });
    Sealing { upstream, fails }
}

fn thought(seal: &str) -> Value {
    json!({ "type": "thinking", "thinking": "hm", "signature": seal })
}

/// Returns the stream of an answer with a thought.
fn streamed(seal: &str) -> String {
    let events = [
        json!({ "type": "message_start", "message": { "id": "msg_1", "type": "message", "role": "assistant",
            "model": "real", "content": [], "stop_reason": null, "usage": { "input_tokens": 1, "output_tokens": 1 } } }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "thinking", "thinking": "", "signature": "" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "thinking_delta", "thinking": "hm" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "signature_delta", "signature": seal } }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "content_block_start", "index": 1, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "text_delta", "text": "Yes" } }),
        json!({ "type": "content_block_stop", "index": 1 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 2 } }),
        json!({ "type": "message_stop" }),
    ];
    let frame = |event: &Value| {
        format!(
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().unwrap()
        )
    };
    events.iter().map(frame).collect()
}

/// A server whose model has these two targets.
fn server(targets: [&Sealing; 2]) -> Server {
    let mut config = "workers = 1\n".to_owned();
    for (name, target) in ["one", "two"].iter().zip(targets) {
        let address = target.upstream.address;
        config += &format!(
            "[providers.{name}]\ndialect = \"anthropic\"\nbase_url = \"http://{address}\"\n"
        );
    }
    config += "[[models]]\nname = \"m\"\nretry_budget = \"1000%\"\n\
               targets = [{ provider = \"one\", model = \"real\" }, { provider = \"two\", model = \"real\", tier = 1 }]\n";
    Server::with(&config, &[])
}

fn turn(stream: bool, answers: &[&str]) -> Value {
    let mut messages = vec![json!({ "role": "user", "content": "q" })];
    for seal in answers {
        messages.push(json!({ "role": "assistant",
            "content": [thought(seal), { "type": "text", "text": "Yes" }] }));
        messages.push(json!({ "role": "user", "content": "q" }));
    }
    json!({ "model": "m", "max_tokens": 99, "stream": stream, "messages": messages })
}

fn seals_in(request: &Seen) -> Vec<String> {
    let body = request.json();
    let messages = body["messages"].as_array().unwrap().clone();
    let blocks = messages
        .iter()
        .filter_map(|message| message["content"].as_array());
    let seals = blocks
        .flatten()
        .filter_map(|block| block["signature"].as_str());
    seals.map(str::to_owned).collect()
}

#[test]
fn a_sealed_thought_goes_back_to_its_maker_and_to_nobody_else() {
    for stream in [true, false] {
        let (one, two) = (
            sealing("c2VhbGVkIGJ5IG9uZQ=="),
            sealing("c2VhbGVkIGJ5IHR3bw=="),
        );
        let server = server([&one, &two]);
        let ask = |answers: &[&str]| {
            let mut client = server.post("/v1/messages", "", &turn(stream, answers).to_string());
            assert_eq!(client.status(), 200);
            client.body()
        };
        // The first turn is answered by the second target, since the first one fails.
        one.fails.store(true, Ordering::SeqCst);
        assert!(ask(&[]).contains("c2VhbGVkIGJ5IHR3bw=="));
        one.fails.store(false, Ordering::SeqCst);
        // Then that is the first to be asked, whatever its tier.
        let (first, second) = ("c2VhbGVkIGJ5IG9uZQ==", "c2VhbGVkIGJ5IHR3bw==");
        ask(&[second]);
        let asked = two.upstream.requests();
        assert_eq!(asked.len(), 2);
        assert_eq!(seals_in(&asked[1]), [second]);
        // If it can't be asked another one is, which does not get what it can't read.
        two.fails.store(true, Ordering::SeqCst);
        ask(&[second]);
        let asked = one.upstream.requests();
        let last = asked.last().unwrap();
        assert_eq!(seals_in(last), Vec::<String>::new());
        assert_eq!(
            last.json()["messages"][1]["content"],
            json!([{ "type": "text", "text": "Yes" }])
        );
        // The maker of the last thought is the one that counts; a seal that is not known goes along.
        two.fails.store(false, Ordering::SeqCst);
        ask(&["bm90IGtub3du", second, first]);
        let last = one.upstream.requests().pop().unwrap();
        assert_eq!(seals_in(&last), ["bm90IGtub3du", first]);
    }
}
