//! Tool calls, images and usage of Responses, Anthropic and Gemini.

use dialect::event::FinishReason;
use serde_json::{Value, json};

use super::{CALLED, Want, check, stream, whole};

type Calls = &'static [(&'static str, &'static str)];

const ONE: Calls = &[("f", r#"{"a":1}"#)];
const TWO: Calls = &[("f", r#"{"a":1}"#), ("g", r#"{"b":2}"#)];
const EMPTY: Calls = &[("f", "{}")];

/// The oddity of the payloads, the payloads, a line each, and the calls that clients get.
type Row = (&'static str, &'static str, Calls);

/// Without the last event, `response.completed`, whose output is empty unless a row has its own.
const RESPONSES: &[Row] = &[
    (
        "arguments only in their last event",
        r#"
        {"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","id":"i","call_id":"c","name":"f","arguments":""}}
        {"type":"response.function_call_arguments.done","output_index":0,"arguments":"{\"a\":1}"}
        {"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","id":"i","call_id":"c","name":"f","arguments":"{\"a\":1}"}}"#,
        ONE,
    ),
    (
        "arguments only in the last event of the item",
        r#"
        {"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","id":"i","call_id":"c","name":"f","arguments":""}}
        {"type":"response.function_call_arguments.done","output_index":0,"arguments":""}
        {"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","id":"i","call_id":"c","name":"f","arguments":"{\"a\":1}"}}"#,
        ONE,
    ),
    (
        "an item that was never added",
        r#"
        {"type":"response.function_call_arguments.delta","output_index":0,"delta":"{\"a\""}
        {"type":"response.function_call_arguments.delta","output_index":0,"delta":":1}"}
        {"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","id":"i","call_id":"c","name":"f","arguments":"{\"a\":1}"}}"#,
        ONE,
    ),
    (
        "calls only in the whole response",
        r#"
        {"type":"response.completed","response":{"status":"completed","output":[{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"},{"type":"function_call","call_id":"d","name":"g","arguments":"{\"b\":2}"}]}}"#,
        TWO,
    ),
    (
        "arguments only in the whole response",
        r#"
        {"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f"}}
        {"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f","arguments":""}}
        {"type":"response.completed","response":{"status":"completed","output":[{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"}]}}"#,
        ONE,
    ),
    (
        "the end of the arguments only in the item",
        r#"
        {"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f"}}
        {"type":"response.function_call_arguments.delta","output_index":0,"delta":"{\"a\""}
        {"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"}}"#,
        ONE,
    ),
    (
        "an empty object first",
        r#"
        {"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}}
        {"type":"response.function_call_arguments.delta","output_index":0,"delta":"{}"}
        {"type":"response.function_call_arguments.delta","output_index":0,"delta":"{\"a\":1}"}"#,
        ONE,
    ),
    (
        "arguments as an object",
        r#"
        {"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f","arguments":{"a":1}}}"#,
        ONE,
    ),
    (
        "null arguments",
        r#"
        {"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f","arguments":null}}"#,
        EMPTY,
    ),
    (
        "no ids of calls",
        r#"
        {"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","name":"f","arguments":"{\"a\":1}"}}
        {"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","name":"g","arguments":"{\"b\":2}"}}
        {"type":"response.completed","response":{"status":"completed","output":[{"type":"function_call","name":"f","arguments":"{\"a\":1}"},{"type":"function_call","name":"g","arguments":"{\"b\":2}"}]}}"#,
        TWO,
    ),
    (
        "the same id of both calls",
        r#"
        {"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"}}
        {"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","call_id":"c","name":"g","arguments":"{\"b\":2}"}}"#,
        TWO,
    ),
];

/// Between `message_start` and `message_stop`.
const ANTHROPIC: &[Row] = &[
    (
        "the input when the block starts",
        r#"
        {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"c","name":"f","input":{"a":1}}}
        {"type":"content_block_stop","index":0}"#,
        ONE,
    ),
    (
        "the input when the block starts, and in fragments",
        r#"
        {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"c","name":"f","input":{"a":1}}}
        {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}
        {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"1}"}}
        {"type":"content_block_stop","index":0}"#,
        ONE,
    ),
    (
        "the input as a string",
        r#"
        {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"c","name":"f","input":"{\"a\":1}"}}
        {"type":"content_block_stop","index":0}"#,
        ONE,
    ),
    (
        "a fragment as an object",
        r#"
        {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"c","name":"f","input":{}}}
        {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":{"a":1}}}
        {"type":"content_block_stop","index":0}"#,
        ONE,
    ),
    (
        "an empty object first",
        r#"
        {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"c","name":"f","input":{}}}
        {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}
        {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}}
        {"type":"content_block_stop","index":0}"#,
        ONE,
    ),
    (
        "no fragments, or null and empty ones",
        r#"
        {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"c","name":"f","input":null}}
        {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}
        {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":null}}
        {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta"}}
        {"type":"content_block_stop","index":0}"#,
        EMPTY,
    ),
    (
        "blocks that never stop, under one index",
        r#"
        {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"c","name":"f","input":{}}}
        {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}}
        {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"d","name":"g","input":{}}}
        {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"b\":2}"}}"#,
        TWO,
    ),
    (
        "no ids",
        r#"
        {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","name":"f","input":{"a":1}}}
        {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","name":"g","input":{"b":2}}}"#,
        TWO,
    ),
];

/// The parts of the candidate, a payload each, before the one with the finish reason.
const GEMINI: &[Row] = &[
    (
        "calls without ids",
        r#"
        [{"functionCall":{"name":"f","args":{"a":1}}},{"functionCall":{"name":"g","args":{"b":2}}}]"#,
        TWO,
    ),
    (
        "null args",
        r#"[{"functionCall":{"name":"f","args":null}}]"#,
        EMPTY,
    ),
    ("no args", r#"[{"functionCall":{"name":"f"}}]"#, EMPTY),
    (
        "args as a string",
        r#"[{"functionCall":{"name":"f","args":"{\"a\":1}"}}]"#,
        ONE,
    ),
    (
        "a part alone",
        r#"{"functionCall":{"name":"f","args":{"a":1}}}"#,
        ONE,
    ),
    (
        "leaf by leaf, the name each time",
        r#"
        [{"functionCall":{"name":"f","willContinue":true}}]
        [{"functionCall":{"name":"f","partialArgs":[{"jsonPath":"$.a","numberValue":1}],"willContinue":true}}]
        [{"functionCall":{"name":"f"}}]
        [{"functionCall":{}}]"#,
        ONE,
    ),
    (
        "leaf by leaf, without an end",
        r#"
        [{"functionCall":{"name":"f","willContinue":true}}]
        [{"functionCall":{"partialArgs":[{"jsonPath":"$.a","numberValue":1}],"willContinue":true}}]
        [{"functionCall":{"name":"g","args":{"b":2}}}]"#,
        TWO,
    ),
];

fn lines(payloads: &str) -> Vec<Value> {
    let lines = payloads.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn want(calls: Calls) -> Want {
    Want {
        text: "",
        calls,
        finish: CALLED,
    }
}

#[test]
fn tool_calls_of_responses() {
    for (row, payloads, calls) in RESPONSES {
        let mut payloads = lines(payloads);
        if payloads.last().unwrap()["type"] != "response.completed" {
            payloads.push(
                json!({ "type": "response.completed", "response": { "status": "completed", "output": [] } }),
            );
        }
        check(&stream("openai-responses", &payloads), &want(calls), row);
        let response = &payloads.last().unwrap()["response"];
        if response["output"] != json!([]) {
            let said = whole("openai-responses", response).unwrap();
            assert_eq!(said.tools.len(), calls.len(), "{row}");
        }
    }
    let error = |arguments: &str, name: &str| {
        let item = json!({ "type": "function_call", "call_id": "c", "name": name, "arguments": arguments });
        let response = json!({ "status": "completed", "output": [item] });
        assert!(whole("openai-responses", &response).is_err());
        let completed = json!({ "type": "response.completed", "response": response });
        stream("openai-responses", &[completed]).error.unwrap()
    };
    assert!(error(r#"{"a":"#, "f").contains("not whole JSON"));
    assert!(error("{}", "").contains("without a name"));
}

#[test]
fn tool_calls_of_anthropic() {
    let start = json!({ "type": "message_start", "message": { "usage": { "input_tokens": 1 } } });
    let end = |reason: &str| {
        let delta = json!({ "type": "message_delta", "delta": { "stop_reason": reason }, "usage": { "output_tokens": 1 } });
        [delta, json!({ "type": "message_stop" })]
    };
    let said = |blocks: Vec<Value>, reason: &str| {
        let payloads = [vec![start.clone()], blocks, end(reason).into()].concat();
        stream("anthropic", &payloads)
    };
    for (row, payloads, calls) in ANTHROPIC {
        for reason in ["tool_use", "end_turn"] {
            check(&said(lines(payloads), reason), &want(calls), row);
        }
    }
    let orphan = r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#;
    let cut = r#"
        {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"c","name":"f","input":{}}}
        {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}
        {"type":"content_block_stop","index":0}"#;
    for (payloads, says) in [
        (orphan, "never started"),
        (cut, "not whole JSON"),
        ("", "sent none"),
    ] {
        let error = said(lines(payloads), "tool_use").error.unwrap();
        assert!(error.contains(says), "{error}");
    }
    // Content that came with the start of the message.
    let start = json!({ "type": "message_start", "message": { "content": [{ "type": "text", "text": "hi" }] } });
    let [delta, stop] = end("end_turn");
    let said = stream("anthropic", &[start, delta, stop]);
    assert_eq!(
        (said.text.as_str(), said.finish),
        ("hi", Some(FinishReason::Stop))
    );
    let body = json!({ "content": [{ "type": "tool_use", "id": "c", "name": "f", "input": null }], "stop_reason": "tool_use" });
    let said = whole("anthropic", &body).unwrap();
    assert_eq!(said.calls(), [("f".to_owned(), json!({}))]);
}

#[test]
fn tool_calls_of_gemini() {
    let part = |parts: &Value| json!({ "candidates": [{ "content": { "parts": parts } }] });
    let end = |reason: &str| json!({ "candidates": [{ "content": { "parts": [{ "text": "" }] }, "finishReason": reason }] });
    for (row, parts, calls) in GEMINI {
        let mut payloads: Vec<Value> = lines(parts).iter().map(part).collect();
        payloads.push(end("STOP"));
        check(&stream("gemini", &payloads), &want(calls), row);
        // The finish reason first.
        payloads.rotate_right(1);
        check(&stream("gemini", &payloads), &want(calls), row);
    }
    for parts in [
        json!([{ "functionCall": { "args": { "a": 1 } } }]),
        json!([{ "functionCall": { "name": "f", "args": "no" } }]),
    ] {
        let said = stream("gemini", &[part(&parts), end("STOP")]);
        assert!(said.error.is_some(), "{parts}");
    }
}

#[test]
fn images_and_what_has_no_place() {
    const URL: &str = "data:image/png;base64,AAAA";
    let image = json!({ "inlineData": { "mimeType": "image/png", "data": "AAAA" } });
    let answer = json!({ "candidates": [{ "finishReason": "STOP", "content": { "parts": [
        { "text": "see" }, image, { "executableCode": { "code": "1" } }, { "inlineData": { "mimeType": "audio/wav", "data": "AA" } },
    ] } }] });
    let item = json!({ "type": "image_generation_call", "id": "i", "status": "completed", "result": "AAAA", "output_format": "png" });
    let search = json!({ "type": "web_search_call", "id": "w" });
    let response = json!({ "status": "completed", "output": [
        { "type": "message", "content": [{ "type": "output_text", "text": "see" }] }, item, search,
    ] });
    let done = |at: u32, item: &Value| json!({ "type": "response.output_item.done", "output_index": at, "item": item });
    let completed = json!({ "type": "response.completed", "response": response });
    let all = [
        done(0, &response["output"][0]),
        done(1, &item),
        done(2, &search),
        completed.clone(),
    ];
    for said in [
        stream("gemini", std::slice::from_ref(&answer)),
        whole("gemini", &answer).unwrap(),
        stream("openai-responses", &all),
        stream("openai-responses", &[completed]),
        whole("openai-responses", &response).unwrap(),
    ] {
        assert_eq!(
            (said.text.as_str(), said.images.as_slice()),
            ("see", &[URL.to_owned()][..])
        );
        assert!(!said.unsupported.is_empty());
    }
}

#[test]
fn usage_in_odd_types() {
    let answer = |usage: Value| json!({ "candidates": [{ "content": { "parts": [{ "text": "hi" }] }, "finishReason": "STOP" }], "usageMetadata": usage });
    for usage in [
        json!({ "promptTokenCount": 19.0, "candidatesTokenCount": "13", "cachedContentTokenCount": null }),
        json!({ "candidatesTokenCount": 10, "thoughtsTokenCount": 3, "totalTokenCount": 32 }),
    ] {
        let usage = stream("gemini", &[answer(usage)]).usage.unwrap();
        assert_eq!((usage.input, usage.output), (19, 13));
    }
    let response = json!({ "status": "completed", "output": [], "usage": { "input_tokens": "19", "output_tokens": 13.0, "input_tokens_details": [] } });
    let usage = whole("openai-responses", &response).unwrap().usage.unwrap();
    assert_eq!((usage.input, usage.output), (19, 13));
    let payloads = [
        json!({ "type": "message_start", "message": { "usage": { "input_tokens": 19.0, "output_tokens": 1 } } }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "input_tokens": 0, "output_tokens": "13" } }),
        json!({ "type": "message_stop" }),
    ];
    let usage = stream("anthropic", &payloads).usage.unwrap();
    assert_eq!((usage.input, usage.output), (19, 13));
}

#[test]
fn pieces_that_name_their_item_by_id_here_and_by_index_there_are_of_one_item() {
    let message = json!({ "type": "message", "id": "m1", "role": "assistant",
        "content": [{ "type": "output_text", "text": "Hello" }] });
    let call = json!({ "type": "function_call", "id": "f1", "call_id": "c", "name": "f",
        "arguments": r#"{"a":1}"# });
    let added = |index: u64, item: &Value| {
        let mut begun = item.clone();
        begun["content"] = json!([]);
        begun["arguments"] = "".into();
        json!({ "type": "response.output_item.added", "output_index": index, "item": begun })
    };
    let done = |index: u64, item: &Value| json!({ "type": "response.output_item.done", "output_index": index, "item": item });
    let text = json!({ "type": "response.output_text.delta", "item_id": "m1", "delta": "Hello" });
    let arguments = json!({ "type": "response.function_call_arguments.delta", "item_id": "f1",
        "delta": r#"{"a":1}"# });
    let end = json!({ "type": "response.completed", "response": { "status": "completed",
        "output": [message, call] } });
    let announced = [
        added(0, &message),
        text.clone(),
        done(0, &message),
        added(1, &call),
        arguments.clone(),
        done(1, &call),
        end.clone(),
    ];
    let unannounced = [
        text,
        done(0, &message),
        added(1, &call),
        arguments,
        done(1, &call),
        end,
    ];
    for payloads in [&announced[..], &unannounced[..]] {
        let said = stream("openai-responses", payloads);
        assert_eq!(said.text, "Hello", "{payloads:?}");
        assert_eq!(said.calls(), [("f".to_owned(), json!({ "a": 1 }))]);
    }
}

#[test]
fn an_incomplete_response_is_incomplete_without_a_status_too() {
    for response in [
        json!({}),
        json!({ "status": null, "incomplete_details": null }),
    ] {
        let said = stream(
            "openai-responses",
            &[
                json!({ "type": "response.output_text.delta", "output_index": 0, "delta": "Hel" }),
                json!({ "type": "response.incomplete", "response": response }),
            ],
        );
        assert_eq!(said.finish, Some(FinishReason::Length));
    }
}
