//! Tool calls of Chat Completions, delta by delta.

use dialect::Dialect;
use dialect::event::FinishReason;
use serde_json::{Value, json};

use super::{CALLED, Want, chat, check, stream};
use crate::said::read;

type Calls = &'static [(&'static str, &'static str)];

const ONE: Calls = &[("f", r#"{"a":1}"#)];
const TWO: Calls = &[("f", r#"{"a":1}"#), ("g", r#"{"b":2}"#)];
const TWICE: Calls = &[("f", r#"{"a":1}"#), ("f", r#"{"a":1}"#)];
const EMPTY: Calls = &[("f", "{}")];

/// The oddity of the deltas, the deltas, a line each, and the calls that clients get.
const TABLE: &[(&str, &str, Calls)] = &[
    (
        "neither index nor id, whole, a chunk each",
        r#"
            {"tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1}"}}]}
            {"tool_calls":[{"function":{"name":"g","arguments":"{\"b\":2}"}}]}"#,
        TWO,
    ),
    (
        "index 0 and null ids on both",
        r#"
            {"tool_calls":[{"index":0,"id":null,"function":{"name":"f","arguments":"{\"a\":1}"}}]}
            {"tool_calls":[{"index":0,"id":null,"function":{"name":"g","arguments":"{\"b\":2}"}}]}"#,
        TWO,
    ),
    (
        "index 0 and an id each, in fragments",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":""}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":1}"}}]}
            {"tool_calls":[{"index":0,"id":"2","function":{"name":"g"}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":"{\"b\":"}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":"2}"}}]}"#,
        TWO,
    ),
    (
        "no index, an id on the first delta of each",
        r#"
            {"tool_calls":[{"id":"1","function":{"name":"f","arguments":""}}]}
            {"tool_calls":[{"function":{"arguments":"{\"a\":1}"}}]}
            {"tool_calls":[{"id":"2","function":{"name":"g","arguments":""}}]}
            {"tool_calls":[{"function":{"arguments":"{\"b\":2}"}}]}"#,
        TWO,
    ),
    (
        "both in one list, without index or id, and their fragments too",
        r#"
            {"tool_calls":[{"function":{"name":"f","arguments":""}},{"function":{"name":"g"}}]}
            {"tool_calls":[{"function":{"arguments":"{\"a\":1}"}},{"function":{"arguments":"{\"b\":2}"}}]}"#,
        TWO,
    ),
    (
        "both in one list under index 0",
        r#"
            {"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{\"a\":1}"}},{"index":0,"function":{"name":"g","arguments":"{\"b\":2}"}}]}"#,
        TWO,
    ),
    (
        "the same call twice in one list",
        r#"
            {"tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1}"}},{"function":{"name":"f","arguments":"{\"a\":1}"}}]}"#,
        TWICE,
    ),
    (
        "the same call twice, with ids",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{\"a\":1}"}}]}
            {"tool_calls":[{"index":0,"id":"2","function":{"name":"f","arguments":"{\"a\":1}"}}]}"#,
        TWICE,
    ),
    (
        "the same call twice, whole, without ids",
        r#"
            {"tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1}"}}]}
            {"tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1}"}}]}"#,
        TWICE,
    ),
    (
        "two calls with the same id",
        r#"
            {"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{\"a\":1}"}}]}
            {"tool_calls":[{"index":1,"id":"x","function":{"name":"g","arguments":"{\"b\":2}"}}]}"#,
        TWO,
    ),
    (
        "two calls with the same id and index",
        r#"
            {"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{\"a\":1}"}}]}
            {"tool_calls":[{"index":0,"id":"x","function":{"name":"g","arguments":"{\"b\":2}"}}]}"#,
        TWO,
    ),
    (
        "id and name on each delta",
        r#"
            {"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":""}}]}
            {"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{\"a\""}}]}
            {"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":":1}"}}]}
            {"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":""}}]}"#,
        ONE,
    ),
    (
        "the name on each delta, no id",
        r#"
            {"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}
            {"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{\"a\""}}]}
            {"tool_calls":[{"index":0,"function":{"name":"f","arguments":":1}"}}]}
            {"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}"#,
        ONE,
    ),
    (
        "the same tool again, in fragments, without index or id",
        r#"
            {"tool_calls":[{"function":{"name":"f","arguments":""}}]}
            {"tool_calls":[{"function":{"arguments":"{\"a\":1}"}}]}
            {"tool_calls":[{"function":{"name":"f","arguments":""}}]}
            {"tool_calls":[{"function":{"arguments":"{\"a\":"}}]}
            {"tool_calls":[{"function":{"arguments":"1}"}}]}"#,
        TWICE,
    ),
    (
        "the same tool again, whole, under index 0",
        r#"
            {"tool_calls":[{"index":0,"id":"","function":{"name":"f","arguments":"{\"a\":1}"}}]}
            {"tool_calls":[{"index":0,"id":"","function":{"name":"f","arguments":"{\"a\":1}"}}]}"#,
        TWICE,
    ),
    (
        "another id with each delta",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":""}}]}
            {"tool_calls":[{"index":0,"id":"2","function":{"arguments":"{\"a\""}}]}
            {"tool_calls":[{"index":0,"id":"3","function":{"arguments":":1}"}}]}"#,
        ONE,
    ),
    (
        "the name late",
        r#"
            {"tool_calls":[{"index":0,"id":"1"}]}
            {"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]}
            {"tool_calls":[{"index":0,"function":{"name":"f"}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}"#,
        ONE,
    ),
    (
        "the name after the arguments",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"arguments":"{\"a\":1}"}}]}
            {"tool_calls":[{"index":0,"function":{"name":"f"}}]}"#,
        ONE,
    ),
    (
        "the id late",
        r#"
            {"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}
            {"tool_calls":[{"index":0,"id":"late","function":{"arguments":"{\"a\":"}}]}
            {"tool_calls":[{"index":0,"id":"late","function":{"arguments":"1}"}}]}"#,
        ONE,
    ),
    (
        "the id late, beside the name once more",
        r#"
            {"tool_calls":[{"function":{"name":"f","arguments":""}}]}
            {"tool_calls":[{"id":"late","function":{"name":"f","arguments":"{\"a\":1}"}}]}"#,
        ONE,
    ),
    (
        "the name in pieces",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"get_","arguments":""}}]}
            {"tool_calls":[{"index":0,"function":{"name":"time"}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#,
        &[("get_time", "{}")],
    ),
    (
        "the name in pieces, the id with each",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"get_"}}]}
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"time","arguments":"{}"}}]}"#,
        &[("get_time", "{}")],
    ),
    (
        "a name that grows",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"get_"}}]}
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"get_time","arguments":"{}"}}]}"#,
        &[("get_time", "{}")],
    ),
    (
        "two names without arguments are two calls",
        r#"
            {"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}
            {"tool_calls":[{"index":0,"function":{"name":"g","arguments":"{\"b\":2}"}}]}"#,
        &[("f", "{}"), ("g", r#"{"b":2}"#)],
    ),
    (
        "an empty object first",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{}"}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":" 1}"}}]}"#,
        ONE,
    ),
    (
        "an empty object first, itself as an object",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":{}}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":1}"}}]}"#,
        ONE,
    ),
    (
        "empty objects of both calls first",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{}"}},{"index":1,"id":"2","function":{"name":"g","arguments":"{}"}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":1}"}}]}
            {"tool_calls":[{"index":1,"function":{"arguments":"{\"b\":2}"}}]}"#,
        TWO,
    ),
    (
        "an empty object and nothing else",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{}"}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":""}}]}"#,
        EMPTY,
    ),
    (
        "an empty object twice",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{}"}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#,
        EMPTY,
    ),
    (
        "no arguments",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f"}}]}"#,
        EMPTY,
    ),
    (
        "null arguments",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":null}}]}"#,
        EMPTY,
    ),
    (
        "null arguments in a string",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"null"}}]}"#,
        EMPTY,
    ),
    (
        "the empty list of PHP",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":[]}}]}"#,
        EMPTY,
    ),
    (
        "arguments as an object",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":{"a":1}}}]}"#,
        ONE,
    ),
    (
        "arguments in fragments and then whole",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{\"a\""}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":"{\"a\": 1}"}}]}"#,
        ONE,
    ),
    (
        "the whole call once more under its id",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{\"a\""}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{\"a\": 1}"}}]}"#,
        ONE,
    ),
    (
        "the whole call once more under its index",
        r#"
            {"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{\"a\""}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}
            {"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{\"a\":1}"}}]}"#,
        ONE,
    ),
    (
        "indexes from 1",
        r#"
            {"tool_calls":[{"index":1,"id":"1","function":{"name":"f","arguments":""}}]}
            {"tool_calls":[{"index":1,"function":{"arguments":"{\"a\":1}"}}]}
            {"tool_calls":[{"index":2,"id":"2","function":{"name":"g","arguments":"{\"b\":2}"}}]}"#,
        TWO,
    ),
    (
        "indexes that jump, and as strings",
        r#"
            {"tool_calls":[{"index":"3","id":"1","function":{"name":"f","arguments":""}}]}
            {"tool_calls":[{"index":9.0,"id":"2","function":{"name":"g","arguments":""}}]}
            {"tool_calls":[{"index":"3","function":{"arguments":"{\"a\":1}"}}]}
            {"tool_calls":[{"index":"9","function":{"arguments":"{\"b\":2}"}}]}"#,
        TWO,
    ),
    (
        "interleaved",
        r#"
            {"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":""}},{"index":1,"id":"2","function":{"name":"g"}}]}
            {"tool_calls":[{"index":1,"function":{"arguments":"{\"b\""}}]}
            {"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}
            {"tool_calls":[{"index":1,"function":{"arguments":":2}"}},{"index":0,"function":{"arguments":":1}"}}]}"#,
        TWO,
    ),
    (
        "the older function_call",
        r#"
            {"function_call":{"name":"f","arguments":""}}
            {"function_call":{"arguments":"{\"a\""}}
            {"function_call":{"arguments":":1}"}}"#,
        ONE,
    ),
    (
        "a single call instead of a list",
        r#"
            {"tool_calls":{"id":"1","function":{"name":"f","arguments":"{\"a\":1}"}}}"#,
        ONE,
    ),
];

#[test]
fn tool_call_deltas_in_every_order_and_shape() {
    for (row, deltas, calls) in TABLE {
        let deltas: Vec<Value> = deltas
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let want = Want {
            text: "",
            calls,
            finish: CALLED,
        };
        for finish in ["tool_calls", "stop"] {
            check(&stream("openai-chat", &chat(&deltas, finish)), &want, row);
        }
        // Behind the finish reason.
        let mut late = chat(&[json!({ "content": "" })], "stop");
        late.extend(chat(&deltas, "").into_iter().take(deltas.len()));
        check(&stream("openai-chat", &late), &want, row);
    }
}

/// Returns a delta with these tool calls.
fn calls(calls: Value) -> Value {
    json!({ "tool_calls": calls })
}

#[test]
fn calls_of_chat_that_can_not_be_run_are_errors() {
    let call = |arguments: &str| {
        calls(
            json!([{ "index": 0, "id": "1", "function": { "name": "f", "arguments": arguments } }]),
        )
    };
    for (row, deltas, finish, says) in [
        (
            "cut off within",
            vec![call(r#"{"a":"#)],
            "tool_calls",
            "not whole JSON",
        ),
        ("no JSON", vec![call("{'a': 1}")], "stop", "not whole JSON"),
        (
            "two arguments",
            vec![
                call(r#"{"a":1}"#),
                calls(json!([{ "index": 0, "function": { "arguments": r#"{"a":2}"# } }])),
            ],
            "tool_calls",
            "two different",
        ),
        (
            "no name",
            vec![calls(
                json!([{ "index": 0, "id": "1", "function": { "arguments": "{}" } }]),
            )],
            "tool_calls",
            "without a name",
        ),
        ("none at all", vec![], "tool_calls", "sent none"),
    ] {
        let error = stream("openai-chat", &chat(&deltas, finish)).error;
        assert!(
            error.as_ref().is_some_and(|error| error.contains(says)),
            "{row}: {error:?}"
        );
    }
    // Cut off by the limit on tokens is no error.
    let cut: String = chat(&[call(r#"{"a":"#)], "length")
        .iter()
        .map(|chunk| format!("data: {chunk}\n\n"))
        .collect();
    let dialect = Dialect::named("openai-chat").unwrap();
    let said = read(dialect, std::iter::once(cut.as_bytes()), None);
    assert_eq!(
        (said.error, said.finish),
        (None, Some(FinishReason::Length))
    );
    // An answer of text that promises calls ends as one of text.
    let said = stream(
        "openai-chat",
        &chat(&[json!({ "content": "hi" })], "tool_calls"),
    );
    check(
        &said,
        &Want {
            text: "hi",
            calls: &[],
            finish: FinishReason::Stop,
        },
        "text alone",
    );
}
