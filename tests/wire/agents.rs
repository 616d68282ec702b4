//! Coding agents as they come, through the server.

use serde_json::{Value, json};

use crate::log_content::{answer, config};
use crate::support::*;

/// Codex's request: a namespace, a custom tool, and a search that only OpenAI has.
fn codex() -> Value {
    json!({ "model": "m", "stream": true, "input": "go", "client_metadata": { "id": "1" }, "tools": [
        { "type": "namespace", "name": "agents", "tools": [
            { "type": "function", "name": "close", "parameters": { "type": "object" } }] },
        { "type": "custom", "name": "apply_patch", "description": "Edits." },
        { "type": "web_search", "external_web_access": false }] })
}

const CALLS: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[\
     {\"index\":0,\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"agents__close\",\"arguments\":\"{}\"}},\
     {\"index\":1,\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"apply_patch\",\
     \"arguments\":\"{\\\"input\\\":\\\"*** Begin\\\"}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";

#[test]
fn codex_gets_its_calls_in_their_own_forms_with_many_tools_too() {
    let upstream = Upstream::raw(answer(200, "text/event-stream", CALLS));
    let server = Server::with(&config("openai-chat", &upstream), &[("UP_KEY", UP_KEY)]);
    let mut body = codex();
    // So many that the events of the answer don't repeat them.
    body["instructions"] = "be brief".into();
    let tool = json!({ "type": "function", "name": "big", "description": "x".repeat(100_000), "parameters": {} });
    body["tools"].as_array_mut().unwrap().push(tool);
    let mut answer = server.post("/v1/responses", "connection: close\r\n", &body.to_string());
    answer.wait_end();
    let text = answer.text();
    let completed = events(&text)
        .into_iter()
        .find(|(name, _)| name == "response.completed");
    let completed: Value = serde_json::from_str(&completed.unwrap().1).unwrap();
    let output = &completed["response"]["output"];
    assert_eq!(
        (
            &output[0]["name"],
            &output[0]["namespace"],
            &output[1]["type"],
            &output[1]["input"]
        ),
        (
            &json!("close"),
            &json!("agents"),
            &json!("custom_tool_call"),
            &json!("*** Begin")
        )
    );
}

#[test]
fn a_provider_may_refuse_the_tools_that_it_does_not_run() {
    let upstream = Upstream::raw(answer(200, "text/event-stream", CALLS));
    let config = config("openai-chat", &upstream);
    let config = config.replace("[[models]]", "unsupported_tools = \"refuse\"\n[[models]]");
    let server = Server::with(&config, &[("UP_KEY", UP_KEY)]);
    let mut answer = server.post(
        "/v1/responses",
        "connection: close\r\n",
        &codex().to_string(),
    );
    answer.wait_end();
    let text = answer.text();
    assert!(
        text.contains(" 400 ") && text.contains("`tools[2]`, of type `web_search`"),
        "{text}"
    );
}

#[test]
fn what_changes_nothing_that_is_said_is_no_warning() {
    let upstream = Upstream::raw(answer(200, "text/event-stream", CALLS));
    let server = Server::with(&config("openai-chat", &upstream), &[("UP_KEY", UP_KEY)]);
    let system = json!([{ "type": "text", "text": "x", "cache_control": { "type": "ephemeral" } }]);
    let body = json!({ "model": "m", "stream": true, "max_tokens": 9, "system": system,
        "context_management": { "edits": [] }, "messages": [{ "role": "user", "content": "go" }] });
    let mut answer = server.post("/v1/messages", "connection: close\r\n", &body.to_string());
    answer.wait_end();
    server.logged("generation", 1);
    let log = server.log();
    assert!(
        !log.contains("WARN") && !log.contains("not sent upstream"),
        "{log}"
    );
}
