//! Chat Completions from the mock: what the SDKs read, field by field. (The SDKs themselves run in
//! `tests/sdk`.)

use serde_json::{Value, json};

use crate::support::*;

fn chunks(body: &str) -> Vec<Value> {
    let events = events(body);
    assert_eq!(events.last().unwrap().1, "[DONE]");
    events[..events.len() - 1]
        .iter()
        .map(|(_, data)| serde_json::from_str(data).unwrap())
        .collect()
}

#[test]
fn a_stream_has_role_text_finish_and_usage_if_asked_for() {
    let server = Server::mock();
    let ask = |more: Value| {
        let mut fields =
            json!({ "model": "mock-echo", "messages": [{ "role": "user", "content": "a b" }] });
        fields
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        chunks(&server.chat(fields).body())
    };
    let plain = ask(json!({}));
    assert_eq!(
        plain[0]["choices"][0]["delta"],
        json!({ "role": "assistant", "content": "" })
    );
    let text: String = plain
        .iter()
        .filter_map(|c| c["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, "a b");
    assert_eq!(plain.last().unwrap()["choices"][0]["finish_reason"], "stop");
    assert!(plain.iter().all(|c| c["object"] == "chat.completion.chunk"
        && c["id"] == plain[0]["id"]
        && c["model"] == "mock-echo"));
    assert!(plain.iter().all(|c| c.get("usage").is_none()));
    let counted = ask(json!({ "stream_options": { "include_usage": true } }));
    let last = counted.last().unwrap();
    assert_eq!(
        (&last["choices"], &last["usage"]["completion_tokens"]),
        (&json!([]), &json!(2))
    );
    let short = ask(json!({ "max_completion_tokens": 1 }));
    assert_eq!(
        short.last().unwrap()["choices"][0]["finish_reason"],
        "length"
    );
}

#[test]
fn tools_and_reasoning_stream_and_come_whole() {
    let server = Server::with("[mock]\ntokens_per_second = 0\n", &[]);
    let tools = json!([{ "type": "function", "function": { "name": "weather", "parameters": {
        "type": "object", "properties": { "city": { "type": "string" }, "days": { "type": "integer" } } } } }]);
    let all = chunks(
        &server
            .chat(json!({ "model": "mock-tool", "tools": tools }))
            .body(),
    );
    let calls: Vec<&Value> = all
        .iter()
        .map(|c| &c["choices"][0]["delta"]["tool_calls"][0])
        .filter(|c| !c.is_null())
        .collect();
    assert_eq!(calls[0]["function"]["name"], "weather");
    let arguments: String = calls
        .iter()
        .filter_map(|c| c["function"]["arguments"].as_str())
        .collect();
    assert_eq!(
        serde_json::from_str::<Value>(&arguments).unwrap(),
        json!({ "city": "Zürich", "days": 42 })
    );
    assert_eq!(
        all.last().unwrap()["choices"][0]["finish_reason"],
        "tool_calls"
    );
    let whole = server
        .chat(json!({ "model": "mock-tool", "tools": tools, "stream": false }))
        .json();
    let message = &whole["choices"][0]["message"];
    assert_eq!(
        message["tool_calls"][0]["function"]["arguments"].as_str(),
        Some(arguments.as_str())
    );
    assert!(message["content"].is_null());
    let whole = server
        .chat(json!({ "model": "mock-think", "stream": false }))
        .json();
    assert!(
        whole["choices"][0]["message"]["reasoning_content"]
            .as_str()
            .unwrap()
            .contains("words")
    );
    assert!(
        whole["usage"]["completion_tokens_details"]["reasoning_tokens"]
            .as_u64()
            .unwrap()
            > 0
    );
}

#[test]
fn models_are_listed_and_found() {
    let upstream = Upstream::streaming("");
    let server = Server::before(&upstream);
    assert_eq!(server.get("/v1/models").json()["data"][0]["id"], "m");
    let mock = Server::mock();
    let names: Vec<String> = mock.get("/v1/models").json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert_eq!(
            mock.get(&format!("/v1/models/{name}")).json()["id"],
            name.as_str()
        );
    }
    let mut client = mock.get("/v1/models/nope");
    assert_eq!(
        (client.status(), client.json()["error"]["code"].as_str()),
        (404, Some("model_not_found"))
    );
}

#[test]
fn a_server_of_mocks_is_an_upstream() {
    let mock = Server::with("[mock]\ntokens_per_second = 0\n", &[]);
    let config = format!(
        "[providers.mocks]\ndialect = \"openai-chat\"\nbase_url = \"http://{}/v1/\"\n[[models]]\nname = \"*\"\ntargets = [{{ provider = \"mocks\" }}]\n",
        mock.address
    );
    let front = Server::with(&config, &[]);
    let ask = |server: &Server, model: &str| server.chat(json!({ "model": model })).body();
    for model in ["mock", "mock-echo", "mock-think"] {
        assert_eq!(
            chunks(&ask(&front, model)).len(),
            chunks(&ask(&mock, model)).len()
        );
    }
    assert!(ask(&front, "mock-break").contains("upstream_reset"));
    for (model, status) in [("mock-error", 503), ("mock-ratelimit", 429), ("nope", 404)] {
        assert_eq!(front.chat(json!({ "model": model })).status(), status);
    }
}
