//! A stream put together as the whole answer of the same dialect, with all that the stream had.

use std::sync::Arc;

use bytes::Bytes;
use dialect::event::Event;
use dialect::{Answer, Dialect, FinishRule, ResponseMeta};
use serde_json::{Value, json};

/// Puts a stream together as the server does.
fn fold(name: &str, payloads: &[Value]) -> Value {
    let (dialect, side) = Dialect::with_upstream(name).unwrap();
    let (mut reader, mut folder) = (
        side.event_reader(FinishRule::Required),
        side.answer_folder().unwrap(),
    );
    let mut answer = Answer::default();
    for payload in payloads {
        let payload = payload.to_string();
        let seen = reader.read_payload(
            payload.as_bytes(),
            Some(&mut |event: Event<'_>| answer.add(&event)),
        );
        assert!(seen.unwrap().error.is_none(), "{payload}");
        folder.add_payload(payload.as_bytes());
    }
    reader
        .finish_stream(Some(&mut |event| answer.add(&event)))
        .unwrap();
    let body =
        json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "max_tokens": 9 });
    let request = dialect
        .client
        .parse_request(Bytes::from(body.to_string()), "/")
        .unwrap();
    let meta = ResponseMeta {
        request: Arc::new(request),
        ..ResponseMeta::for_error()
    };
    let whole = folder.complete(dialect.client.encode_answer(&answer, &meta));
    serde_json::from_slice(&whole).unwrap()
}

fn chunk(choices: Value) -> Value {
    json!({ "id": "up", "object": "chat.completion.chunk", "created": 7, "model": "up-model",
        "system_fingerprint": "fp", "service_tier": "priority", "provider": { "name": "p" },
        "choices": choices, "usage": null })
}

fn token(text: &str) -> Value {
    json!({ "token": text, "logprob": -0.5, "bytes": null, "top_logprobs": [] })
}

#[test]
fn a_whole_chat_answer_has_all_that_the_chunks_had() {
    let delta = |index: u32, delta: Value, text: &str| {
        json!({ "index": index, "delta": delta, "finish_reason": null,
            "logprobs": { "content": [token(text)], "refusal": null } })
    };
    let detail = |text: &str, signature: Value| json!([{ "type": "reasoning.text", "format": "f", "index": 0, "text": text, "signature": signature }]);
    let call = |call: Value| json!([{ "index": 0, "delta": { "tool_calls": [call] }, "finish_reason": null }]);
    let cited = json!({ "type": "url_citation", "url_citation": { "url": "u", "title": "t" } });
    let got = fold(
        "openai-chat",
        &[
            chunk(json!([
                delta(0, json!({ "role": "assistant", "content": "Hel" }), "Hel"),
                delta(1, json!({ "role": "assistant", "content": "Wor" }), "Wor")
            ])),
            chunk(json!([delta(
                0,
                json!({ "role": "assistant", "content": "lo",
            "reasoning_details": detail("th", Value::Null), "reasoning": "th" }),
                "lo"
            )])),
            chunk(
                json!([{ "index": 0, "delta": { "reasoning_details": detail("ink", json!("sig")),
            "reasoning": "ink", "annotations": [cited] } }]),
            ),
            chunk(json!([delta(
                1,
                json!({ "content": "ld", "tool_calls": [
            { "index": 0, "id": "c", "type": "function", "function": { "name": "f", "arguments": "{\"a\"" } }] }),
                "ld"
            )])),
            chunk(
                json!([{ "index": 1, "delta": { "tool_calls": [{ "index": 0, "function": { "arguments": ":1}" } }] } }]),
            ),
            chunk(call(
                json!({ "index": 0, "id": "c0", "type": "function", "function": { "name": "g", "arguments": "" },
            "extra_content": { "google": { "thought_signature": "seal" } } }),
            )),
            chunk(call(
                json!({ "index": 0, "function": { "arguments": "{}" } }),
            )),
            chunk(
                json!([{ "index": 0, "delta": {}, "finish_reason": "tool_calls", "native_finish_reason": "TOOL" },
            { "index": 1, "delta": {}, "finish_reason": "tool_calls" }]),
            ),
            json!({ "id": "", "model": "", "choices": [], "usage": { "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3,
            "completion_tokens_details": { "accepted_prediction_tokens": 1 }, "cost": 0.5 } }),
        ],
    );
    for (field, value) in [
        ("id", json!("up")),
        ("object", json!("chat.completion")),
        ("model", json!("up-model")),
        ("system_fingerprint", json!("fp")),
        ("service_tier", json!("priority")),
        ("provider", json!({ "name": "p" })),
    ] {
        assert_eq!(got[field], value, "{field}");
    }
    assert_eq!(
        got["usage"]["completion_tokens_details"]["accepted_prediction_tokens"],
        1
    );
    assert_eq!(
        (&got["usage"]["cost"], &got["usage"]["total_tokens"]),
        (&json!(0.5), &json!(3))
    );
    let first = &got["choices"][0];
    assert_eq!(
        first["logprobs"]["content"],
        json!([token("Hel"), token("lo")])
    );
    assert_eq!(first["native_finish_reason"], "TOOL");
    let message = &first["message"];
    assert_eq!(
        (&message["role"], &message["content"]),
        (&json!("assistant"), &json!("Hello"))
    );
    assert_eq!(message["reasoning"], "think");
    assert_eq!(message["reasoning_details"], detail("think", json!("sig")));
    assert!(message.get("reasoning_content").is_none(), "{message}");
    assert_eq!(message["annotations"], json!([cited]));
    assert_eq!(
        message["tool_calls"],
        json!([{ "id": "c0", "type": "function",
        "function": { "name": "g", "arguments": "{}" },
        "extra_content": { "google": { "thought_signature": "seal" } } }])
    );
    let second = &got["choices"][1];
    assert_eq!(
        (&second["index"], &second["message"]["content"]),
        (&json!(1), &json!("World"))
    );
    assert_eq!(
        second["message"]["tool_calls"],
        json!([{ "id": "c", "type": "function",
        "function": { "name": "f", "arguments": "{\"a\":1}" } }])
    );
    assert_eq!(
        second["logprobs"]["content"],
        json!([token("Wor"), token("ld")])
    );
    assert_eq!(got["choices"].as_array().unwrap().len(), 2);
}

#[test]
fn odd_chunks_are_told_as_their_events_are() {
    let got = fold(
        "openai-chat",
        &[
            json!({ "choices": [{ "delta": { "content": [{ "type": "thinking", "thinking": [{ "type": "text", "text": "hm" }] }] } }] }),
            json!({ "choices": [{ "delta": { "content": "Hi", "tool_calls": [
            { "function": { "name": "f", "arguments": { "a": 1 } } }, { "function": { "name": "g", "arguments": {} } }] },
            "finish_reason": "stop" }], "citations": ["https://a.example"] }),
        ],
    );
    let message = &got["choices"][0]["message"];
    assert!(message.get("annotations").is_none(), "{got}");
    assert_eq!(got["citations"], json!(["https://a.example"]));
    assert_eq!(
        (&message["content"], &message["reasoning_content"]),
        (&json!("Hi"), &json!("hm"))
    );
    assert_eq!(
        message["tool_calls"][0]["function"]["arguments"],
        "{\"a\":1}"
    );
    assert!(message["tool_calls"][1]["id"].is_string());
    assert_eq!(got["choices"][0]["finish_reason"], "tool_calls");
}

fn start(index: u32, block: Value) -> Value {
    json!({ "type": "content_block_start", "index": index, "content_block": block })
}

fn delta(index: u32, delta: Value) -> Value {
    json!({ "type": "content_block_delta", "index": index, "delta": delta })
}

fn message(blocks: Vec<Value>, reason: &str) -> Value {
    let mut payloads = vec![
        json!({ "type": "message_start", "message": { "id": "msg_up", "type": "message",
        "role": "assistant", "model": "up-model", "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": { "input_tokens": 5, "output_tokens": 1, "service_tier": "standard" } } }),
    ];
    payloads.extend(blocks);
    payloads.push(json!({ "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null,
        "container": { "id": "k" } }, "usage": { "output_tokens": 9, "server_tool_use": { "web_search_requests": 1 } } }));
    payloads.push(json!({ "type": "message_stop" }));
    fold("anthropic", &payloads)
}

#[test]
fn a_whole_message_has_all_blocks_that_were_streamed() {
    let cited = json!({ "type": "page_location", "cited_text": "c", "document_index": 0 });
    let result = json!({ "type": "web_search_tool_result", "tool_use_id": "s", "content": [{ "type": "web_search_result", "url": "u" }] });
    let got = message(
        vec![
            start(
                0,
                json!({ "type": "thinking", "thinking": "", "signature": "" }),
            ),
            delta(0, json!({ "type": "thinking_delta", "thinking": "hm" })),
            delta(0, json!({ "type": "signature_delta", "signature": "sig" })),
            start(
                1,
                json!({ "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} }),
            ),
            delta(
                1,
                json!({ "type": "input_json_delta", "partial_json": "{\"query\":" }),
            ),
            delta(
                1,
                json!({ "type": "input_json_delta", "partial_json": "\"q\"}" }),
            ),
            start(2, result.clone()),
            start(3, json!({ "type": "text", "text": "" })),
            delta(3, json!({ "type": "text_delta", "text": "Hel" })),
            delta(3, json!({ "type": "citations_delta", "citation": cited })),
            delta(3, json!({ "type": "text_delta", "text": "lo" })),
            start(
                4,
                json!({ "type": "tool_use", "id": "t", "name": "f", "input": {} }),
            ),
            delta(
                4,
                json!({ "type": "input_json_delta", "partial_json": "{\"a\":1}" }),
            ),
        ],
        "pause_turn",
    );
    assert_eq!(
        got["content"],
        json!([
            { "type": "thinking", "thinking": "hm", "signature": "sig" },
            { "type": "server_tool_use", "id": "s", "name": "web_search", "input": { "query": "q" } },
            result,
            { "type": "text", "text": "Hello", "citations": [cited] },
            { "type": "tool_use", "id": "t", "name": "f", "input": { "a": 1 } },
        ])
    );
    assert_eq!(
        (&got["id"], &got["model"]),
        (&json!("msg_up"), &json!("up-model"))
    );
    assert_eq!(
        (&got["stop_reason"], &got["container"]["id"]),
        (&json!("pause_turn"), &json!("k"))
    );
    let usage = json!({ "input_tokens": 5, "output_tokens": 9, "service_tier": "standard",
        "server_tool_use": { "web_search_requests": 1 } });
    assert_eq!(got["usage"], usage);
}

#[test]
fn a_call_that_was_cut_is_left_out_and_odd_blocks_are_told_as_their_events_are() {
    let cut = message(
        vec![
            start(0, json!({ "type": "text", "text": "Hi" })),
            start(
                1,
                json!({ "type": "tool_use", "id": "t", "name": "f", "input": {} }),
            ),
            delta(
                1,
                json!({ "type": "input_json_delta", "partial_json": "{\"a\":" }),
            ),
        ],
        "max_tokens",
    );
    assert_eq!(cut["content"], json!([{ "type": "text", "text": "Hi" }]));
    let unbegun = message(
        vec![delta(0, json!({ "type": "text_delta", "text": "Hi" }))],
        "end_turn",
    );
    assert_eq!(unbegun["content"][0]["text"], "Hi");
    let waiting = message(
        vec![start(
            0,
            json!({ "type": "tool_use", "id": "t", "name": "f", "input": { "a": 1 } }),
        )],
        "end_turn",
    );
    assert_eq!(
        (&waiting["stop_reason"], &waiting["content"][0]["input"]),
        (&json!("tool_use"), &json!({ "a": 1 }))
    );
}

#[test]
fn the_size_of_what_is_collected_is_known() {
    let long = "x".repeat(1000);
    for (name, first, piece) in [
        (
            "openai-chat",
            json!({}),
            chunk(json!([{ "index": 1, "delta": { "content": long } }])),
        ),
        (
            "openai-chat",
            json!({}),
            chunk(json!([{ "index": 0, "delta": { "novel": [{ "text": long }] } }])),
        ),
        (
            "openai-chat",
            json!({}),
            chunk(json!([{ "index": 0, "logprobs": { "content": [token(&long)] } }])),
        ),
        (
            "anthropic",
            start(0, json!({ "type": "novel" })),
            delta(0, json!({ "novel": long })),
        ),
        (
            "anthropic",
            start(0, json!({ "type": "text" })),
            delta(0, json!({ "citation": { "text": long } })),
        ),
        (
            "anthropic",
            start(0, json!({ "type": "tool_use" })),
            delta(0, json!({ "partial_json": long })),
        ),
    ] {
        let (_, side) = Dialect::with_upstream(name).unwrap();
        let mut folder = side.answer_folder().unwrap();
        folder.add_payload(first.to_string().as_bytes());
        for _ in 0..50 {
            folder.add_payload(piece.to_string().as_bytes());
        }
        assert!(
            (50_000..100_000).contains(&folder.size()),
            "{name} {}: {piece}",
            folder.size()
        );
    }
    // What each chunk repeats is held once.
    let mut folder = Dialect::with_upstream("openai-chat")
        .unwrap()
        .1
        .answer_folder()
        .unwrap();
    for _ in 0..50 {
        folder.add_payload(
            chunk(json!([{ "index": 0, "novel": long }]))
                .to_string()
                .as_bytes(),
        );
    }
    assert!(folder.size() < 3000, "{}", folder.size());
}
