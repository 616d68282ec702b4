//! Names of tools that an upstream would refuse: it sees fitted ones, and the client its own.

use serde_json::{Value, json};

use crate::log_content::{answer, config};
use crate::support::*;

/// A name as an agent makes it of a plugin's tool: of 68 letters, where most APIs take 64.
const LONG: &str = "mcp__plugin_house-tools-server_house-tools__read_the_console_message";

/// A server before an upstream of that dialect, which calls the first tool that it is offered.
fn server_before(dialect: &'static str) -> (Upstream, Server) {
    let upstream = Upstream::start(move |c| {
        while let Some(seen) = c.request() {
            let name = offered(&seen.json());
            let stream = seen.header("accept").as_deref() == Some("text/event-stream");
            let (kind, body) = match stream {
                true => (
                    "text/event-stream",
                    format!("data: {}\n\n", payload(dialect, &name, true)),
                ),
                false => (
                    "application/json",
                    payload(dialect, &name, false).to_string(),
                ),
            };
            c.send(answer(200, kind, &body).as_bytes());
        }
    });
    let server = Server::with(&config(dialect, &upstream), &[("UP_KEY", UP_KEY)]);
    (upstream, server)
}

/// The name of the first tool in an upstream's request.
fn offered(body: &Value) -> String {
    let places = [
        "/tools/0/function/name",
        "/tools/0/functionDeclarations/0/name",
    ];
    let name = places
        .into_iter()
        .find_map(|place| body.pointer(place)?.as_str());
    name.unwrap().to_owned()
}

/// An answer that calls a tool, as one payload of a stream or whole.
fn payload(dialect: &str, name: &str, stream: bool) -> Value {
    if dialect == "gemini" {
        return json!({ "candidates": [{ "content": { "role": "model", "parts": [
            { "functionCall": { "name": name, "args": { "a": 1 } } }] }, "finishReason": "STOP" }] });
    }
    let said = if stream { "delta" } else { "message" };
    json!({ "id": "c", "choices": [{ "index": 0, "finish_reason": "tool_calls", said: { "role": "assistant",
        "tool_calls": [{ "index": 0, "id": "c1", "type": "function",
            "function": { "name": name, "arguments": "{\"a\":1}" } }] } }] })
}

#[test]
fn a_long_name_is_fitted_for_the_upstream_and_the_clients_own_in_its_answer() {
    for dialect in ["openai-chat", "gemini"] {
        let (upstream, server) = server_before(dialect);
        for stream in [true, false] {
            let body = json!({ "model": "m", "max_tokens": 100, "stream": stream,
                "messages": [
                    { "role": "user", "content": "hi" },
                    { "role": "assistant", "content": [{ "type": "tool_use", "id": "t1", "name": LONG, "input": {} }] },
                    { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t1", "content": "r" }] }],
                "tools": [{ "name": LONG, "input_schema": { "type": "object" } }],
                "tool_choice": { "type": "tool", "name": LONG } });
            let headers = "connection: close\r\n";
            let mut client = server.post("/v1/messages", headers, &body.to_string());
            assert_eq!(client.status(), 200, "{}", client.text());
            client.wait_end();
            let got = client.text();
            assert!(
                got.contains(&format!("\"name\":\"{LONG}\"")),
                "{dialect}: {got}"
            );
            assert!(got.contains("\"tool_use\""), "{dialect}: {got}");
        }
        let requests = upstream.requests();
        let name = offered(&requests[0].json());
        assert!(
            name.len() <= 64 && name.starts_with("mcp__plugin_house-tools"),
            "{name}"
        );
        for seen in requests {
            let sent = String::from_utf8(seen.body).unwrap();
            assert!(!sent.contains(LONG), "{sent}");
            // Of the tool, the choice, and the call before; Gemini's results have a name, too.
            let places = if dialect == "gemini" { 4 } else { 3 };
            assert_eq!(sent.matches(&name).count(), places, "{sent}");
        }
    }
}

#[test]
fn a_name_is_not_judged_where_the_upstream_speaks_the_clients_dialect() {
    let (upstream, server) = server_before("openai-chat");
    let body = json!({ "model": "m", "stream": false, "messages": [{ "role": "user", "content": "hi" }],
        "tools": [{ "type": "function", "function": { "name": format!("{LONG}.über") } }] });
    let mut client = server.post("/v1/chat/completions", "", &body.to_string());
    let called = client.json();
    let call = &called["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(call["function"]["name"], format!("{LONG}.über"));
    assert_eq!(upstream.requests()[0].json(), body);
}
