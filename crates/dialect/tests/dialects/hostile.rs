//! Payloads that no upstream should send: an error or a skip, never a panic, and what was right is
//! still there.

use dialect::event::Event;
use dialect::{DIALECTS, Dialect, FinishRule};
use serde_json::{Value, json};

use crate::said::{dialects, meta};
use dialect::request::Request;

/// Payloads that have every field that the dialect's reader knows.
fn samples(dialect: &Dialect) -> Vec<Value> {
    match dialect.name {
        "openai-chat" => vec![
            json!({ "choices": [{ "index": 0, "delta": {
                "role": "assistant", "content": "a", "reasoning_content": "r", "reasoning": "r", "refusal": "no",
                "reasoning_details": [{ "type": "reasoning.text", "text": "r", "signature": "s", "index": 0 }],
                "tool_calls": [{ "index": 0, "id": "c", "type": "function",
                    "function": { "name": "f", "arguments": "{}" } }],
                "function_call": { "name": "g", "arguments": "{}" },
                "annotations": [{ "type": "url_citation", "url_citation": {
                    "url": "u", "title": "t", "start_index": 1, "end_index": 2 } }],
            }, "finish_reason": null }] }),
            json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }], "usage": {
                "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3,
                "prompt_tokens_details": { "cached_tokens": 1 },
                "completion_tokens_details": { "reasoning_tokens": 1 } }, "x_groq": { "usage": { "prompt_tokens": 1 } } }),
            json!({ "error": { "message": "m", "type": "t", "code": 1 } }),
        ],
        "anthropic" => vec![
            json!({ "type": "message_start", "message": { "usage": {
                "input_tokens": 1, "cache_read_input_tokens": 1, "cache_creation_input_tokens": 1, "output_tokens": 1 } } }),
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "thinking", "thinking": "t", "signature": "s" } }),
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "thinking_delta", "thinking": "t" } }),
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "signature_delta", "signature": "s" } }),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({ "type": "content_block_start", "index": 1, "content_block": { "type": "tool_use", "id": "c", "name": "f", "input": { "a": 1 } } }),
            json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "input_json_delta", "partial_json": "{}" } }),
            json!({ "type": "content_block_start", "index": 2, "content_block": { "type": "redacted_thinking", "data": "d" } }),
            json!({ "type": "content_block_start", "index": 3, "content_block": { "type": "text", "text": "a" } }),
            json!({ "type": "content_block_delta", "index": 3, "delta": { "type": "citations_delta", "citation": { "url": "u", "title": "t", "cited_text": "c" } } }),
            json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 2 } }),
            json!({ "type": "error", "error": { "type": "overloaded_error", "message": "m" } }),
        ],
        "openai-responses" => vec![
            json!({ "type": "response.created", "sequence_number": 0, "response": { "id": "resp_1" } }),
            json!({ "type": "response.output_item.added", "output_index": 0, "item": { "id": "fc", "type": "function_call", "call_id": "c", "name": "f", "arguments": "" } }),
            json!({ "type": "response.function_call_arguments.delta", "output_index": 0, "item_id": "fc", "delta": "{" }),
            json!({ "type": "response.function_call_arguments.done", "output_index": 0, "item_id": "fc", "arguments": "{}" }),
            json!({ "type": "response.output_item.added", "output_index": 1, "item": { "id": "rs", "type": "reasoning", "summary": [{ "text": "t" }], "encrypted_content": "e" } }),
            json!({ "type": "response.reasoning_summary_part.added", "output_index": 1, "summary_index": 1 }),
            json!({ "type": "response.reasoning_summary_text.delta", "output_index": 1, "summary_index": 0, "delta": "t" }),
            json!({ "type": "response.output_item.done", "output_index": 1, "item": { "id": "rs", "type": "reasoning", "summary": [{ "text": "t" }], "encrypted_content": "e" } }),
            json!({ "type": "response.output_text.delta", "output_index": 2, "delta": "a" }),
            json!({ "type": "response.refusal.delta", "output_index": 2, "delta": "a" }),
            json!({ "type": "response.output_text.annotation.added", "output_index": 2, "annotation": { "url": "u", "title": "t", "start_index": 1, "end_index": 2 } }),
            json!({ "type": "response.output_item.done", "output_index": 3, "item": { "type": "message", "content": [{ "type": "output_text", "text": "t", "annotations": [] }] } }),
            json!({ "type": "error", "error": { "message": "m", "code": "c" } }),
            json!({ "type": "response.failed", "response": { "error": { "message": "m", "code": "c" } } }),
            json!({ "type": "response.completed", "response": { "status": "completed", "output": [], "incomplete_details": { "reason": "x" }, "usage": {
                "input_tokens": 1, "output_tokens": 2, "input_tokens_details": { "cached_tokens": 1 }, "output_tokens_details": { "reasoning_tokens": 1 } } } }),
        ],
        "gemini" => vec![
            json!({ "candidates": [{ "content": { "role": "model", "parts": [
                { "text": "t", "thought": true, "thoughtSignature": "c2VhbA==" }, { "text": "a", "thoughtSignature": "c2VhbA==" },
                { "functionCall": { "name": "f", "args": { "a": 1 }, "id": "c", "willContinue": true,
                    "partialArgs": [{ "jsonPath": "$.a[0]['b']", "stringValue": "x", "willContinue": true }] } },
            ] }, "groundingMetadata": { "groundingChunks": [{ "web": { "uri": "u", "title": "t" } }] },
                "citationMetadata": { "citationSources": [{ "uri": "u", "startIndex": 1, "endIndex": 2 }] },
                "finishReason": "STOP", "finishMessage": "m", "index": 0 }],
                "usageMetadata": { "promptTokenCount": 1, "candidatesTokenCount": 1, "thoughtsTokenCount": 1, "cachedContentTokenCount": 1, "toolUsePromptTokenCount": 1 },
                "promptFeedback": { "blockReason": "SAFETY" } }),
            json!({ "error": { "code": 503, "message": "m", "status": "UNAVAILABLE" } }),
        ],
        other => panic!("{other} has no samples"),
    }
}

/// Every value in a payload, by its place.
fn places(value: &Value, at: &mut Vec<String>, out: &mut Vec<String>) {
    out.push(at.iter().map(|step| format!("/{step}")).collect());
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.replace('/', "~1"), value))
            .collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(i, value)| (i.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    for (step, value) in inner {
        at.push(step);
        places(value, at, out);
        at.pop();
    }
}

/// Feeds payloads to a reader, and what it makes of them to every writer.
fn feed(dialect: &Dialect, payloads: &[Vec<u8>]) -> Vec<Event<'static>> {
    let mut reader = dialect.upstream.unwrap().event_reader(FinishRule::Required);
    let mut events = Vec::new();
    for payload in payloads {
        match reader.read_payload(payload, Some(&mut |event| events.push(event.into_owned()))) {
            Ok(seen) if seen.error.is_none() && !seen.is_end => {}
            _ => break,
        }
        let _ = reader.read_error(payload);
    }
    let ended = reader.finish_stream(Some(&mut |event| events.push(event.into_owned())));
    for client in DIALECTS {
        let mut writer = client.client.event_writer(meta(Request::prompt("p")));
        let mut frames = 0;
        for event in &events {
            writer.write_event(event, &mut |_, _| frames += 1).unwrap();
        }
        match &ended {
            Ok(()) => writer.write_end(&mut |_, _| frames += 1),
            Err(failure) => writer.write_error(failure, "req_1", &mut |_, _| frames += 1),
        }
        assert!(frames > 0, "a stream ends with a frame");
    }
    events
}

#[test]
fn a_value_of_the_wrong_type_in_any_place_is_an_error_or_a_skip() {
    let wrong = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5e300),
        json!("x"),
        json!([]),
        json!([[]]),
        json!({}),
        json!({ "x": {} }),
    ];
    let mut tried = 0;
    for dialect in dialects() {
        let samples = samples(dialect);
        for (at, sample) in samples.iter().enumerate() {
            let mut all = Vec::new();
            places(sample, &mut Vec::new(), &mut all);
            for place in all {
                for value in &wrong {
                    let mut payloads = samples.clone();
                    *payloads[at].pointer_mut(&place).unwrap() = value.clone();
                    feed(
                        dialect,
                        &payloads
                            .iter()
                            .map(|payload| payload.to_string().into_bytes())
                            .collect::<Vec<_>>(),
                    );
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 1000);
}

#[test]
fn a_field_that_is_missing_is_an_error_or_a_skip() {
    for dialect in dialects() {
        let samples = samples(dialect);
        for (at, sample) in samples.iter().enumerate() {
            let mut all = Vec::new();
            places(sample, &mut Vec::new(), &mut all);
            for place in all.iter().filter(|place| !place.is_empty()) {
                let (parent, name) = place.rsplit_once('/').unwrap();
                let mut payloads = samples.clone();
                if let Some(Value::Object(fields)) = payloads[at].pointer_mut(parent) {
                    fields.remove(name);
                }
                feed(
                    dialect,
                    &payloads
                        .iter()
                        .map(|payload| payload.to_string().into_bytes())
                        .collect::<Vec<_>>(),
                );
            }
        }
    }
}

#[test]
fn payloads_in_any_order_twice_or_cut_are_an_error_or_a_skip() {
    for dialect in dialects() {
        let payloads: Vec<Vec<u8>> = samples(dialect)
            .iter()
            .map(|payload| payload.to_string().into_bytes())
            .collect();
        let mut backwards = payloads.clone();
        backwards.reverse();
        feed(dialect, &backwards);
        feed(
            dialect,
            &payloads
                .iter()
                .flat_map(|payload| [payload.clone(), payload.clone()])
                .collect::<Vec<_>>(),
        );
        for payload in &payloads {
            for end in 0..payload.len() {
                feed(dialect, &[payload[..end].to_vec()]);
            }
        }
        for junk in [
            &b""[..],
            b"null",
            b"[]",
            b"\"x\"",
            b"1",
            b"\xff\xfe",
            b"{\"type\":5}",
            b"[DONE]",
            b"{}",
        ] {
            feed(dialect, &[junk.to_vec()]);
        }
    }
}

#[test]
fn a_piece_of_a_call_that_never_began_is_skipped_and_the_rest_is_there() {
    for (name, payloads) in [
        (
            "openai-chat",
            vec![
                json!({ "choices": [{ "delta": { "tool_calls": [{ "index": 3, "function": { "arguments": "{}" } }] } }] }),
                json!({ "choices": [{ "delta": { "content": "a" }, "finish_reason": "stop" }] }),
            ],
        ),
        (
            "anthropic",
            vec![
                json!({ "type": "content_block_delta", "index": 3, "delta": { "type": "input_json_delta", "partial_json": "{}" } }),
                json!({ "type": "content_block_stop", "index": 3 }),
                json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
                json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "a" } }),
            ],
        ),
        (
            "openai-responses",
            vec![
                json!({ "type": "response.function_call_arguments.delta", "output_index": 3, "delta": "{}" }),
                json!({ "type": "response.function_call_arguments.done", "output_index": 3, "arguments": "{}" }),
                json!({ "type": "response.output_text.delta", "output_index": 0, "delta": "a" }),
            ],
        ),
        (
            "gemini",
            vec![
                json!({ "candidates": [{ "content": { "parts": [{ "functionCall": { "partialArgs": [{ "jsonPath": "$.a", "stringValue": "x" }] } }, { "text": "a" }] } }] }),
            ],
        ),
    ] {
        let dialect = DIALECTS
            .iter()
            .find(|dialect| dialect.name == name)
            .unwrap();
        let events = feed(
            dialect,
            &payloads
                .iter()
                .map(|payload| payload.to_string().into_bytes())
                .collect::<Vec<_>>(),
        );
        assert_eq!(
            events
                .iter()
                .filter(|event| event.has_content())
                .collect::<Vec<_>>(),
            [&Event::Text("a".into())],
            "{name}"
        );
    }
}

#[test]
fn two_calls_of_one_number_are_two_calls() {
    let call = |id: &str, name: &str| json!({ "choices": [{ "delta": { "tool_calls": [{ "index": 0, "id": id, "function": { "name": name, "arguments": "{}" } }] } }] });
    let payloads =
        [call("c1", "f"), call("c2", "g")].map(|payload| payload.to_string().into_bytes());
    let dialect = DIALECTS
        .iter()
        .find(|dialect| dialect.name == "openai-chat")
        .unwrap();
    let calls = feed(dialect, &payloads)
        .into_iter()
        .filter(|event| matches!(event, Event::ToolCall { .. }))
        .count();
    assert_eq!(calls, 2);
}

#[test]
fn a_request_with_a_wrong_type_in_any_place_is_an_error_or_read() {
    let requests = [
        json!({ "model": "m", "messages": [
            { "role": "system", "content": "s" },
            { "role": "user", "content": [{ "type": "text", "text": "t" }, { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA" } }] },
            { "role": "assistant", "content": "a", "reasoning_details": [{ "type": "reasoning.text", "signature": "s" }], "tool_calls": [{ "id": "c", "function": { "name": "f", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "c", "content": "r" } ],
            "tools": [{ "type": "function", "function": { "name": "f", "parameters": {} } }], "tool_choice": { "type": "function", "function": { "name": "f" } },
            "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": {} } }, "stop": ["x"], "stream": true, "n": 1 }),
        json!({ "model": "m", "max_tokens": 10, "system": [{ "type": "text", "text": "s" }], "messages": [
            { "role": "user", "content": [{ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA" } }] },
            { "role": "assistant", "content": [{ "type": "thinking", "thinking": "t", "signature": "s" }, { "type": "tool_use", "id": "c", "name": "f", "input": {} }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c", "content": [{ "type": "text", "text": "r" }], "is_error": true }] } ],
            "tools": [{ "name": "f", "input_schema": {} }], "tool_choice": { "type": "tool", "name": "f" }, "thinking": { "type": "enabled", "budget_tokens": 2000 } }),
        json!({ "model": "m", "instructions": "s", "input": [
            { "role": "user", "content": [{ "type": "input_text", "text": "t" }, { "type": "input_image", "image_url": "https://x/y.png" }] },
            { "type": "reasoning", "id": "rs", "summary": [{ "type": "summary_text", "text": "t" }], "encrypted_content": "e" },
            { "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" },
            { "type": "function_call_output", "call_id": "c", "output": "r" } ],
            "tools": [{ "type": "function", "name": "f", "parameters": {} }], "text": { "format": { "type": "json_schema", "name": "n", "schema": {} } }, "reasoning": { "effort": "low", "summary": "auto" } }),
        json!({ "systemInstruction": { "parts": [{ "text": "s" }] }, "contents": [
            { "role": "user", "parts": [{ "text": "t" }, { "inlineData": { "mimeType": "image/png", "data": "AA" } }] },
            { "role": "model", "parts": [{ "functionCall": { "name": "f", "args": {} }, "thoughtSignature": "AA" }] },
            { "role": "user", "parts": [{ "functionResponse": { "name": "f", "response": { "output": "r" } } }] } ],
            "tools": [{ "functionDeclarations": [{ "name": "f", "parameters": { "type": "OBJECT" } }] }], "toolConfig": { "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": ["f"] } },
            "generationConfig": { "maxOutputTokens": 10, "responseJsonSchema": {}, "thinkingConfig": { "thinkingBudget": 10 } } }),
    ];
    let wrong = [
        json!(null),
        json!(true),
        json!(-1),
        json!("x"),
        json!([]),
        json!([[]]),
        json!({}),
        json!(1e300),
    ];
    let path = "/v1beta/models/m:streamGenerateContent";
    for request in &requests {
        let mut all = Vec::new();
        places(request, &mut Vec::new(), &mut all);
        for (place, value) in all
            .iter()
            .flat_map(|place| wrong.iter().map(move |value| (place, value)))
        {
            let mut request = request.clone();
            *request.pointer_mut(place).unwrap() = value.clone();
            let body = bytes::Bytes::from(request.to_string());
            for dialect in dialects() {
                let Ok(read) = dialect.client.parse_request(body.clone(), path) else {
                    continue;
                };
                for other in dialects() {
                    if let Err(failure) =
                        dialect::translate(other, other.upstream.unwrap(), &read, "m")
                    {
                        assert!(failure.param().is_some(), "{failure} names no field");
                    }
                }
            }
        }
    }
}
