//! Counts of tokens, asked for in one dialect and counted in another.

use serde_json::{Value, json};

use crate::log_content::config;
use crate::support::*;

const SYSTEM: &str = "Be brief.";

/// Requests for a count in each dialect: path, body, and the answer to 42.
fn clients() -> [(&'static str, &'static str, Value, Value); 4] {
    let contents = json!([{ "role": "user", "parts": [{ "text": "hi" }] }]);
    let gemini = json!({ "systemInstruction": { "parts": [{ "text": SYSTEM }] }, "contents": contents,
        "tools": [{ "functionDeclarations": [{ "name": "read", "description": "Reads." }] }] });
    let anthropic = json!({ "model": "m", "system": SYSTEM, "messages": [{ "role": "user", "content": "hi" }],
        "tools": [{ "name": "read", "description": "Reads.", "input_schema": { "type": "object" } }] });
    let responses = json!({ "model": "m", "instructions": SYSTEM, "input": "hi",
        "tools": [{ "type": "function", "name": "read", "description": "Reads.", "parameters": {} }] });
    let of_gemini = json!({ "totalTokens": 42 });
    [
        (
            "anthropic",
            "/v1/messages/count_tokens",
            anthropic,
            json!({ "input_tokens": 42 }),
        ),
        (
            "gemini",
            "/v1beta/models/m:countTokens",
            gemini.clone(),
            of_gemini.clone(),
        ),
        (
            "gemini",
            "/v1beta/models/m:countTokens",
            json!({ "generateContentRequest": gemini }),
            of_gemini,
        ),
        (
            "openai-responses",
            "/v1/responses/input_tokens",
            responses,
            json!({ "object": "response.input_tokens", "input_tokens": 42 }),
        ),
    ]
}

fn reply(status: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn counting(answer: &Value) -> Upstream {
    Upstream::raw(reply("200 OK", "application/json", &answer.to_string()))
}

/// The fields of an object.
fn fields(body: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = body
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn a_count_is_asked_for_and_told_across_dialects() {
    let counts = [
        ("anthropic", json!({ "input_tokens": 42 })),
        (
            "gemini",
            json!({ "totalTokens": 42, "promptTokensDetails": [] }),
        ),
        (
            "openai-responses",
            json!({ "object": "response.input_tokens", "input_tokens": 42 }),
        ),
    ];
    for (to, count) in counts {
        for (from, path, body, wanted) in clients() {
            let upstream = counting(&count);
            let server = Server::with(&config(to, &upstream), &[("UP_KEY", UP_KEY)]);
            let mut client = server.post(path, "", &body.to_string());
            assert_eq!(client.status(), 200, "{from} {to}");
            assert_eq!(client.header("x-tokenrill-estimate"), None);
            let seen = upstream.requests().remove(0);
            let sent = seen.json();
            if from == to {
                assert_eq!(client.json(), count);
                assert_eq!(sent, body);
                continue;
            }
            assert_eq!(client.json(), wanted, "{from} {to}");
            let (at, names, whole): (_, &[&str], _) = match to {
                "anthropic" => (
                    "/v1/messages/count_tokens",
                    &["messages", "model", "system", "tools"],
                    &sent,
                ),
                "gemini" => (
                    "/v1beta/models/m:countTokens",
                    &["contents", "model", "systemInstruction", "tools"],
                    &sent["generateContentRequest"],
                ),
                _ => (
                    "/v1/responses/input_tokens",
                    &["input", "instructions", "model", "tools"],
                    &sent,
                ),
            };
            assert!(
                seen.head.starts_with(&format!("POST {at} ")),
                "{}",
                seen.head
            );
            assert_eq!(fields(whole), names, "{from} {to}: {sent}");
            assert!(whole.to_string().contains(SYSTEM) && whole.to_string().contains("Reads."));
        }
    }
}

#[test]
fn where_nothing_counts_an_estimate_says_that_it_is_one() {
    let html = || reply("404 Not Found", "text/html", "<h1>Not Found</h1>");
    let detail = || {
        reply(
            "404 Not Found",
            "application/json",
            r#"{"detail":"Not Found"}"#,
        )
    };
    let method = || reply("405 Method Not Allowed", "text/plain", "");
    for (dialect, answer) in [
        ("openai-chat", None),
        ("openai-responses", Some(html())),
        ("anthropic", Some(detail())),
        ("gemini", Some(method())),
    ] {
        for (from, path, body, _) in clients() {
            let upstream = Upstream::raw(answer.clone().unwrap_or_default());
            let server = Server::with(&config(dialect, &upstream), &[("UP_KEY", UP_KEY)]);
            let mut client = server.post(path, "", &body.to_string());
            assert_eq!(client.status(), 200, "{from} {dialect}");
            assert_eq!(
                client.header("x-tokenrill-estimate").as_deref(),
                Some("true")
            );
            let told = client.json();
            let name = if from == "gemini" {
                "totalTokens"
            } else {
                "input_tokens"
            };
            let tokens = told[name].as_u64().unwrap();
            assert!((10..30).contains(&tokens), "{from} {dialect}: {told}");
            assert_eq!(upstream.requests().len(), usize::from(answer.is_some()));
            assert_eq!(server.ended(), "complete");
        }
    }
}

#[test]
fn an_upstream_that_refuses_is_believed() {
    let error = |message: &str| json!({ "error": { "message": message, "type": "x" } }).to_string();
    for (status, message) in [
        ("404 Not Found", "model: m is not known"),
        ("400 Bad", "too long"),
        ("429 Slow", "too many requests"),
        ("500 Oh", "broken"),
    ] {
        for to in ["anthropic", "openai-responses"] {
            for (from, path, body, _) in clients() {
                let upstream = Upstream::raw(reply(status, "application/json", &error(message)));
                let server = Server::with(&config(to, &upstream), &[("UP_KEY", UP_KEY)]);
                let mut client = server.post(path, "", &body.to_string());
                assert_eq!(client.status().to_string(), status[..3], "{from} {to}");
                assert!(client.body().contains(message));
            }
        }
    }
    let upstream = counting(&json!({ "tokens": "many" }));
    let server = Server::with(&config("gemini", &upstream), &[("UP_KEY", UP_KEY)]);
    let (_, path, body, _) = &clients()[0];
    assert_eq!(server.post(path, "", &body.to_string()).status(), 502);
}
