//! Options and marks that another dialect has a place for arrive there; those that it has none for
//! are named for the log.

use bytes::Bytes;
use dialect::{Dialect, translate};
use serde_json::{Value, json};

use crate::families::sent;

fn image_with_detail() -> Value {
    json!({ "type": "image_url", "image_url": { "url": "https://example.org/a.png", "detail": "high" } })
}

#[test]
fn cache_marks_of_a_chat_reach_anthropic() {
    let mark = json!({ "type": "ephemeral" });
    let hour = json!({ "type": "ephemeral", "ttl": "1h" });
    let body = json!({ "model": "m", "tools": [
        { "type": "function", "function": { "name": "f" } },
        { "type": "function", "function": { "name": "g" }, "cache_control": mark }],
        "messages": [
        { "role": "system", "content": [{ "type": "text", "text": "long", "cache_control": hour },
            { "type": "text", "text": "short" }] },
        { "role": "user", "content": [{ "type": "text", "text": "hi", "cache_control": mark }] },
        { "role": "assistant", "content": "", "tool_calls": [{ "id": "c", "type": "function",
            "function": { "name": "f", "arguments": "{}" } }] },
        { "role": "tool", "tool_call_id": "c", "content": [
            { "type": "text", "text": "42", "cache_control": mark }] },
        { "role": "user", "content": "and?" }] });
    let (got, dropped) = sent("openai-chat", "anthropic", "claude-sonnet-4-5", &body);
    assert_eq!(
        got["system"],
        json!([{ "type": "text", "text": "long", "cache_control": hour }, { "type": "text", "text": "short" }])
    );
    assert_eq!(got["tools"][1]["cache_control"], mark);
    assert!(got["tools"][0].get("cache_control").is_none(), "{got}");
    let messages = &got["messages"];
    assert_eq!(
        messages[0]["content"],
        json!([{ "type": "text", "text": "hi", "cache_control": mark }])
    );
    let result = &messages[2]["content"];
    assert_eq!(result[0]["type"], "tool_result");
    assert_eq!(result[0]["content"], "42");
    assert_eq!(result[0]["cache_control"], mark);
    assert_eq!(result[1], json!({ "type": "text", "text": "and?" }));
    assert_eq!(dropped, [""; 0]);
    for to in ["openai-responses", "gemini"] {
        let (got, dropped) = sent("openai-chat", to, "m", &body);
        assert!(!got.to_string().contains("cache_control"), "{got}");
        assert!(dropped.contains(&"cache_control".to_owned()), "{dropped:?}");
    }
}

#[test]
fn cache_marks_of_anthropics_clients_reach_converse() {
    let mark = json!({ "type": "ephemeral" });
    let hour = json!({ "type": "ephemeral", "ttl": "1h" });
    let tool = |name: &str| json!({ "name": name, "input_schema": { "type": "object" } });
    let mut marked = tool("g");
    marked["cache_control"] = mark.clone();
    let body = json!({ "model": "m", "max_tokens": 99, "tools": [tool("f"), marked],
        "cache_control": mark,
        "system": [{ "type": "text", "text": "long", "cache_control": hour },
            { "type": "text", "text": "short" }],
        "messages": [
        { "role": "user", "content": [{ "type": "text", "text": "hi", "cache_control": mark }] },
        { "role": "assistant", "content": [
            { "type": "tool_use", "id": "c", "name": "f", "input": {} }] },
        { "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "c", "content": "42", "cache_control": mark },
            { "type": "text", "text": "and?" }] }] });
    let (got, dropped) = sent("anthropic", "bedrock-converse", "claude-sonnet-4-5", &body);
    let point = json!({ "cachePoint": { "type": "default" } });
    let hour_point = json!({ "cachePoint": { "type": "default", "ttl": "1h" } });
    assert_eq!(
        got["system"],
        json!([{ "text": "long" }, hour_point, { "text": "short" }])
    );
    let tools = got["toolConfig"]["tools"].as_array().unwrap();
    assert_eq!((tools.len(), &tools[2]), (3, &point));
    let messages = &got["messages"];
    assert_eq!(messages[0]["content"], json!([{ "text": "hi" }, point]));
    let last = messages[2]["content"].as_array().unwrap();
    assert!(last[0]["toolResult"].is_object(), "{got}");
    assert_eq!(last[1..], [point.clone(), json!({ "text": "and?" }), point]);
    assert_eq!(dropped, [""; 0]);
    for to in ["openai-chat", "openai-responses", "gemini", "ollama"] {
        let (got, dropped) = sent("anthropic", to, "m", &body);
        assert!(!got.to_string().contains("ephemeral"), "{got}");
        assert_eq!(dropped, ["cache_control"], "{to}");
    }
    // A mark of nothing is none.
    let body = json!({ "model": "m", "max_tokens": 9, "messages": [
        { "role": "user", "content": [{ "type": "text", "text": " ", "cache_control": mark },
            { "type": "text", "text": "hi" }] }] });
    let (got, _) = sent("anthropic", "bedrock-converse", "m", &body);
    assert_eq!(got["messages"][0]["content"], json!([{ "text": "hi" }]));
}

/// The body that a flavor's upstream of Chat Completions gets, and the names of what it lacks.
fn sent_to_host(from: &str, flavor: &str, body: &Value) -> (Value, Vec<String>) {
    let client = Dialect::named(from).unwrap().client;
    let request = client
        .parse_request(Bytes::from(body.to_string()), "/v1/messages")
        .unwrap();
    let (dialect, side) = Dialect::with_upstream_of("openai-chat", flavor).unwrap();
    let payload = translate(dialect, side, &request, "anthropic/claude-sonnet-5").unwrap();
    (
        serde_json::from_slice(&payload.body).unwrap(),
        payload.dropped,
    )
}

fn marked_everywhere() -> Value {
    let mark = json!({ "type": "ephemeral" });
    let hour = json!({ "type": "ephemeral", "ttl": "1h" });
    let tool = |name: &str| json!({ "name": name, "input_schema": { "type": "object" } });
    let mut marked = tool("g");
    marked["cache_control"] = mark.clone();
    let image = json!({ "type": "base64", "media_type": "image/png", "data": "AA" });
    json!({ "model": "m", "max_tokens": 99, "tools": [tool("f"), marked],
        "system": [{ "type": "text", "text": "long", "cache_control": hour },
            { "type": "text", "text": "short" }],
        "messages": [
        { "role": "user", "content": [{ "type": "text", "text": "hi" },
            { "type": "image", "source": image, "cache_control": mark }] },
        { "role": "assistant", "content": [
            { "type": "text", "text": "I look.", "cache_control": hour },
            { "type": "tool_use", "id": "c", "name": "f", "input": {} }] },
        { "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "c", "content": "42", "cache_control": mark }] },
        { "role": "assistant", "content": "So." },
        { "role": "user", "content": [{ "type": "text", "text": "and?", "cache_control": mark }] }] })
}

#[test]
fn cache_marks_of_anthropics_clients_reach_hosts_of_chats_that_take_them() {
    let mark = json!({ "type": "ephemeral" });
    let hour = json!({ "type": "ephemeral", "ttl": "1h" });
    for (flavor, long, of_tool) in [
        ("openrouter", &hour, Some(&mark)),
        // One time to live, and no marks on tools.
        ("qwen", &mark, None),
    ] {
        let (got, dropped) = sent_to_host("anthropic", flavor, &marked_everywhere());
        let messages = &got["messages"];
        let texts = json!([{ "type": "text", "text": "long", "cache_control": long },
            { "type": "text", "text": "short" }]);
        assert_eq!(messages[0]["content"], texts, "{flavor}");
        let url = json!({ "url": "data:image/png;base64,AA" });
        let said = json!([{ "type": "text", "text": "hi" },
            { "type": "image_url", "image_url": url, "cache_control": mark }]);
        assert_eq!(messages[1]["content"], said, "{flavor}");
        let said = json!([{ "type": "text", "text": "I look.", "cache_control": long }]);
        assert_eq!(messages[2]["content"], said, "{flavor}");
        assert_eq!(messages[2]["tool_calls"][0]["id"], "c");
        let said = json!([{ "type": "text", "text": "42", "cache_control": mark }]);
        assert_eq!(messages[3]["content"], said, "{flavor}");
        assert_eq!(messages[4]["content"], "So.", "{flavor}");
        let said = json!([{ "type": "text", "text": "and?", "cache_control": mark }]);
        assert_eq!(messages[5]["content"], said, "{flavor}");
        assert!(got["tools"][0].get("cache_control").is_none(), "{got}");
        assert_eq!(got["tools"][1].get("cache_control"), of_tool, "{flavor}");
        let is_told = dropped.contains(&"cache_control".to_owned());
        assert_eq!(is_told, of_tool.is_none(), "{flavor}: {dropped:?}");
    }
    for flavor in ["openai", "deepseek", "groq", "vllm"] {
        let (got, dropped) = sent_to_host("anthropic", flavor, &marked_everywhere());
        assert!(!got.to_string().contains("ephemeral"), "{flavor}: {got}");
        assert_eq!(got["messages"][3]["content"], "42", "{flavor}");
        assert!(dropped.contains(&"cache_control".to_owned()), "{flavor}");
    }
}

#[test]
fn a_mark_of_a_whole_request_is_that_of_its_last_part() {
    let mark = json!({ "type": "ephemeral" });
    let body = json!({ "model": "m", "max_tokens": 9, "cache_control": mark,
        "messages": [{ "role": "user", "content": "hi" }] });
    let (got, _) = sent_to_host("anthropic", "openrouter", &body);
    let said = json!([{ "type": "text", "text": "hi", "cache_control": mark }]);
    assert_eq!(got["messages"][0]["content"], said);
}

#[test]
fn marks_of_system_messages_that_are_joined_stay_where_they_were() {
    let mark = json!({ "type": "ephemeral" });
    let body = json!({ "model": "m", "max_tokens": 9,
        "system": [{ "type": "text", "text": "long", "cache_control": mark }],
        "messages": [{ "role": "user", "content": "hi" }, { "role": "system", "content": "Hush." }] });
    let (got, _) = sent_to_host("anthropic", "openrouter", &body);
    let texts = json!([{ "type": "text", "text": "long", "cache_control": mark },
        { "type": "text", "text": "Hush." }]);
    assert_eq!(got["messages"][0]["content"], texts);
    assert_eq!(got["messages"].as_array().unwrap().len(), 2, "{got}");
}

#[test]
fn a_mark_keeps_the_instruction_that_is_added_to_the_system_prompt() {
    let body = json!({ "model": "m", "response_format": { "type": "json_object" }, "messages": [
        { "role": "system", "content": [{ "type": "text", "text": "long", "cache_control": { "type": "ephemeral" } }] },
        { "role": "user", "content": "hi" }] });
    let (got, _) = sent("openai-chat", "anthropic", "claude-sonnet-4-5", &body);
    let system = got["system"].as_array().unwrap();
    assert_eq!(system.len(), 2, "{got}");
    assert_eq!(system[0]["text"], "long");
    assert!(system[1]["text"].as_str().unwrap().contains("JSON"));
    assert!(system[1].get("cache_control").is_none());
}

#[test]
fn the_detail_of_an_image_is_kept() {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "name": "ann",
        "content": [image_with_detail()] }] });
    let (got, dropped) = sent("openai-chat", "openai-responses", "m", &body);
    assert_eq!(got["input"][0]["content"][0]["detail"], "high");
    assert_eq!(dropped, ["messages[].name"]);
    for to in ["anthropic", "gemini"] {
        let (_, dropped) = sent("openai-chat", to, "m", &body);
        assert_eq!(dropped, ["detail of an image", "messages[].name"], "{to}");
    }
    let body = json!({ "model": "m", "input": [{ "role": "user", "content": [
        { "type": "input_image", "image_url": "https://example.org/a.png", "detail": "low" }] }] });
    let (got, _) = sent("openai-responses", "openai-chat", "m", &body);
    assert_eq!(
        got["messages"][0]["content"][0]["image_url"]["detail"],
        "low"
    );
}

#[test]
fn both_dialects_of_openai_pass_their_common_options_to_each_other() {
    let common = json!({ "metadata": { "run": "7" }, "service_tier": "flex",
        "prompt_cache_key": "k", "prompt_cache_retention": "24h" });
    let mut chat = common.clone();
    chat["model"] = "m".into();
    chat["verbosity"] = "low".into();
    chat["messages"] = json!([{ "role": "user", "content": "hi" }]);
    let mut responses = common.clone();
    responses["model"] = "m".into();
    responses["text"] = json!({ "verbosity": "low" });
    responses["input"] = "hi".into();
    let (got, dropped) = sent("openai-chat", "openai-responses", "m", &chat);
    assert_eq!(got["text"], json!({ "verbosity": "low" }));
    for (name, value) in common.as_object().unwrap() {
        assert_eq!(&got[name], value, "{name}");
    }
    assert_eq!(dropped, [""; 0]);
    let (got, dropped) = sent("openai-responses", "openai-chat", "m", &responses);
    assert_eq!(got["verbosity"], "low");
    for (name, value) in common.as_object().unwrap() {
        assert_eq!(&got[name], value, "{name}");
    }
    assert_eq!(dropped, [""; 0]);
    let (_, dropped) = sent("openai-chat", "anthropic", "m", &chat);
    let names = [
        "metadata",
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "verbosity",
    ];
    assert_eq!(dropped, names);
}

#[test]
fn every_way_to_ask_for_reasoning_in_a_chat_is_understood() {
    let thinks = |options: Value| {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        for (name, value) in options.as_object().unwrap() {
            body[name] = value.clone();
        }
        let (got, _) = sent("openai-chat", "anthropic", "claude-haiku-4-5", &body);
        let budget = got["thinking"]["budget_tokens"].clone();
        let (got, _) = sent("openai-chat", "gemini", "gemini-2.5-flash", &body);
        (budget, got["generationConfig"]["thinkingConfig"].clone())
    };
    let (budget, config) = thinks(json!({ "reasoning": { "max_tokens": 2000 } }));
    assert_eq!(budget, 2000);
    assert_eq!(
        config,
        json!({ "thinkingBudget": 2000, "includeThoughts": true })
    );
    let (budget, config) = thinks(json!({ "reasoning": { "effort": "low", "exclude": true } }));
    assert_eq!(budget, 4096);
    assert_eq!(
        config,
        json!({ "thinkingBudget": 4096, "includeThoughts": false })
    );
    let on = json!({ "type": "enabled", "budget_tokens": 3000 });
    let (budget, _) = thinks(json!({ "thinking": on }));
    assert_eq!(budget, 3000);
    for off in [
        json!({ "reasoning": { "enabled": false } }),
        json!({ "thinking": { "type": "disabled" } }),
        json!({ "enable_thinking": false }),
        json!({ "chat_template_kwargs": { "enable_thinking": false } }),
        json!({ "reasoning_effort": "none" }),
    ] {
        let (budget, config) = thinks(off.clone());
        assert_eq!(budget, Value::Null, "{off}");
        assert_eq!(config["thinkingBudget"], 0, "{off}");
    }
    let (budget, config) = thinks(json!({ "enable_thinking": true }));
    assert!(budget.is_number());
    assert_eq!(config, json!({ "includeThoughts": true }));
}

#[test]
fn thinking_that_anthropics_client_switches_off_stays_off() {
    let body = json!({ "model": "m", "max_tokens": 100, "thinking": { "type": "disabled" },
        "messages": [{ "role": "user", "content": "hi" }] });
    let (got, _) = sent("anthropic", "gemini", "gemini-2.5-flash", &body);
    assert_eq!(
        got["generationConfig"]["thinkingConfig"]["thinkingBudget"],
        0
    );
    // Few models take the effort `none`.
    let (got, _) = sent("anthropic", "openai-chat", "m", &body);
    assert!(got.get("reasoning_effort").is_none(), "{got}");
}

#[test]
fn an_effort_that_nobody_named_is_not_invented() {
    let responses = json!({ "model": "m", "input": "hi", "reasoning": { "summary": "auto" } });
    let anthropic = json!({ "model": "m", "max_tokens": 9, "thinking": { "type": "adaptive" },
        "messages": [{ "role": "user", "content": "hi" }] });
    let gemini = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }],
        "generationConfig": { "thinkingConfig": { "includeThoughts": true } } });
    for (from, body) in [
        ("openai-responses", &responses),
        ("anthropic", &anthropic),
        ("gemini", &gemini),
    ] {
        let (got, _) = sent(from, "openai-chat", "gpt-4o", body);
        assert!(got.get("reasoning_effort").is_none(), "{from}: {got}");
    }
}
