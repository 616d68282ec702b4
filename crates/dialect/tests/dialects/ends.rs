//! The reasons for which answers end: none is whole but for one that is known to mean it.

use dialect::event::Event;
use dialect::{Dialect, FinishRule};
use serde_json::{Value, json};

fn dialect(name: &str) -> &'static Dialect {
    Dialect::named(name).unwrap()
}

/// Every dialect's answers that ended for that reason: a stream, and a whole one.
fn ended_for(name: &str, reason: &Value) -> (Vec<Value>, Value) {
    let text = json!({ "type": "text", "text": "half" });
    match name {
        "openai-chat" => (
            vec![
                json!({ "choices": [{ "index": 0, "delta": { "content": "half" } }] }),
                json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] }),
            ],
            json!({ "choices": [{ "message": { "content": "half" }, "finish_reason": reason }] }),
        ),
        "anthropic" => (
            vec![
                json!({ "type": "content_block_start", "index": 0, "content_block": text }),
                json!({ "type": "message_delta", "delta": { "stop_reason": reason } }),
                json!({ "type": "message_stop" }),
            ],
            json!({ "type": "message", "content": [text], "stop_reason": reason,
                "usage": { "input_tokens": 1, "output_tokens": 1 } }),
        ),
        "gemini" => {
            let half = json!({ "candidates": [{ "content": { "parts": [{ "text": "half" }] },
                "finishReason": reason }] });
            (vec![half.clone()], half)
        }
        _ => {
            let response = json!({ "status": "incomplete", "output": [],
                "incomplete_details": { "reason": reason } });
            (
                vec![json!({ "type": "response.incomplete", "response": response })],
                response,
            )
        }
    }
}

/// Reads both as a client of the same dialect has them read, and as one of another.
fn read_ended(name: &str, reason: &Value) -> Vec<Result<(), String>> {
    let side = dialect(name).upstream.unwrap();
    let (stream, whole) = ended_for(name, reason);
    let mut results = Vec::new();
    for is_translated in [false, true] {
        let mut drop_event = |_: Event<'_>| {};
        let mut reader = side.event_reader(FinishRule::Required);
        let mut stream_result = Ok(());
        for payload in &stream {
            let sink = is_translated.then_some(&mut drop_event as &mut dyn FnMut(Event<'_>));
            let read = reader.read_payload(payload.to_string().as_bytes(), sink);
            if let Some(failure) = read.unwrap().error {
                stream_result = Err(failure.to_string());
                break;
            }
        }
        if name == "openai-chat" {
            reader.read_payload(b"[DONE]", None).unwrap();
        }
        let ended = reader
            .finish_stream(None)
            .map_err(|failure| failure.to_string());
        results.push(stream_result.and(ended));
        let sink = is_translated.then_some(&mut drop_event as &mut dyn FnMut(Event<'_>));
        let answer = side.parse_answer(whole.to_string().as_bytes(), FinishRule::Required, sink);
        results.push(answer.map(|_| ()).map_err(|failure| failure.to_string()));
    }
    results
}

#[test]
fn no_answer_is_whole_that_ended_for_a_broken_or_unknown_reason_or_for_none() {
    for name in ["openai-chat", "anthropic", "gemini", "openai-responses"] {
        for reason in [
            "network_error",
            "insufficient_system_resource",
            "ERROR",
            "moonlight",
        ] {
            for result in read_ended(name, &json!(reason)) {
                let failure = result.expect_err(name);
                assert!(
                    failure.contains(&format!("`{reason}`")),
                    "{name}: {failure}"
                );
            }
        }
        for reason in [
            "max_tokens",
            "MAX_TOKENS",
            "length",
            "sensitive",
            "content_filter",
        ] {
            for result in read_ended(name, &json!(reason)) {
                assert_eq!(result, Ok(()), "{name}: {reason}");
            }
        }
        for reason in [json!(null), json!(""), json!(5), json!({})] {
            // A response that is called incomplete is.
            if name != "openai-responses" {
                for result in read_ended(name, &reason) {
                    assert!(result.is_err(), "{name}: {reason}");
                }
            }
        }
    }
}

#[test]
fn an_upstream_that_never_gives_a_reason_may_be_configured_so() {
    for (name, payloads) in [
        (
            "openai-chat",
            [r#"{"choices":[{"delta":{"content":"a"}}]}"#, "[DONE]"],
        ),
        (
            "anthropic",
            [
                r#"{"type":"message_delta","delta":{"stop_reason":null}}"#,
                r#"{"type":"message_stop"}"#,
            ],
        ),
    ] {
        for (rule, is_whole) in [(FinishRule::Required, false), (FinishRule::Optional, true)] {
            let whole = match name {
                "anthropic" => r#"{"type":"message","content":[],"stop_reason":null,"usage":{}}"#,
                _ => r#"{"choices":[{"message":{"content":"a"},"finish_reason":null}]}"#,
            };
            let side = dialect(name).upstream.unwrap();
            let answer = side.parse_answer(whole.as_bytes(), rule, None);
            assert_eq!(answer.is_ok(), is_whole, "{name} {rule:?}");
            let mut reader = dialect(name).upstream.unwrap().event_reader(rule);
            for payload in payloads {
                reader.read_payload(payload.as_bytes(), None).unwrap();
            }
            assert_eq!(
                reader.finish_stream(None).is_ok(),
                is_whole,
                "{name} {rule:?}"
            );
        }
    }
}

#[test]
fn no_answer_is_whole_whose_status_beside_it_is_a_failure() {
    let side = dialect("openai-chat").upstream.unwrap();
    let failed = json!({ "status_code": 1008, "status_msg": "insufficient balance" });
    let good = json!({ "status_code": 0, "status_msg": "" });
    for (status, is_good) in [(failed, false), (good, true)] {
        let message = json!({ "content": "half" });
        let choice = |name: &str| json!([{ "index": 0, name: message, "finish_reason": "stop" }]);
        let whole = json!({ "choices": choice("message"), "base_resp": status }).to_string();
        let answer = side.parse_answer(whole.as_bytes(), FinishRule::Required, None);
        assert_eq!(answer.is_ok(), is_good);
        let piece = json!({ "choices": choice("delta"), "base_resp": status }).to_string();
        for is_translated in [false, true] {
            let mut drop_event = |_: Event<'_>| {};
            let sink = is_translated.then_some(&mut drop_event as &mut dyn FnMut(Event<'_>));
            let mut reader = side.event_reader(FinishRule::Required);
            let seen = reader.read_payload(piece.as_bytes(), sink).unwrap();
            let told = seen.error.map(|failure| failure.to_string());
            let want = (!is_good).then_some("insufficient balance");
            assert_eq!(told.as_deref(), want);
        }
    }
}
