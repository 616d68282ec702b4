//! Families of models: parameters that they refuse are not sent, and reasoning that they want back
//! comes back.

use bytes::Bytes;
use dialect::{Dialect, translate};
use serde_json::{Value, json};

/// The body that an upstream gets for a client's, and the names of what it does not get.
pub(crate) fn sent(from: &str, to: &str, model: &str, body: &Value) -> (Value, Vec<String>) {
    let client = Dialect::named(from).unwrap().client;
    let path = "/v1beta/models/m:generateContent";
    let request = client
        .parse_request(Bytes::from(body.to_string()), path)
        .unwrap();
    let (dialect, side) = Dialect::with_upstream_of(to, to).unwrap();
    let payload = translate(dialect, side, &request, model).unwrap();
    (
        serde_json::from_slice(&payload.body).unwrap(),
        payload.dropped,
    )
}

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

#[test]
fn sampling_goes_only_to_models_that_take_it() {
    let body = json!({ "model": "m", "max_tokens": 100, "temperature": 0.7, "top_p": 0.9,
        "stop_sequences": ["x"], "messages": [user("hi")] });
    for (to, model, takes) in [
        ("openai-responses", "gpt-5-mini", false),
        ("openai-responses", "openai/o3", false),
        ("openai-responses", "gpt-4o", true),
        ("openai-chat", "GPT-5.1", false),
        ("openai-chat", "gpt-4o", true),
        ("openai-chat", "gpt-5-chat-latest", true),
        ("openai-chat", "moonshotai/kimi-k2.6", false),
        ("openai-chat", "olmo", true),
    ] {
        let (got, dropped) = sent("anthropic", to, model, &body);
        assert_eq!(
            got.get("temperature").is_some(),
            takes,
            "{to} {model}: {got}"
        );
        assert_eq!(got.get("top_p").is_some(), takes, "{to} {model}: {got}");
        let is_told = dropped.iter().any(|name| name == "temperature");
        assert_eq!(is_told, !takes, "{to} {model}: {dropped:?}");
    }
    let body = json!({ "model": "m", "presence_penalty": 1, "stop": ["x"],
        "reasoning_effort": "high", "messages": [user("hi")] });
    let (got, _) = sent("openai-chat", "gemini", "gemini-2.5-flash", &body);
    assert!(
        got["generationConfig"].get("presencePenalty").is_none(),
        "{got}"
    );
    let (got, _) = sent("openai-chat", "gemini", "gemma-3-27b-it", &body);
    assert!(
        got["generationConfig"].get("thinkingConfig").is_none(),
        "{got}"
    );
}

#[test]
fn an_effort_is_sent_in_the_words_that_a_model_knows() {
    for (model, given, word) in [
        ("o3", "minimal", "low"),
        ("gpt-5", "minimal", "minimal"),
        ("gpt-5-mini", "xhigh", "high"),
        ("gpt-5.1", "none", "none"),
        ("gpt-5.2", "xhigh", "xhigh"),
        ("m", "xhigh", "xhigh"),
    ] {
        let body = json!({ "model": "m", "input": "hi", "reasoning": { "effort": given } });
        let (got, _) = sent("openai-responses", "openai-chat", model, &body);
        assert_eq!(got["reasoning_effort"], word, "{model} {given}");
    }
    let none = json!({ "model": "m", "input": "hi", "reasoning": { "effort": "none" } });
    let budget = |model: &str| {
        let (got, _) = sent("openai-responses", "gemini", model, &none);
        got["generationConfig"]["thinkingConfig"]["thinkingBudget"].clone()
    };
    assert_eq!(budget("gemini-2.5-pro"), 128);
    assert_eq!(budget("gemini-2.5-flash"), 0);
}

#[test]
fn a_long_user_is_a_digest_the_same_every_time() {
    let named = |name: &str| {
        json!({ "model": "m", "max_tokens": 9, "metadata": { "user_id": name },
            "messages": [user("hi")] })
    };
    for to in ["openai-chat", "openai-responses"] {
        let user_of = |name: &str| {
            let (got, _) = sent("anthropic", to, "m", &named(name));
            got["user"].as_str().unwrap().to_owned()
        };
        let long = "u".repeat(150);
        assert!(user_of(&long).len() <= 64, "{to}");
        assert_eq!(user_of(&long), user_of(&long));
        assert_ne!(user_of(&long), user_of(&"u".repeat(151)));
        assert_eq!(user_of("jo"), "jo");
    }
}

#[test]
fn an_answer_that_has_begun_ends_without_white_space() {
    let assistant = |content: Value| json!({ "role": "assistant", "content": content });
    let sent_end = |model: &str, content: Value| {
        let body = json!({ "model": "m", "messages": [user("2+2?"), assistant(content)] });
        let (got, _) = sent("openai-chat", "anthropic", model, &body);
        got["messages"].as_array().unwrap().last().unwrap().clone()
    };
    let end = sent_end("m", json!("The answer is: \n"));
    assert_eq!(end["content"], "The answer is:");
    let parts = json!([{ "type": "text", "text": "a " }, { "type": "text", "text": "b\t" }]);
    let end = sent_end("m", parts);
    assert_eq!(end["content"][0]["text"], "a ");
    assert_eq!(end["content"][1]["text"], "b");
    assert_eq!(
        sent_end("claude-opus-4-6", json!("The ")),
        user("Continue exactly where you left off.")
    );

    let earlier =
        json!({ "model": "m", "messages": [user("a"), assistant(json!("b ")), user("c ")] });
    let (got, _) = sent("openai-chat", "anthropic", "m", &earlier);
    assert_eq!(got["messages"][1]["content"], "b ");
    assert_eq!(got["messages"][2]["content"], "c ");
    let gemini = json!({ "contents": [{ "role": "user", "parts": [{ "text": "a" }] },
        { "role": "model", "parts": [{ "text": "b " }] }] });
    let (got, _) = sent("gemini", "anthropic", "m", &gemini);
    assert_eq!(got["messages"][1]["content"], "b");
}

#[test]
fn system_messages_have_the_place_that_a_family_takes() {
    let body = json!({ "model": "m", "max_tokens": 9, "system": "You are an agent.",
        "messages": [user("hi"), { "role": "system", "content": "Agents: none." }, user("go")] });
    let roles = |model: &str| -> Vec<String> {
        let (got, _) = sent("anthropic", "openai-chat", model, &body);
        let messages = got["messages"].as_array().unwrap().iter();
        messages
            .map(|message| message["role"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(roles("gpt-4o"), ["system", "user", "system", "user"]);
    assert_eq!(roles("qwen3-coder"), ["system", "user", "user"]);
    let (got, _) = sent("anthropic", "openai-chat", "m", &body);
    assert_eq!(
        got["messages"][0]["content"],
        "You are an agent.\n\nAgents: none."
    );
}

#[test]
fn a_schema_without_an_object_is_made_one() {
    let branch = |name: &str| json!({ "type": "object", "properties": { name: { "type": "string" } }, "required": [name] });
    let body = json!({ "model": "m", "messages": [user("hi")], "tools": [{ "type": "function",
        "function": { "name": "run", "parameters": { "anyOf": [branch("file"), branch("dir")] } } }] });
    let whole = json!({ "type": "object",
        "properties": { "file": { "type": "string" }, "dir": { "type": "string" } } });
    let (got, dropped) = sent("openai-chat", "anthropic", "m", &body);
    assert_eq!(got["tools"][0]["input_schema"], whole);
    assert!(!dropped.is_empty());
    let (got, _) = sent("openai-chat", "openai-responses", "m", &body);
    assert_eq!(got["tools"][0]["parameters"], whole);
}

#[test]
fn calls_without_a_thought_signature_get_one_that_is_skipped() {
    let body = json!({ "model": "m", "messages": [
        user("hi"),
        { "role": "assistant", "content": null, "tool_calls": [
            { "id": "c", "function": { "name": "f", "arguments": "{}" } } ] },
        { "role": "tool", "tool_call_id": "c", "content": "42" } ] });
    let signature = |model: &str| {
        let (got, _) = sent("openai-chat", "gemini", model, &body);
        got["contents"][1]["parts"][0]
            .get("thoughtSignature")
            .cloned()
    };
    let skipped = Some(json!("skip_thought_signature_validator"));
    for model in [
        "gemini-flash-latest",
        "gemini-3-pro",
        "gemini-2.5-flash-lite",
        "my-tuned",
    ] {
        assert_eq!(signature(model), skipped, "{model}");
    }
    assert_eq!(signature("gemini-2.0-flash"), None);
}

/// A conversation whose first turn called a tool after a thought.
fn history(signature: &str) -> Value {
    let mut thought = json!({ "type": "thinking", "thinking": "I shall call f" });
    thought["signature"] = signature.into();
    json!({ "model": "m", "max_tokens": 100, "messages": [
        user("hi"),
        { "role": "assistant", "content": [
            thought, { "type": "tool_use", "id": "c", "name": "f", "input": {} } ] },
        user_result(),
        { "role": "assistant", "content": "It is 42." },
        user("And again?") ] })
}

fn user_result() -> Value {
    json!({ "role": "user", "content": [
        { "type": "tool_result", "tool_use_id": "c", "content": "42" } ] })
}

#[test]
fn reasoning_comes_back_on_every_turn_to_those_who_want_it() {
    let own = "tokenrill.chat:reasoning_content";
    for (model, signature, field) in [
        ("m", own, Some("I shall call f")),
        ("kimi-k2.6", own, Some("I shall call f")),
        ("deepseek-v4", "EqAnthropic", Some("I shall call f")),
        ("m", "EqAnthropic", None),
        ("deepseek-reasoner", own, None),
        ("deepseek-r1", own, None),
    ] {
        let (got, _) = sent("anthropic", "openai-chat", model, &history(signature));
        let message = &got["messages"][1];
        assert_eq!(
            message["reasoning_content"].as_str(),
            field,
            "{model}: {message}"
        );
    }
    let mut bare = history(own);
    bare["messages"][1]["content"]
        .as_array_mut()
        .unwrap()
        .remove(0);
    let (got, _) = sent("anthropic", "openai-chat", "kimi-k2-thinking", &bare);
    assert_eq!(got["messages"][1]["reasoning_content"], "");
    let (got, _) = sent("anthropic", "openai-chat", "m", &bare);
    assert!(got["messages"][1].get("reasoning_content").is_none());
}

/// The messages that go back upstream after deltas that a client of Anthropic's saw.
fn round_trip(deltas: &[Value]) -> (String, Value) {
    let (_, side) = Dialect::with_upstream("openai-chat").unwrap();
    let mut reader = side.event_reader(dialect::FinishRule::Required);
    let mut answer = dialect::Answer::default();
    for delta in deltas {
        let chunk = json!({ "choices": [{ "index": 0, "delta": delta }] }).to_string();
        reader
            .read_payload(chunk.as_bytes(), Some(&mut |event| answer.add(&event)))
            .unwrap();
    }
    let client = Dialect::named("anthropic").unwrap().client;
    let whole = client.encode_answer(&answer, &dialect::ResponseMeta::for_error());
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    let body = json!({ "model": "m", "max_tokens": 9, "messages": [
        user("hi"), { "role": "assistant", "content": whole["content"] }, user("go on") ] });
    let (got, _) = sent("anthropic", "openai-chat", "m", &body);
    let thought = whole["content"][0]["thinking"].as_str().unwrap_or_default();
    (thought.to_owned(), got["messages"][1].clone())
}

#[test]
fn reasoning_of_every_shape_comes_back_as_it_was() {
    for (deltas, want) in [
        (
            vec![
                json!({ "reasoning_text": "Let me " }),
                json!({ "reasoning_text": "think." }),
                json!({ "reasoning_opaque": "b3BhcXVl", "content": "hello" }),
            ],
            json!({ "reasoning_text": "Let me think.", "reasoning_opaque": "b3BhcXVl" }),
        ),
        (
            vec![
                json!({ "reasoning_text": "Let me think." }),
                json!({ "content": "hello" }),
            ],
            json!({ "reasoning_text": "Let me think." }),
        ),
        (
            vec![
                json!({ "reasoning_content": "Let me ", "thinking_blocks": [
                    { "type": "thinking", "thinking": "Let me ", "signature": null } ] }),
                json!({ "reasoning_content": "think.", "thinking_blocks": [
                    { "type": "thinking", "thinking": "think.", "signature": null } ] }),
                json!({ "thinking_blocks": [
                    { "type": "thinking", "thinking": "", "signature": "Eq" } ] }),
                json!({ "content": "hello" }),
            ],
            json!({ "thinking_blocks": [
                { "type": "thinking", "signature": "Eq", "thinking": "Let me think." } ] }),
        ),
        (
            vec![
                json!({ "reasoning": "Let me ", "reasoning_details": [
                    { "type": "reasoning.text", "text": "Let me ", "format": "unknown", "index": 0 } ] }),
                json!({ "reasoning": "think.", "reasoning_details": [
                    { "type": "reasoning.text", "text": "think.", "format": "unknown", "index": 0 } ] }),
                json!({ "content": "hello" }),
            ],
            json!({ "reasoning_details": [
                { "type": "reasoning.text", "text": "Let me think.", "format": "unknown", "index": 0 } ] }),
        ),
        (
            vec![
                json!({ "reasoning_details": [
                    { "type": "reasoning.summary", "summary": "Let me think.", "index": 0 } ] }),
                json!({ "content": "hello" }),
            ],
            json!({ "reasoning_details": [
                { "type": "reasoning.summary", "summary": "Let me think.", "index": 0 } ] }),
        ),
    ] {
        let (thought, mut message) = round_trip(&deltas);
        assert_eq!(thought, "Let me think.", "{deltas:?}");
        let fields = message.as_object_mut().unwrap();
        assert_eq!(fields.remove("role"), Some(json!("assistant")));
        assert_eq!(fields.remove("content"), Some(json!("hello")));
        assert_eq!(message, want);
    }
}
