//! Answers in unusual shapes, as clients of every dialect get them, and the log of what they don't.

use serde_json::{Value, json};

use crate::log_content::{answer, config, requests};
use crate::support::*;

/// A server before an upstream of that dialect that answers every request with these payloads.
fn server_before(dialect: &str, payloads: &[Value]) -> (Upstream, Server) {
    let body: String = payloads
        .iter()
        .map(|payload| format!("data: {payload}\n\n"))
        .chain((dialect == "openai-chat").then(|| DONE.to_owned()))
        .collect();
    let reply = answer(200, "text/event-stream", &body);
    let upstream =
        Upstream::start(move |c| while c.request().is_some() && c.send(reply.as_bytes()) {});
    let server = Server::with(&config(dialect, &upstream), &[("UP_KEY", UP_KEY)]);
    (upstream, server)
}

/// The streamed answer for a client of that dialect.
fn ask(server: &Server, client: &str) -> String {
    let (_, path, body) = requests(true)
        .into_iter()
        .find(|(dialect, ..)| *dialect == client)
        .unwrap();
    let mut answer = server.post(&path, "connection: close\r\n", &body.to_string());
    answer.wait_end();
    answer.text()
}

/// A chunk with that delta.
fn chunk(delta: &Value, finish: &Value) -> Value {
    json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
}

fn call(function: Value) -> Value {
    chunk(
        &json!({ "tool_calls": [{ "function": function }] }),
        &Value::Null,
    )
}

#[test]
fn two_calls_without_index_or_id_are_two_blocks() {
    let payloads = [
        call(json!({ "name": "read", "arguments": "{\"path\":\"a\"}" })),
        call(json!({ "name": "list", "arguments": "{}" })),
        call(json!({ "arguments": "{\"path\":" })),
        call(json!({ "arguments": " \"b\"}" })),
        chunk(&json!({}), &json!("tool_calls")),
    ];
    let (_upstream, server) = server_before("openai-chat", &payloads);
    let got = ask(&server, "anthropic");
    let blocks: Vec<String> = events(&got)
        .into_iter()
        .filter_map(|(_, data)| serde_json::from_str::<Value>(&data).ok())
        .filter_map(|event| event["content_block"]["name"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(blocks, ["read", "list"], "{got}");
    let arguments: String = events(&got)
        .into_iter()
        .filter_map(|(_, data)| serde_json::from_str::<Value>(&data).ok())
        .filter_map(|event| event["delta"]["partial_json"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(arguments, "{\"path\":\"a\"}{\"path\": \"b\"}");
    assert!(got.contains("\"stop_reason\":\"tool_use\""), "{got}");
}

#[test]
fn a_whole_message_in_a_stream_and_usage_in_its_choice_reach_every_client() {
    let usage = json!({ "prompt_tokens": 19.0, "completion_tokens": 13 });
    let message = json!({ "choices": [{ "index": 0, "message": { "role": "assistant", "content": "a whole answer" },
        "finish_reason": "stop", "usage": usage }] });
    let (_upstream, server) = server_before("openai-chat", &[message]);
    for client in ["anthropic", "openai-responses", "gemini"] {
        let got = ask(&server, client);
        assert!(got.contains("a whole answer"), "{client}: {got}");
        assert!(
            got.contains(":19") && got.contains(":13"),
            "{client}: {got}"
        );
    }
}

#[test]
fn an_image_reaches_clients_with_a_place_and_is_logged_once_for_others() {
    let payload = json!({ "candidates": [{ "finishReason": "STOP", "content": { "parts": [
        { "text": "see" }, { "inlineData": { "mimeType": "image/png", "data": "iVBORw0KGgo=" } } ] } }] });
    let (_upstream, server) = server_before("gemini", &[payload]);
    let chat = ask(&server, "openai-chat");
    let images: Vec<Value> = events(&chat)
        .into_iter()
        .filter_map(|(_, data)| serde_json::from_str::<Value>(&data).ok())
        .filter_map(|chunk| chunk["choices"][0]["delta"].get("images").cloned())
        .collect();
    let url = "data:image/png;base64,iVBORw0KGgo=";
    let image = json!([{ "type": "image_url", "image_url": { "url": url } }]);
    assert_eq!(images, [image], "{chat}");
    let responses = ask(&server, "openai-responses");
    assert!(responses.contains("image_generation_call"), "{responses}");
    assert!(
        responses.contains(r#""result":"iVBORw0KGgo=""#),
        "{responses}"
    );
    for _ in 0..3 {
        let got = ask(&server, "anthropic");
        assert!(got.contains("see") && got.contains("end_turn"), "{got}");
    }
    // The lines of the generations come after it.
    let line = server.logged("not sent to the client", 1);
    assert_eq!(
        (&line["client"], &line["kind"]),
        (&json!("anthropic"), &json!("image"))
    );
    server.logged("generation", 5);
    assert_eq!(server.log().matches("not sent to the client").count(), 1);
}

#[test]
fn what_is_not_sent_upstream_is_warned_of_once_and_an_empty_answer_is_logged() {
    let end = json!({ "candidates": [{ "finishReason": "STOP", "content": { "parts": [] } }] });
    let (_upstream, server) = server_before("gemini", &[end]);
    let body = |extra: &str| {
        let mut body = json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
        body[extra] = true.into();
        body.to_string()
    };
    for extra in ["odd", "odd", "strange", "odd"] {
        let mut answer = server.post(
            "/v1/chat/completions",
            "connection: close\r\n",
            &body(extra),
        );
        answer.wait_end();
    }
    server.logged("generation", 4);
    let log = server.log();
    assert_eq!(log.matches("not sent upstream").count(), 2, "{log}");
    server.logged("the answer has no content", 1);
}

#[test]
fn several_answers_that_came_as_a_stream_are_an_error_where_one_would_be_lost() {
    let candidate = |index: u32, text: &str| json!({ "index": index, "finishReason": "STOP", "content": { "role": "model", "parts": [{ "text": text }] } });
    let payload = json!({ "candidates": [candidate(0, "one"), candidate(1, "two")] });
    let (_upstream, server) = server_before("gemini", &[payload]);
    let mut all = requests(false).into_iter();
    let (_, path, mut body) = all.find(|(client, ..)| *client == "gemini").unwrap();
    body["generationConfig"]["candidateCount"] = 2.into();
    let mut answer = server.post(&path, "connection: close\r\n", &body.to_string());
    assert_eq!(answer.status(), 502, "{}", answer.body());
}

#[test]
fn a_whole_answer_that_came_as_a_stream_has_all_that_the_stream_had() {
    let token = |text: &str| json!({ "content": [{ "token": text, "logprob": -0.5 }] });
    let choice = |index: u32, text: &str| json!({ "index": index, "delta": { "content": text }, "logprobs": token(text) });
    let ends = [0, 1].map(|index| json!({ "index": index, "delta": {}, "finish_reason": "stop" }));
    let chat = [
        json!({ "id": "up", "system_fingerprint": "fp", "choices": [choice(0, "one"), choice(1, "two")] }),
        json!({ "id": "up", "choices": ends }),
    ];
    let used = json!({ "type": "server_tool_use", "id": "s", "name": "web_search", "input": { "query": "q" } });
    let messages = [
        json!({ "type": "message_start", "message": { "id": "msg_up", "type": "message", "role": "assistant",
            "model": "up", "content": [], "usage": { "input_tokens": 1, "output_tokens": 1 } } }),
        json!({ "type": "content_block_start", "index": 0, "content_block": used }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 2 } }),
        json!({ "type": "message_stop" }),
    ];
    for (dialect, payloads, places) in [
        (
            "openai-chat",
            &chat[..],
            [
                ("/system_fingerprint", json!("fp")),
                ("/choices/0/logprobs/content/0/token", json!("one")),
                ("/choices/1/message/content", json!("two")),
            ],
        ),
        (
            "anthropic",
            &messages[..],
            [
                ("/id", json!("msg_up")),
                ("/content", json!([used])),
                ("/usage/output_tokens", json!(2)),
            ],
        ),
    ] {
        let (_upstream, server) = server_before(dialect, payloads);
        let all = requests(false).into_iter();
        let (_, path, mut body) = all
            .into_iter()
            .find(|(client, ..)| *client == dialect)
            .unwrap();
        if dialect == "openai-chat" {
            body["n"] = 2.into();
        }
        let mut answer = server.post(&path, "connection: close\r\n", &body.to_string());
        let got = answer.json();
        for (place, value) in places {
            assert_eq!(got.pointer(place), Some(&value), "{place}: {got}");
        }
    }
}
