//! What one dialect says and another has a place for arrives there: through the real server, in both
//! directions.

use serde_json::{Value, json};

use crate::support::*;

/// An upstream that answers each request with the same JSON.
fn answering(answer: Value) -> Upstream {
    let body = answer.to_string();
    Upstream::start(move |c| {
        while c.request().is_some() {
            let length = body.len();
            c.send(
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
                )
                .as_bytes(),
            );
        }
    })
}

/// A server with a provider of these keys at that upstream.
fn server(upstream: &Upstream, keys: &str) -> Server {
    let address = upstream.address;
    let config = format!(
        "[providers.p]\nbase_url = \"http://{address}\"\n{keys}\n[[models]]\nname = \"*\"\n\
         targets = [{{ provider = \"p\" }}]\n"
    );
    Server::with(&config, &[("KEY", "canary-key-1")])
}

#[test]
fn thoughts_among_the_parts_of_content_go_back_with_their_seals() {
    let thought = json!({ "type": "reasoning",
        "summary": [{ "type": "summary_text", "text": "Two and two.", "signature": "EqoB" }] });
    let content = json!([thought, { "type": "text", "text": "Four." }]);
    let upstream = answering(json!({ "choices": [{ "index": 0, "finish_reason": "stop",
        "message": { "role": "assistant", "content": content } }] }));
    let server = server(&upstream, "dialect = \"openai-chat\"");
    let user = json!({ "role": "user", "content": "2+2?" });
    let mut body = json!({ "model": "m", "max_tokens": 99, "messages": [user] });
    let said = server.post("/v1/messages", "", &body.to_string()).json();
    assert_eq!(said["content"][0]["thinking"], "Two and two.", "{said}");
    assert_eq!(said["content"][1]["text"], "Four.", "{said}");
    body["messages"] = json!([user, { "role": "assistant", "content": said["content"] }, user]);
    server.post("/v1/messages", "", &body.to_string()).json();
    let seen = upstream.requests()[1].json();
    assert_eq!(seen["messages"][1]["content"], content, "{seen}");
}

#[test]
fn marks_of_caches_reach_openrouter() {
    let upstream = answering(json!({ "choices": [{ "index": 0, "finish_reason": "stop",
        "message": { "role": "assistant", "content": "Hi" } }] }));
    let keys = "flavor = \"openrouter\"\ndialect = \"openai-chat\"\napi_key_env = \"KEY\"";
    let server = server(&upstream, keys);
    let mark = json!({ "type": "ephemeral", "ttl": "1h" });
    let system = json!([{ "type": "text", "text": "Be brief.", "cache_control": mark }]);
    let body = json!({ "model": "m", "max_tokens": 9, "system": system,
        "messages": [{ "role": "user", "content": "hi" }] });
    server.post("/v1/messages", "", &body.to_string()).json();
    assert_eq!(
        upstream.requests()[0].json()["messages"][0]["content"],
        system
    );
}

#[test]
fn a_custom_tool_of_a_chat_is_one_for_responses_and_so_is_its_call() {
    let call = json!({ "type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", "name": "run",
        "input": "echo \"hi\"", "status": "completed" });
    let upstream = answering(
        json!({ "id": "resp_1", "object": "response", "status": "completed",
        "output": [call] }),
    );
    let server = server(&upstream, "dialect = \"openai-responses\"");
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "go" }],
        "tools": [{ "type": "custom", "custom": { "name": "run" } }] });
    let mut client = server.post("/v1/chat/completions", "", &body.to_string());
    let said = client.json();
    let seen = upstream.requests()[0].json();
    let tool = json!({ "type": "custom", "name": "run", "format": { "type": "text" } });
    assert_eq!(seen["tools"], json!([tool]));
    let message = &said["choices"][0]["message"];
    let call = json!({ "id": "c1", "type": "custom", "custom": { "name": "run", "input": "echo \"hi\"" } });
    assert_eq!(message["tool_calls"], json!([call]), "{said}");
}

#[test]
fn log_probabilities_of_a_stream_reach_a_client_of_the_other_dialect() {
    let token = json!({ "token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": [] });
    let chunk = json!({ "choices": [{ "index": 0, "delta": { "content": "Hi" },
        "logprobs": { "content": [token], "refusal": null }, "finish_reason": null }] });
    let upstream = Upstream::streaming(format!("data: {chunk}\n\n{STOP}{DONE}"));
    let server = server(&upstream, "dialect = \"openai-chat\"");
    let body = json!({ "model": "m", "input": "hi", "stream": true,
        "include": ["message.output_text.logprobs"] });
    let told = server.post("/v1/responses", "", &body.to_string()).body();
    let seen = upstream.requests()[0].json();
    assert_eq!(seen["logprobs"], true);
    let delta = told
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .find(|event| event["type"] == "response.output_text.delta");
    assert_eq!(delta.unwrap()["logprobs"], json!([token]), "{told}");
}
