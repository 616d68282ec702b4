//! The smaller endpoints, and the defaults that clients rely on.

use serde_json::{Value, json};

use crate::support::*;

fn get(server: &Server, path: &str, headers: &str) -> Client {
    let head = format!("GET {path} HTTP/1.1\r\nhost: t\r\n{headers}\r\n");
    Client::send(server.address, head.as_bytes())
}

#[test]
fn clients_that_ask_whether_there_is_a_server_are_told() {
    let server = Server::mock();
    let mut head = Client::send(
        server.address,
        b"HEAD / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n",
    );
    assert_eq!(head.status(), 200);
    head.wait_end();
    assert!(head.text().ends_with("\r\n\r\n"), "{}", head.text());
    assert_eq!(server.get("/health").status(), 200);
    assert_eq!(server.get("/").status(), 200);
}

#[test]
fn responses_are_asked_for_by_post_or_over_a_socket() {
    let server = Server::mock();
    let mut plain = get(&server, "/v1/responses", "");
    assert_eq!(plain.status(), 405);
    assert_eq!(plain.header("allow").as_deref(), Some("POST"));
    let upgrade = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 12\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut socket = get(&server, "/v1/responses", upgrade);
    assert_eq!(socket.status(), 426);
    assert_eq!(socket.json()["error"]["code"], "upgrade_required");
    let body = json!({ "model": "mock-fast", "input": "hi" }).to_string();
    let mut post = Client::send(server.address, &post("/v1/responses", "", body.as_bytes()));
    assert_eq!(post.status(), 200);
}

#[test]
fn two_screenshots_are_passed_on_with_the_defaults() {
    let upstream = Upstream::streaming(format!("{}{STOP}{DONE}", says("seen")));
    let server = Server::before(&upstream);
    let image = format!("data:image/png;base64,{}", "A".repeat(5 << 20));
    let part = json!({ "type": "image_url", "image_url": { "url": image } });
    let mut client = server.chat(json!({ "messages": [{ "role": "user", "content": [part] }] }));
    assert_eq!(client.status(), 200);
    assert!(client.body().contains("seen"));
    assert!(upstream.requests()[0].body.len() > 5 << 20);
}

#[test]
fn a_picture_in_one_event_reaches_its_client_with_the_defaults() {
    let picture = "A".repeat(3 << 19);
    let event = json!({ "choices": [{ "index": 0, "delta": { "content": picture } }] });
    let upstream = Upstream::streaming(format!("data: {event}\n\n{STOP}{DONE}"));
    let server = Server::before(&upstream);
    let body = server.chat(json!({})).body();
    assert!(body.contains(&picture));
    assert!(body.ends_with(DONE));
}

#[test]
fn time_limits_are_those_of_the_model() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.wait_closed();
    });
    let url = upstream.base_url();
    let config = format!(
        "[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\n\
         [[models]]\nname = \"m\"\nfirst_token = \"150ms\"\ntargets = [{{ provider = \"up\" }}]\n\
         [[models]]\nname = \"*\"\ntotal = \"150ms\"\ntargets = [{{ provider = \"up\" }}]\n"
    );
    let server = Server::with(&config, &[]);
    let mut named = server.chat(json!({}));
    assert_eq!(named.json()["error"]["code"], "first_token_timeout");
    let mut other = server.chat(json!({ "model": "any", "stream": false }));
    assert_eq!(other.json()["error"]["code"], "total_timeout");
}

#[test]
fn the_mock_calls_the_tool_that_is_demanded() {
    let server = Server::mock();
    let tool = |name: &str| json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object" } } });
    let called = |choice: Value| {
        let body = json!({
            "model": "mock-fast", "stream": false, "tool_choice": choice, "tools": [tool("first"), tool("second")],
            "messages": [{ "role": "user", "content": "hi" }],
        });
        let answer = server.chat(body).json();
        answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"].clone()
    };
    let named = json!({ "type": "function", "function": { "name": "second" } });
    assert_eq!(called(named), "second");
    assert_eq!(called("required".into()), "first");
    assert_eq!(called("auto".into()), Value::Null);
    assert_eq!(called("none".into()), Value::Null);
}

#[test]
fn a_message_starts_with_the_input_tokens_that_are_known() {
    let body = json!({
        "model": "mock-fast", "stream": true, "max_tokens": 5,
        "messages": [{ "role": "user", "content": "three words here" }],
    });
    let server = Server::mock();
    let mut client = Client::send(
        server.address,
        &post("/v1/messages", "", body.to_string().as_bytes()),
    );
    let body = client.body();
    let (name, start) = events(&body).remove(0);
    let start: Value = serde_json::from_str(&start).unwrap();
    assert_eq!(name, "message_start");
    assert_eq!(start["message"]["usage"]["input_tokens"], 3);
}

#[test]
fn the_log_counts_what_came_of_a_message_that_broke() {
    let start = json!({ "type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
        "stop_reason": null, "usage": { "input_tokens": 9, "output_tokens": 1 } } });
    let open = json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } });
    let delta = json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "word " } });
    let mut frames = format!(
        "event: message_start\ndata: {start}\n\nevent: content_block_start\ndata: {open}\n\n"
    );
    for _ in 0..7 {
        frames += &format!("event: content_block_delta\ndata: {delta}\n\n");
    }
    let upstream = Upstream::streaming(frames);
    let address = upstream.address;
    let config = format!(
        "[providers.up]\ndialect = \"anthropic\"\nbase_url = \"http://{address}\"\n\
         [[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\" }}]\n"
    );
    let server = Server::with(&config, &[]);
    let body = json!({ "model": "m", "stream": true, "max_tokens": 5, "messages": [{ "role": "user", "content": "x" }] });
    let mut client = Client::send(
        server.address,
        &post("/v1/messages", "", body.to_string().as_bytes()),
    );
    client.wait_for("event: error");
    assert_eq!(server.logged("generation", 1)["tokens"], 7);
}

#[test]
fn the_first_request_that_the_start_proposes_works() {
    let upstream = Upstream::streaming(format!("{}{STOP}{DONE}", says("fine")));
    let url = upstream.base_url();
    let config = format!(
        "[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\n\
         [[models]]\nname = \"*\"\ntargets = [{{ provider = \"up\" }}]\n"
    );
    let server = Server::with(&config, &[]);
    let (_, proposed) = server
        .greeting
        .split_once(&server.address.to_string())
        .unwrap();
    let (_, proposed) = proposed.split_once(&server.address.to_string()).unwrap();
    let mut client = server.get(proposed.trim_end().trim_end_matches('\''));
    assert_eq!(client.status(), 200);
    assert!(client.body().contains("fine"));
}

#[test]
fn the_mock_has_faults_with_numbers_and_goes_on_with_what_was_begun() {
    let server = Server::mock();
    let ask = |model: &str, stream: bool| {
        let body = json!({
            "model": model, "stream": stream, "messages": [{ "role": "user", "content": "Hello" }],
        });
        server.post("/v1/chat/completions", "", &body.to_string())
    };
    let broken = ask("mock-break-7", true).body();
    let texts = broken.matches("\"content\":\"").count();
    assert!(broken.contains("upstream_reset"), "{broken}");
    assert!((7..=8).contains(&texts), "{texts}: {broken}");
    assert_eq!(ask("mock-break-0", false).status(), 502);
    assert_eq!(ask("mock-refuse-100", true).status(), 503);
    assert_eq!(ask("mock-refuse-0", false).status(), 200);
    assert!(ask("mock-slow-20", true).body().ends_with(DONE));
    let mut unknown = ask("mock-fast-3", false);
    assert_eq!(unknown.status(), 404);
    assert!(unknown.body().contains("mock-break-3"));
    // As docs/mock.md has it.
    let begun = |model: &str| {
        let body = json!({ "model": model, "max_tokens": 99, "messages": [
            { "role": "user", "content": "one two three four" },
            { "role": "assistant", "content": "one two" },
        ] });
        server.post("/v1/messages", "", &body.to_string())
    };
    let rest = begun("mock-echo").json();
    assert_eq!(rest["content"][0]["text"], " three four");
    assert_eq!(begun("mock-noprefill").status(), 400);
}
