//! Names of tools that an upstream would refuse: fitted on the way there, the client's own on the
//! way back.

use bytes::Bytes;
use dialect::event::Event;
use dialect::{Dialect, FinishRule, UpstreamPayload, translate};
use serde_json::{Value, json};

const LONG: &str = "mcp__plugin_house-tools-server_house-tools__read_the_console_message";

fn translated(from: &str, to: &str, body: &Value) -> UpstreamPayload {
    let client = Dialect::named(from).unwrap().client;
    let path = "/v1beta/models/m:generateContent";
    let request = client.parse_request(Bytes::from(body.to_string()), path);
    let (to, side) = Dialect::with_upstream(to).unwrap();
    translate(to, side, &request.unwrap(), "m").unwrap()
}

/// A client's request with those tools, each of which was called before; the first is demanded.
fn request(client: &str, names: &[&str]) -> Value {
    let first = names[0];
    let each =
        |make: &dyn Fn(&str) -> Value| names.iter().map(|name| make(name)).collect::<Value>();
    let id = |name: &str| format!("id_{}", names.iter().position(|own| *own == name).unwrap());
    match client {
        "openai-chat" => {
            let results = names
                .iter()
                .map(|name| json!({ "role": "tool", "tool_call_id": id(name), "content": "r" }));
            let mut messages = vec![
                json!({ "role": "user", "content": "go" }),
                json!({ "role": "assistant", "content": null, "tool_calls": each(&|name| json!({
                    "id": id(name), "type": "function", "function": { "name": name, "arguments": "{}" } })) }),
            ];
            messages.extend(results);
            json!({ "model": "m", "messages": messages,
                "tools": each(&|name| json!({ "type": "function", "function": { "name": name } })),
                "tool_choice": { "type": "function", "function": { "name": first } } })
        }
        "openai-responses" => {
            let mut input = vec![json!({ "role": "user", "content": "go" })];
            for name in names {
                input.push(json!({ "type": "function_call", "call_id": id(name), "name": name, "arguments": "{}" }));
            }
            for name in names {
                input.push(
                    json!({ "type": "function_call_output", "call_id": id(name), "output": "r" }),
                );
            }
            json!({ "model": "m", "input": input,
                "tools": each(&|name| json!({ "type": "function", "name": name, "parameters": {} })),
                "tool_choice": { "type": "function", "name": first } })
        }
        "anthropic" => json!({ "model": "m", "max_tokens": 99, "messages": [
                { "role": "user", "content": "go" },
                { "role": "assistant", "content": each(&|name| json!({
                    "type": "tool_use", "id": id(name), "name": name, "input": {} })) },
                { "role": "user", "content": each(&|name| json!({
                    "type": "tool_result", "tool_use_id": id(name), "content": "r" })) } ],
            "tools": each(&|name| json!({ "name": name, "input_schema": { "type": "object" } })),
            "tool_choice": { "type": "tool", "name": first } }),
        "gemini" => json!({ "contents": [
                { "role": "user", "parts": [{ "text": "go" }] },
                { "role": "model", "parts": each(&|name| json!({ "functionCall": { "name": name, "args": {} } })) },
                { "role": "user", "parts": each(&|name| json!({
                    "functionResponse": { "name": name, "response": { "output": "r" } } })) } ],
            "tools": [{ "functionDeclarations": each(&|name| json!({ "name": name })) }],
            "toolConfig": { "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": [first] } } }),
        other => panic!("{other} has no tools"),
    }
}

/// The names that an upstream sees: of its tools, of the calls before, of the results where these
/// have names, and of the tool that is demanded.
fn seen(upstream: &str, body: &[u8]) -> [Vec<String>; 4] {
    let body: Value = serde_json::from_slice(body).unwrap();
    let at = |list: &Value, path: &str| -> Vec<String> {
        let items = list.as_array().unwrap().iter();
        let names = items.filter_map(|item| item.pointer(path)?.as_str());
        names.map(str::to_owned).collect()
    };
    let (tools, calls, results, chosen) = match upstream {
        "openai-chat" => (
            at(&body["tools"], "/function/name"),
            at(&body["messages"][1]["tool_calls"], "/function/name"),
            vec![],
            at(&json!([body["tool_choice"]]), "/function/name"),
        ),
        "openai-responses" => (
            at(&body["tools"], "/name"),
            at(&body["input"], "/name"),
            vec![],
            at(&json!([body["tool_choice"]]), "/name"),
        ),
        "anthropic" => (
            at(&body["tools"], "/name"),
            at(&body["messages"][1]["content"], "/name"),
            vec![],
            at(&json!([body["tool_choice"]]), "/name"),
        ),
        _ => (
            at(&body["tools"][0]["functionDeclarations"], "/name"),
            at(&body["contents"][1]["parts"], "/functionCall/name"),
            at(&body["contents"][2]["parts"], "/functionResponse/name"),
            at(
                &json!([body["toolConfig"]]),
                "/functionCallingConfig/allowedFunctionNames/0",
            ),
        ),
    };
    [tools, calls, results, chosen]
}

const APIS: [&str; 4] = ["openai-chat", "openai-responses", "anthropic", "gemini"];

#[test]
fn every_upstream_gets_names_that_it_takes_the_same_everywhere() {
    let longer = "x".repeat(200);
    let names = [
        LONG,
        "a.b",
        "a:b",
        "a/b",
        "a b",
        "a_b",
        "3d",
        "_x",
        "-x",
        "wetter_für_köln",
        "天气",
        &longer,
    ];
    for from in APIS {
        for to in APIS.into_iter().filter(|to| *to != from) {
            let payload = translated(from, to, &request(from, &names));
            let [tools, calls, results, chosen] = seen(to, &payload.body);
            let case = format!("{from} {to}: {tools:?}");
            assert_eq!(tools, calls, "{case}");
            if to == "gemini" {
                assert_eq!(tools, results, "{case}");
            }
            assert_eq!(chosen, tools[..1], "{case}");
            let different: std::collections::HashSet<&String> = tools.iter().collect();
            assert_eq!(different.len(), names.len(), "{case}");
            let (max, more) = match to {
                "anthropic" => (128, ""),
                "gemini" => (64, ".:"),
                _ => (64, ""),
            };
            for (own, sent) in names.iter().zip(&tools) {
                let takes = |name: &str| {
                    let is_known =
                        |c: char| c.is_ascii_alphanumeric() || "_-".contains(c) || more.contains(c);
                    let starts = |c: char| to != "gemini" || c.is_ascii_alphabetic() || c == '_';
                    name.len() <= max && name.starts_with(starts) && name.chars().all(is_known)
                };
                assert!(takes(sent), "{case}: {sent}");
                assert!(!takes(own) || own == sent, "{case}: {own} fits");
            }
            // The same in another turn, beside other tools.
            for (at, own) in names.iter().enumerate() {
                let alone = translated(from, to, &request(from, &[own]));
                assert_eq!(seen(to, &alone.body)[0], tools[at..=at], "{case}");
            }
        }
    }
}

#[test]
fn a_fitted_name_says_what_it_was() {
    let payload = translated(
        "anthropic",
        "openai-chat",
        &request("anthropic", &[LONG, "a.b"]),
    );
    let [tools, ..] = seen("openai-chat", &payload.body);
    assert!(
        tools[0].starts_with("mcp__plugin_house-tools-server_house-tools__read"),
        "{tools:?}"
    );
    assert_eq!(tools[0].len(), 64);
    assert!(tools[1].starts_with("a_b_"), "{tools:?}");
    // One that another tool has already is not given to a second.
    let clash = request("anthropic", &["a.b", &tools[1]]);
    let payload = translated("anthropic", "openai-chat", &clash);
    let [both, ..] = seen("openai-chat", &payload.body);
    assert_eq!(both[1], tools[1]);
    assert!(
        both[0] != both[1] && both[0].starts_with("a_b_") && both[0].len() <= 64,
        "{both:?}"
    );
}

#[test]
fn the_answer_has_the_clients_own_names() {
    for to in APIS.into_iter().filter(|to| *to != "anthropic") {
        let payload = translated("anthropic", to, &request("anthropic", &[LONG, "plain"]));
        let [tools, ..] = seen(to, &payload.body);
        for (own, sent) in [LONG, "plain", "unheard_of"]
            .into_iter()
            .zip(tools.iter().map(String::as_str).chain(["unheard_of"]))
        {
            let (_, side) = Dialect::with_upstream(to).unwrap();
            let mut calls = Vec::new();
            let mut take = |event: Event<'_>| {
                if let Event::ToolCall { name, .. } = event {
                    calls.push(name.into_owned());
                }
            };
            let mut reader = payload
                .names
                .restore_in(side.event_reader(FinishRule::Required));
            for data in answer(to, sent) {
                reader
                    .read_payload(data.to_string().as_bytes(), Some(&mut take))
                    .unwrap();
            }
            reader.finish_stream(Some(&mut take)).unwrap();
            assert_eq!(calls, [own], "{to}");
        }
    }
}

/// The payloads of an upstream's stream that calls a tool.
fn answer(upstream: &str, name: &str) -> Vec<Value> {
    match upstream {
        "openai-chat" => vec![
            json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [
                { "index": 0, "id": "c1", "function": { "name": name, "arguments": "{}" } }] } }] }),
            json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] }),
        ],
        "openai-responses" => vec![
            json!({ "type": "response.output_item.added", "output_index": 0, "item": {
                "type": "function_call", "id": "f1", "call_id": "c1", "name": name, "arguments": "" } }),
            json!({ "type": "response.output_item.done", "output_index": 0, "item": {
                "type": "function_call", "id": "f1", "call_id": "c1", "name": name, "arguments": "{}" } }),
            json!({ "type": "response.completed", "response": { "status": "completed", "output": [] } }),
        ],
        _ => vec![json!({ "candidates": [{ "content": { "parts": [
            { "functionCall": { "name": name, "args": {} } }] }, "finishReason": "STOP" }] })],
    }
}
