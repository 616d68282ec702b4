//! Payloads in the shapes of thirty providers: each is a trap that some gateway fell into.

#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;

use super::*;
use crate::event::{Event, Usage};
use crate::json::with_model;
use crate::request::Role;
use crate::{Answer, EventReader as _, EventWriter as _, FinishRule, PayloadInfo};

fn read(reader: &mut ChatEventReader, data: &str) -> (PayloadInfo, Vec<Event<'static>>) {
    let mut events = Vec::new();
    let mut sink = |event: Event<'_>| events.push(event.into_owned());
    let seen = reader
        .read_payload(data.as_bytes(), Some(&mut sink))
        .unwrap();
    (seen, events)
}

fn events(chunks: &[&str]) -> Vec<Event<'static>> {
    let mut reader = ChatEventReader::new(FinishRule::Required);
    let mut events: Vec<_> = chunks
        .iter()
        .flat_map(|chunk| read(&mut reader, chunk).1)
        .collect();
    let mut sink = |event: Event<'_>| events.push(event.into_owned());
    // Many of these streams are only a piece of one.
    let _ = reader.finish_stream(Some(&mut sink));
    events
}

fn meta() -> ResponseMeta {
    ResponseMeta {
        created: 1,
        model: "m".to_owned(),
        request: std::sync::Arc::new(Request {
            include_usage: true,
            ..Request::default()
        }),
        ..ResponseMeta::for_error()
    }
}

#[test]
fn text_in_every_shape_is_text() {
    for (delta, want) in [
        (
            r#"{"content":"a\"\u00e9"}"#,
            vec![Event::Text("a\"é".into())],
        ),
        (r#"{"role":"assistant","content":null}"#, vec![]),
        (r#"{"content":""}"#, vec![]),
        (
            r#"{"reasoning_content":"r"}"#,
            vec![Event::Reasoning("r".into())],
        ),
        // The same reasoning in two fields is emitted once.
        (
            r#"{"reasoning":"r","reasoning_content":"r"}"#,
            vec![Event::Reasoning("r".into())],
        ),
        (
            r#"{"reasoning_content":null,"reasoning":"r"}"#,
            vec![Event::Reasoning("r".into())],
        ),
        (
            r#"{"content":[{"type":"text","text":"a"}]}"#,
            vec![Event::Text("a".into())],
        ),
        (
            r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"t"}]}]}"#,
            vec![Event::Reasoning("t".into())],
        ),
        (r#"{"refusal":"no"}"#, vec![Event::Refusal("no".into())]),
        // A character that was cut in two does not invalidate the text around it.
        (
            r#"{"content":"a\ud83d"}"#,
            vec![Event::Text("a\u{fffd}".into())],
        ),
        (
            r#"{"content":5,"tool_calls":"x"}"#,
            vec![Event::Text("5".into())],
        ),
    ] {
        assert_eq!(
            events(&[&format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#)]),
            want,
            "{delta}"
        );
    }
}

#[test]
fn a_payload_reads_the_same_after_one_that_is_much_like_it() {
    let chunk =
        |delta: &str, rest: &str| format!(r#"{{"choices":[{{"index":0,"delta":{delta}{rest}}}]}}"#);
    let mut chunks: Vec<String> = [
        (r#"{"content":"b"}"#, ""),
        (r#"{"content":"\u00e9\n"}"#, ""),
        (r#"{"content":"\ud83c"}"#, ""),
        (r#"{"content":""}"#, ""),
        (r#"{"content":null}"#, ""),
        (r#"{"content":"b","refusal":"no"}"#, ""),
        (r#"{"content":"b","content":"c"}"#, ""),
        (r#"{"reasoning_content":"b"}"#, ""),
        (r#"{"content":"b"}"#, r#","finish_reason":"stop""#),
    ]
    .map(|(delta, rest)| chunk(delta, rest))
    .into();
    for rest in [
        r#""error":[]"#,
        r#""usage":{"prompt_tokens":1}"#,
        r#""x_groq":{}"#,
        r#""obfuscation":"x""#,
        r#""obfuscation":5"#,
    ] {
        chunks.push(format!(
            r#"{{"choices":[{{"delta":{{"content":"b"}}}}],{rest}}}"#
        ));
        chunks.push(format!(
            r#"{{{rest},"choices":[{{"index":1,"delta":{{"content":"b"}}}}]}}"#
        ));
    }
    for (before, chunk) in chunks
        .iter()
        .flat_map(|before| chunks.iter().map(move |chunk| (before, chunk)))
    {
        let mut reader = ChatEventReader::default();
        read(&mut reader, before);
        let (seen, mut events) = read(&mut reader, chunk);
        let (alone, want) = read(&mut ChatEventReader::default(), chunk);
        // Reasoning that came before is over.
        events.retain(|event| !matches!(event, Event::State(_)));
        assert_eq!(events, want, "{before} {chunk}");
        assert_eq!(
            (seen.has_content, seen.usage, seen.error_is_native),
            (alone.has_content, alone.usage, alone.error_is_native),
            "{before} {chunk}"
        );
        assert_eq!(
            seen.error.is_some(),
            alone.error.is_some(),
            "{before} {chunk}"
        );
    }
}

#[test]
fn what_need_not_be_known_need_not_be_utf_8() {
    let chunk =
        b"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"obfuscation\":\"\xff\",\"x\":\"\xff\"}";
    for sink in [true, false] {
        let mut reader = ChatEventReader::default();
        let mut said = |_: Event<'_>| {};
        assert!(
            reader
                .read_payload(chunk, sink.then_some(&mut said))
                .unwrap()
                .has_content
        );
    }
    assert!(
        ChatEventReader::default()
            .read_payload(b"{\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}", None)
            .is_err()
    );
}

#[test]
fn what_says_nothing_is_no_error() {
    for chunk in [
        r#"{"choices":[],"prompt_filter_results":[{}]}"#,
        r#"{"choices":null}"#,
        r#"{"choices":[{"index":0,"finish_reason":null,"content_filter_results":{}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[]},"finish_reason":""}]}"#,
        r#"{"error":null,"choices":[]}"#,
        "{}",
    ] {
        let (seen, events) = read(&mut ChatEventReader::default(), chunk);
        assert!(
            events.is_empty() && !seen.has_content && seen.error.is_none(),
            "{chunk}"
        );
    }
}

#[test]
fn tool_calls_keep_their_index_and_fragments() {
    let got = events(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":""}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":null,"function":{"name":null,"arguments":"{\"a\""}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"","function":{"name":"","arguments":":1}"}},{"index":1,"id":"c2","function":{"name":"g","arguments":"{}"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":7,"function":{"arguments":"lost"}}]}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
    ]);
    let call = |index, id: &'static str, name: &'static str| Event::ToolCall {
        index,
        id: id.into(),
        name: name.into(),
    };
    let arguments = |index, text: &'static str| Event::ToolArguments {
        index,
        fragment: text.into(),
    };
    // The fragment of a call that never started is no event.
    let want = [
        call(0, "c1", "f"),
        arguments(0, "{\"a\""),
        arguments(0, ":1}"),
        Event::ToolEnd { index: 0 },
        call(1, "c2", "g"),
        arguments(1, "{}"),
        Event::ToolEnd { index: 1 },
        Event::Finish(FinishReason::ToolCalls),
    ];
    assert_eq!(got, want);
}

#[test]
fn errors_in_every_shape_are_errors() {
    for (chunk, message) in [
        (r#"{"error":{"message":"m","type":"t","code":500}}"#, "m"),
        (r#"{"error":"m"}"#, "m"),
        (r#"{"error":{"error":{"message":"m"}}}"#, "m"),
        (r#"{"error":{"x":1}}"#, "the upstream reported an error"),
        (
            r#"{"choices":[{"delta":{"content":"a"}}],"error":{"message":"m"}}"#,
            "m",
        ),
        ("{\"error\":{\"message\":\"m\"}}\n[DONE]", "m"),
        (
            r#"{"choices":[{"delta":{},"finish_reason":"error"}]}"#,
            "the upstream gave up (finish_reason `error`)",
        ),
    ] {
        let (seen, _) = read(&mut ChatEventReader::default(), chunk);
        assert_eq!(seen.error.unwrap().to_string(), message, "{chunk}");
    }
    assert!(
        ChatEventReader::default()
            .read_payload(b"{\"choices\":[", None)
            .is_err()
    );
    assert!(
        ChatEventReader::default()
            .read_payload(b"<html>", None)
            .is_err()
    );
}

#[test]
fn a_stream_is_whole_when_every_answer_finished() {
    let stop = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let other = r#"{"choices":[{"index":1,"delta":{"content":"b"}}]}"#;
    let end = |rule, chunks: &[&str]| {
        let mut reader = ChatEventReader::new(rule);
        for chunk in chunks {
            let _ = reader.read_payload(chunk.as_bytes(), None).unwrap();
        }
        reader.finish_stream(None).is_ok()
    };
    assert!(end(FinishRule::Required, &[stop]));
    assert!(end(FinishRule::Required, &[stop, "[DONE]"]));
    assert!(!end(FinishRule::Required, &[]));
    assert!(
        !end(FinishRule::Required, &["[DONE]"]),
        "gateways add one to a stream that was cut"
    );
    assert!(
        !end(FinishRule::Required, &[other, stop]),
        "one of two answers is open"
    );
    assert!(end(FinishRule::Optional, &[other, "[DONE]"]));
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    assert!(
        end(FinishRule::Required, &[other, usage, "[DONE]"]),
        "who counts at the end has reached it"
    );
    assert!(!end(FinishRule::Required, &[other, usage]));
    let counting = r#"{"choices":[{"delta":{"content":"b"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    assert!(
        !end(FinishRule::Required, &[counting, "[DONE]"]),
        "who counts all along has said nothing by it"
    );
    assert!(end(FinishRule::Optional, &[stop]));
    assert!(!end(FinishRule::Optional, &[other]));
}

#[test]
fn usage_is_read_wherever_it_stands() {
    let chunk = r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":null}}"#;
    let (seen, _) = read(&mut ChatEventReader::default(), chunk);
    assert_eq!(
        seen.usage,
        Some(Usage {
            input: 3,
            output: 4,
            cached: Some(2),
            ..Usage::default()
        })
    );
}

#[test]
fn the_body_changes_only_in_the_models_name() {
    let body = r#"{ "x" : [1, {"model":"inner"}],  "model" : "alias" , "messages":[{"role":"developer","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:"}}]}],"vendor":{"k":1.0}}"#;
    let request = request::parse_request(Bytes::from(body)).unwrap();
    assert_eq!(
        (
            request.messages[0].role,
            request.messages[0].all_text().as_str()
        ),
        (Role::System, "a")
    );
    let sent = with_model(&request, "real\"name").unwrap();
    assert_eq!(
        String::from_utf8_lossy(&sent),
        body.replace("\"alias\"", r#""real\"name""#)
    );
    assert_eq!(with_model(&request, "alias").unwrap(), body);
}

#[test]
fn wrong_fields_are_named() {
    for (field, param) in [
        (r#""messages":[]"#, "messages"),
        (r#""messages":"hi""#, "messages"),
        (r#""messages":[{"content":"x"}]"#, "messages[0].role"),
        (r#""messages":[{"role":"user"}],"stream":"yes""#, "stream"),
        (
            r#""messages":[{"role":"user"}],"max_tokens":1e300"#,
            "max_tokens",
        ),
        (
            r#""messages":[{"role":"user"}],"max_completion_tokens":-2"#,
            "max_completion_tokens",
        ),
        (r#""messages":[{"role":"user"}],"n":1000000"#, "n"),
        (
            r#""messages":[{"role":"user"}],"temperature":9"#,
            "temperature",
        ),
    ] {
        let read = request::parse_request(Bytes::from(format!(r#"{{"model":"m",{field}}}"#)));
        let failure = read.and_then(|request| request.check()).unwrap_err();
        assert_eq!(failure.param(), Some(param), "{field}: {failure}");
    }
    for (body, says) in [
        ("{", "not JSON"),
        ("", "empty"),
        ("[]", "wrong shape"),
        (
            r#"{"model":"a","messages":[],"model":"b"}"#,
            "`model` appears twice",
        ),
        (&*format!("{{\"a\":{}", "[".repeat(10_000)), "nested deeper"),
    ] {
        let failure = request::parse_request(Bytes::from(body.to_owned()))
            .unwrap_err()
            .to_string();
        assert!(failure.contains(says), "{failure}");
    }
    assert!(
        request::parse_request(Bytes::from_static(b"{\"model\":\"\xff\"}"))
            .unwrap_err()
            .to_string()
            .contains("not UTF-8")
    );
}

#[test]
fn what_is_written_reads_back() {
    let said = [
        Event::Reasoning("think\n".into()),
        Event::Text("a\"\r\n".into()),
        Event::ToolCall {
            index: 0,
            id: "c".into(),
            name: "f".into(),
        },
        Event::ToolArguments {
            index: 0,
            fragment: "{}".into(),
        },
        Event::ToolEnd { index: 0 },
        Event::Finish(FinishReason::ToolCalls),
    ];
    let mut writer = ChatEventWriter::new("id", meta());
    let mut wire = Vec::new();
    for event in said.iter().chain([&Event::Usage(Usage {
        input: 1,
        output: 2,
        reasoning: Some(1),
        ..Usage::default()
    })]) {
        writer
            .write_event(event, &mut |_, data| {
                wire.push(String::from_utf8_lossy(data).into_owned())
            })
            .unwrap();
    }
    writer.write_end(&mut |_, data| wire.push(String::from_utf8_lossy(data).into_owned()));
    assert_eq!(wire.pop().unwrap(), "[DONE]");
    assert!(
        wire.last().unwrap().contains(r#""choices":[]"#),
        "usage comes with no choices"
    );
    let chunks: Vec<&str> = wire.iter().map(String::as_str).collect();
    let mut got = events(&chunks);
    // Reasoning that nobody sealed is sent back in the form in which it came.
    assert!(matches!(got.remove(1), Event::State(_)));
    // An empty object may be a placeholder: it is certain only at the end.
    let (head, tail) = said.split_at(3);
    assert_eq!(got[..3], *head);
    assert_eq!(got[3], tail[2]);
    assert!(matches!(
        got[4],
        Event::Usage(Usage {
            input: 1,
            output: 2,
            reasoning: Some(1),
            ..
        })
    ));
    assert_eq!(got[5..], tail[..2]);
}

#[test]
fn a_whole_answer_says_all() {
    let mut answer = Answer::default();
    for event in [
        Event::Text("a".into()),
        Event::Text("b".into()),
        Event::ToolCall {
            index: 0,
            id: "c".into(),
            name: "f".into(),
        },
        Event::Finish(FinishReason::ToolCalls),
    ] {
        answer.add(&event);
    }
    let body = answer::encode_answer(&answer, "id", &meta());
    assert_eq!(body["choices"][0]["message"]["content"], "ab");
    assert_eq!(
        body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"],
        "{}"
    );
    assert_eq!(body["choices"][0]["finish_reason"], "tool_calls");
    assert!(body.get("usage").is_none(), "usage is never made up");
}

#[test]
fn a_message_beside_deltas_repeats_their_calls_and_a_limit_behind_openrouter_is_one() {
    let call = |arguments: &str| {
        let call = format!(
            r#"{{"tool_calls":[{{"index":0,"id":"c","function":{{"name":"f","arguments":{arguments}}}}}]}}"#
        );
        format!(
            r#"{{"choices":[{{"index":0,"message":{call},"delta":{call},"finish_reason":null}}]}}"#
        )
    };
    let limit = r#"{"choices":[{"delta":{},"finish_reason":"tool_calls","native_finish_reason":"max_output_tokens"}]}"#;
    let said = events(&[&call(r#""{\"a\":""#), &call(r#""1}""#), limit, "[DONE]"]);
    let arguments: String = said
        .iter()
        .filter_map(|event| match event {
            Event::ToolArguments { fragment, .. } => Some(&**fragment),
            _ => None,
        })
        .collect();
    assert_eq!(arguments, r#"{"a":1}"#);
    assert!(
        said.contains(&Event::Finish(FinishReason::Length)),
        "{said:?}"
    );
}

#[test]
fn what_cant_be_read_makes_no_answer_look_whole() {
    for chunk in [
        r#"{"choices":[{"message":"x"}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"c","function":"x"}]}}]}"#,
    ] {
        let mut reader = ChatEventReader::new(FinishRule::Required);
        assert!(read(&mut reader, chunk).0.error.is_some(), "{chunk}");
    }
}
