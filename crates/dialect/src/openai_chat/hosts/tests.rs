//! The requests that each host is sent, of clients of its own dialect and of others.

#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::Value;

use super::*;
use crate::Dialect;
use crate::request::{Effort, Message, Part};

/// Returns the body that a flavor's upstream is sent for a request of another dialect, and the
/// names of what is left out.
fn translated(flavor: &str, request: &Request) -> (Value, Vec<String>) {
    let (dialect, side) = Dialect::with_upstream_of("openai-chat", flavor).unwrap();
    let payload = crate::translate(dialect, side, request, "m").unwrap();
    (
        serde_json::from_slice(&payload.body).unwrap(),
        payload.dropped,
    )
}

/// Returns the body that a flavor's upstream is sent of a client's of the same dialect.
fn passed(flavor: &str, body: &'static str) -> Bytes {
    let (dialect, side) = Dialect::with_upstream_of("openai-chat", flavor).unwrap();
    let body = Bytes::from_static(body.as_bytes());
    let request = dialect.client.parse_request(body, "/v1/chat/completions");
    side.pass_through_body(&request.unwrap(), "m").unwrap()
}

fn request() -> Request {
    let mut request = Request::prompt("Hello");
    request.max_tokens = Some(5);
    request.sampling.seed = Some(7);
    request.sampling.top_k = Some(40);
    request.user = Some("me".to_owned());
    request
}

fn thinking(effort: Effort, budget: Option<u32>) -> Request {
    let mut request = Request::prompt("Hello");
    request.reasoning = Some(Reasoning {
        effort: Some(effort),
        budget,
        shown: None,
    });
    request
}

#[test]
fn mistral_is_sent_its_own_names_and_nothing_that_it_refuses() {
    let (body, dropped) = translated("mistral", &request());
    assert_eq!(body["max_tokens"], 5);
    assert_eq!(body["random_seed"], 7);
    for absent in ["seed", "user", "stream_options", "top_k"] {
        assert!(body.get(absent).is_none(), "{absent}");
    }
    assert_eq!(dropped, ["top_k", "user"]);
}

#[test]
fn ids_of_calls_have_nine_characters_for_mistral_and_still_match() {
    let mut request = Request::prompt("Hello");
    for id in ["toolu_01A09q90qw90lq917835lq9", "abcDEF123"] {
        let call = Part::ToolCall {
            id: id.to_owned(),
            name: "f".to_owned(),
            arguments: "{}".to_owned(),
        };
        let result = Part::ToolResult {
            id: id.to_owned(),
            content: vec![Part::Text("1".to_owned())],
            error: false,
        };
        for (role, part) in [(Role::Assistant, call), (Role::Tool, result)] {
            request.messages.push(Message {
                role,
                parts: vec![part],
            });
        }
    }
    let (body, _) = translated("mistral", &request);
    for at in [1, 3] {
        let id = body["messages"][at]["tool_calls"][0]["id"]
            .as_str()
            .unwrap();
        assert_eq!(body["messages"][at + 1]["tool_call_id"], id);
        assert_eq!(id.len(), 9);
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    }
    assert_eq!(body["messages"][3]["tool_calls"][0]["id"], "abcDEF123");
    let (body, _) = translated("groq", &request);
    let id = &body["messages"][1]["tool_calls"][0]["id"];
    assert_eq!(id, "toolu_01A09q90qw90lq917835lq9");
}

#[test]
fn each_host_is_asked_for_reasoning_in_its_own_way() {
    let cases: &[(&str, Effort, Option<u32>, Value)] = &[
        (
            "openai",
            Effort::High,
            None,
            json!({ "reasoning_effort": "high" }),
        ),
        (
            "groq",
            Effort::Low,
            None,
            json!({ "reasoning_effort": "low" }),
        ),
        (
            "mistral",
            Effort::Low,
            None,
            json!({ "reasoning_effort": "high" }),
        ),
        (
            "mistral",
            Effort::None,
            None,
            json!({ "reasoning_effort": "none" }),
        ),
        (
            "cohere",
            Effort::None,
            Some(0),
            json!({ "reasoning_effort": "none" }),
        ),
        (
            "openrouter",
            Effort::High,
            None,
            json!({ "reasoning": { "effort": "high" } }),
        ),
        (
            "openrouter",
            Effort::Low,
            Some(999),
            json!({ "reasoning": { "max_tokens": 999 } }),
        ),
        (
            "openrouter",
            Effort::None,
            Some(0),
            json!({ "reasoning": { "enabled": false } }),
        ),
        (
            "moonshot",
            Effort::Medium,
            None,
            json!({ "thinking": { "type": "enabled" } }),
        ),
        (
            "moonshot",
            Effort::None,
            None,
            json!({ "thinking": { "type": "disabled" } }),
        ),
        (
            "deepseek",
            Effort::High,
            None,
            json!({ "thinking": { "type": "enabled" }, "reasoning_effort": "high" }),
        ),
        (
            "deepseek",
            Effort::None,
            None,
            json!({ "thinking": { "type": "disabled" } }),
        ),
        (
            "qwen",
            Effort::Low,
            Some(2000),
            json!({ "enable_thinking": true, "thinking_budget": 2000 }),
        ),
        (
            "qwen",
            Effort::None,
            Some(0),
            json!({ "enable_thinking": false }),
        ),
        (
            "vllm",
            Effort::None,
            None,
            json!({ "chat_template_kwargs": { "enable_thinking": false } }),
        ),
    ];
    for (flavor, effort, budget, wanted) in cases {
        let (body, _) = translated(flavor, &thinking(*effort, *budget));
        let fields = body.as_object().unwrap().iter().filter(|(name, _)| {
            name.contains("think") || name.contains("reason") || name.contains("template")
        });
        let found: serde_json::Map<_, _> = fields.map(|(n, v)| (n.clone(), v.clone())).collect();
        assert_eq!(
            Value::Object(found),
            *wanted,
            "{flavor} {effort:?} {budget:?}"
        );
    }
}

#[test]
fn the_beginning_of_an_answer_is_marked_where_a_host_wants_it() {
    let mut request = Request::prompt("Hello");
    request.messages.push(Message::text(Role::Assistant, "He"));
    for (flavor, field) in [
        ("mistral", "prefix"),
        ("moonshot", "partial"),
        ("qwen", "partial"),
    ] {
        let (body, _) = translated(flavor, &request);
        assert_eq!(body["messages"][1][field], true, "{flavor}");
        assert!(body["messages"][0].get(field).is_none());
    }
    let (body, _) = translated("sglang", &request);
    assert_eq!(body["continue_final_message"], true);
    assert_eq!(body["add_generation_prompt"], false);
    let (body, _) = translated("vllm", &Request::prompt("Hello"));
    assert!(body.get("continue_final_message").is_none());
}

#[test]
fn what_a_host_lacks_is_replaced_and_named() {
    let mut request = request();
    request.format = Some(Format::Schema {
        name: "s".to_owned(),
        schema: json!({ "type": "object" }).into(),
        strict: None,
    });
    let (body, dropped) = translated("deepseek", &request);
    assert_eq!(body["response_format"], json!({ "type": "json_object" }));
    assert!(dropped.iter().any(|name| name.contains("schema")));
    request.tools = vec![crate::request::Tool {
        name: "f".to_owned(),
        ..Default::default()
    }];
    request.tool_choice = Some(ToolChoice::Required);
    let (body, dropped) = translated("qwen", &request);
    assert_eq!(body["tool_choice"], "auto");
    assert_eq!(body["top_k"], 40);
    assert!(dropped.iter().any(|name| name.contains("tool_choice")));
    assert!(!dropped.iter().any(|name| name == "top_k"));
}

#[test]
fn a_body_of_the_same_dialect_changes_only_where_the_host_would_refuse_it() {
    const BODY: &str =
        r#"{"model": "m",  "x": 1, "messages": [{"role": "user", "content": "user"}]}"#;
    for flavor in ["openai", "groq", "vllm", "deepseek"] {
        assert_eq!(passed(flavor, BODY), BODY, "{flavor}");
    }
    let sent = passed(
        "mistral",
        r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_completion_tokens":5,
           "stream_options":{"include_usage":true},"seed":1,"safe_prompt":true}"#,
    );
    let wanted = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":5,"random_seed":1,"safe_prompt":true}"#;
    assert_eq!(sent, wanted);
    let both = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":3,"max_completion_tokens":5}"#;
    let wanted = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":3}"#;
    assert_eq!(passed("together", both), wanted);
}
