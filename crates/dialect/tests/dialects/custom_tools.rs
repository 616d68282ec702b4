//! Custom tools where both sides know them: between the two dialects of OpenAI, in both directions,
//! in the conversation and in the answer.

use std::sync::Arc;

use bytes::Bytes;
use dialect::event::{Event, FinishReason};
use dialect::{Dialect, FinishRule, ResponseMeta, translate};
use serde_json::{Value, json};

/// The body that an upstream of that dialect and flavor gets of a client's.
fn sent(from: &str, (to, flavor): (&str, &str), body: &Value) -> Value {
    let client = Dialect::named(from).unwrap().client;
    let request = client
        .parse_request(Bytes::from(body.to_string()), "/v1/responses")
        .unwrap();
    let (dialect, side) = Dialect::with_upstream_of(to, flavor).unwrap();
    let payload = translate(dialect, side, &request, "gpt-5.5").unwrap();
    serde_json::from_slice(&payload.body).unwrap()
}

fn chat_body() -> Value {
    let grammar =
        json!({ "type": "grammar", "grammar": { "syntax": "regex", "definition": "[a-z]+" } });
    let call = |id: &str, input: &str| json!({ "id": id, "type": "custom", "custom": { "name": "run", "input": input } });
    let function = json!({ "id": "c2", "type": "function",
        "function": { "name": "f", "arguments": "{}" } });
    json!({ "model": "m",
        "tools": [
            { "type": "custom", "custom": { "name": "run", "description": "Runs.", "format": grammar } },
            { "type": "custom", "custom": { "name": "say" } },
            { "type": "function", "function": { "name": "f", "parameters": {} } }],
        "tool_choice": { "type": "custom", "custom": { "name": "run" } },
        "messages": [
            { "role": "user", "content": "go" },
            { "role": "assistant", "tool_calls": [call("c1", "echo \"hi\"\n"), function] },
            { "role": "tool", "tool_call_id": "c1", "content": "hi" },
            { "role": "tool", "tool_call_id": "c2", "content": "two" }] })
}

fn responses_body() -> Value {
    let grammar = json!({ "type": "grammar", "syntax": "regex", "definition": "[a-z]+" });
    json!({ "model": "m",
        "tools": [
            { "type": "custom", "name": "run", "description": "Runs.", "format": grammar },
            { "type": "custom", "name": "say", "format": { "type": "text" } },
            { "type": "function", "name": "f", "parameters": {} }],
        "tool_choice": { "type": "custom", "name": "run" },
        "input": [
            { "role": "user", "content": "go" },
            { "type": "custom_tool_call", "call_id": "c1", "name": "run", "input": "echo \"hi\"\n" },
            { "type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}" },
            { "type": "custom_tool_call_output", "call_id": "c1", "output": "hi" },
            { "type": "function_call_output", "call_id": "c2", "output": "two" }] })
}

/// Returns the tool of that name.
fn tool<'a>(body: &'a Value, name: &str) -> &'a Value {
    let tools = body["tools"].as_array().unwrap();
    let is_it = |tool: &&Value| {
        let places = [
            &tool["name"],
            &tool["custom"]["name"],
            &tool["function"]["name"],
        ];
        places.contains(&&json!(name))
    };
    tools.iter().find(is_it).unwrap()
}

#[test]
fn a_chats_custom_tool_is_one_for_responses() {
    for flavor in ["", "openai", "azure"] {
        let got = sent("openai-chat", ("openai-responses", flavor), &chat_body());
        let wanted = responses_body();
        for name in ["run", "say"] {
            assert_eq!(tool(&got, name), tool(&wanted, name), "{flavor}");
        }
        assert_eq!(tool(&got, "f")["type"], "function");
        assert_eq!(got["tool_choice"], wanted["tool_choice"]);
        let items = |body: &Value| body["input"].as_array().unwrap()[1..].to_vec();
        assert_eq!(items(&got), items(&wanted), "{flavor}");
    }
    let got = sent("openai-chat", ("openai-responses", "groq"), &chat_body());
    assert_eq!(tool(&got, "run")["type"], "function");
    assert_eq!(got["input"][1]["type"], "function_call");
    assert_eq!(got["input"][3]["type"], "function_call_output");
    assert_eq!(got["tool_choice"]["type"], "function");
}

#[test]
fn a_custom_tool_of_responses_is_one_for_the_chats_that_know_such() {
    for flavor in ["openai", "azure"] {
        let got = sent(
            "openai-responses",
            ("openai-chat", flavor),
            &responses_body(),
        );
        let wanted = chat_body();
        for name in ["run", "say"] {
            assert_eq!(tool(&got, name), tool(&wanted, name), "{flavor}");
        }
        assert_eq!(got["tool_choice"], wanted["tool_choice"]);
        let calls = |body: &Value| body["messages"][1]["tool_calls"].clone();
        assert_eq!(calls(&got), calls(&wanted), "{flavor}");
        assert_eq!(got["messages"][2], wanted["messages"][2]);
    }
    for flavor in ["", "deepseek", "vllm"] {
        let got = sent(
            "openai-responses",
            ("openai-chat", flavor),
            &responses_body(),
        );
        assert_eq!(tool(&got, "run")["type"], "function", "{flavor}");
        let description = tool(&got, "run")["function"]["description"].as_str();
        assert!(description.unwrap().contains("[a-z]+"), "{flavor}");
        let call = &got["messages"][1]["tool_calls"][0];
        assert_eq!(
            call["function"]["arguments"],
            r#"{"input":"echo \"hi\"\n"}"#
        );
    }
}

#[test]
fn an_id_that_comes_again_for_another_tool_is_that_tools() {
    let mut body = chat_body();
    let function = json!({ "id": "c1", "type": "function",
        "function": { "name": "f", "arguments": "{}" } });
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({ "role": "assistant", "tool_calls": [function] }));
    messages.push(json!({ "role": "tool", "tool_call_id": "c1", "content": "other" }));
    let got = sent("openai-chat", ("openai-responses", ""), &body);
    let kinds: Vec<_> = got["input"].as_array().unwrap()[1..]
        .iter()
        .map(|item| item["type"].as_str().unwrap())
        .collect();
    let once = ["custom_tool_call", "function_call"];
    let results = ["custom_tool_call_output", "function_call_output"];
    let again = ["function_call", "function_call_output"];
    assert_eq!(kinds, [once, results, again].concat());
}

/// The payloads that a client of that dialect gets for those events.
fn written(client: &str, body: &Value, events: &[Event<'_>]) -> Vec<Value> {
    let dialect = Dialect::named(client).unwrap();
    let request = dialect
        .client
        .parse_request(Bytes::from(body.to_string()), "/v1/responses")
        .unwrap();
    let meta = ResponseMeta {
        request: Arc::new(request.without_content()),
        ..ResponseMeta::for_error()
    };
    let mut writer = dialect.client.event_writer(meta);
    let mut payloads = Vec::new();
    let mut out = |_: Option<&str>, data: &[u8]| {
        payloads.extend(serde_json::from_slice::<Value>(data));
    };
    for event in events {
        writer.write_event(event, &mut out).unwrap();
    }
    writer.write_end(&mut out);
    payloads
}

/// The events of an upstream's payloads.
fn read(upstream: &str, payloads: &[Value]) -> Vec<Event<'static>> {
    let (_, side) = Dialect::with_upstream(upstream).unwrap();
    let mut reader = side.event_reader(FinishRule::Optional);
    let mut events = Vec::new();
    let mut sink = |event: Event<'_>| events.push(event.into_owned());
    for payload in payloads {
        let data = payload.to_string();
        let seen = reader.read_payload(data.as_bytes(), Some(&mut sink));
        assert!(seen.unwrap().error.is_none(), "{payload}");
    }
    if upstream == "openai-chat" {
        reader.read_payload(b"[DONE]", Some(&mut sink)).unwrap();
    }
    reader.finish_stream(Some(&mut sink)).unwrap();
    events
}

/// The pieces of the text in a client's payloads.
fn pieces(payloads: &[Value]) -> Vec<&str> {
    payloads
        .iter()
        .filter_map(|payload| {
            let call = &payload["choices"][0]["delta"]["tool_calls"][0];
            match payload["type"].as_str() {
                Some("response.custom_tool_call_input.delta") => payload["delta"].as_str(),
                _ => call["custom"]["input"].as_str(),
            }
        })
        .filter(|piece| !piece.is_empty())
        .collect()
}

#[test]
fn the_text_of_a_call_comes_piece_by_piece_in_both_directions() {
    let item = |input: &str| json!({ "type": "custom_tool_call", "id": "i", "call_id": "c", "name": "run", "input": input });
    let responses = |kind: &str, mut fields: Value| {
        fields["type"] = format!("response.{kind}").into();
        fields["output_index"] = 0.into();
        fields
    };
    let of_responses = [
        responses("output_item.added", json!({ "item": item("") })),
        responses("custom_tool_call_input.delta", json!({ "delta": "a\"\n" })),
        responses("custom_tool_call_input.delta", json!({ "delta": "\\b" })),
        responses(
            "custom_tool_call_input.done",
            json!({ "input": "a\"\n\\b" }),
        ),
        responses("output_item.done", json!({ "item": item("a\"\n\\b") })),
        responses(
            "completed",
            json!({ "response": { "status": "completed", "output": [item("a\"\n\\b")] } }),
        ),
    ];
    let got = written(
        "openai-chat",
        &chat_body(),
        &read("openai-responses", &of_responses),
    );
    assert_eq!(pieces(&got), ["a\"\n", "\\b"]);
    let chat = |call: Value| json!({ "choices": [{ "delta": { "tool_calls": [call] } }] });
    let of_chat = [
        chat(
            json!({ "index": 0, "id": "c", "type": "custom", "custom": { "name": "run", "input": "" } }),
        ),
        chat(json!({ "index": 0, "custom": { "input": "a\"\n" } })),
        chat(json!({ "index": 0, "custom": { "input": "\\b" } })),
        json!({ "choices": [{ "delta": {}, "finish_reason": "tool_calls" }] }),
    ];
    let got = written(
        "openai-responses",
        &responses_body(),
        &read("openai-chat", &of_chat),
    );
    assert_eq!(pieces(&got), ["a\"\n", "\\b"]);
    let done = got
        .iter()
        .find(|payload| payload["type"] == "response.custom_tool_call_input.done");
    assert_eq!(done.unwrap()["input"], "a\"\n\\b");
    let last = &got.last().unwrap()["response"];
    assert_eq!(last["output"][0]["type"], "custom_tool_call");
    assert_eq!(last["output"][0]["input"], "a\"\n\\b");
    assert_eq!(last["tools"][1]["type"], "custom", "{last}");
    assert_eq!(
        last["tool_choice"],
        json!({ "type": "custom", "name": "run" })
    );
}

#[test]
fn a_functions_arguments_are_the_text_as_they_come() {
    let fragments = [r#"{"input": "ec"#, r"ho \", r#"n"#, r#"!"}"#];
    let mut events = vec![Event::ToolCall {
        index: 0,
        id: "c".into(),
        name: "run".into(),
    }];
    events.extend(fragments.map(|fragment| Event::ToolArguments {
        index: 0,
        fragment: fragment.into(),
    }));
    events.push(Event::ToolEnd { index: 0 });
    events.push(Event::Finish(FinishReason::ToolCalls));
    for (client, body) in [
        ("openai-chat", chat_body()),
        ("openai-responses", responses_body()),
    ] {
        let got = written(client, &body, &events);
        assert_eq!(pieces(&got), ["ec", "ho ", "\n", "!"], "{client}");
    }
}
