//! Texts of a Responses stream: wherever they stand, clients get each once.

use dialect::Dialect;
use dialect::event::FinishReason;
use serde_json::{Value, json};

use super::stream;
use crate::said::read;

fn message(id: &str, parts: &[&str]) -> Value {
    let parts: Vec<_> = parts
        .iter()
        .map(|text| json!({ "type": "output_text", "text": text, "annotations": [] }))
        .collect();
    json!({ "type": "message", "id": id, "role": "assistant", "content": parts })
}

fn delta(place: u64, id: &str, part: u64, text: &str) -> Value {
    json!({ "type": "response.output_text.delta", "output_index": place, "item_id": id,
        "content_index": part, "delta": text })
}

fn item_done(place: u64, item: &Value) -> Value {
    json!({ "type": "response.output_item.done", "output_index": place, "item": item })
}

fn completed(output: &[Value]) -> Value {
    json!({ "type": "response.completed",
        "response": { "status": "completed", "output": output } })
}

/// Returns an event without its index, its id, or both.
fn without(mut event: Value, names: &[&str]) -> Value {
    for name in names {
        event.as_object_mut().unwrap().remove(*name);
    }
    event
}

#[test]
fn text_that_stands_only_in_a_later_event_is_told_once() {
    let (one, two) = (message("a", &["one "]), message("b", &["two"]));
    let both = message("a", &["one ", "two"]);
    let text_done = |place: u64, part: u64, text: &str| {
        json!({ "type": "response.output_text.done", "output_index": place, "item_id": "a",
            "content_index": part, "text": text })
    };
    let part_done = |part: u64, text: &str| {
        json!({ "type": "response.content_part.done", "output_index": 0, "item_id": "a",
            "content_index": part, "part": { "type": "output_text", "text": text } })
    };
    let rows = [
        (
            "all in the end",
            vec![completed(&[one.clone(), two.clone()])],
        ),
        (
            "a second message in the end",
            vec![
                delta(0, "a", 0, "one "),
                item_done(0, &one),
                completed(&[one.clone(), two.clone()]),
            ],
        ),
        (
            "a second part in the end",
            vec![
                delta(0, "a", 0, "one "),
                item_done(0, &one),
                completed(std::slice::from_ref(&both)),
            ],
        ),
        (
            "a second part in the item",
            vec![
                delta(0, "a", 0, "one "),
                item_done(0, &both),
                completed(&[]),
            ],
        ),
        (
            "the rest of a part in the item",
            vec![
                delta(0, "a", 0, "one "),
                item_done(0, &message("a", &["one two"])),
                completed(&[message("a", &["one two"])]),
            ],
        ),
        (
            "the rest of a part in its own end",
            vec![
                delta(0, "a", 0, "one "),
                text_done(0, 0, "one two"),
                part_done(0, "one two"),
                item_done(0, &message("a", &["one two"])),
                completed(&[message("a", &["one two"])]),
            ],
        ),
        (
            "text only in its end",
            vec![text_done(0, 0, "one two"), completed(&[])],
        ),
        (
            "parts only in their ends",
            vec![part_done(0, "one "), part_done(1, "two"), completed(&[])],
        ),
        (
            "the rest only in the end, under other ids",
            vec![
                delta(0, "x", 0, "one "),
                item_done(0, &message("y", &["one "])),
                completed(&[message("z", &["one "]), message("w", &["two"])]),
            ],
        ),
        (
            "ids that change from event to event",
            vec![
                delta(0, "x", 0, "one "),
                delta(0, "y", 0, "two"),
                text_done(0, 0, "one two"),
                item_done(0, &message("z", &["one two"])),
                completed(&[message("w", &["one two"])]),
            ],
        ),
        (
            "deltas without a name, and all others with one",
            vec![
                without(
                    delta(0, "", 0, "one "),
                    &["output_index", "item_id", "content_index"],
                ),
                without(
                    delta(0, "", 0, "two"),
                    &["output_index", "item_id", "content_index"],
                ),
                text_done(0, 0, "one two"),
                item_done(0, &message("a", &["one two"])),
                completed(&[message("a", &["one two"])]),
            ],
        ),
        (
            "two messages without names",
            vec![
                without(delta(0, "", 0, "one "), &["output_index", "item_id"]),
                item_done(0, &one),
                without(delta(0, "", 0, "two"), &["output_index", "item_id"]),
                item_done(1, &two),
                completed(&[one.clone(), two.clone()]),
            ],
        ),
        (
            "an end with another text for the first message",
            vec![
                delta(0, "a", 0, "one "),
                item_done(0, &one),
                completed(&[message("a", &["One"]), two.clone()]),
            ],
        ),
        (
            "ends with another text",
            vec![
                delta(0, "a", 0, "one "),
                delta(0, "a", 0, "two"),
                text_done(0, 0, "One, two"),
                item_done(0, &message("a", &["One, two"])),
                completed(&[message("a", &["One, two."])]),
            ],
        ),
        (
            "an end with the last message alone",
            vec![
                delta(0, "a", 0, "one "),
                item_done(0, &one),
                delta(1, "b", 0, "two"),
                item_done(1, &two),
                completed(&[two]),
            ],
        ),
    ];
    for (row, payloads) in rows {
        let said = stream("openai-responses", &payloads);
        assert_eq!((said.text.as_str(), said.error), ("one two", None), "{row}");
    }
}

#[test]
fn a_refusal_that_stands_only_in_a_later_event_is_told_once() {
    let part = json!({ "type": "refusal", "refusal": "I won't" });
    let item = json!({ "type": "message", "id": "a", "content": [part] });
    let delta = json!({ "type": "response.refusal.delta", "item_id": "a", "output_index": 0,
        "content_index": 0, "delta": "I " });
    let done = json!({ "type": "response.refusal.done", "item_id": "a", "output_index": 0,
        "content_index": 0, "refusal": "I won't" });
    let part_done = json!({ "type": "response.content_part.done", "item_id": "a",
        "output_index": 0, "content_index": 0, "part": part });
    let item_done = item_done(0, &item);
    let end = completed(&[item]);
    for payloads in [
        vec![delta.clone(), done.clone(), completed(&[])],
        vec![done, part_done.clone(), item_done.clone(), end.clone()],
        vec![part_done, item_done.clone(), end.clone()],
        vec![delta.clone(), item_done, end.clone()],
        vec![delta, end.clone()],
        vec![end],
    ] {
        // Not all dialects tell a refusal from other text.
        let wire: String = payloads
            .iter()
            .map(|it| format!("data: {it}\n\n"))
            .collect();
        let dialect = Dialect::named("openai-responses").unwrap();
        let said = read(dialect, std::iter::once(wire.as_bytes()), None);
        assert_eq!(
            (said.refusal.as_str(), said.text.as_str()),
            ("I won't", ""),
            "{payloads:?}"
        );
    }
}

#[test]
fn reasoning_that_stands_only_in_a_later_event_is_told_once() {
    let summary = |texts: &[&str]| {
        let parts: Vec<_> = texts
            .iter()
            .map(|text| json!({ "type": "summary_text", "text": text }))
            .collect();
        json!({ "type": "reasoning", "id": "r", "summary": parts, "encrypted_content": "sealed" })
    };
    let event = |kind: &str, index: u64, name: &str, text: &str| {
        json!({ "type": format!("response.reasoning_{kind}"), "item_id": "r", "output_index": 0,
            "summary_index": index, name: text })
    };
    let delta = |index, text| event("summary_text.delta", index, "delta", text);
    let done = |index, text| event("summary_text.done", index, "text", text);
    let item = summary(&["why", "and how"]);
    let item_done = item_done(0, &item);
    let end = completed(std::slice::from_ref(&item));
    for payloads in [
        vec![
            done(0, "why"),
            done(1, "and how"),
            item_done.clone(),
            end.clone(),
        ],
        vec![
            delta(0, "why"),
            delta(1, "and "),
            done(1, "and how"),
            item_done.clone(),
            end.clone(),
        ],
        vec![delta(0, "why"), item_done.clone(), end.clone()],
        vec![delta(0, "w"), end.clone()],
        vec![item_done, end.clone()],
        vec![end],
    ] {
        let said = stream("openai-responses", &payloads);
        assert_eq!(said.reasoning, "why\n\nand how", "{payloads:?}");
        assert!(said.states.len() <= 1, "{payloads:?}");
    }
    let whole = json!({ "type": "response.reasoning_text.done", "item_id": "r",
        "output_index": 0, "content_index": 0, "text": "why" });
    let said = stream("openai-responses", &[whole, completed(&[])]);
    assert_eq!(said.reasoning, "why");
}

#[test]
fn a_citation_that_stands_only_in_a_later_event_is_told_once() {
    let url = |url: &str| json!({ "type": "url_citation", "url": url, "title": "t" });
    let added = json!({ "type": "response.output_text.annotation.added", "item_id": "a",
        "output_index": 0, "content_index": 0, "annotation": url("https://one.example") });
    let mut item = message("a", &["one"]);
    item["content"][0]["annotations"] =
        json!([url("https://one.example"), url("https://two.example")]);
    let (text, item_done) = (delta(0, "a", 0, "one"), item_done(0, &item));
    let end = completed(&[item]);
    for payloads in [
        vec![text.clone(), added.clone(), item_done.clone(), end.clone()],
        vec![text.clone(), item_done, end.clone()],
        vec![text, added, end.clone()],
        vec![end],
    ] {
        let said = stream("openai-responses", &payloads);
        let urls: Vec<_> = said
            .citations
            .iter()
            .map(|cited| cited.url.as_str())
            .collect();
        assert_eq!(
            urls,
            ["https://one.example", "https://two.example"],
            "{payloads:?}"
        );
    }
}

#[test]
fn a_stream_may_end_with_response_done() {
    let end = |response: Value| {
        let text = delta(0, "a", 0, "one");
        let done = json!({ "type": "response.done", "response": response });
        stream("openai-responses", &[text, done])
    };
    for response in [
        json!({ "status": "completed", "output": [] }),
        json!({ "status": null, "output": [] }),
        json!({ "output": [message("a", &["one"])] }),
    ] {
        let said = end(response);
        assert_eq!(
            (said.text.as_str(), said.finish),
            ("one", Some(FinishReason::Stop))
        );
        assert!(said.whole);
    }
    let said = end(json!({ "status": "incomplete", "output": [],
        "incomplete_details": { "reason": "max_output_tokens" } }));
    assert_eq!(said.finish, Some(FinishReason::Length));
    let said = end(json!({ "status": "failed", "error": { "message": "the engine died" } }));
    assert_eq!(
        (said.error.as_deref(), said.whole),
        (Some("the engine died"), false)
    );
    for status in ["cancelled", "in_progress"] {
        let said = end(json!({ "status": status, "output": [] }));
        assert!(said.error.is_some() && said.finish.is_none(), "{status}");
    }
}
