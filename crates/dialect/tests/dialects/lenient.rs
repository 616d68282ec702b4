//! Requests in which something is wrong or odd: an upstream of the client's dialect gets them as they
//! are, and for all others it is an error that names the field.

use bytes::Bytes;
use dialect::{Dialect, translate};
use serde_json::{Value, json};

const ODD: &[(&str, &str, &str)] = &[
    (
        "openai-chat",
        r#""messages":[{"role":"user","content":"x"}],"max_tokens":0"#,
        "max_tokens",
    ),
    (
        "openai-chat",
        r#""messages":[{"role":"user","content":"x"}],"max_tokens":"9""#,
        "max_tokens",
    ),
    (
        "openai-chat",
        r#""messages":[{"role":"user","content":"x"}],"temperature":2.5"#,
        "temperature",
    ),
    (
        "openai-chat",
        r#""messages":[{"role":"user","content":"x"}],"n":1000"#,
        "n",
    ),
    (
        "openai-chat",
        r#""messages":[{"role":"user","content":"x"}],"stream_options":[]"#,
        "stream_options",
    ),
    (
        "openai-chat",
        r#""messages":[{"role":"user","content":"x"}],"tools":{}"#,
        "tools",
    ),
    (
        "openai-chat",
        r#""messages":[{"content":"x"}]"#,
        "messages[0].role",
    ),
    ("openai-chat", r#""messages":[]"#, "messages"),
    ("openai-chat", r#""messages":"x""#, "messages"),
    ("openai-chat", r#""prompt":"x""#, "messages"),
    ("openai-responses", r#""input":7"#, "input"),
    (
        "openai-responses",
        r#""input":[{"role":"tool","content":"x"}]"#,
        "input[0].role",
    ),
    (
        "openai-responses",
        r#""input":[{"content":"x"}]"#,
        "input[0]",
    ),
    (
        "openai-responses",
        r#""input":"x","instructions":["y"]"#,
        "instructions",
    ),
    (
        "openai-responses",
        r#""input":"x","max_output_tokens":1.5"#,
        "max_output_tokens",
    ),
    ("openai-responses", r#""input":"x","tools":7"#, "tools"),
    (
        "anthropic",
        r#""messages":[{"role":"developer","content":"x"}]"#,
        "messages[0].role",
    ),
    (
        "anthropic",
        r#""messages":[{"role":"user","content":[{"type":"text","text":7}]}]"#,
        "messages[0].content[0].text",
    ),
    ("anthropic", r#""messages":[],"max_tokens":9"#, "messages"),
    (
        "anthropic",
        r#""messages":[{"role":"user","content":"x"}],"temperature":"hot""#,
        "temperature",
    ),
    ("gemini", r#""contents":"x""#, "contents"),
    (
        "gemini",
        r#""contents":[{"parts":[{"text":"x"}]}],"tools":7"#,
        "tools",
    ),
    (
        "gemini",
        r#""contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"maxOutputTokens":-2}"#,
        "generationConfig.maxOutputTokens",
    ),
];

#[test]
fn what_is_only_passed_on_is_not_judged() {
    for (name, fields, param) in ODD {
        let body = Bytes::from(format!(r#"{{ "model" : "m", {fields} }}"#));
        let (dialect, side) = Dialect::with_upstream(name).unwrap();
        let path = "/v1beta/models/m:generateContent";
        let request = dialect.client.parse_request(body.clone(), path).unwrap();
        assert_eq!(side.pass_through_body(&request, "m").unwrap(), body);
        let other = if *name == "gemini" {
            "anthropic"
        } else {
            "gemini"
        };
        let (other, side) = Dialect::with_upstream(other).unwrap();
        let failure = translate(other, side, &request, "m").unwrap_err();
        assert_eq!(
            (failure.param(), failure.status()),
            (Some(*param), 400),
            "{name} {fields}"
        );
    }
}

#[test]
fn a_body_without_a_model_gets_one_and_nothing_else_changes() {
    for (name, before, after) in [
        (
            "openai-chat",
            r#" { "messages" : [1.0] }"#,
            r#" {"model":"real", "messages" : [1.0] }"#,
        ),
        ("openai-chat", "{}", r#"{"model":"real"}"#),
        (
            "anthropic",
            r#"{"a":{"model":1},"model":null}"#,
            r#"{"a":{"model":1},"model":"real"}"#,
        ),
        (
            "openai-responses",
            r#"{"model" : "","b":2}"#,
            r#"{"model" : "real","b":2}"#,
        ),
    ] {
        let (dialect, side) = Dialect::with_upstream(name).unwrap();
        let request = dialect
            .client
            .parse_request(Bytes::from(before), "")
            .unwrap();
        assert_eq!(request.model, None);
        assert_eq!(side.pass_through_body(&request, "real").unwrap(), after);
    }
}

/// Returns the body that an upstream gets.
fn sent(from: &str, to: &str, body: &str) -> Value {
    let client = Dialect::named(from).unwrap().client;
    let path = "/v1beta/models/m:generateContent";
    let request = client
        .parse_request(Bytes::from(body.to_owned()), path)
        .unwrap();
    let (to, side) = Dialect::with_upstream(to).unwrap();
    let payload = translate(to, side, &request, "m").unwrap();
    serde_json::from_slice(&payload.body).unwrap()
}

#[test]
fn half_an_emoji_is_a_replacement_character_elsewhere() {
    let body = r#"{"messages":[{"role":"user","content":"cut here: \ud83d"}]}"#;
    let body = sent("openai-chat", "anthropic", body);
    assert_eq!(body["messages"][0]["content"], "cut here: \u{fffd}");
    let body = r#"{"instructions":"cut here: \ud83d","input":"x"}"#;
    let body = sent("openai-responses", "openai-chat", body);
    assert_eq!(body["messages"][0]["content"], "cut here: \u{fffd}");
}

#[test]
fn no_limit_of_a_local_server_is_none_elsewhere() {
    for (limit, want) in [
        ("-1", Value::Null),
        ("100.0", json!(100)),
        ("null", Value::Null),
    ] {
        let fields = r#""messages":[{"role":"user","content":"x"}],"max_tokens":"#;
        let body = sent(
            "openai-chat",
            "openai-responses",
            &format!("{{{fields}{limit}}}"),
        );
        assert_eq!(body["max_output_tokens"], want);
    }
}

#[test]
fn arguments_of_a_call_before_are_kept_in_every_type() {
    for arguments in [r#"{"a": 1}"#, r#""{\"a\": 1}""#] {
        for (client, body) in [
            (
                "openai-chat",
                r#"{"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":ARGS}}]}]}"#,
            ),
            (
                "openai-responses",
                r#"{"input":[{"type":"function_call","call_id":"c","name":"f","arguments":ARGS}]}"#,
            ),
            (
                "gemini",
                r#"{"contents":[{"role":"model","parts":[{"functionCall":{"id":"c","name":"f","args":ARGS}}]}]}"#,
            ),
        ] {
            let got = sent(client, "anthropic", &body.replace("ARGS", arguments));
            assert_eq!(
                got["messages"][0]["content"][0]["input"],
                json!({ "a": 1 }),
                "{client}"
            );
        }
        let body = r#"{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"c","name":"f","input":ARGS}]}]}"#;
        let got = sent("anthropic", "gemini", &body.replace("ARGS", arguments));
        assert_eq!(
            got["contents"][0]["parts"][0]["functionCall"]["args"],
            json!({ "a": 1 })
        );
    }
}

#[test]
fn a_json_object_is_asked_of_anthropic_in_words() {
    let body = r#"{"response_format":{"type":"json_object"},"messages":[{"role":"system","content":"s"},{"role":"user","content":"x"}]}"#;
    let got = sent("openai-chat", "anthropic", body);
    assert_eq!(
        got["system"],
        "s\n\nAnswer with one JSON object and nothing else."
    );
}

/// The body that an upstream gets of a Chat client's request with that field.
fn sent_with(to: &str, name: &str, value: &Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    body[name] = value.clone();
    sent("openai-chat", to, &body.to_string())
}

#[test]
fn a_cache_key_that_is_too_long_is_the_same_short_one_every_time() {
    let key = |length: usize, last: &str| {
        let key = format!("{}{last}", "ü".repeat(length - 1));
        let got = sent_with("openai-responses", "prompt_cache_key", &json!(key));
        (
            got["prompt_cache_key"].as_str().unwrap() == key,
            got["prompt_cache_key"].to_string(),
        )
    };
    assert!(key(64, "a").0, "it fits");
    let long = key(65, "a");
    assert!(!long.0 && long.1.len() <= 64, "{}", long.1);
    assert_eq!(long, key(65, "a"));
    assert_ne!(long, key(65, "b"));
}

#[test]
fn a_format_without_a_schema_asks_for_json() {
    let format = json!({ "type": "json_schema", "json_schema": { "name": "n" } });
    let got = sent_with("openai-responses", "response_format", &format);
    assert_eq!(got["text"]["format"], json!({ "type": "json_object" }));
    let got = sent_with("gemini", "response_format", &format);
    assert_eq!(
        got["generationConfig"]["responseMimeType"],
        "application/json"
    );
}

#[test]
fn reasoning_that_is_an_object_is_no_text_and_spaced_placeholders_say_nothing() {
    let call = |arguments: &str| {
        json!({ "delta": { "tool_calls": [{ "index": 0, "id": "c",
        "function": { "name": "f", "arguments": arguments } }] } })
    };
    let choices = [
        json!({ "delta": { "reasoning": { "effort": "low", "tokens": 5 } } }),
        json!({ "delta": { "reasoning": { "type": "x", "content": "hm" } } }),
        json!({ "delta": { "reasoning_content": [{ "text": "hm" }] } }),
        call("{ }"),
        call("{\"a\":1}"),
        json!({ "delta": {}, "finish_reason": "tool_calls" }),
    ];
    let (_, side) = Dialect::with_upstream("openai-chat").unwrap();
    let mut reader = side.event_reader(dialect::FinishRule::Required);
    let mut said = crate::said::Said::default();
    for choice in choices {
        let payload = json!({ "choices": [choice] }).to_string();
        let seen = reader.read_payload(payload.as_bytes(), Some(&mut |event| said.add(&event)));
        assert!(seen.unwrap().error.is_none());
    }
    reader
        .finish_stream(Some(&mut |event| said.add(&event)))
        .unwrap();
    assert_eq!((&*said.text, &*said.reasoning), ("", "hmhm"));
    assert_eq!(said.calls(), [("f".to_owned(), json!({ "a": 1 }))]);
}

#[test]
fn reasoning_among_the_parts_of_a_content_refuses_no_request() {
    let thoughts = [
        json!({ "type": "thinking", "thinking": [{ "type": "text", "text": "hm" }] }),
        json!({ "type": "reasoning", "summary": [{ "type": "summary_text", "text": "hm", "signature": "s" }] }),
    ];
    for thought in thoughts {
        let messages = json!([
            { "role": "user", "content": "hi" },
            { "role": "assistant", "content": [thought, { "type": "text", "text": "said" }] },
            { "role": "user", "content": "and?" },
        ]);
        for to in ["anthropic", "gemini", "openai-responses"] {
            let got = sent_with(to, "messages", &messages).to_string();
            assert!(got.contains("said") && !got.contains("hm"), "{got}");
        }
    }
}
