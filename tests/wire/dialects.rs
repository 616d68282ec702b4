//! Every dialect in front of every dialect, over HTTP: one server whose providers are the four
//! dialects of another, which has but its mock.

use dialect::event::{Event, FinishReason};
use dialect::sse;
use dialect::{DIALECTS, Dialect, FinishRule};
use serde_json::{Value, json};

use crate::support::*;

pub(crate) fn apis() -> impl Iterator<Item = &'static Dialect> {
    DIALECTS
        .iter()
        .copied()
        .filter(|dialect| dialect.upstream.is_some())
}

/// Two servers, the second behind the first in every dialect: its models are called `DIALECT/MODEL`
/// there.
pub(crate) fn chain() -> (Server, Server) {
    let mock = Server::with("[mock]\ntokens_per_second = 0\n", &[]);
    let mut config = String::new();
    for dialect in apis() {
        let (name, address) = (dialect.name, mock.address);
        let base = match name {
            "anthropic" => format!("http://{address}"),
            "gemini" => format!("http://{address}/v1beta"),
            _ => format!("http://{address}/v1"),
        };
        config.push_str(&format!(
            "[providers.{name}]\ndialect = \"{name}\"\nbase_url = \"{base}\"\n"
        ));
        for model in [
            "mock-fast",
            "mock-tool",
            "mock-parallel",
            "mock-think",
            "mock-break",
            "mock-ratelimit",
            "mock-length",
        ] {
            config.push_str(&format!(
                "[[models]]\nname = \"{name}/{model}\"\ntargets = [{{ provider = \"{name}\", model = \"{model}\" }}]\n"
            ));
        }
    }
    (Server::with(&config, &[]), mock)
}

/// A client of that dialect asks; with a tool, if the model calls any.
fn ask(server: &Server, client: &Dialect, model: &str, stream: bool) -> Client {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    let (path, body) = match client.name {
        "openai-chat" => (
            "/v1/chat/completions".to_owned(),
            json!({
                "model": model, "stream": stream, "messages": [{ "role": "user", "content": "Hello there" }],
                "tools": [{ "type": "function", "function": { "name": "weather", "parameters": schema } },
                          { "type": "function", "function": { "name": "time", "parameters": schema } }],
            }),
        ),
        "openai-responses" => (
            "/v1/responses".to_owned(),
            json!({
                "model": model, "stream": stream, "input": "Hello there",
                "tools": [{ "type": "function", "name": "weather", "parameters": schema },
                          { "type": "function", "name": "time", "parameters": schema }],
            }),
        ),
        "anthropic" => (
            "/v1/messages".to_owned(),
            json!({
                "model": model, "stream": stream, "max_tokens": 1000, "messages": [{ "role": "user", "content": "Hello there" }],
                "tools": [{ "name": "weather", "input_schema": schema }, { "name": "time", "input_schema": schema }],
            }),
        ),
        "gemini" => {
            let method = if stream {
                "streamGenerateContent?alt=sse"
            } else {
                "generateContent"
            };
            (
                format!("/v1beta/models/{model}:{method}"),
                json!({
                    "contents": [{ "role": "user", "parts": [{ "text": "Hello there" }] }],
                    "tools": [{ "functionDeclarations": [
                        { "name": "weather", "parameters": schema }, { "name": "time", "parameters": schema }] }],
                }),
            )
        }
        other => panic!("{other} has no request here"),
    };
    server.post(
        &path,
        "content-type: application/json\r\n",
        &body.to_string(),
    )
}

/// What a client's stream says: text, calls, how it ended, and whether it is whole.
fn said(
    client: &Dialect,
    body: &str,
) -> (String, Vec<(String, String)>, Option<FinishReason>, bool) {
    let mut reader = client.upstream.unwrap().event_reader(FinishRule::Required);
    let (mut text, mut calls, mut finish) = (String::new(), Vec::new(), None);
    let mut take = |event: Event<'_>| match event {
        Event::Text(piece) => text.push_str(&piece),
        Event::ToolCall { name, .. } => calls.push((name.to_string(), String::new())),
        Event::ToolArguments { index, fragment } => calls[index as usize].1.push_str(&fragment),
        Event::Finish(reason) => finish = Some(reason),
        _ => {}
    };
    let mut failed = false;
    for frame in sse::frames(body.as_bytes()) {
        let Some(data) = frame.data else { continue };
        failed |= reader
            .read_payload(&data, Some(&mut take))
            .unwrap()
            .error
            .is_some();
    }
    let whole = reader.finish_stream(Some(&mut take)).is_ok() && !failed;
    (text, calls, finish, whole)
}

#[test]
fn every_client_hears_every_upstream_say_the_same() {
    let (front, mock) = chain();
    let plain = mock
        .get("/stream?prompt=Hello%20there&model=mock-fast&encoding=json")
        .body();
    let frames: Vec<String> = events(&plain)
        .into_iter()
        .filter_map(|(_, data)| serde_json::from_str(&data).ok())
        .collect();
    let want = frames.concat();
    assert!(
        want.contains("Hello there") && want.contains("🌊"),
        "{want}"
    );
    for client in apis() {
        for upstream in apis() {
            let pair = format!("{} before {}", client.name, upstream.name);
            let model = |name: &str| format!("{}/{name}", upstream.name);
            let heard = |name: &str| said(client, &ask(&front, client, &model(name), true).body());
            assert_eq!(
                heard("mock-fast"),
                (want.clone(), vec![], Some(FinishReason::Stop), true),
                "{pair}"
            );
            assert_eq!(heard("mock-think").0, want, "{pair}");
            let arguments = "{\"city\":\"Zürich\"}".to_owned();
            let calls = vec![
                ("weather".to_owned(), arguments.clone()),
                ("time".to_owned(), arguments),
            ];
            assert_eq!(
                heard("mock-tool"),
                (
                    String::new(),
                    calls[..1].to_vec(),
                    Some(FinishReason::ToolCalls),
                    true
                ),
                "{pair}"
            );
            assert_eq!(heard("mock-parallel").1, calls, "{pair}");
            assert_eq!(heard("mock-length").2, Some(FinishReason::Length), "{pair}");
            let (text, _, _, whole) = heard("mock-break");
            assert!(
                !whole && !text.is_empty() && want.starts_with(&text),
                "{pair}: {text}"
            );
            let whole = ask(&front, client, &model("mock-fast"), false).body();
            assert!(
                whole.contains("Hello there") && whole.contains("waits for you."),
                "{pair}: {whole}"
            );
        }
    }
}

#[test]
fn an_early_error_is_told_in_the_client_s_own_way() {
    let (front, _mock) = chain();
    for client in apis() {
        for upstream in apis() {
            let pair = format!("{} before {}", client.name, upstream.name);
            let mut answer = ask(
                &front,
                client,
                &format!("{}/mock-ratelimit", upstream.name),
                true,
            );
            assert_eq!(answer.status(), 429, "{pair}");
            assert_eq!(answer.header("retry-after").as_deref(), Some("1"), "{pair}");
            assert!(answer.header("x-upstream-request-id").is_some(), "{pair}");
            let error: Value = answer.json();
            let kind = match client.name {
                "anthropic" => &error["error"]["type"],
                "gemini" => &error["error"]["status"],
                _ => &error["error"]["type"],
            };
            let want = match client.name {
                "anthropic" => "rate_limit_error",
                "gemini" => "RESOURCE_EXHAUSTED",
                _ => "rate_limit_exceeded",
            };
            assert_eq!(
                (kind.as_str(), error["error"]["message"].as_str().is_some()),
                (Some(want), true),
                "{pair}: {error}"
            );
        }
    }
}

#[test]
fn a_client_that_leaves_ends_every_upstream() {
    for client in apis() {
        let upstream = Upstream::start(|connection| {
            connection.request();
            connection.stream_head();
            connection.say("one");
            connection.wait_closed();
        });
        let server = Server::before(&upstream);
        let mut left = ask(&server, client, "m", true);
        left.wait_for("one");
        drop(left);
        upstream.wait_closed(1);
        assert_eq!(server.ended(), "client_left", "{}", client.name);
    }
}

#[test]
fn a_silent_upstream_is_bridged_in_the_client_s_own_way() {
    for client in apis() {
        let upstream = Upstream::start(|connection| {
            connection.request();
            connection.stream_head();
            connection.say("one");
            connection.wait_closed();
        });
        let server = Server::before_with(&upstream, "[sse]\nheartbeat = \"30ms\"\n", "");
        let mut waiting = ask(&server, client, "m", true);
        waiting.wait_for("one");
        match client.name {
            "anthropic" => waiting.wait_for_many("event: ping\ndata: {\"type\": \"ping\"}\n\n", 2),
            // Google's own client takes any comment for JSON.
            "gemini" => {
                waiting.wait_for("1\r\n\n\r\n");
                assert!(!waiting.text().contains("\n:"), "{}", waiting.text());
            }
            _ => waiting.wait_for_many(": heartbeat\n\n", 2),
        }
    }
}

#[test]
fn tokens_are_counted_where_that_can_be_asked() {
    let (front, mock) = chain();
    let ask = |server: &Server, model: &str| {
        let body = json!({ "model": model, "messages": [{ "role": "user", "content": "three small words" }] });
        server.post(
            "/v1/messages/count_tokens",
            "content-type: application/json\r\n",
            &body.to_string(),
        )
    };
    assert_eq!(ask(&mock, "mock").json(), json!({ "input_tokens": 3 }));
    assert_eq!(
        ask(&front, "anthropic/mock-fast").json(),
        json!({ "input_tokens": 3 })
    );
    let mut estimated = ask(&front, "openai-chat/mock-fast");
    assert_eq!(
        estimated.header("x-tokenrill-estimate").as_deref(),
        Some("true")
    );
    assert_eq!(estimated.json(), json!({ "input_tokens": 9 }));
}
