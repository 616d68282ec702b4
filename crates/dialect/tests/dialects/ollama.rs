//! Ollama's own API, which only upstreams speak.

use dialect::event::{Event, FinishReason};
use dialect::request::{Effort, Image, Message, Part, Reasoning, Request, Role, Tool, ToolChoice};
use dialect::{Answer, Dialect, FinishRule, UpstreamSide, translate};
use serde_json::{Value, json};

fn ollama() -> (&'static Dialect, &'static dyn UpstreamSide) {
    Dialect::with_upstream_of("ollama", "ollama").unwrap()
}

fn written(request: &Request) -> (Value, Vec<String>) {
    let (dialect, side) = ollama();
    let payload = translate(dialect, side, request, "qwen3:4b").unwrap();
    (
        serde_json::from_slice(&payload.body).unwrap(),
        payload.dropped,
    )
}

/// Reads lines as an upstream sends them.
fn read(lines: &[&str]) -> Result<Answer, String> {
    let mut reader = ollama().1.event_reader(FinishRule::Required);
    let mut answer = Answer::default();
    for line in lines {
        let mut sink = |event: Event<'_>| answer.add(&event);
        let seen = reader
            .read_payload(line.as_bytes(), Some(&mut sink))
            .map_err(|failure| failure.to_string())?;
        if let Some(failure) = seen.error {
            return Err(failure.to_string());
        }
    }
    let ended = reader.finish_stream(None);
    ended.map_err(|failure| failure.to_string())?;
    Ok(answer)
}

const THINKING: &str = r#"{"model":"qwen3:4b","created_at":"2026-08-05T08:11:04.351521Z","message":{"role":"assistant","content":"","thinking":"Okay"},"done":false}"#;
const CALL: &str = r#"{"model":"qwen3:4b","message":{"role":"assistant","content":"","tool_calls":[{"id":"call_1","function":{"index":0,"name":"add","arguments":{"x":2}}}]},"done":false}"#;
const SECOND_CALL: &str = r#"{"model":"qwen3:4b","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"now","arguments":{}}}]},"done":false}"#;
const END: &str = r#"{"model":"qwen3:4b","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":195,"eval_count":575}"#;

#[test]
fn thinking_calls_and_counts_are_read() {
    let answer = read(&[THINKING, CALL, SECOND_CALL, END]).unwrap();
    assert_eq!(answer.finish, Some(FinishReason::ToolCalls));
    let usage = answer.usage.unwrap();
    assert_eq!((usage.input, usage.output), (195, 575));
    let calls: Vec<(&str, &str, bool)> = answer
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::ToolCall {
                id,
                name,
                arguments,
            } => Some((name.as_str(), arguments.as_str(), id.is_empty())),
            _ => None,
        })
        .collect();
    assert_eq!(calls, [("add", "{\"x\":2}", false), ("now", "{}", false)]);
    assert!(matches!(&answer.parts[0], Part::Reasoning { text, .. } if text == "Okay"));
}

#[test]
fn a_stream_without_its_last_line_is_broken() {
    let error = read(&[THINKING]).unwrap_err();
    assert!(error.contains("done"), "{error}");
    let error = read(&[
        THINKING,
        r#"{"error":"model runner has unexpectedly stopped"}"#,
    ]);
    assert!(error.unwrap_err().contains("unexpectedly stopped"));
    let without_reason = r#"{"message":{"role":"assistant","content":""},"done":true}"#;
    assert!(read(&[without_reason]).is_err());
    let odd = r#"{"message":{"role":"assistant","content":""},"done":true,"done_reason":"odd"}"#;
    assert!(read(&[odd]).unwrap_err().contains("odd"));
    let long =
        r#"{"message":{"role":"assistant","content":"a"},"done":true,"done_reason":"length"}"#;
    assert_eq!(read(&[long]).unwrap().finish, Some(FinishReason::Length));
}

#[test]
fn a_request_is_written_in_its_own_words() {
    let mut request = Request::prompt("");
    request.messages = vec![
        Message::text(Role::System, "Be brief."),
        Message {
            role: Role::User,
            parts: vec![
                Part::Text("What is it?".to_owned()),
                Part::Image(Image::from_url("data:image/png;base64,iVBORw0="), None),
            ],
        },
        Message {
            role: Role::Assistant,
            parts: vec![Part::ToolCall {
                id: "call_1".to_owned(),
                name: "add".to_owned(),
                arguments: "{\"x\": 2}".to_owned(),
            }],
        },
        Message {
            role: Role::Tool,
            parts: vec![Part::ToolResult {
                id: "call_1".to_owned(),
                content: vec![Part::Text("5".to_owned())],
                error: false,
            }],
        },
    ];
    request.max_tokens = Some(9);
    request.sampling.top_k = Some(40);
    request.sampling.seed = Some(1);
    request.stop = vec!["END".to_owned()];
    request.tools = vec![Tool {
        name: "add".to_owned(),
        ..Tool::default()
    }];
    request.tool_choice = Some(ToolChoice::Required);
    let (body, dropped) = written(&request);
    assert_eq!(
        body["messages"],
        json!([
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": "What is it?", "images": ["iVBORw0="] },
            { "role": "assistant", "content": "",
              "tool_calls": [{ "id": "call_1", "function": { "name": "add", "arguments": { "x": 2 } } }] },
            { "role": "tool", "content": "5", "tool_name": "add", "tool_call_id": "call_1" },
        ])
    );
    let options = json!({ "num_predict": 9, "stop": ["END"], "top_k": 40, "seed": 1 });
    assert_eq!(body["options"], options);
    assert_eq!(body["stream"], true);
    assert_eq!(body["tools"][0]["function"]["parameters"]["type"], "object");
    assert_eq!(dropped, ["tool_choice"]);
}

#[test]
fn thinking_is_switched_or_has_a_level_where_the_model_has_some() {
    let think = |model: &str, effort, budget| {
        let mut request = Request::prompt("Hello");
        request.reasoning = Some(Reasoning {
            effort: Some(effort),
            budget,
            shown: None,
        });
        let (dialect, side) = ollama();
        let payload = translate(dialect, side, &request, model).unwrap();
        serde_json::from_slice::<Value>(&payload.body).unwrap()["think"].clone()
    };
    for (effort, budget, switch, level) in [
        (Effort::None, None, json!(false), json!(false)),
        (Effort::Low, Some(0), json!(false), json!(false)),
        (Effort::Low, None, json!(true), json!("low")),
        (Effort::Medium, None, json!(true), json!("medium")),
        (Effort::Highest, None, json!(true), json!("high")),
    ] {
        assert_eq!(think("qwen3:4b", effort, budget), switch);
        assert_eq!(think("gpt-oss:20b", effort, budget), level);
    }
    assert!(written(&Request::prompt("Hello")).0.get("think").is_none());
}

#[test]
fn an_image_that_would_have_to_be_fetched_is_refused() {
    let mut request = Request::prompt("Hello");
    request.messages[0].parts.push(Part::Image(
        Image::Url("https://a.example/b.png".to_owned()),
        None,
    ));
    let (dialect, side) = ollama();
    let error = translate(dialect, side, &request, "m").unwrap_err();
    assert!(error.to_string().contains("data:"), "{error}");
}
