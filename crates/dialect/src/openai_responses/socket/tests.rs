//! Tests of the messages, and of what is kept of responses.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use serde_json::{Value, json};

use super::*;

fn create(message: Value) -> ResponseCreate {
    let mut message = message;
    message["type"] = "response.create".into();
    match parse_socket_message(message.to_string().into()) {
        Ok(SocketMessage::Create(create)) => create,
        other => panic!("{other:?}"),
    }
}

fn request(message: Value, origin: Origin) -> (Value, Option<Value>) {
    let request = create(message).into_request(origin, None).unwrap();
    let items = request.input.map(|items| whole(&items));
    (serde_json::from_slice(&request.body).unwrap(), items)
}

fn whole(items: &ItemLists) -> Value {
    serde_json::from_str(&joined(items, false, None)).unwrap()
}

fn lists(lists: &[Value]) -> ItemLists {
    let mut all = ItemLists::default();
    for list in lists {
        let list = list.to_string();
        all.push(list.clone().into(), list.len());
    }
    all
}

fn replay(items: &[Value]) -> Origin {
    Origin::Replay {
        items: lists(items),
        needs_encrypted_reasoning: false,
    }
}

#[test]
fn the_fields_of_the_socket_are_left_out_and_all_others_stay() {
    let message = json!({ "model": "m", "input": [{ "a": 1 }], "generate": true, "stream_id": "a.b",
        "stream": false, "background": true, "previous_response_id": null, "store": false, "é\n": [1] });
    let (body, items) = request(message, Origin::Start);
    assert_eq!(
        body,
        json!({ "model": "m", "store": false, "é\n": [1], "stream": true, "input": [{ "a": 1 }] })
    );
    assert_eq!(items, Some(json!([{ "a": 1 }])));
}

#[test]
fn the_conversation_is_put_together_from_text_lists_and_nothing() {
    let said = json!({ "type": "message", "role": "user", "content": "é\"" });
    let (body, items) = request(json!({ "input": "é\"" }), Origin::Start);
    assert_eq!(body["input"], "é\"");
    assert_eq!(items, Some(json!([said])));
    for (input, own) in [
        (json!("é\""), vec![said]),
        (json!([1, 2]), vec![1.into(), 2.into()]),
        (json!([]), vec![]),
        (Value::Null, vec![]),
    ] {
        let message = json!({ "input": input, "previous_response_id": "resp_1" });
        let origin = replay(&[json!([]), json!([{ "x": 1 }]), json!([3])]);
        let (body, items) = request(message, origin);
        let mut all = vec![json!({ "x": 1 }), json!(3)];
        all.extend(own);
        assert_eq!(body, json!({ "stream": true, "input": all }));
        assert_eq!(items, Some(all.into()));
    }
    let wrong = create(json!({ "input": 7 })).into_request(replay(&[json!([1])]), None);
    assert_eq!(wrong.unwrap_err().param(), Some("input"));
}

#[test]
fn what_the_upstream_keeps_is_named_and_not_sent_again() {
    let message = json!({ "input": [2], "previous_response_id": "resp_1" });
    let (body, items) = request(
        message.clone(),
        Origin::Upstream(Some(lists(&[json!([1])]))),
    );
    assert_eq!(
        body,
        json!({ "previous_response_id": "resp_1", "stream": true, "input": [2] })
    );
    assert_eq!(items, Some(json!([1, 2])));
    assert_eq!(request(message, Origin::Upstream(None)).1, None);
}

#[test]
fn reasoning_that_nobody_has_kept_is_left_out_for_those_who_would_refuse_it() {
    let (kept, content) = (
        json!({ "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x" }),
        json!({ "type": "reasoning", "id": "rs_2", "content": [{ "type": "reasoning_text", "text": "x" }] }),
    );
    let lost =
        json!({ "type": "reasoning", "id": "rs_3", "summary": [], "encrypted_content": null });
    let items = [json!([kept, lost, content, { "type": "message" }])];
    let origin = Origin::Replay {
        items: lists(&items),
        needs_encrypted_reasoning: true,
    };
    let (body, _) = request(json!({ "input": [] }), origin);
    assert_eq!(body["input"], json!([kept, content, { "type": "message" }]));
    assert_eq!(request(json!({}), replay(&items)).0["input"], items[0]);
}

#[test]
fn a_model_that_the_path_names_takes_the_place_of_the_messages() {
    let request = create(json!({ "model": "m" })).into_request(Origin::Start, Some("d"));
    assert_eq!(request.unwrap().body, r#"{"model":"d","stream":true}"#);
}

#[test]
fn wrong_messages_are_told_by_field_and_stream() {
    let long = "x".repeat(257);
    for (message, stream, param, code) in [
        ("[]", None, None, "invalid_request"),
        ("{", None, None, "invalid_request"),
        (
            r#"{"stream_id":"a"}"#,
            Some("a"),
            Some("type"),
            "invalid_request",
        ),
        (r#"{"type":"x"}"#, None, Some("type"), "invalid_request"),
        (
            r#"{"type":"response.create","stream_id":""}"#,
            None,
            Some("stream_id"),
            "invalid_stream_id",
        ),
        (
            r#"{"type":"response.create","stream_id":7}"#,
            None,
            Some("stream_id"),
            "invalid_stream_id",
        ),
        (
            r#"{"type":"response.create","stream_id":"a b"}"#,
            None,
            Some("stream_id"),
            "invalid_stream_id",
        ),
        (
            &format!(r#"{{"type":"response.create","stream_id":"{long}"}}"#),
            None,
            Some("stream_id"),
            "invalid_stream_id",
        ),
        (
            r#"{"type":"response.create","stream_id":"a","previous_response_id":7}"#,
            Some("a"),
            Some("previous_response_id"),
            "invalid_request",
        ),
        (
            r#"{"type":"response.create","generate":"no"}"#,
            None,
            Some("generate"),
            "invalid_request",
        ),
    ] {
        let refused = parse_socket_message(message.to_owned().into()).unwrap_err();
        assert_eq!(refused.stream_id.as_deref(), stream, "{message}");
        assert_eq!(
            (refused.failure.param(), refused.failure.code()),
            (param, code),
            "{message}"
        );
    }
    let processed = r#"{"type":"response.processed","response_id":"resp_1"}"#;
    let heard = parse_socket_message(processed.into());
    assert!(matches!(heard, Ok(SocketMessage::Acknowledgement)));
}

fn capture(events: &[Value], max_size: usize) -> Option<KeptResponse> {
    let mut capture = ResponseCapture::new(Some(lists(&[json!(["in"])])), max_size);
    for event in events {
        capture.read_event(None, event.to_string().as_bytes());
    }
    capture.into_kept()
}

#[test]
fn a_response_is_kept_with_its_output_wherever_it_stood() {
    let done = |place, item| json!({ "type": "response.output_item.done", "output_index": place, "item": item });
    let end = |output| json!({ "type": "response.completed", "response": { "id": "r", "store": true, "output": output } });
    let whole = [done(0, "old"), end(json!(["a", "b"]))];
    let empty = [done(1, "b"), done(0, "a"), end(json!([]))];
    for events in [&whole, &empty[..]] {
        let kept = capture(events, 1000).unwrap();
        assert_eq!((&*kept.id, kept.is_stored), ("r", true));
        assert_eq!(
            super::tests::whole(&kept.items.unwrap()),
            json!(["in", "a", "b"])
        );
        // It is known, but there is too much of it.
        assert!(capture(events, 14).unwrap().items.is_none());
    }
    let failed = json!({ "type": "response.failed", "response": { "id": "r" } });
    assert!(capture(&[done(0, "a"), failed], 1000).is_none());
}

#[test]
fn kinds_of_events_are_told_apart_with_and_without_names() {
    let mut capture = ResponseCapture::new(None, 1000);
    let mut kind = |name: Option<&str>, payload: &str| {
        capture.read_event(name.map(str::as_bytes), payload.as_bytes())
    };
    let delta = r#"{"type":"response.output_text.delta"}"#;
    assert_eq!(
        kind(Some("response.output_text.delta"), "{"),
        EventKind::Part
    );
    assert_eq!(kind(None, delta), EventKind::Part);
    assert_eq!(kind(None, "[DONE]"), EventKind::Part);
    assert_eq!(kind(Some("error"), r#"{"type":"error"}"#), EventKind::Error);
    for end in ["completed", "incomplete", "failed", "cancelled"] {
        let payload = format!(r#"{{"type":"response.{end}"}}"#);
        assert_eq!(kind(None, &payload), EventKind::End);
    }
}
