//! Answers in the shapes that upstreams really send: each row names what a client of every dialect
//! gets.

mod chat_calls;
mod others;
mod responses;

use dialect::event::{Event, FinishReason, Usage};
use dialect::{Answer, Dialect, FinishRule};
use serde_json::{Value, json};

use crate::said::{Said, dialects, meta, read, write};

/// An answer as all clients get it: text, calls by name and arguments, and the finish reason.
pub(crate) struct Want {
    pub(crate) text: &'static str,
    pub(crate) calls: &'static [(&'static str, &'static str)],
    pub(crate) finish: FinishReason,
}

pub(crate) const CALLED: FinishReason = FinishReason::ToolCalls;

/// Reads a stream of these payloads, and checks that clients of all dialects get the same of it.
pub(crate) fn stream(name: &str, payloads: &[Value]) -> Said {
    let wire: String = payloads
        .iter()
        .map(|payload| format!("data: {payload}\n\n"))
        .chain((name == "openai-chat").then(|| "data: [DONE]\n\n".to_owned()))
        .collect();
    let dialect = Dialect::named(name).unwrap();
    let mut events = Vec::new();
    let said = read(dialect, std::iter::once(wire.as_bytes()), Some(&mut events));
    if said.error.is_some() || !said.whole {
        return said;
    }
    for client in dialects() {
        let wire = write(client, &events);
        let got = read(client, std::iter::once(&wire[..]), None);
        assert_eq!(got.text, said.text, "{} {payloads:?}", client.name);
        assert_eq!(got.calls(), said.calls(), "{} {payloads:?}", client.name);
        assert!(got.whole, "{} {payloads:?}: {:?}", client.name, got.error);
        if client
            .omitted(&Event::Image(dialect::request::Image::from_url(
                "data:a/b;base64,",
            )))
            .is_none()
        {
            assert_eq!(got.images, said.images, "{} {payloads:?}", client.name);
        }
    }
    said
}

/// Reads a whole answer, and checks that clients of all dialects get the same of it.
pub(crate) fn whole(name: &str, body: &Value) -> Result<Said, String> {
    let (mut answer, mut said) = (Answer::default(), Said::default());
    let side = Dialect::named(name).unwrap().upstream.unwrap();
    side.parse_answer(
        body.to_string().as_bytes(),
        FinishRule::Required,
        Some(&mut |event| {
            answer.add(&event);
            said.add(&event);
        }),
    )
    .map_err(|failure| failure.to_string())?;
    for client in dialects() {
        let body = client
            .client
            .encode_answer(&answer, &meta(Default::default()));
        let mut got = Said::default();
        client
            .upstream
            .unwrap()
            .parse_answer(
                &body,
                FinishRule::Required,
                Some(&mut |event| got.add(&event)),
            )
            .unwrap();
        assert_eq!(got.text, said.text, "{}", client.name);
        assert_eq!(got.calls(), said.calls(), "{}", client.name);
    }
    Ok(said)
}

pub(crate) fn check(said: &Said, want: &Want, row: &str) {
    assert_eq!(said.error, None, "{row}");
    assert!(said.whole, "{row}");
    let calls: Vec<(&str, Value)> = want
        .calls
        .iter()
        .map(|(name, arguments)| (*name, serde_json::from_str(arguments).unwrap()))
        .collect();
    let got = said.calls();
    let got: Vec<(&str, Value)> = got
        .iter()
        .map(|(name, arguments)| (&**name, arguments.clone()))
        .collect();
    assert_eq!(got, calls, "{row}");
    assert_eq!(said.text, want.text, "{row}");
    assert_eq!(said.finish, Some(want.finish), "{row}");
    let mut ids: Vec<_> = said.tools.iter().map(|call| &call.0).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), said.tools.len(), "ids are told apart: {row}");
    assert!(!ids.iter().any(|id| id.is_empty()), "{row}");
}

/// Returns the chunks of a stream with these deltas and this finish reason.
pub(crate) fn chat(deltas: &[Value], finish: &str) -> Vec<Value> {
    let mut chunks: Vec<Value> = deltas
        .iter()
        .map(|delta| json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] }))
        .collect();
    chunks.push(json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": finish }] }));
    chunks
}

#[test]
fn text_of_chat_in_every_place() {
    let message = |message: Value, finish: Value| json!({ "choices": [{ "index": 0, "message": message, "finish_reason": finish }] });
    let both = |delta: &str, message: &str| json!({ "choices": [{ "index": 0, "delta": { "content": delta }, "message": { "content": message } }] });
    let end = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
    let call = json!([{ "id": "1", "function": { "name": "f", "arguments": r#"{"a":1}"# } }]);
    let piece = |arguments: &str| json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [{ "index": 0, "id": "1", "function": { "name": "f", "arguments": arguments } }] } }] });
    let text =
        |text: &str| json!({ "choices": [{ "index": 0, "text": text, "finish_reason": null }] });
    let table = [
        (
            "a message alone",
            vec![message(json!({ "content": "hello" }), json!("stop"))],
            "hello",
            0,
        ),
        (
            "a message alone, with a call",
            vec![message(
                json!({ "content": "hello", "tool_calls": call }),
                json!("tool_calls"),
            )],
            "hello",
            1,
        ),
        (
            "a message with the older call",
            vec![message(
                json!({ "content": null, "function_call": call[0]["function"] }),
                json!("function_call"),
            )],
            "",
            1,
        ),
        (
            "deltas, and a message that grows beside them",
            vec![both("hel", "hel"), both("lo", "hello"), end.clone()],
            "hello",
            0,
        ),
        (
            "deltas, and then the message",
            vec![
                both("hel", ""),
                both("lo", ""),
                message(json!({ "content": "hello" }), json!("stop")),
            ],
            "hello",
            0,
        ),
        (
            "messages that grow",
            vec![
                message(json!({ "content": "hel" }), Value::Null),
                message(json!({ "content": "hello" }), json!("stop")),
            ],
            "hello",
            0,
        ),
        (
            "messages as deltas",
            vec![
                message(json!({ "content": "hel" }), Value::Null),
                message(json!({ "content": "lo" }), json!("stop")),
            ],
            "hello",
            0,
        ),
        (
            "a call in deltas and in the message",
            vec![
                piece(r#"{"a""#),
                piece(":1}"),
                message(
                    json!({ "content": "hello", "tool_calls": call }),
                    json!("tool_calls"),
                ),
            ],
            "hello",
            1,
        ),
        (
            "a call begun in deltas and whole in the message",
            vec![
                piece(r#"{"a""#),
                message(
                    json!({ "content": "hello", "tool_calls": call }),
                    json!("tool_calls"),
                ),
            ],
            "hello",
            1,
        ),
        (
            "legacy completions",
            vec![text("hel"), text("lo"), end.clone()],
            "hello",
            0,
        ),
        (
            "a list of texts",
            vec![
                json!({ "choices": [{ "delta": { "content": [{ "type": "text", "text": "hel" }, "lo"] } }] }),
                end.clone(),
            ],
            "hello",
            0,
        ),
        (
            "a single part",
            vec![
                json!({ "choices": [{ "delta": { "content": { "type": "output_text", "text": "hello" } } }] }),
                end.clone(),
            ],
            "hello",
            0,
        ),
        (
            "speech",
            vec![
                json!({ "choices": [{ "delta": { "content": null, "audio": { "id": "a", "transcript": "hello" } } }] }),
                end,
            ],
            "hello",
            0,
        ),
    ];
    for (row, chunks, text, count) in &table {
        let (calls, finish): (&[_], _) = match count {
            0 => (&[], FinishReason::Stop),
            _ => (&[("f", r#"{"a":1}"#)], CALLED),
        };
        let said = stream("openai-chat", chunks);
        check(
            &said,
            &Want {
                text,
                calls,
                finish,
            },
            row,
        );
    }
    // Whole answers have the same places.
    for body in [
        json!({ "choices": [{ "message": { "content": [{ "type": "text", "text": "hel" }, "lo"] }, "finish_reason": "stop" }] }),
        json!({ "choices": [{ "text": "hello", "finish_reason": "stop" }] }),
        json!({ "choices": [{ "message": { "audio": { "transcript": "hello", "data": "AA" } }, "finish_reason": "stop" }] }),
    ] {
        let said = whole("openai-chat", &body).unwrap();
        assert_eq!(said.text, "hello", "{body}");
    }
}

#[test]
fn images_of_chat_are_images_of_others() {
    const URL: &str = "data:image/png;base64,AAAA";
    let image = json!([{ "type": "image_url", "image_url": { "url": URL } }]);
    for images in [
        json!({ "images": image }),
        json!({ "images": [{ "type": "image_url", "image_url": URL }] }),
        json!({ "images": [{ "b64_json": "AAAA" }] }),
        json!({ "content": image }),
    ] {
        let chunks = [
            json!({ "choices": [{ "index": 0, "delta": { "content": "see" } }] }),
            json!({ "choices": [{ "index": 0, "delta": images }] }),
            json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] }),
        ];
        let said = stream("openai-chat", &chunks);
        assert_eq!(
            (said.images, said.text.as_str()),
            (vec![URL.to_owned()], "see"),
            "{images}"
        );
        let body = json!({ "choices": [{ "message": images, "finish_reason": "stop" }] });
        assert_eq!(
            whole("openai-chat", &body).unwrap().images,
            [URL],
            "{images}"
        );
    }
}

#[test]
fn usage_of_chat_in_every_place_and_type() {
    let usage = json!({ "prompt_tokens": 19, "completion_tokens": 13, "total_tokens": 32 });
    let empty = json!({ "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0 });
    let odd = json!({ "prompt_tokens": 19.0, "completion_tokens": "13", "total_tokens": null,
        "prompt_tokens_details": 5, "completion_tokens_details": { "reasoning_tokens": "none" } });
    let end = |usage: &Value| json!({ "choices": [{ "delta": {}, "finish_reason": "stop", "usage": usage }] });
    let alone = |usage: &Value| json!({ "choices": [], "usage": usage });
    let text = json!({ "choices": [{ "delta": { "content": "hi" } }] });
    for (row, chunks) in [
        ("in the choice", vec![text.clone(), end(&usage)]),
        (
            "in odd types",
            vec![text.clone(), end(&Value::Null), alone(&odd)],
        ),
        (
            "empty at the end",
            vec![
                text.clone(),
                end(&Value::Null),
                alone(&usage),
                alone(&empty),
            ],
        ),
        (
            "in two parts",
            vec![
                alone(&json!({ "prompt_tokens": 19 })),
                text.clone(),
                end(&Value::Null),
                alone(&json!({ "completion_tokens": 13 })),
            ],
        ),
        (
            "in the names of others",
            vec![
                text.clone(),
                end(&Value::Null),
                alone(&json!({ "input_tokens": 19, "output_tokens": 13 })),
            ],
        ),
        (
            "without the prompt",
            vec![
                text.clone(),
                end(&Value::Null),
                alone(&json!({ "total_tokens": 32, "completion_tokens": 13 })),
            ],
        ),
    ] {
        let said = stream("openai-chat", &chunks);
        let Usage { input, output, .. } = said.usage.unwrap();
        assert_eq!((input, output), (19, 13), "{row}");
    }
    let counts = json!({ "prompt_tokens": 19, "completion_tokens": 13, "cached_tokens": 4 });
    let said = stream("openai-chat", &[text, end(&Value::Null), alone(&counts)]);
    assert_eq!(said.usage.unwrap().cached, Some(4));
}
