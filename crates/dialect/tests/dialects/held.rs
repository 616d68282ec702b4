//! Readers hold a bounded part of an answer, whatever an upstream sends.

use dialect::{Dialect, FinishRule, UpstreamSide};
use serde_json::{Value, json};

/// More payloads of a megabyte than may be held.
const MANY: usize = 40;

fn upstream(name: &str) -> &'static dyn UpstreamSide {
    match Dialect::with_upstream(name) {
        Some((_, side)) => side,
        None => Dialect::with_upstream_of(name, name).unwrap().1,
    }
}

/// Reads payloads that are made of their number and of a long text with that number in it; returns
/// how many were taken.
fn taken(name: &str, payload: impl Fn(usize, &str) -> Value) -> usize {
    let mut reader = upstream(name).event_reader(FinishRule::Required);
    let long = "x".repeat(1 << 20);
    let take = |at: &usize| {
        let payload = payload(*at, &format!("{at}{long}")).to_string();
        let seen = reader.read_payload(payload.as_bytes(), Some(&mut |_| {}));
        seen.is_ok_and(|seen| seen.error.is_none())
    };
    (0..MANY).take_while(take).count()
}

#[test]
fn calls_with_long_ids_or_names_are_too_large_at_some_time() {
    let chat = |at: usize, id: &str, name: &str| {
        json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [
            { "index": at, "id": id, "function": { "name": name, "arguments": "{}" } }] } }] })
    };
    let item = |at: usize, item: Value| json!({ "type": "response.output_item.added", "output_index": at, "item": item });
    let call =
        |id: &str, name: &str| json!({ "type": "function_call", "call_id": id, "name": name });
    let block = |at: usize, id: &str, name: &str| {
        json!({ "type": "content_block_start", "index": at,
            "content_block": { "type": "tool_use", "id": id, "name": name, "input": {} } })
    };
    let part = |id: &str, name: &str| {
        json!({ "candidates": [{ "content": { "parts": [
            { "functionCall": { "id": id, "name": name, "args": {} } }] } }] })
    };
    let start = |at: usize, id: &str, name: &str| {
        json!({ "contentBlockStart": { "contentBlockIndex": at,
            "start": { "toolUse": { "toolUseId": id, "name": name } } } })
    };
    for (name, count) in [
        (
            "openai-chat",
            taken("openai-chat", |at, long| chat(at, long, "f")),
        ),
        (
            "openai-chat",
            taken("openai-chat", |at, long| chat(at, "c", long)),
        ),
        (
            "openai-responses",
            taken("openai-responses", |at, long| item(at, call(long, "f"))),
        ),
        (
            "openai-responses",
            taken("openai-responses", |at, long| item(at, call("c", long))),
        ),
        (
            "anthropic",
            taken("anthropic", |at, long| block(at, long, "f")),
        ),
        (
            "anthropic",
            taken("anthropic", |at, long| block(at, "c", long)),
        ),
        ("gemini", taken("gemini", |_, long| part(long, "f"))),
        ("gemini", taken("gemini", |_, long| part("c", long))),
        (
            "bedrock-converse",
            taken("bedrock-converse", |at, long| start(at, long, "f")),
        ),
        (
            "bedrock-converse",
            taken("bedrock-converse", |at, long| start(at, "c", long)),
        ),
    ] {
        assert!((1..10).contains(&count), "{name} took {count}");
    }
}

#[test]
fn items_with_long_ids_are_too_large_at_some_time() {
    let said =
        |_, id: &str| json!({ "type": "response.output_text.delta", "item_id": id, "delta": "a" });
    let begun = |at: usize, id: &str| {
        json!({ "type": "response.output_item.added", "output_index": at,
            "item": { "type": "message", "id": id } })
    };
    let called = |_, id: &str| json!({ "type": "response.function_call_arguments.delta", "item_id": id, "delta": "{" });
    for count in [
        taken("openai-responses", said),
        taken("openai-responses", begun),
        taken("openai-responses", called),
    ] {
        assert!((1..10).contains(&count), "{count} were taken");
    }
}

#[test]
fn arguments_of_many_levels_are_too_large_at_some_time() {
    let deep = ".a".repeat(60);
    let leaves = |at: usize| {
        let leaf =
            |leaf: usize| json!({ "jsonPath": format!("$.b{at}c{leaf}{deep}"), "boolValue": true });
        (0..50).map(leaf).collect::<Vec<_>>()
    };
    let count = taken("gemini", |at, _| {
        json!({ "candidates": [{ "content": { "parts": [{ "functionCall": {
            "name": "f", "partialArgs": leaves(at), "willContinue": true } }] } }] })
    });
    assert!((1..10).contains(&count), "{count} were taken");
}
