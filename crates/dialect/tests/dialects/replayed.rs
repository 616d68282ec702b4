//! Odd inputs that users of gateways reported, and their neighbours.

use dialect::event::FinishReason;
use dialect::{Answer, Dialect};
use serde_json::{Value, json};

use crate::families::sent;
use crate::said::meta;
use crate::shapes::{stream, whole};

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

#[test]
fn results_reach_every_upstream_directly_behind_their_calls() {
    let call = |id: &str| json!({ "type": "function_call", "call_id": id, "name": "f", "arguments": "{}" });
    let result = |id: &str| json!({ "type": "function_call_output", "call_id": id, "output": id });
    let said = |role: &str| json!({ "type": "message", "role": role, "content": "between" });
    let body = json!({ "model": "m", "input": [said("user"), call("a"), said("developer"), call("b"),
        said("user"), result("b"), result("a")] });
    let (got, _) = sent("openai-responses", "openai-chat", "gpt-4o", &body);
    let roles: Vec<&str> = got["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["role"].as_str().unwrap())
        .collect();
    assert_eq!(
        roles,
        ["user", "assistant", "tool", "tool", "system", "user"]
    );
    assert_eq!(got["messages"][2]["tool_call_id"], "a");
    let (got, _) = sent("openai-responses", "gemini", "m", &body);
    let results = &got["contents"][2]["parts"];
    assert_eq!(results[0]["functionResponse"]["response"]["output"], "a");
    assert_eq!(results[1]["functionResponse"]["response"]["output"], "b");
    let (got, _) = sent("openai-responses", "anthropic", "m", &body);
    assert_eq!(got["messages"][2]["content"][0]["tool_use_id"], "a");
    assert_eq!(got["messages"][2]["content"][2]["type"], "text");
}

#[test]
fn what_is_for_anthropics_billing_goes_nowhere_else() {
    for system in [
        json!([{ "type": "text", "text": "x-anthropic-billing-header: cch=1;" },
            { "type": "text", "text": "You are an agent." }]),
        json!("x-anthropic-billing-header: cch=2;\nYou are an agent."),
    ] {
        let body =
            json!({ "model": "m", "max_tokens": 9, "system": system, "messages": [user("hi")] });
        let (got, _) = sent("anthropic", "openai-chat", "m", &body);
        assert_eq!(got["messages"][0]["content"], "You are an agent.");
    }
}

#[test]
fn googles_signatures_survive_chat_completions() {
    let extra = json!({ "google": { "thought_signature": "c2ln" } });
    let chunk = |delta: Value, finish: Value| json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] });
    let said = stream(
        "openai-chat",
        &[
            chunk(
                json!({ "tool_calls": [{ "index": 0, "id": "c", "type": "function", "extra_content": extra,
                    "function": { "name": "f", "arguments": "{}" } }] }),
                Value::Null,
            ),
            chunk(json!({}), json!("tool_calls")),
        ],
    );
    assert_eq!(said.states, ["tokenrill.gemini:c2ln"]);
    let call = json!({ "id": "c", "type": "function", "extra_content": extra,
        "function": { "name": "f", "arguments": "{}" } });
    let chat = json!({ "model": "m", "messages": [user("hi"),
        { "role": "assistant", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "c", "content": "1" }] });
    let (got, _) = sent("openai-chat", "gemini", "gemini-3-pro", &chat);
    assert_eq!(got["contents"][1]["parts"][0]["thoughtSignature"], "c2ln");
    let thinking =
        json!({ "type": "thinking", "thinking": "", "signature": "tokenrill.gemini:c2ln" });
    let history = |with: bool| {
        let mut content = vec![json!({ "type": "tool_use", "id": "c", "name": "f", "input": {} })];
        if with {
            content.insert(0, thinking.clone());
        }
        json!({ "model": "m", "max_tokens": 9, "messages": [user("hi"),
            { "role": "assistant", "content": content },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c", "content": "1" }] }] })
    };
    let extra_of = |model: &str, with: bool| {
        let (got, _) = sent("anthropic", "openai-chat", model, &history(with));
        got["messages"][1]["tool_calls"][0]["extra_content"].clone()
    };
    assert_eq!(extra_of("gemini-3-pro", true), extra);
    let placeholder =
        json!({ "google": { "thought_signature": "skip_thought_signature_validator" } });
    assert_eq!(extra_of("gemini-3-pro", false), placeholder);
    assert_eq!(extra_of("gpt-4o", true), Value::Null);
}

#[test]
fn answers_of_gemini_are_read_in_either_spelling() {
    let said = stream(
        "gemini",
        &[
            json!({ "candidates": [{ "content": { "parts": [{ "thought_signature": "c2ln",
            "function_call": { "name": "f", "args": { "snake_case": 1 } } }] }, "finish_reason": "STOP" }],
            "usage_metadata": { "prompt_token_count": 3, "candidates_token_count": 4 } }),
        ],
    );
    assert_eq!(said.calls(), [("f".to_owned(), json!({ "snake_case": 1 }))]);
    assert_eq!(said.states, ["tokenrill.gemini:c2ln"]);
    let usage = said.usage.unwrap();
    assert_eq!((usage.input, usage.output), (3, 4));
    let call = json!({ "functionCall": { "id": "x", "name": "f", "args": {} } });
    let said = stream(
        "gemini",
        &[
            json!({ "candidates": [{ "content": { "parts": [call, call] }, "finishReason": "STOP" }] }),
        ],
    );
    assert_eq!(said.calls().len(), 2);
    assert_ne!(
        said.tools[0].0, said.tools[1].0,
        "ids are unlike each other"
    );
}

#[test]
fn a_stop_sequence_that_was_met_is_told() {
    let choice = |fields: Value| {
        let mut choice = json!({ "index": 0, "message": { "role": "assistant", "content": "a" }, "finish_reason": "stop" });
        for (name, value) in fields.as_object().unwrap() {
            choice[name] = value.clone();
        }
        whole("openai-chat", &json!({ "choices": [choice] }))
            .unwrap()
            .finish
    };
    for (fields, wanted) in [
        (json!({ "stop_reason": "END" }), FinishReason::StopSequence),
        (json!({ "matched_stop": "END" }), FinishReason::StopSequence),
        (
            json!({ "stop_reason": 128_001, "matched_stop": null }),
            FinishReason::Stop,
        ),
    ] {
        assert_eq!(choice(fields.clone()), Some(wanted), "{fields}");
    }
    let anthropic = Dialect::named("anthropic").unwrap();
    let mut answer = Answer::default();
    answer.add(&dialect::event::Event::Finish(FinishReason::StopSequence));
    let asked = dialect::request::Request {
        stop: vec!["END".to_owned()],
        ..Default::default()
    };
    let told = anthropic.client.encode_answer(&answer, &meta(asked));
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["stop_reason"], "stop_sequence");
    assert_eq!(told["stop_sequence"], "END");
}

#[test]
fn a_whole_message_says_what_its_deltas_left_out() {
    let payloads = |message: &str| {
        [
            json!({ "choices": [{ "index": 0, "delta": { "content": "a who" } }] }),
            json!({ "choices": [{ "index": 0, "delta": { "content": "le" } }] }),
            json!({ "choices": [{ "index": 0, "message": { "content": message }, "finish_reason": "stop" }] }),
        ]
    };
    for (message, text) in [
        ("a whole answer", "a whole answer"),
        ("a whole", "a whole"),
        ("something else, and longer", "a whole"),
        ("a", "a whole"),
    ] {
        assert_eq!(stream("openai-chat", &payloads(message)).text, text);
    }
}

#[test]
fn schemas_that_would_be_refused_are_mended() {
    let tool = |parameters: Value| {
        json!({ "model": "m", "messages": [user("hi")],
            "tools": [{ "type": "function", "function": { "name": "f", "parameters": parameters } }] })
    };
    let odd = json!({ "type": "object", "required": null, "enum": [1], "not": {}, "properties": {
        "a": { "type": "None", "description": null }, "b": { "type": "string", "default": null } } });
    let (got, dropped) = sent("openai-chat", "anthropic", "m", &tool(odd.clone()));
    let properties = json!({ "a": {}, "b": { "type": "string", "default": null } });
    let wanted = json!({ "type": "object", "properties": properties });
    assert_eq!(got["tools"][0]["input_schema"], wanted);
    assert_eq!(dropped.len(), 1);
    let (got, _) = sent("openai-chat", "gemini", "m", &tool(odd));
    let schema = &got["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"];
    assert_eq!(schema["properties"], properties);
    assert!(schema.get("required").is_none());
    let half = tool(json!({ "type": "object", "description": "x" }));
    let half = half
        .to_string()
        .replace("\"x\"", r#""\ud83d \ud83d\ude00 \\ud83d""#);
    let client = Dialect::named("openai-chat").unwrap().client;
    let request = client
        .parse_request(half.into(), "/v1/chat/completions")
        .unwrap();
    assert_eq!(
        request.tools[0].parameters.to_tree(1000)["description"],
        "\u{fffd} \u{1f600} \\ud83d"
    );
}

#[test]
fn models_are_told_not_to_reason_in_their_own_way() {
    let disabled = json!({ "model": "m", "max_tokens": 9, "thinking": { "type": "disabled" }, "messages": [user("hi")] });
    for (to, model, field, wanted) in [
        (
            "openai-chat",
            "gpt-5-mini",
            "reasoning_effort",
            json!("minimal"),
        ),
        ("openai-chat", "gpt-5.1", "reasoning_effort", json!("none")),
        (
            "openai-responses",
            "gpt-5.1",
            "reasoning",
            json!({ "effort": "none" }),
        ),
        (
            "openai-chat",
            "deepseek-v4",
            "thinking",
            json!({ "type": "disabled" }),
        ),
        ("openai-chat", "qwen3-max", "enable_thinking", json!(false)),
        ("openai-chat", "gpt-4o", "reasoning_effort", Value::Null),
    ] {
        let (got, _) = sent("anthropic", to, model, &disabled);
        assert_eq!(got[field], wanted, "{to} {model}");
    }
    let none = json!({ "model": "m", "reasoning_effort": "none", "messages": [user("hi")] });
    let (got, _) = sent("openai-chat", "anthropic", "claude-sonnet-5", &none);
    assert_eq!(got["thinking"], json!({ "type": "disabled" }));
    let (got, _) = sent("openai-chat", "anthropic", "claude-haiku-4-5", &none);
    assert!(got.get("thinking").is_none());
    let (got, _) = sent("openai-chat", "gemini", "gemini-2.5-pro", &none);
    let config = &got["generationConfig"]["thinkingConfig"];
    assert_eq!(
        config,
        &json!({ "thinkingBudget": 128, "includeThoughts": false })
    );
}

#[test]
fn forms_that_a_neighbour_dialect_has_are_understood() {
    let tool = |name: &str| json!({ "type": "function", "function": { "name": name } });
    let body = json!({ "model": "m", "tools": [tool("f"), tool("g")], "messages": [user("hi")],
        "tool_choice": { "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": [tool("g")] } } });
    let (got, _) = sent("openai-chat", "anthropic", "m", &body);
    assert_eq!(got["tools"].as_array().unwrap().len(), 1);
    assert_eq!(got["tool_choice"]["type"], "any");
    let file = |data: &str| {
        json!({ "model": "m", "messages": [{ "role": "user", "content": [
            { "type": "file", "file": { "filename": "a.pdf", "file_data": data } }] }] })
    };
    let (got, _) = sent(
        "openai-chat",
        "anthropic",
        "m",
        &file("https://x.example/y.pdf"),
    );
    let source = &got["messages"][0]["content"][0]["source"];
    assert_eq!(
        source,
        &json!({ "type": "url", "url": "https://x.example/y.pdf" })
    );
    let image = json!({ "model": "m", "messages": [{ "role": "user", "content": [
        { "type": "image_url", "image_url": { "url": "data:application/pdf;base64,JVBERi0=" } }] }] });
    let (got, _) = sent("openai-chat", "anthropic", "m", &image);
    assert_eq!(got["messages"][0]["content"][0]["type"], "document");
    let gemini = json!({ "contents": [{ "parts": [{ "text": "hi" }] }], "generationConfig": { "maxOutputTokens": -1 } });
    let (got, _) = sent("gemini", "openai-chat", "m", &gemini);
    assert!(got.get("max_tokens").is_none());
}

#[test]
fn thoughts_between_calls_come_back_between_them() {
    let block = |index: u64, block: Value| json!({ "type": "content_block_start", "index": index, "content_block": block });
    let stop = |index: u64| json!({ "type": "content_block_stop", "index": index });
    let call = |id: &str| json!({ "type": "tool_use", "id": id, "name": "f", "input": {} });
    let thought = |text: &str| json!({ "type": "thinking", "thinking": text, "signature": format!("c{text}") });
    let blocks = [thought("one"), call("a"), thought("two"), call("b")];
    let mut payloads = vec![
        json!({ "type": "message_start", "message": { "usage": { "input_tokens": 1, "output_tokens": 1 } } }),
    ];
    for (at, content) in (0..).zip(&blocks) {
        payloads.extend([block(at, content.clone()), stop(at)]);
    }
    payloads.push(json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" }, "usage": { "output_tokens": 5 } }));
    payloads.push(json!({ "type": "message_stop" }));
    let wire: String = payloads
        .iter()
        .map(|payload| format!("data: {payload}\n\n"))
        .collect();
    let mut events = Vec::new();
    let anthropic = Dialect::named("anthropic").unwrap();
    crate::said::read(
        anthropic,
        std::iter::once(wire.as_bytes()),
        Some(&mut events),
    );
    let chat = Dialect::named("openai-chat").unwrap();
    let streamed = String::from_utf8(crate::said::write(chat, &events)).unwrap();
    let (mut merged, mut pieces, mut calls) = (Vec::<Value>::new(), Vec::new(), Vec::new());
    for line in streamed
        .lines()
        .filter_map(|line| line.strip_prefix("data: {"))
    {
        let chunk: Value = serde_json::from_str(&format!("{{{line}")).unwrap();
        let delta = &chunk["choices"][0]["delta"];
        for detail in delta["reasoning_details"].as_array().into_iter().flatten() {
            pieces.push(detail.clone());
            match merged
                .iter_mut()
                .find(|known| known["index"] == detail["index"])
            {
                Some(known) => known["signature"] = detail["signature"].clone(),
                None => merged.push(detail.clone()),
            }
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            if call["id"].is_string() {
                calls.push(json!({ "id": call["id"], "type": "function",
                    "function": { "name": "f", "arguments": "{}" } }));
            }
        }
    }
    let mut answer = Answer::default();
    events.iter().for_each(|event| answer.add(event));
    let whole = chat
        .client
        .encode_answer(&answer, &meta(dialect::request::Request::default()));
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    let whole = whole["choices"][0]["message"]["reasoning_details"].clone();
    for details in [merged.into(), pieces.into(), whole] {
        let body = json!({ "model": "m", "messages": [user("hi"),
            { "role": "assistant", "content": null, "tool_calls": calls, "reasoning_details": details },
            { "role": "tool", "tool_call_id": "a", "content": "1" },
            { "role": "tool", "tool_call_id": "b", "content": "2" }] });
        let (got, _) = sent("openai-chat", "anthropic", "claude-sonnet-4-5", &body);
        assert_eq!(got["messages"][1]["content"], json!(blocks), "{details}");
    }
}
