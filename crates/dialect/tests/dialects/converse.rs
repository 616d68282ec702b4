//! Converse, which only upstreams speak.

use bytes::Bytes;
use dialect::event::{Event, FinishReason};
use dialect::request::Request;
use dialect::{Dialect, FinishRule, UpstreamSide, translate};
use serde_json::{Value, json};

use crate::said::Said;

fn converse() -> (&'static Dialect, &'static dyn UpstreamSide) {
    Dialect::with_upstream_of("bedrock-converse", "bedrock-converse").unwrap()
}

fn sent(body: &Value, model: &str) -> Result<(Value, Vec<String>), String> {
    let client = Dialect::named("openai-chat").unwrap().client;
    let request: Request = client
        .parse_request(Bytes::from(body.to_string()), "/v1/chat/completions")
        .unwrap();
    let (dialect, side) = converse();
    let written =
        translate(dialect, side, &request, model).map_err(|failure| failure.to_string())?;
    let body = serde_json::from_slice(&written.body).unwrap();
    Ok((body, written.dropped))
}

/// Reads a stream of these events.
fn stream(events: &[Value]) -> Result<Said, String> {
    let (_, side) = converse();
    let mut reader = side.event_reader(FinishRule::Required);
    let mut said = Said::default();
    for event in events {
        let mut add = |event: Event<'_>| said.add(&event);
        let seen = reader
            .read_payload(event.to_string().as_bytes(), Some(&mut add))
            .map_err(|failure| failure.to_string())?;
        if let Some(failure) = seen.error {
            return Err(failure.to_string());
        }
    }
    let end = reader.finish_stream(None);
    end.map_err(|failure| failure.to_string()).map(|()| said)
}

fn whole(body: &Value) -> Result<Said, String> {
    let (_, side) = converse();
    let mut said = Said::default();
    let mut add = |event: Event<'_>| said.add(&event);
    let parsed = side.parse_answer(
        body.to_string().as_bytes(),
        FinishRule::Required,
        Some(&mut add),
    );
    parsed.map_err(|failure| failure.to_string()).map(|_| said)
}

fn delta(block: u32, delta: &Value) -> Value {
    json!({ "contentBlockDelta": { "contentBlockIndex": block, "delta": delta } })
}

fn end(reason: &str) -> [Value; 2] {
    let usage = json!({ "inputTokens": 5, "outputTokens": 7, "totalTokens": 15,
        "cacheReadInputTokens": 3, "cacheWriteInputTokens": 0 });
    [
        json!({ "messageStop": { "stopReason": reason } }),
        json!({ "metadata": { "usage": usage, "metrics": { "latencyMs": 1 } } }),
    ]
}

#[test]
fn a_stream_and_a_whole_answer_say_the_same() {
    let call = json!({ "toolUseId": "t1", "name": "f" });
    let mut events = vec![
        json!({ "messageStart": { "role": "assistant" } }),
        delta(0, &json!({ "reasoningContent": { "text": "hm" } })),
        delta(0, &json!({ "reasoningContent": { "signature": "c2ln" } })),
        json!({ "contentBlockStop": { "contentBlockIndex": 0 } }),
        delta(1, &json!({ "text": "Hel" })),
        delta(1, &json!({ "text": "lo" })),
        json!({ "contentBlockStop": { "contentBlockIndex": 1 } }),
        json!({ "contentBlockStart": { "contentBlockIndex": 2, "start": { "toolUse": call } } }),
        delta(2, &json!({ "toolUse": { "input": "{\"a\"" } })),
        delta(2, &json!({ "toolUse": { "input": ":1}" } })),
        json!({ "contentBlockStop": { "contentBlockIndex": 2 } }),
    ];
    events.extend(end("tool_use"));
    let answer = json!({ "output": { "message": { "role": "assistant", "content": [
        { "reasoningContent": { "reasoningText": { "text": "hm", "signature": "c2ln" } } },
        { "text": "Hello" },
        { "toolUse": { "toolUseId": "t1", "name": "f", "input": { "a": 1 } } }] } },
        "stopReason": "tool_use", "usage": { "inputTokens": 5, "outputTokens": 7,
            "cacheReadInputTokens": 3 } });
    for said in [stream(&events).unwrap(), whole(&answer).unwrap()] {
        assert_eq!(said.text, "Hello");
        assert_eq!(said.reasoning, "hm");
        assert_eq!(said.states.len(), 1);
        assert_eq!(said.calls(), [("f".to_owned(), json!({ "a": 1 }))]);
        assert_eq!(said.finish, Some(FinishReason::ToolCalls));
        let usage = said.usage.unwrap();
        assert_eq!((usage.input, usage.output, usage.cached), (8, 7, Some(3)));
    }
}

#[test]
fn texts_with_sources_are_read_and_content_without_an_event_is_named() {
    let web = json!({ "title": "T", "sourceContent": [{ "text": "quo" }, { "text": "ted" }],
        "location": { "web": { "url": "https://a.example/b", "domain": "a.example" } } });
    let document = json!({ "title": "D", "location": { "documentPage": { "documentIndex": 0 } } });
    let mut events = vec![
        delta(0, &json!({ "text": "Hel" })),
        delta(0, &json!({ "citation": web })),
        delta(0, &json!({ "citation": document })),
        delta(
            1,
            &json!({ "citationsContent": { "content": [{ "text": "lo" }] } }),
        ),
        json!({ "contentBlockStart": { "contentBlockIndex": 2, "start": { "image": { "format": "png" } } } }),
        delta(3, &json!({ "novelContent": { "a": 1 } })),
        delta(4, &json!({ "reasoningContent": { "novelText": "x" } })),
    ];
    events.extend(end("end_turn"));
    let answer = json!({ "output": { "message": { "role": "assistant", "content": [
        { "citationsContent": { "content": [{ "text": "Hel" }, { "text": "lo" }],
            "citations": [web, document] } },
        { "image": { "format": "png", "source": { "bytes": "AA==" } } },
        { "novelContent": { "a": 1 } },
        { "reasoningContent": { "novelText": "x" } }] } },
        "stopReason": "end_turn" });
    for said in [stream(&events).unwrap(), whole(&answer).unwrap()] {
        assert_eq!(said.text, "Hello");
        let [cited] = &said.citations[..] else {
            panic!("{:?}", said.citations)
        };
        assert_eq!(cited.url, "https://a.example/b");
        assert_eq!((&*cited.title, &*cited.quote), ("T", "quoted"));
        let unsupported = [
            "citation of a document",
            "block `image`",
            "block `novelContent`",
            "reasoning `novelText`",
        ];
        assert_eq!(said.unsupported, unsupported);
    }
}

#[test]
fn input_of_a_call_may_be_an_object_or_its_text_anywhere() {
    let start = |input: &Value| {
        let call = json!({ "toolUseId": "t", "name": "f", "input": input });
        json!({ "contentBlockStart": { "contentBlockIndex": 0, "start": { "toolUse": call } } })
    };
    let object = json!({ "a": { "b": [1] } });
    for input in [object.clone(), object.to_string().into()] {
        let answer = json!({ "output": { "message": { "content": [
            { "toolUse": { "toolUseId": "t", "name": "f", "input": input } }] } },
            "stopReason": "tool_use" });
        let mut in_delta = vec![
            start(&json!({})),
            delta(0, &json!({ "toolUse": { "input": input } })),
        ];
        in_delta.extend(end("tool_use"));
        let mut in_start = vec![start(&input)];
        in_start.extend(end("tool_use"));
        for said in [whole(&answer), stream(&in_delta), stream(&in_start)] {
            let said = said.unwrap();
            assert_eq!(said.calls(), [("f".to_owned(), object.clone())], "{input}");
            assert!(said.tools[0].3, "{input}");
        }
    }
}

#[test]
fn no_answer_is_whole_that_has_no_good_end() {
    let text = delta(0, &json!({ "text": "Hel" }));
    assert!(stream(std::slice::from_ref(&text)).is_err());
    for reason in [
        "malformed_model_output",
        "malformed_tool_use",
        "unheard_of",
        "",
    ] {
        let mut events = vec![text.clone()];
        events.extend(end(reason));
        assert!(stream(&events).is_err(), "{reason}");
    }
    for (reason, finish) in [
        ("end_turn", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("guardrail_intervened", FinishReason::ContentFilter),
        ("content_filtered", FinishReason::ContentFilter),
    ] {
        let mut events = vec![text.clone()];
        events.extend(end(reason));
        assert_eq!(stream(&events).unwrap().finish, Some(finish), "{reason}");
    }
    let error =
        json!({ "type": "error", "error": { "type": "rate_limit_error", "message": "slow" } });
    assert_eq!(stream(&[text, error]).unwrap_err(), "slow");
    assert!(whole(&json!({ "output": { "message": { "content": [{ "text": "Hi" }] } } })).is_err());
    assert!(whole(&json!({ "message": "no such model" })).is_err());
    let half = json!({ "contentBlockStart": { "contentBlockIndex": 0,
        "start": { "toolUse": { "toolUseId": "t", "name": "f" } } } });
    let mut events = vec![half, delta(0, &json!({ "toolUse": { "input": "{\"a\"" } }))];
    events.extend(end("tool_use"));
    assert!(stream(&events).is_err());
}

#[test]
fn a_request_has_what_converse_takes() {
    let body = json!({ "model": "m", "max_tokens": 50, "temperature": 0.5, "seed": 1, "stop": ["x", ""],
        "tool_choice": "required", "response_format": { "type": "json_object" },
        "tools": [{ "type": "function", "function": { "name": "f", "description": "d" } }],
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": [{ "type": "text", "text": "see" },
                { "type": "image_url", "image_url": { "url": "data:image/jpg;base64,AAAA" } }] },
            { "role": "assistant", "tool_calls": [{ "id": "a b", "type": "function",
                "function": { "name": "f", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "a b", "content": "" },
            { "role": "assistant", "content": "So: " }] });
    let (got, dropped) = sent(&body, "amazon.nova-lite-v1:0").unwrap();
    assert_eq!(
        got["inferenceConfig"],
        json!({ "maxTokens": 50, "temperature": 0.5, "stopSequences": ["x"] })
    );
    assert_eq!(got["system"][0]["text"], "Be brief.");
    assert!(got["system"][1]["text"].as_str().unwrap().contains("JSON"));
    assert_eq!(got["toolConfig"]["toolChoice"], json!({ "any": {} }));
    let messages = got["messages"].as_array().unwrap();
    let roles: Vec<&str> = messages
        .iter()
        .map(|m| m["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
    assert_eq!(messages[0]["content"][1]["image"]["format"], "jpeg");
    let id = &messages[1]["content"][0]["toolUse"]["toolUseId"];
    let result = &messages[2]["content"][0]["toolResult"];
    assert_eq!(&result["toolUseId"], id);
    assert!(!result["content"][0]["text"].as_str().unwrap().is_empty());
    assert_eq!(messages[3]["content"][0]["text"], "So:");
    assert!(got.get("model").is_none() && got.get("stream").is_none());
    assert_eq!(
        dropped,
        ["response_format (sent as an instruction)", "seed"]
    );
    let linked = json!({ "model": "m", "messages": [{ "role": "user", "content": [
        { "type": "image_url", "image_url": { "url": "https://a.example/b.png" } }] }] });
    assert!(sent(&linked, "m").unwrap_err().contains("data:"));
}

#[test]
fn only_claude_is_told_how_to_think() {
    let body = json!({ "model": "m", "reasoning_effort": "low",
        "messages": [{ "role": "user", "content": "hi" }] });
    let (got, _) = sent(&body, "eu.anthropic.claude-sonnet-4-5-20250929-v1:0").unwrap();
    let thinking = &got["additionalModelRequestFields"]["thinking"];
    assert_eq!(
        thinking,
        &json!({ "type": "enabled", "budget_tokens": 4096 })
    );
    let (got, dropped) = sent(&body, "amazon.nova-lite-v1:0").unwrap();
    assert!(got.get("additionalModelRequestFields").is_none());
    assert_eq!(dropped, ["reasoning"]);
}

#[test]
fn a_models_name_is_escaped_in_its_address() {
    let (_, side) = converse();
    let path = |stream| {
        let task = dialect::request::Operation::Generate;
        side.request_path(task, "us.amazon.nova-pro-v1:0", stream)
            .unwrap()
    };
    assert_eq!(
        path(true),
        "/model/us.amazon.nova-pro-v1%3A0/converse-stream"
    );
    assert_eq!(path(false), "/model/us.amazon.nova-pro-v1%3A0/converse");
}
