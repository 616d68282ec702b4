//! Tools of Chat Completions that are no plain functions: custom tools, and the `functions` that
//! there were before tools.

use std::sync::Arc;

use bytes::Bytes;
use dialect::event::Event;
use dialect::request::Request;
use dialect::{Answer, Dialect, FinishRule, ResponseMeta, translate};
use serde_json::{Value, json};

use crate::said::dialects;

fn chat() -> &'static Dialect {
    Dialect::named("openai-chat").unwrap()
}

fn parse(body: &Value) -> Request {
    let body = Bytes::from(body.to_string());
    chat()
        .client
        .parse_request(body, "/v1/chat/completions")
        .unwrap()
}

fn sent(to: &str, body: &Value) -> Value {
    let (dialect, side) = Dialect::with_upstream(to).unwrap();
    let written = translate(dialect, side, &parse(body), "m").unwrap();
    serde_json::from_slice(&written.body).unwrap()
}

/// Writes the answer to a request that calls these tools: as a stream, whose chunks are put
/// together as the official SDKs do, and whole.
fn answered(body: &Value, calls: &[(&str, &[&str])]) -> [Value; 2] {
    let request = parse(body);
    let meta = ResponseMeta {
        request: Arc::new(request.without_content()),
        ..ResponseMeta::for_error()
    };
    let mut events = Vec::new();
    for (index, (name, fragments)) in (0..).zip(calls) {
        let id = format!("c{index}").into();
        let name = (*name).into();
        events.push(Event::ToolCall { index, id, name });
        for fragment in *fragments {
            let fragment = (*fragment).into();
            events.push(Event::ToolArguments { index, fragment });
        }
        events.push(Event::ToolEnd { index });
    }
    events.push(Event::Finish(dialect::event::FinishReason::ToolCalls));
    let mut answer = Answer::default();
    let mut writer = chat().client.event_writer(meta.clone());
    let mut chunks = Vec::new();
    let mut out =
        |_: Option<&str>, data: &[u8]| chunks.extend(serde_json::from_slice::<Value>(data));
    for event in &events {
        answer.add(event);
        writer.write_event(event, &mut out).unwrap();
    }
    writer.write_end(&mut out);
    let whole = chat().client.encode_answer(&answer, &meta);
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    let mut streamed = json!({ "message": {} });
    for chunk in chunks {
        let choice = &chunk["choices"][0];
        merge(&mut streamed["message"], &choice["delta"]);
        streamed["finish_reason"] = choice["finish_reason"].clone();
    }
    let mut choice = whole["choices"][0].clone();
    choice.as_object_mut().unwrap().remove("index");
    [streamed, choice]
}

/// Adds a delta: texts are joined, lists by the index of their elements.
fn merge(into: &mut Value, delta: &Value) {
    for (name, value) in delta.as_object().into_iter().flatten() {
        match (&mut into[name], value) {
            (Value::String(said), Value::String(text)) if name != "type" => said.push_str(text),
            (known @ Value::Object(_), Value::Object(_)) => merge(known, value),
            (known, Value::Array(list)) => {
                if !known.is_array() {
                    *known = json!([]);
                }
                let known = known.as_array_mut().unwrap();
                for element in list {
                    let at = element["index"].as_u64().unwrap() as usize;
                    while known.len() <= at {
                        known.push(json!({}));
                    }
                    let mut element = element.clone();
                    element.as_object_mut().unwrap().remove("index");
                    merge(&mut known[at], &element);
                }
            }
            (known, value) => *known = value.clone(),
        }
    }
}

#[test]
fn functions_from_before_there_were_tools_reach_other_dialects() {
    let body = json!({ "model": "m",
        "functions": [{ "name": "f", "description": "d", "parameters": { "type": "object",
            "properties": { "a": { "type": "integer" } } } }],
        "function_call": { "name": "f" },
        "messages": [
            { "role": "user", "content": "go" },
            { "role": "assistant", "content": null, "function_call": { "name": "f", "arguments": "{\"a\":1}" } },
            { "role": "function", "name": "f", "content": "one" },
            { "role": "assistant", "content": "So", "function_call": { "name": "f", "arguments": "{\"a\":2}" } },
            { "role": "function", "name": "f", "content": "two" }] });
    let got = sent("anthropic", &body);
    assert_eq!(got["tools"][0]["name"], "f");
    assert_eq!(
        got["tools"][0]["input_schema"]["properties"]["a"]["type"],
        "integer"
    );
    assert_eq!(got["tool_choice"]["type"], "tool");
    assert_eq!(got["tool_choice"]["name"], "f");
    for (call, result, text, input) in [(1, 2, "one", 1), (3, 4, "two", 2)] {
        let call = got["messages"][call]["content"]
            .as_array()
            .unwrap()
            .last()
            .unwrap();
        let result = &got["messages"][result]["content"][0];
        assert_eq!(call["input"]["a"], input);
        assert_eq!((&call["id"], text), (&result["tool_use_id"], text));
        assert!(result["content"].to_string().contains(text));
    }
    for dialect in dialects() {
        let got = sent(dialect.name, &body);
        assert_eq!(
            got,
            sent(dialect.name, &body),
            "the same every time, for caches"
        );
        assert!(got.to_string().contains("two"), "{got}");
    }
    let word = |word: &str| {
        let mut body = body.clone();
        body["function_call"] = word.into();
        sent("openai-responses", &body)["tool_choice"].clone()
    };
    assert_eq!([word("none"), word("auto")], ["none", "auto"]);
}

#[test]
fn a_call_comes_back_in_the_form_that_the_client_knows() {
    let body = json!({ "model": "m", "functions": [{ "name": "f" }],
        "messages": [{ "role": "user", "content": "go" }] });
    let calls = [("f", &["{\"a\"", ":1}"][..]), ("f", &["{\"a\":2}"])];
    for choice in answered(&body, &calls) {
        let call = json!({ "name": "f", "arguments": "{\"a\":1}" });
        assert_eq!(choice["message"]["function_call"], call, "{choice}");
        assert_eq!(choice["finish_reason"], "function_call");
        // A second one, which was not asked for, has no other place.
        let other = &choice["message"]["tool_calls"][0];
        let other = match other.is_object() && other != &json!({}) {
            true => other,
            false => &choice["message"]["tool_calls"][1],
        };
        assert_eq!(other["function"]["arguments"], "{\"a\":2}", "{choice}");
    }
}

fn with_custom_tool() -> Value {
    let grammar =
        json!({ "type": "grammar", "grammar": { "syntax": "lark", "definition": "start: WORD" } });
    json!({ "model": "m",
        "tools": [
            { "type": "custom", "custom": { "name": "run", "description": "Runs.", "format": grammar } },
            { "type": "function", "function": { "name": "f", "parameters": {} } }],
        "tool_choice": { "type": "custom", "custom": { "name": "run" } },
        "messages": [
            { "role": "user", "content": "go" },
            { "role": "assistant", "tool_calls": [{ "id": "c1", "type": "custom",
                "custom": { "name": "run", "input": "echo \"hi\"\n" } }] },
            { "role": "tool", "tool_call_id": "c1", "content": "hi" }] })
}

#[test]
fn a_custom_tool_is_a_function_for_other_dialects() {
    let got = sent("anthropic", &with_custom_tool());
    let tools = got["tools"].as_array().unwrap();
    let run = tools.iter().find(|tool| tool["name"] == "run").unwrap();
    assert!(run["description"].as_str().unwrap().contains("start: WORD"));
    assert_eq!(run["input_schema"]["required"], json!(["input"]));
    assert_eq!(got["tool_choice"]["name"], "run");
    let call = &got["messages"][1]["content"][0];
    assert_eq!(call["input"], json!({ "input": "echo \"hi\"\n" }));
    assert_eq!(got["messages"][2]["content"][0]["tool_use_id"], call["id"]);
    let mut allowed = with_custom_tool();
    allowed["tool_choice"] = json!({ "type": "allowed_tools", "allowed_tools": { "mode": "required",
        "tools": [{ "type": "custom", "custom": { "name": "run" } }] } });
    let got = sent("gemini", &allowed);
    assert_eq!(
        got["tools"][0]["functionDeclarations"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn the_call_of_a_custom_tool_comes_back_as_its_text() {
    let calls = [
        ("run", &["{\"input\":\"ec", "ho \\\"hi\\\"\"}"][..]),
        ("f", &["{}"]),
        ("run", &["plain"]),
    ];
    for choice in answered(&with_custom_tool(), &calls) {
        let calls = &choice["message"]["tool_calls"];
        assert_eq!(
            calls[0],
            json!({ "id": "c0", "type": "custom", "custom": { "name": "run", "input": "echo \"hi\"" } })
        );
        assert_eq!(calls[1]["function"]["name"], "f");
        assert_eq!(calls[2]["custom"]["input"], "plain");
        assert_eq!(choice["finish_reason"], "tool_calls");
    }
}

#[test]
fn an_upstreams_call_of_a_custom_tool_is_read_however_it_comes() {
    let chat_delta =
        |call: Value| json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [call] } }] });
    let chat_end =
        json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] });
    let item = |input: &str| json!({ "type": "custom_tool_call", "id": "i", "call_id": "c", "name": "run", "input": input });
    let done = |item: Value| json!({ "type": "response.completed", "response": { "status": "completed", "output": [item] } });
    let streams = [
        (
            "openai-chat",
            vec![
                chat_delta(
                    json!({ "index": 0, "id": "c", "type": "custom", "custom": { "name": "run", "input": "" } }),
                ),
                chat_delta(json!({ "index": 0, "custom": { "input": "a\"" } })),
                chat_delta(json!({ "index": 0, "custom": { "input": "\nb" } })),
                chat_end.clone(),
            ],
        ),
        (
            "openai-chat",
            vec![
                json!({ "choices": [{ "index": 0, "message": { "tool_calls": [
                { "id": "c", "type": "custom", "custom": { "name": "run", "input": "a\"\nb" } }] },
                "finish_reason": "tool_calls" }] }),
            ],
        ),
        (
            "openai-responses",
            vec![
                json!({ "type": "response.output_item.added", "output_index": 0, "item": item("") }),
                json!({ "type": "response.custom_tool_call_input.done", "output_index": 0, "item_id": "i", "input": "a\"\nb" }),
                done(json!({ "type": "message" })),
            ],
        ),
        (
            "openai-responses",
            vec![
                json!({ "type": "response.output_item.added", "output_index": 0, "item": item("") }),
                json!({ "type": "response.custom_tool_call_input.done", "output_index": 0, "item_id": "i", "input": "a\"\nb" }),
                json!({ "type": "response.output_item.done", "output_index": 0, "item": item("a\"\nb") }),
                done(item("a\"\nb")),
            ],
        ),
    ];
    for (name, payloads) in streams {
        let (_, side) = Dialect::with_upstream(name).unwrap();
        let mut reader = side.event_reader(FinishRule::Required);
        let mut said = crate::said::Said::default();
        for payload in &payloads {
            let seen = reader.read_payload(
                payload.to_string().as_bytes(),
                Some(&mut |event| said.add(&event)),
            );
            assert!(seen.unwrap().error.is_none(), "{payload}");
        }
        if name == "openai-chat" {
            let _ = reader.read_payload(b"[DONE]", None);
        }
        reader
            .finish_stream(Some(&mut |event| said.add(&event)))
            .unwrap();
        assert_eq!(
            said.calls(),
            [("run".to_owned(), json!({ "input": "a\"\nb" }))],
            "{payloads:?}"
        );
    }
}
