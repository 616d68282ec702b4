//! No answer is whole that the upstream did not end so, and its reason reaches the client, whatever
//! the dialects on both sides.

use serde_json::{Value, json};

use crate::log_content::{answer, config, requests};
use crate::support::*;

/// An upstream's stream of half an answer that ends for that reason, in its dialect.
fn stream_ended_for(dialect: &str, reason: &Value) -> String {
    let payloads = match dialect {
        "openai-chat" => vec![
            json!({ "choices": [{ "index": 0, "delta": { "content": "half" } }] }).to_string(),
            json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] }).to_string(),
            "[DONE]".to_owned(),
        ],
        "anthropic" => vec![
            json!({ "type": "message_start", "message": { "id": "m", "usage": { "input_tokens": 1 } } })
                .to_string(),
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "half" } })
                .to_string(),
            json!({ "type": "message_delta", "delta": { "stop_reason": reason } }).to_string(),
            json!({ "type": "message_stop" }).to_string(),
        ],
        "gemini" => vec![
            json!({ "candidates": [{ "content": { "parts": [{ "text": "half" }] } }] }).to_string(),
            json!({ "candidates": [{ "finishReason": reason }] }).to_string(),
        ],
        _ => vec![
            json!({ "type": "response.created", "response": { "id": "resp_1" } }).to_string(),
            json!({ "type": "response.output_text.delta", "output_index": 0, "delta": "half" }).to_string(),
            json!({ "type": "response.incomplete", "response": { "status": "incomplete", "output": [],
                "incomplete_details": { "reason": reason } } })
            .to_string(),
        ],
    };
    payloads
        .iter()
        .map(|payload| format!("data: {payload}\n\n"))
        .collect()
}

/// Each client of an upstream of that dialect that answers so: the client's dialect and its answer.
fn asked(dialect: &str, stream: bool, reply: &str) -> Vec<(&'static str, String)> {
    let reply = reply.to_owned();
    let upstream =
        Upstream::start(move |c| while c.request().is_some() && c.send(reply.as_bytes()) {});
    let server = Server::with(&config(dialect, &upstream), &[("UP_KEY", UP_KEY)]);
    let ask = |(client, path, body): (&'static str, String, Value)| {
        let mut answer = server.post(&path, "connection: close\r\n", &body.to_string());
        answer.wait_end();
        (client, answer.text())
    };
    requests(stream).into_iter().map(ask).collect()
}

/// Marks of an end that looks complete, in any dialect.
const END_MARKS: &[&str] = &[
    "[DONE]",
    "message_stop",
    "end_turn",
    "response.completed",
    "response.incomplete",
    "\"STOP\"",
    "\"stop\"",
    "\"network_error\"",
];

#[test]
fn an_end_for_a_broken_reason_is_an_error_for_every_client_before_every_upstream() {
    for upstream in ["openai-chat", "anthropic", "gemini", "openai-responses"] {
        let stream = stream_ended_for(upstream, &json!("network_error"));
        for (client, got) in asked(upstream, true, &answer(200, "text/event-stream", &stream)) {
            let told = format!("{client} before {upstream}: {got}");
            assert!(got.contains("half"), "{told}");
            assert!(got.contains("`network_error`"), "{told}");
            let error = got.split_once("half").unwrap().1;
            assert!(!END_MARKS.iter().any(|mark| error.contains(mark)), "{told}");
        }
    }
}

#[test]
fn a_part_of_the_answer_that_comes_with_a_broken_reason_is_not_lost() {
    let last = json!({ "choices": [{ "index": 0, "delta": { "content": "last" }, "finish_reason": "abort" }] });
    let stream = format!("{}data: {last}\n\n{DONE}", says("a"));
    for (client, got) in asked(
        "openai-chat",
        true,
        &answer(200, "text/event-stream", &stream),
    ) {
        assert!(
            got.contains("last") && got.contains("`abort`"),
            "{client}: {got}"
        );
        assert!(!got.contains(DONE), "{client}: {got}");
    }
}

#[test]
fn a_message_stop_without_a_reason_is_a_break() {
    let stream = stream_ended_for("anthropic", &Value::Null);
    for (client, got) in asked(
        "anthropic",
        true,
        &answer(200, "text/event-stream", &stream),
    ) {
        assert!(got.contains("no stop_reason"), "{client}: {got}");
        let error = got.split_once("half").unwrap().1;
        assert!(
            !END_MARKS.iter().any(|mark| error.contains(mark)),
            "{client}: {got}"
        );
    }
}

#[test]
fn a_whole_answer_for_a_broken_reason_is_an_error_with_that_reason() {
    let chat = json!({ "choices": [{ "message": { "content": "half" }, "finish_reason": "network_error" }] });
    let anthropic = json!({ "content": [{ "type": "text", "text": "half" }], "stop_reason": "network_error",
        "usage": { "input_tokens": 1, "output_tokens": 1 } });
    let gemini = json!({ "candidates": [{ "content": { "parts": [{ "text": "half" }] },
        "finishReason": "network_error" }] });
    let responses =
        json!({ "status": "failed", "output": [], "error": { "message": "a `network_error`" } });
    for (upstream, whole) in [
        ("openai-chat", chat),
        ("anthropic", anthropic),
        ("gemini", gemini),
        ("openai-responses", responses),
    ] {
        let reply = answer(200, "application/json", &whole.to_string());
        for (client, got) in asked(upstream, false, &reply) {
            let told = format!("{client} before {upstream}: {got}");
            assert!(got.starts_with("HTTP/1.1 502"), "{told}");
            assert!(
                got.contains("`network_error`") && !got.contains("half"),
                "{told}"
            );
        }
    }
}

#[test]
fn the_reason_of_a_refusal_reaches_the_client_from_every_shape() {
    for (body, reason) in [
        ("no healthy upstream", "no healthy upstream"),
        (
            "<html><head><title>Attention Required!</title></head>",
            "Attention Required!",
        ),
        (
            r#"{"detail":[{"loc":["body","messages"],"msg":"field required"}]}"#,
            "body.messages: field required",
        ),
        (
            r#"{"base_resp":{"status_code":1008,"status_msg":"no balance"}}"#,
            "no balance",
        ),
    ] {
        for (client, got) in asked("openai-chat", true, &answer(503, "text/plain", body)) {
            if client == "openai-chat" && body.starts_with('{') {
                assert!(got.ends_with(body), "as it came: {got}");
            } else {
                let told = format!("provider `up` answered 503: {reason}");
                assert!(got.contains(&told), "{client}: {got}");
            }
            assert!(got.starts_with("HTTP/1.1 503"), "{client}: {got}");
        }
    }
    for body in ["", "{}", "null"] {
        let (_, got) = &asked("openai-chat", true, &answer(503, "application/json", body))[0];
        assert!(got.contains("it gave no reason"), "{got}");
    }
}

#[test]
fn an_error_within_a_stream_is_told_once_in_the_upstreams_words() {
    for error in [
        r#"data: {"object":"error","message":"out of memory","code":500}"#,
        r#"data: {"detail":"out of memory"}"#,
        r#"data: {"code":40001,"message":"out of memory"}"#,
        r#"data: {"type":"error","message":"out of memory"}"#,
        r#"data: {"errors":[{"message":"out of memory"}]}"#,
        r#"data: {"error":[{"message":"out of memory"}]}"#,
        r#"data: {"error":{"msg":"out of memory"}}"#,
        r#"data: {"error":"out of memory"}"#,
        r#"data: {"base_resp":{"status_code":1,"status_msg":"out of memory"}}"#,
        r#"data: "out of memory""#,
        "data: out of memory",
        "event: error\ndata: out of memory",
        "event: error\ndata: {\"detail\":\"out of memory\"}",
        r#"{"error":{"message":"out of memory"}}"#,
        r#"{"detail":"out of memory"}"#,
    ] {
        for upstream in ["openai-chat", "anthropic", "gemini", "openai-responses"] {
            let stream = stream_ended_for(upstream, &json!("stop"));
            let (half, _) = stream.split_at(stream.find("half").unwrap() + "half".len());
            let rest = &stream[half.len()..];
            let half = format!("{half}{}", &rest[..rest.find("\n\n").unwrap() + 2]);
            let broken = format!("{half}{error}\n\n{DONE}");
            for (client, got) in asked(upstream, true, &answer(200, "text/event-stream", &broken)) {
                let told = format!("{error}: {client} before {upstream}: {got}");
                let after = got.split_once("half").expect(&told).1;
                assert!(after.contains("out of memory"), "{told}");
                assert!(!END_MARKS.iter().any(|mark| after.contains(mark)), "{told}");
                let errors = events(after).into_iter().filter(|(_, data)| {
                    data.contains("out of memory") && !data.contains("response.failed")
                });
                assert_eq!(errors.count(), 1, "{told}");
            }
        }
    }
}
