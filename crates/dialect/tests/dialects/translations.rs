//! Requests and answers that upstreams or clients would have refused, or that would have lost
//! something on the way.

use bytes::Bytes;
use dialect::event::FinishReason;
use dialect::{Answer, DIALECTS, Dialect, UpstreamPayload, translate};
use serde_json::{Value, json};

use crate::said::{Said, read};

fn dialect(name: &str) -> &'static Dialect {
    DIALECTS
        .iter()
        .find(|dialect| dialect.name == name)
        .unwrap()
}

fn translated(from: &str, to: &str, model: &str, body: &Value) -> UpstreamPayload {
    let path = "/v1beta/models/m:generateContent";
    let request = dialect(from)
        .client
        .parse_request(Bytes::from(body.to_string()), path)
        .unwrap();
    translate(dialect(to), dialect(to).upstream.unwrap(), &request, model).unwrap()
}

/// What an upstream gets for a client's body.
fn sent(from: &str, to: &str, body: &Value) -> Value {
    serde_json::from_slice(&translated(from, to, "m", body).body).unwrap()
}

fn stream(name: &str, payloads: &[Value]) -> Said {
    let wire: String = payloads
        .iter()
        .map(|payload| format!("data: {payload}\n\n"))
        .collect();
    read(dialect(name), std::iter::once(wire.as_bytes()), None)
}

#[test]
fn a_conversation_of_many_results_is_no_work_to_speak_of() {
    let mut messages = vec![json!({ "role": "user", "content": "go" })];
    messages.extend(
        (0..50_000)
            .map(|at| json!({ "role": "tool", "tool_call_id": format!("c{at}"), "content": "r" })),
    );
    let body = json!({ "model": "m", "messages": messages });
    assert_eq!(
        sent("openai-chat", "anthropic", &body)["messages"][0]["content"]
            .as_array()
            .unwrap()
            .len(),
        50_001
    );
    assert_eq!(
        sent("openai-chat", "gemini", &body)["contents"][0]["parts"]
            .as_array()
            .unwrap()
            .len(),
        50_001
    );
}

#[test]
fn calls_and_results_that_do_not_fit_are_no_work_to_speak_of_either() {
    let call = |id: String| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let calls: Vec<Value> = (0..10_000).map(|at| call(format!("x{at}"))).collect();
    let result =
        |at: usize| json!({ "role": "tool", "tool_call_id": format!("c{at}"), "content": "r" });
    let system = || json!({ "role": "system", "content": "s" });
    let of_one = |at| json!({ "role": "assistant", "tool_calls": [call(format!("y{at}"))] });
    let mut unmatched = vec![json!({ "role": "assistant", "tool_calls": calls })];
    unmatched.extend((0..10_000).map(result));
    let mut apart = vec![of_one(0)];
    apart.extend((0..10_000).map(|_| system()));
    apart.extend((1..10_000).map(of_one));
    for mut messages in [unmatched, apart] {
        messages.insert(0, json!({ "role": "user", "content": "go" }));
        let body = json!({ "model": "m", "messages": messages });
        let sent = sent("openai-chat", "openai-responses", &body);
        assert!(sent["input"].as_array().unwrap().len() > 10_000);
    }
}

#[test]
fn a_model_s_name_can_not_lead_elsewhere() {
    for name in ["../../v1/x", "a/../b", "a//b", "./a", ""] {
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] });
        let request = dialect("openai-chat")
            .client
            .parse_request(Bytes::from(body.to_string()), "")
            .unwrap();
        let side = dialect("gemini").upstream.unwrap();
        assert_eq!(
            translate(dialect("gemini"), side, &request, name)
                .unwrap_err()
                .param(),
            Some("model"),
            "{name}"
        );
        assert_eq!(
            side.pass_through_body(&request, name).unwrap_err().param(),
            Some("model"),
            "{name}"
        );
    }
}

#[test]
fn arguments_in_leaves_can_not_make_much_of_little() {
    let path = format!("${}", "[9999]".repeat(60));
    let call = json!({ "name": "f", "partialArgs": [{ "jsonPath": path, "stringValue": "x" }] });
    let said = stream(
        "gemini",
        &[
            json!({ "candidates": [{ "content": { "parts": [{ "functionCall": call }] }, "finishReason": "STOP" }] }),
        ],
    );
    assert!(said.tools[0].2.len() < 1000, "{}", said.tools[0].2.len());
}

#[test]
fn words_beside_results_begin_no_new_turn() {
    let body = json!({ "model": "m", "max_tokens": 9000, "messages": [
        { "role": "user", "content": "go" },
        { "role": "assistant", "content": [
            { "type": "thinking", "thinking": "hm", "signature": "tokenrill.chat:reasoning_content" },
            { "type": "tool_use", "id": "c1", "name": "f", "input": {} } ] },
        { "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "c1", "content": "r" }, { "type": "text", "text": "a reminder" } ] } ] });
    assert_eq!(
        sent("anthropic", "openai-chat", &body)["messages"][1]["reasoning_content"],
        "hm"
    );
    let body = json!({ "model": "m", "reasoning": { "effort": "high" }, "input": [
        { "role": "user", "content": "go" },
        { "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "c1", "output": "r" },
        { "role": "user", "content": "also this" } ] });
    let written = translated("openai-responses", "anthropic", "m", &body);
    assert!(
        written
            .dropped
            .iter()
            .any(|what| what.starts_with("reasoning")),
        "{:?}",
        written.dropped
    );
    assert!(
        serde_json::from_slice::<Value>(&written.body)
            .unwrap()
            .get("thinking")
            .is_none()
    );
}

#[test]
fn a_thought_goes_back_in_the_field_that_it_came_in() {
    for field in ["reasoning", "reasoning_content"] {
        let chunk = json!({ "choices": [{ "delta": { field: "hm" } }] });
        let said = stream(
            "openai-chat",
            &[
                chunk,
                json!({ "choices": [{ "delta": { "content": "a" }, "finish_reason": "stop" }] }),
            ],
        );
        let body = json!({ "model": "m", "max_tokens": 10, "messages": [
            { "role": "user", "content": "go" },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": said.states[0] },
                { "type": "tool_use", "id": "c1", "name": "f", "input": {} } ] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c1", "content": "r" }] } ] });
        let message = &sent("anthropic", "openai-chat", &body)["messages"][1];
        assert_eq!(message[field], "hm");
        let other = if field == "reasoning" {
            "reasoning_content"
        } else {
            "reasoning"
        };
        assert!(message.get(other).is_none(), "{message}");
    }
}

#[test]
fn a_request_of_system_messages_alone_is_still_a_request() {
    let body = json!({ "model": "m", "messages": [{ "role": "system", "content": "S" }] });
    assert_eq!(
        sent("openai-chat", "anthropic", &body)["messages"],
        json!([{ "role": "user", "content": "S" }])
    );
    assert_eq!(
        sent("openai-chat", "gemini", &body)["contents"][0]["parts"][0]["text"],
        "S"
    );
    assert_eq!(
        sent("openai-chat", "openai-responses", &body)["input"][0]["content"],
        "S"
    );
}

#[test]
fn images_of_results_follow_all_of_the_results() {
    let image = json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA" } });
    let result = |id: &str, content: Value| json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": id, "content": content }] });
    let call = |id: &str| json!({ "type": "tool_use", "id": id, "name": "f", "input": {} });
    let body = json!({ "model": "m", "max_tokens": 9, "messages": [
        { "role": "user", "content": "go" }, { "role": "assistant", "content": [call("c1"), call("c2")] },
        result("c1", json!([image])), result("c2", json!("r")) ] });
    let sent = sent("anthropic", "openai-chat", &body);
    let roles: Vec<&str> = sent["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["user", "assistant", "tool", "tool", "user"]);
}

#[test]
fn google_s_own_way_to_write_a_request_is_read() {
    let body = json!({ "system_instruction": { "parts": { "text": "S" } }, "contents": { "parts": { "text": "U" } },
        "tools": { "function_declarations": { "name": "f", "parameters": { "type": "OBJECT", "properties": {
            "n": { "type": "STRING", "nullable": true, "maxLength": "5" } } } } } });
    let sent = sent("gemini", "openai-chat", &body);
    assert_eq!(
        sent["messages"],
        json!([{ "role": "system", "content": "S" }, { "role": "user", "content": "U" }])
    );
    let parameter = &sent["tools"][0]["function"]["parameters"]["properties"]["n"];
    assert_eq!(
        parameter,
        &json!({ "type": ["string", "null"], "maxLength": 5 })
    );
}

#[test]
fn what_a_newer_model_refuses_is_not_sent_to_it() {
    let body = json!({ "model": "m", "temperature": 0.3, "reasoning_effort": "high", "messages": [{ "role": "user", "content": "x" }] });
    for (model, thinking) in [
        (
            "claude-opus-4-7",
            json!({ "type": "adaptive", "display": "summarized" }),
        ),
        ("anthropic/claude-sonnet-4-6", json!({ "type": "adaptive" })),
        (
            "claude-haiku-4-5-20251001",
            json!({ "type": "enabled", "budget_tokens": 24_000 }),
        ),
        (
            "claude-sonnet-4-20250514",
            json!({ "type": "enabled", "budget_tokens": 24_000 }),
        ),
    ] {
        let written: Value =
            serde_json::from_slice(&translated("openai-chat", "anthropic", model, &body).body)
                .unwrap();
        assert_eq!(written["thinking"], thinking, "{model}");
        assert_eq!(
            written["output_config"]["effort"],
            if thinking["type"] == "adaptive" {
                json!("high")
            } else {
                Value::Null
            }
        );
        assert!(written.get("temperature").is_none(), "{model}");
    }
    let body = json!({ "model": "m", "max_tokens": 9, "temperature": 0.3, "messages": [{ "role": "user", "content": "x" }] });
    let written = translated("anthropic", "openai-chat", "gpt-5-mini", &body);
    assert_eq!(written.dropped, ["temperature"]);
    assert_eq!(
        serde_json::from_slice::<Value>(&written.body).unwrap()["max_completion_tokens"],
        9
    );
}

#[test]
fn a_schema_is_as_its_upstream_wants_it() {
    let schema = json!({ "type": "object", "properties": { "minimum": { "type": "integer", "minimum": 1 } } });
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }],
        "tools": [{ "type": "function", "function": { "name": "f", "parameters": {} } }],
        "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": schema } } });
    let sent = sent("openai-chat", "anthropic", &body);
    assert_eq!(
        sent["output_config"]["format"]["schema"],
        json!({ "type": "object", "additionalProperties": false,
        "properties": { "minimum": { "type": "integer" } } })
    );
    assert_eq!(
        sent["tools"][0]["input_schema"],
        json!({ "type": "object", "properties": {} })
    );
}

#[test]
fn a_whole_answer_that_says_nothing_is_no_answer() {
    for (name, body) in [
        (
            "gemini",
            json!({ "usageMetadata": { "promptTokenCount": 1 } }),
        ),
        ("openai-responses", json!({ "detail": "nope" })),
        (
            "openai-responses",
            json!({ "status": "failed", "error": null, "output": [] }),
        ),
        (
            "openai-responses",
            json!({ "status": "in_progress", "output": [] }),
        ),
        ("openai-chat", json!({ "choices": [] })),
        ("anthropic", json!({ "content": [] })),
    ] {
        let mut answer = Answer::default();
        let read = dialect(name).upstream.unwrap().parse_answer(
            body.to_string().as_bytes(),
            dialect::FinishRule::Required,
            Some(&mut |event| answer.add(&event)),
        );
        assert!(read.is_err(), "{name}: {body}");
    }
}

#[test]
fn what_only_the_last_event_has_is_said_once() {
    let message = json!({ "id": "m1", "type": "message", "content": [{ "type": "output_text", "text": "late" }] });
    let call = json!({ "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}" });
    let completed = json!({ "type": "response.completed", "response": { "status": "completed", "output": [message, call] } });
    let added = json!({ "type": "response.output_item.added", "output_index": 0, "item": { "id": "m1", "type": "message", "content": [] } });
    let said = stream("openai-responses", &[added.clone(), completed.clone()]);
    assert_eq!(
        (said.text.as_str(), said.tools.len(), said.finish),
        ("late", 1, Some(FinishReason::ToolCalls))
    );
    let delta =
        json!({ "type": "response.output_text.delta", "output_index": 3, "delta": "early" });
    let done = json!({ "type": "response.output_item.done", "output_index": 4, "item": call });
    let said = stream("openai-responses", &[delta, done, completed]);
    assert_eq!((said.text.as_str(), said.tools.len()), ("early", 1));
}

#[test]
fn a_tool_call_in_odd_types_is_a_tool_call() {
    let call =
        json!({ "index": "0", "id": 7, "function": { "name": "f", "arguments": { "a": 1 } } });
    let chunk = json!({ "choices": [{ "delta": { "tool_calls": [call] }, "finish_reason": "tool_calls" }] });
    let said = stream("openai-chat", &[chunk]);
    assert_eq!(
        said.tools,
        [("7".to_owned(), "f".to_owned(), "{\"a\":1}".to_owned(), true)]
    );
    let twice = r#"{"choices":[{"delta":{"content":"","content":"x"},"finish_reason":"stop"}]}"#;
    let said = read(
        dialect("openai-chat"),
        std::iter::once(format!("data: {twice}\n\n").as_bytes()),
        None,
    );
    assert_eq!(said.text, "x");
    let broken =
        json!({ "choices": [{ "delta": { "tool_calls": [5] }, "finish_reason": "tool_calls" }] });
    assert!(stream("openai-chat", &[broken]).error.is_some());
}
