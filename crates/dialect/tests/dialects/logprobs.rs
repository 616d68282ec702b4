//! Log probabilities between the dialects that have them, streamed and whole, and the refusal of
//! the others.

use std::sync::Arc;

use bytes::Bytes;
use dialect::event::{Event, FinishReason};
use dialect::request::Request;
use dialect::{Answer, Dialect, FinishRule, ResponseMeta, translate};
use serde_json::{Value, json};

use crate::families::sent;

fn parse(from: &str, body: &Value) -> Request {
    let client = Dialect::named(from).unwrap().client;
    let path = "/v1beta/models/m:generateContent";
    client
        .parse_request(Bytes::from(body.to_string()), path)
        .unwrap()
}

/// A request of that dialect for log probabilities with alternatives.
fn asking(from: &str) -> Value {
    match from {
        "openai-chat" => json!({ "model": "m", "logprobs": true, "top_logprobs": 2,
            "messages": [{ "role": "user", "content": "hi" }] }),
        "openai-responses" => json!({ "model": "m", "top_logprobs": 2, "input": "hi",
            "include": ["message.output_text.logprobs"] }),
        _ => json!({ "contents": [{ "parts": [{ "text": "hi" }] }],
            "generationConfig": { "responseLogprobs": true, "logprobs": 2 } }),
    }
}

const ALL: [&str; 3] = ["openai-chat", "openai-responses", "gemini"];

#[test]
fn they_are_asked_for_in_each_dialects_words() {
    for from in ALL {
        for to in ALL.into_iter().filter(|to| *to != from) {
            let (got, dropped) = sent(from, to, "m", &asking(from));
            let found = match to {
                "openai-chat" => json!([got["logprobs"], got["top_logprobs"]]),
                "openai-responses" => json!([got["include"], got["top_logprobs"]]),
                _ => {
                    let config = &got["generationConfig"];
                    json!([config["responseLogprobs"], config["logprobs"]])
                }
            };
            let wanted = match to {
                "openai-responses" => json!([["message.output_text.logprobs"], 2]),
                _ => json!([true, 2]),
            };
            assert_eq!(found, wanted, "{from} to {to}: {got}");
            assert_eq!(dropped, [""; 0], "{from} to {to}");
        }
    }
    // Beside what reasoning includes.
    let mut body = asking("openai-chat");
    body["reasoning_effort"] = "low".into();
    let (got, _) = sent("openai-chat", "openai-responses", "m", &body);
    let both = [
        "reasoning.encrypted_content",
        "message.output_text.logprobs",
    ];
    assert_eq!(got["include"], json!(both));
    body["logprobs"] = false.into();
    body["top_logprobs"] = Value::Null;
    let (got, _) = sent("openai-chat", "openai-responses", "m", &body);
    assert_eq!(got["include"], json!([both[0]]));
}

#[test]
fn who_has_none_is_not_asked() {
    let refused = |from: &str, body: &Value| {
        let (dialect, side) = Dialect::with_upstream("anthropic").unwrap();
        translate(dialect, side, &parse(from, body), "m").map(|payload| payload.dropped)
    };
    let failure = refused("openai-chat", &asking("openai-chat")).unwrap_err();
    assert_eq!(failure.param(), Some("logprobs"));
    let failure = refused("openai-responses", &asking("openai-responses")).unwrap_err();
    assert_eq!(failure.param(), Some("top_logprobs"));
    // What is only to be included is left out.
    let mut body = asking("openai-responses");
    body["top_logprobs"] = Value::Null;
    let dropped = refused("openai-responses", &body).unwrap();
    assert_eq!(dropped, ["logprobs"]);
    assert_eq!(refused("gemini", &asking("gemini")).unwrap(), ["logprobs"]);
}

/// The tokens in OpenAI's form.
fn tokens(texts: &[&str]) -> Value {
    let likely = |text: &str, logprob: f64| json!({ "token": text, "logprob": logprob, "bytes": text.as_bytes() });
    let all = texts.iter().map(|text| {
        let mut token = likely(text, -0.5);
        token["top_logprobs"] = json!([likely(text, -0.5), likely("no", -2.5)]);
        token
    });
    all.collect()
}

/// The payloads of a stream of that dialect that says "Hello" in two tokens.
fn stream(from: &str) -> Vec<Value> {
    let pieces = ["Hel", "lo"];
    match from {
        "openai-chat" => {
            let mut chunks: Vec<Value> = pieces
                .iter()
                .map(|text| {
                    let logprobs = json!({ "content": tokens(&[text]), "refusal": null });
                    json!({ "choices": [{ "index": 0, "delta": { "content": text },
                        "logprobs": logprobs, "finish_reason": null }] })
                })
                .collect();
            chunks.push(
                json!({ "choices": [{ "index": 0, "delta": {}, "logprobs": null,
                "finish_reason": "stop" }] }),
            );
            chunks
        }
        "openai-responses" => {
            let mut events: Vec<Value> = pieces
                .iter()
                .map(|text| {
                    json!({ "type": "response.output_text.delta", "item_id": "msg", "output_index": 0,
                        "content_index": 0, "delta": text, "logprobs": tokens(&[text]) })
                })
                .collect();
            let part = json!({ "type": "output_text", "text": "Hello", "annotations": [],
                "logprobs": tokens(&pieces) });
            let item = json!({ "type": "message", "id": "msg", "content": [part] });
            events.push(
                json!({ "type": "response.output_item.done", "output_index": 0, "item": item }),
            );
            events.push(json!({ "type": "response.completed",
                "response": { "status": "completed", "output": [item] } }));
            events
        }
        _ => {
            let candidate =
                |text: &str, logprob: f64| json!({ "token": text, "logProbability": logprob });
            let piece = |(at, text): (usize, &&str)| {
                let result = json!({ "chosenCandidates": [candidate(text, -0.5)],
                    "topCandidates": [{ "candidates": [candidate(text, -0.5), candidate("no", -2.5)] }] });
                let mut candidate = json!({ "content": { "parts": [{ "text": text }] },
                    "logprobsResult": result });
                if at == 1 {
                    candidate["finishReason"] = "STOP".into();
                }
                json!({ "candidates": [candidate] })
            };
            pieces.iter().enumerate().map(piece).collect()
        }
    }
}

fn events(from: &str) -> Vec<Event<'static>> {
    let (_, side) = Dialect::with_upstream(from).unwrap();
    let mut reader = side.event_reader(FinishRule::Optional);
    let mut events = Vec::new();
    let mut sink = |event: Event<'_>| events.push(event.into_owned());
    for payload in stream(from) {
        let data = payload.to_string();
        let seen = reader.read_payload(data.as_bytes(), Some(&mut sink));
        assert!(seen.unwrap().error.is_none(), "{payload}");
    }
    if from == "openai-chat" {
        reader.read_payload(b"[DONE]", Some(&mut sink)).unwrap();
    }
    reader.finish_stream(Some(&mut sink)).unwrap();
    events
}

fn meta(client: &str, body: &Value) -> ResponseMeta {
    ResponseMeta {
        request: Arc::new(parse(client, body).without_content()),
        ..ResponseMeta::for_error()
    }
}

/// The payloads that a client gets for those events.
fn written(client: &str, body: &Value, events: &[Event<'_>]) -> Vec<Value> {
    let dialect = Dialect::named(client).unwrap();
    let mut writer = dialect.client.event_writer(meta(client, body));
    let mut payloads = Vec::new();
    let mut out = |_: Option<&str>, data: &[u8]| {
        payloads.extend(serde_json::from_slice::<Value>(data));
    };
    for event in events {
        writer.write_event(event, &mut out).unwrap();
    }
    writer.write_end(&mut out);
    payloads
}

/// Each piece of text in a client's stream, with the tokens beside it.
fn pieces(client: &str, payloads: &[Value]) -> Vec<(String, Value)> {
    let of = |payload: &Value| {
        let (text, tokens) = match client {
            "openai-chat" => {
                let choice = &payload["choices"][0];
                (&choice["delta"]["content"], &choice["logprobs"]["content"])
            }
            "openai-responses" => (&payload["delta"], &payload["logprobs"]),
            _ => {
                let candidate = &payload["candidates"][0];
                let text = &candidate["content"]["parts"][0]["text"];
                (text, &candidate["logprobsResult"]["chosenCandidates"])
            }
        };
        let text = text.as_str().filter(|text| !text.is_empty())?;
        Some((text.to_owned(), tokens.clone()))
    };
    payloads.iter().filter_map(of).collect()
}

#[test]
fn each_piece_has_its_own_in_every_stream() {
    for from in ALL {
        for client in ALL {
            let got = written(client, &asking(client), &events(from));
            let wanted = |text: &str| match client {
                "gemini" => json!([{ "token": text, "logProbability": -0.5 }]),
                _ => tokens(&[text]),
            };
            let wanted = ["Hel", "lo"].map(|text| (text.to_owned(), wanted(text)));
            assert_eq!(pieces(client, &got), wanted, "{from} to {client}");
        }
    }
}

#[test]
fn a_responses_client_gets_them_again_with_the_whole() {
    let got = written(
        "openai-responses",
        &asking("openai-responses"),
        &events("openai-chat"),
    );
    let done = got
        .iter()
        .find(|payload| payload["type"] == "response.output_text.done");
    assert_eq!(done.unwrap()["logprobs"], tokens(&["Hel", "lo"]));
    let last = &got.last().unwrap()["response"]["output"][0]["content"][0];
    assert_eq!(last["logprobs"], tokens(&["Hel", "lo"]));
}

#[test]
fn a_whole_answer_has_all_of_them() {
    for from in ALL {
        for client in ALL {
            let mut answer = Answer::default();
            events(from).iter().for_each(|event| answer.add(event));
            let dialect = Dialect::named(client).unwrap();
            let whole = dialect
                .client
                .encode_answer(&answer, &meta(client, &asking(client)));
            let whole: Value = serde_json::from_slice(&whole).unwrap();
            let (found, wanted) = match client {
                "openai-chat" => (
                    &whole["choices"][0]["logprobs"]["content"],
                    tokens(&["Hel", "lo"]),
                ),
                "openai-responses" => (
                    &whole["output"][0]["content"][0]["logprobs"],
                    tokens(&["Hel", "lo"]),
                ),
                _ => (
                    &whole["candidates"][0]["logprobsResult"]["topCandidates"][1]["candidates"][1],
                    json!({ "token": "no", "logProbability": -2.5 }),
                ),
            };
            assert_eq!(*found, wanted, "{from} to {client}");
            // And read again, by one in front.
            let Some(side) = dialect.upstream else {
                continue;
            };
            let mut read = Answer::default();
            let mut sink = |event: Event<'_>| read.add(&event);
            let whole = whole.to_string();
            side.parse_answer(whole.as_bytes(), FinishRule::Required, Some(&mut sink))
                .unwrap();
            let again: Value = serde_json::from_str(&format!("[{}]", read.logprobs)).unwrap();
            assert_eq!(again, tokens(&["Hel", "lo"]), "{client}");
        }
    }
}

#[test]
fn who_did_not_ask_gets_none() {
    let asked = [
        Event::Logprobs(tokens(&["Hi"]).to_string().into()),
        Event::Text("Hi".into()),
        Event::Finish(FinishReason::Stop),
    ];
    for client in ["openai-chat", "openai-responses", "gemini", "anthropic"] {
        let plain = match client {
            "gemini" => json!({ "contents": [{ "parts": [{ "text": "hi" }] }] }),
            "openai-responses" => json!({ "model": "m", "input": "hi" }),
            _ => json!({ "model": "m", "max_tokens": 9,
                "messages": [{ "role": "user", "content": "hi" }] }),
        };
        let got = written(client, &plain, &asked);
        let without = written(client, &plain, &asked[1..]);
        let texts =
            |payloads: &[Value]| -> Vec<String> { payloads.iter().map(Value::to_string).collect() };
        assert_eq!(texts(&got).len(), texts(&without).len(), "{client}");
        assert!(!texts(&got).concat().contains("-0.5"), "{client}");
    }
}
