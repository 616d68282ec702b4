//! The log tells no content, and no key leaves the server but to its upstream.

use serde_json::{Value, json};

use crate::support::*;
use crate::ws_client::{Ws, start};

/// Words that an upstream quotes, and the log may not.
const QUOTED: &str = "Invalid content in messages[0]: canary-prompt 4711";

/// The answer of an upstream with that status, type and body.
pub(crate) fn answer(status: u16, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nx-request-id: id-{UP_KEY}\r\n\
         retry-after: {UP_KEY}\r\nx-ratelimit-reset: {UP_KEY}\r\n\r\n{body}",
        body.len()
    )
}

/// A server whose model `m` is served by an upstream of that dialect, which answers this.
fn server_before(dialect: &str, answer: String) -> (Upstream, Server) {
    let upstream = Upstream::raw(answer);
    let server = Server::with(&config(dialect, &upstream), &[("UP_KEY", UP_KEY)]);
    (upstream, server)
}

pub(crate) fn config(dialect: &str, upstream: &Upstream) -> String {
    let base = match dialect {
        "anthropic" => format!("http://{}", upstream.address),
        "gemini" => format!("http://{}/v1beta", upstream.address),
        _ => upstream.base_url(),
    };
    format!(
        "[providers.up]\ndialect = \"{dialect}\"\nbase_url = \"{base}\"\napi_key_env = \"UP_KEY\"\n\
         [[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\" }}]\n"
    )
}

/// Requests of each dialect: its name, the path and the body.
pub(crate) fn requests(stream: bool) -> Vec<(&'static str, String, Value)> {
    let text = "hi canary-prompt";
    let messages = json!([{ "role": "user", "content": text }]);
    let method = if stream {
        "streamGenerateContent?alt=sse"
    } else {
        "generateContent"
    };
    vec![
        (
            "openai-chat",
            "/v1/chat/completions".to_owned(),
            json!({ "model": "m", "stream": stream, "messages": messages }),
        ),
        (
            "openai-responses",
            "/v1/responses".to_owned(),
            json!({ "model": "m", "stream": stream, "input": text }),
        ),
        (
            "anthropic",
            "/v1/messages".to_owned(),
            json!({ "model": "m", "stream": stream, "max_tokens": 9, "messages": messages }),
        ),
        (
            "gemini",
            format!("/v1beta/models/m:{method}"),
            json!({ "contents": [{ "role": "user", "parts": [{ "text": text }] }] }),
        ),
    ]
}

/// An event by which a stream of that dialect reports an error, with these words.
fn error_event(dialect: &str, words: &str) -> String {
    match dialect {
        "anthropic" => format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"overloaded_error\",\"message\":\"{words}\"}}}}\n\n"
        ),
        "openai-responses" => format!(
            "event: error\ndata: {{\"type\":\"error\",\"code\":\"server_error\",\"message\":\"{words}\",\"sequence_number\":0}}\n\n"
        ),
        "gemini" => format!(
            "data: {{\"error\":{{\"code\":503,\"status\":\"UNAVAILABLE\",\"message\":\"{words}\"}}}}\n\n"
        ),
        _ => {
            format!("data: {{\"error\":{{\"message\":\"{words}\",\"code\":\"server_error\"}}}}\n\n")
        }
    }
}

/// Asks by each dialect; returns what each client saw, and the line of the log.
fn asked(upstream_dialect: &str, stream: bool, answer: &str) -> Vec<(String, Value)> {
    let ask = |(_, path, body): (&str, String, Value)| {
        let (_upstream, server) = server_before(upstream_dialect, answer.to_owned());
        let mut client = server.post(&path, "connection: close\r\n", &body.to_string());
        client.wait_end();
        (client.text(), server.logged("generation", 1))
    };
    requests(stream).into_iter().map(ask).collect()
}

const DIALECTS: [&str; 4] = ["openai-chat", "openai-responses", "anthropic", "gemini"];

#[test]
fn words_of_a_refusal_are_for_the_client_and_not_for_the_log() {
    let body =
        json!({ "error": { "message": QUOTED, "type": "invalid_request_error", "code": QUOTED } });
    let answer = answer(400, "application/json", &body.to_string());
    for dialect in DIALECTS {
        for (seen, line) in asked(dialect, true, &answer) {
            assert!(seen.contains(QUOTED), "{seen}");
            assert_eq!(
                line["error"],
                format!(
                    "provider `up` answered 400, type `invalid_request_error`, with {} bytes of message",
                    QUOTED.len()
                )
            );
        }
    }
}

#[test]
fn words_of_an_error_in_a_stream_are_for_the_client_and_not_for_the_log() {
    for dialect in DIALECTS {
        let answer = answer(200, "text/event-stream", &error_event(dialect, QUOTED));
        for (seen, line) in asked(dialect, true, &answer) {
            assert!(seen.contains(QUOTED), "{dialect}: {seen}");
            let error = line["error"].as_str().unwrap();
            assert!(
                error.starts_with("the upstream reported an error, "),
                "{error}"
            );
            assert!(
                error.ends_with(&format!(" {} bytes of message", QUOTED.len())),
                "{error}"
            );
        }
    }
}

#[test]
fn an_answer_of_another_kind_is_told_by_kind_and_length() {
    for content_type in ["text/plain", "canary-prompt is the type"] {
        for (seen, line) in asked("openai-chat", true, &answer(200, content_type, QUOTED)) {
            assert!(seen.contains(QUOTED), "{seen}");
            assert_eq!(
                line["error"],
                format!(
                    "provider `up` answered with a text instead of a stream; {} bytes were read of it",
                    QUOTED.len()
                )
            );
        }
    }
}

#[test]
fn an_answer_that_cant_be_parsed_is_not_quoted() {
    for dialect in DIALECTS {
        for body in [QUOTED.to_owned(), json!(QUOTED).to_string(), json!({ "usage": QUOTED, "choices": QUOTED, "candidates": QUOTED, "output": QUOTED, "content": QUOTED }).to_string()] {
            asked(dialect, false, &answer(200, "application/json", &body));
            let event = format!("data: {body}\n\n");
            asked(dialect, true, &answer(200, "text/event-stream", &event));
        }
    }
}

#[test]
fn a_request_that_is_refused_is_not_quoted() {
    let server = Server::mock();
    let wrong = [
        json!("canary-prompt"),
        json!(["canary-prompt"]),
        json!({ "canary-prompt": 1 }),
    ];
    for (_, path, body) in requests(true) {
        for name in [
            "messages",
            "input",
            "contents",
            "max_tokens",
            "stream",
            "temperature",
            "tools",
        ] {
            for value in &wrong {
                let mut body = body.clone();
                body[name] = value.clone();
                server
                    .post(&path, "connection: close\r\n", &body.to_string())
                    .wait_end();
            }
        }
        let broken = body.to_string().replace('}', "");
        server
            .post(&path, "connection: close\r\n", &broken)
            .wait_end();
    }
}

#[test]
fn the_finest_log_tells_no_content() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.toml"), "").unwrap();
    let server = Server::in_folder(folder, &[("TOKENRILL_LOG_LEVEL", "trace")]);
    for (_, path, mut body) in requests(true) {
        if !body["model"].is_null() {
            body["model"] = "mock-echo".into();
        }
        let path = path.replace("/m:", "/mock-echo:");
        let mut client = server.post(&path, "connection: close\r\n", &body.to_string());
        client.wait_end();
        assert!(client.text().contains("canary"));
    }
    let mut ws = Ws::open(&server);
    ws.say(start("a", "mock-echo", "canary-prompt canary-prompt"));
    while ws.hear()["type"] != "end" {}
    server.logged("generation", 5);
}

#[test]
fn the_finest_log_tells_no_key_and_nothing_that_an_upstream_says() {
    let words = "canary-prompt canary-key";
    let upstream = Upstream::streaming(format!("{}{STOP}{DONE}", says(words)));
    let env = [("UP_KEY", UP_KEY), ("TOKENRILL_LOG_LEVEL", "trace")];
    let server = Server::with(&config("openai-chat", &upstream), &env);
    for (_, path, body) in requests(true) {
        let mut client = server.post(&path, "connection: close\r\n", &body.to_string());
        client.wait_end();
        assert!(client.text().contains(words), "{}", client.text());
    }
    server.logged("generation", 4);
}

#[test]
fn a_key_that_an_upstream_repeats_reaches_no_client() {
    for dialect in DIALECTS {
        let words = format!("Incorrect API key provided: {UP_KEY}");
        let cut = "Incorrect API key provided: ***";
        let refusal = json!({ "error": { "message": words, "code": UP_KEY } }).to_string();
        for (seen, _) in asked(dialect, false, &answer(401, "application/json", &refusal)) {
            assert!(seen.contains(cut) && !seen.contains(KEY_MARK), "{seen}");
            assert!(seen.contains("x-upstream-request-id: id-***"), "{seen}");
        }
        for (seen, _) in asked(dialect, false, &answer(200, "application/json", &refusal)) {
            assert!(!seen.contains(KEY_MARK), "{seen}");
        }
        let error = error_event(dialect, &words);
        for before in ["", ": a comment\n\n"] {
            let stream = format!("{before}{error}");
            for (seen, _) in asked(dialect, true, &answer(200, "text/event-stream", &stream)) {
                assert!(
                    seen.contains(cut) && !seen.contains(KEY_MARK),
                    "{dialect}: {seen}"
                );
            }
        }
    }
}

#[test]
fn a_key_in_any_frame_or_answer_that_is_passed_through_is_cut_out() {
    for frame in [
        format!(": {UP_KEY}\n\n{}", says("a")),
        says(&format!("the key is {UP_KEY}")),
        format!("id: {UP_KEY}\n{}", says("a")),
        format!("data: {{\"choices\":[],\"debug\":\"{UP_KEY}\"}}\n\n"),
    ] {
        let stream = format!("{frame}{STOP}{DONE}");
        let (seen, _) = &asked(
            "openai-chat",
            true,
            &answer(200, "text/event-stream", &stream),
        )[0];
        assert!(seen.contains("***") && !seen.contains(KEY_MARK), "{seen}");
        assert!(seen.contains(DONE), "{seen}");
    }
    let whole =
        json!({ "choices": [{ "message": { "content": UP_KEY } }], "debug": UP_KEY }).to_string();
    for (seen, _) in asked(
        "openai-chat",
        false,
        &answer(200, "application/json", &whole),
    ) {
        assert!(seen.contains("***") && !seen.contains(KEY_MARK), "{seen}");
    }
}

#[test]
fn a_key_too_short_to_be_looked_for_is_told_at_the_start() {
    let upstream = Upstream::streaming(format!("{}{STOP}{DONE}", says("key: short")));
    let config = config("openai-chat", &upstream);
    let server = Server::with(&config, &[("UP_KEY", "short")]);
    assert!(server.chat(json!({})).body().contains("key: short"));
    let told = "the key is shorter than 8 bytes: where the provider repeats it, it is not cut out";
    assert_eq!(server.logged(told, 1)["provider"], "up");
}
