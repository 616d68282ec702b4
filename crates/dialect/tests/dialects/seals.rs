//! Sealed thoughts that come back: to another kind of upstream, or not as they were told.

use bytes::Bytes;
use dialect::event::{Event, FinishReason, ReasoningState, StateOrigin};
use dialect::request::Request;
use dialect::{Answer, Dialect, FinishRule, translate};
use serde_json::{Value, json};

use crate::families::sent as translated;
use crate::said::meta;

/// The body that an upstream of the client's own dialect gets.
fn sent(name: &str, body: &Value) -> String {
    let (dialect, side) = Dialect::with_upstream(name).unwrap();
    let path = "/v1beta/models/m:generateContent";
    let request = dialect
        .client
        .parse_request(Bytes::from(body.to_string()), path)
        .unwrap();
    String::from_utf8(side.pass_through_body(&request, "m").unwrap().to_vec()).unwrap()
}

#[test]
fn a_seal_of_another_upstream_is_taken_out_and_all_else_stays() {
    let packed = "tokenrill.gemini:c2VhbA==";
    let base64 = "dG9rZW5yaWxsLmFudGhyb3BpYzpjMlZoYkE9PQ==";
    for (name, body) in [
        (
            "anthropic",
            json!({ "model": "m", "x": 1.50, "messages": [{ "role": "assistant", "content": [
            { "type": "thinking", "thinking": "MINE", "signature": "Eq==" },
            { "type": "thinking", "thinking": "FOREIGN", "signature": packed },
            { "type": "text", "text": "MINE too" } ] }] }),
        ),
        (
            "openai-responses",
            json!({ "model": "m", "input": [
            { "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "MINE" },
            { "type": "reasoning", "id": "rs_FOREIGN", "summary": [], "encrypted_content": packed },
            { "role": "user", "content": "MINE too" } ] }),
        ),
        (
            "openai-chat",
            json!({ "model": "m", "messages": [{ "role": "assistant", "content": "MINE too", "reasoning_details": [
            { "type": "reasoning.text", "text": "MINE", "signature": "Eq==" },
            { "type": "reasoning.text", "text": "FOREIGN", "signature": packed } ] }] }),
        ),
        (
            "gemini",
            json!({ "contents": [{ "role": "model", "parts": [
            { "text": "MINE", "thoughtSignature": "c2VhbA==" },
            { "text": "MINE too", "thoughtSignature": base64 } ] }] }),
        ),
    ] {
        let sent = sent(name, &body);
        assert!(
            sent.contains("MINE") && sent.contains("MINE too"),
            "{name}: {sent}"
        );
        assert!(
            !sent.contains("FOREIGN") && !sent.contains(packed) && !sent.contains(base64),
            "{name}: {sent}"
        );
    }
}

#[test]
fn a_text_that_only_speaks_of_seals_stays() {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "what is tokenrill.chat: in a signature?" }] });
    assert_eq!(
        serde_json::from_str::<Value>(&sent("anthropic", &body)).unwrap(),
        body
    );
}

#[test]
fn a_thought_that_lost_its_text_beside_its_seal_gets_it_back() {
    let seal = |index: u64, value: &str| json!({ "type": "reasoning.text", "index": index, "signature": format!("tokenrill.{value}") });
    let whole = |text: &str| json!({ "type": "thinking", "thinking": text, "signature": "c2ln" });
    let replayed = |shown: &str, details: Value, to: &str| {
        let call = json!({ "id": "a", "type": "function", "function": { "name": "f", "arguments": "{}" } });
        let body = json!({ "model": "m", "reasoning_effort": "low", "messages": [{ "role": "user", "content": "hi" },
            { "role": "assistant", "tool_calls": [call], "reasoning_content": shown, "reasoning_details": details },
            { "role": "tool", "tool_call_id": "a", "content": "1" }] });
        translated("openai-chat", to, "m", &body).0
    };
    let signed = json!([seal(0, "anthropic:c2ln")]);
    let got = replayed("one, two", signed, "anthropic");
    assert_eq!(got["messages"][1]["content"][0], whole("one, two"));
    assert!(got["thinking"].is_object());

    let sealed = json!([seal(0, "responses:rs_1 c2ln")]);
    let got = replayed("one, two", sealed, "openai-responses");
    let summary = json!([{ "type": "summary_text", "text": "one, two" }]);
    assert_eq!(got["input"][1]["summary"], summary);

    // Which part of the text was signed by which is not told: none can be sent with its own.
    let two = json!([seal(0, "anthropic:c2ln"), seal(1, "anthropic:c2ln")]);
    let got = replayed("one, two", two, "anthropic");
    assert_eq!(got["messages"][1]["content"][0]["type"], "tool_use");
    assert!(got["thinking"].is_null());

    let mut kept = [seal(0, "anthropic:c2ln"), seal(1, "anthropic:c2ln")];
    for (detail, text) in kept.iter_mut().zip(["one", "two"]) {
        detail["text"] = text.into();
    }
    let got = replayed("one and two", json!(kept), "anthropic");
    let thoughts = &got["messages"][1]["content"].as_array().unwrap()[..2];
    assert_eq!(thoughts, [whole("one"), whole("two")]);
}

#[test]
fn a_gemini_client_that_leaves_out_its_thoughts_has_them_in_their_seals() {
    let gemini = Dialect::named("gemini").unwrap();
    let parts_of = |data: &str| {
        let wire: Value = serde_json::from_str(data).unwrap();
        let parts = wire["candidates"][0]["content"]["parts"].as_array();
        parts.cloned().unwrap()
    };
    for thought in ["one\ntwo é", ""] {
        let seal = ReasoningState {
            origin: StateOrigin::Anthropic,
            value: "c2ln".into(),
        };
        let said = [
            Event::Reasoning(thought.into()),
            Event::State(seal),
            Event::Text("So.".into()),
            Event::Finish(FinishReason::Stop),
        ];
        let streamed = String::from_utf8(crate::said::write(gemini, &said)).unwrap();
        let streamed = streamed
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        let mut answer = Answer::default();
        said.iter().for_each(|event| answer.add(event));
        let whole = gemini
            .client
            .encode_answer(&answer, &meta(Request::default()));
        let whole = parts_of(std::str::from_utf8(&whole).unwrap());
        for mut parts in [streamed.flat_map(parts_of).collect(), whole] {
            parts.retain(|part| part["thought"] != true);
            let body = json!({ "contents": [
                { "role": "user", "parts": [{ "text": "hi" }] },
                { "role": "model", "parts": parts },
                { "role": "user", "parts": [{ "text": "go on" }] } ] });
            let (got, _) = translated("gemini", "anthropic", "claude-sonnet-4-5", &body);
            let block = json!({ "type": "thinking", "thinking": thought, "signature": "c2ln" });
            assert_eq!(got["messages"][1]["content"][0], block, "{body}");
        }
    }
}

/// The events of a stream of Chat Completions with those deltas, and of a whole answer with that
/// content.
fn told(deltas: &[Value], content: &Value) -> [Vec<Event<'static>>; 2] {
    let (_, side) = Dialect::with_upstream("openai-chat").unwrap();
    let mut reader = side.event_reader(FinishRule::Required);
    let mut streamed = Vec::new();
    let mut sink = |event: Event<'_>| streamed.push(event.into_owned());
    for delta in deltas {
        let chunk = json!({ "choices": [{ "index": 0, "delta": delta }] }).to_string();
        reader
            .read_payload(chunk.as_bytes(), Some(&mut sink))
            .unwrap();
    }
    let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    reader
        .read_payload(end.as_bytes(), Some(&mut sink))
        .unwrap();
    reader.read_payload(b"[DONE]", Some(&mut sink)).unwrap();
    reader.finish_stream(Some(&mut sink)).unwrap();
    let answer = json!({ "choices": [{ "index": 0, "finish_reason": "stop",
        "message": { "role": "assistant", "content": content } }] });
    let mut whole = Vec::new();
    side.parse_answer(
        answer.to_string().as_bytes(),
        FinishRule::Required,
        Some(&mut |event| whole.push(event.into_owned())),
    )
    .unwrap();
    [streamed, whole]
}

/// The content of the assistant's message that a flavor's upstream gets back from a client of that
/// dialect, which repeats the answer that it got.
fn returned(events: &[Event<'static>], client: &str, flavor: &str) -> Value {
    let dialect = Dialect::named(client).unwrap();
    let mut answer = Answer::default();
    events.iter().for_each(|event| answer.add(event));
    let meta = meta(Request::default());
    let said: Value =
        serde_json::from_slice(&dialect.client.encode_answer(&answer, &meta)).unwrap();
    let user = json!({ "role": "user", "content": "hi" });
    let body = match client {
        "anthropic" => {
            let content = said["content"].clone();
            json!({ "model": "m", "max_tokens": 9,
                "messages": [user, { "role": "assistant", "content": content }, user] })
        }
        _ => {
            let mut input = vec![user.clone()];
            input.extend(said["output"].as_array().unwrap().iter().cloned());
            input.push(user);
            json!({ "model": "m", "input": input })
        }
    };
    let request = dialect
        .client
        .parse_request(Bytes::from(body.to_string()), "/v1/messages")
        .unwrap();
    let (dialect, side) = Dialect::with_upstream_of("openai-chat", flavor).unwrap();
    let payload = translate(dialect, side, &request, "m").unwrap();
    let got: Value = serde_json::from_slice(&payload.body).unwrap();
    assert_eq!(got["messages"][1]["role"], "assistant", "{got}");
    got["messages"][1]["content"].clone()
}

#[test]
fn thoughts_among_the_parts_of_content_go_back_as_parts() {
    let databricks = |text: &str, seal: &str| {
        json!({ "type": "reasoning",
            "summary": [{ "type": "summary_text", "text": text, "signature": seal }] })
    };
    let hidden = json!({ "type": "reasoning",
        "summary": [{ "type": "summary_encrypted_text", "data": "c2Vj" }] });
    let mistral =
        |text: &str| json!({ "type": "thinking", "thinking": [{ "type": "text", "text": text }] });
    let mut open = mistral("Hm, ");
    open["closed"] = false.into();
    let said = json!({ "type": "text", "text": "Four." });
    for (flavor, deltas, whole) in [
        (
            "",
            vec![
                json!({ "content": [databricks("Two ", "")] }),
                json!({ "content": [databricks("and two.", "")] }),
                json!({ "content": [databricks("", "EqoB")] }),
                json!({ "content": [hidden] }),
                json!({ "content": "Four." }),
            ],
            json!([databricks("Two and two.", "EqoB"), hidden, said]),
        ),
        (
            "mistral",
            vec![
                json!({ "content": [open] }),
                json!({ "content": [mistral("two.")] }),
                json!({ "content": "Four." }),
            ],
            json!([mistral("Hm, two."), said]),
        ),
    ] {
        for events in told(&deltas, &whole) {
            for client in ["anthropic", "openai-responses"] {
                assert_eq!(
                    returned(&events, client, flavor),
                    whole,
                    "{client} {events:?}"
                );
                // Others would refuse parts that they don't know.
                assert_eq!(returned(&events, client, "groq"), "Four.", "{client}");
            }
        }
    }
}

#[test]
fn a_forged_seal_writes_its_text_once() {
    let shell = json!({ "content": { "type": "thinking", "thinking": ["", ""], "summary": "",
        "text": [{ "text": "" }] } });
    let text = "once ".repeat(100);
    let body = json!({ "model": "m", "max_tokens": 9, "messages": [
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": [{ "type": "thinking", "thinking": text,
            "signature": format!("tokenrill.chat:{shell}") }] },
        { "role": "user", "content": "go on" }] });
    let (got, _) = translated("anthropic", "openai-chat", "m", &body);
    assert_eq!(got.to_string().matches("once ").count(), 100);
}
