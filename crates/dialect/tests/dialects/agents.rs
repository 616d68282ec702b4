//! Coding agents as they come, in front of every other dialect: tools that are no functions, and
//! calls of them given back in the client's own form.

use std::sync::Arc;

use bytes::Bytes;
use dialect::event::{Event, FinishReason};
use dialect::request::Request;
use dialect::{Answer, Dialect, ResponseMeta, translate};
use serde_json::{Value, json};

const OTHERS: [&str; 3] = ["openai-chat", "anthropic", "gemini"];

fn parse(from: &str, body: &Value) -> Request {
    let path = "/v1beta/models/m:generateContent";
    let client = Dialect::named(from).unwrap().client;
    client
        .parse_request(Bytes::from(body.to_string()), path)
        .unwrap()
}

fn sent(request: &Request, to: &str) -> Result<(Value, Vec<String>), String> {
    let (dialect, side) = Dialect::with_upstream(to).unwrap();
    let written = translate(dialect, side, request, "m").map_err(|failure| failure.to_string())?;
    Ok((
        serde_json::from_slice(&written.body).unwrap(),
        written.dropped,
    ))
}

/// The names of the tools that an upstream gets.
fn tool_names(body: &Value) -> Vec<&str> {
    let list = match &body["tools"][0]["functionDeclarations"] {
        Value::Null => &body["tools"],
        functions => functions,
    };
    let names = list.as_array().into_iter().flatten().map(|tool| {
        let name = &tool["function"]["name"];
        name.as_str().or(tool["name"].as_str()).unwrap()
    });
    names.collect()
}

/// The calls and results that an upstream gets, as text.
fn history(body: &Value) -> String {
    let list = match &body["contents"] {
        Value::Null => &body["messages"],
        contents => contents,
    };
    list.to_string()
}

fn meta(request: &Request) -> ResponseMeta {
    ResponseMeta {
        request: Arc::new(request.without_content()),
        ..ResponseMeta::for_error()
    }
}

/// The items that a client gets for a call, whole and streamed, and the events of the stream.
fn answered(request: &Request, name: &str, arguments: &str) -> (Value, Vec<Value>) {
    let events = [
        Event::ToolCall {
            index: 0,
            id: "call_1".into(),
            name: name.into(),
        },
        Event::ToolArguments {
            index: 0,
            fragment: arguments.into(),
        },
        Event::ToolEnd { index: 0 },
        Event::Finish(FinishReason::ToolCalls),
    ];
    let client = Dialect::named("openai-responses").unwrap().client;
    let (mut answer, mut streamed) = (Answer::default(), Vec::new());
    let mut writer = client.event_writer(meta(request));
    let mut out = |_: Option<&str>, data: &[u8]| {
        streamed.push(serde_json::from_slice::<Value>(data).unwrap());
    };
    for event in &events {
        answer.add(event);
        writer.write_event(event, &mut out).unwrap();
    }
    writer.write_end(&mut out);
    drop(writer);
    let whole = client.encode_answer(&answer, &meta(request));
    let mut whole: Value = serde_json::from_slice(&whole).unwrap();
    let mut last = streamed.last().unwrap()["response"]["output"][0].clone();
    let mut item = whole["output"][0].take();
    last["id"] = Value::Null;
    item["id"] = Value::Null;
    assert_eq!(item, last, "whole and streamed");
    (item, streamed)
}

fn codex(tools: &Value, input: &Value) -> Request {
    parse(
        "openai-responses",
        &json!({ "model": "m", "stream": true, "tools": tools, "input": input }),
    )
}

#[test]
fn a_tool_of_every_form_is_a_function_upstream_and_its_call_has_its_own_form() {
    let patch = "*** Begin Patch\n\"é\"\n*** End Patch";
    let input = json!({ "input": patch }).to_string();
    let custom = json!({ "type": "custom", "name": "apply_patch", "description": "Edits.",
        "format": { "type": "grammar", "syntax": "lark", "definition": "start: /.+/s" } });
    let function =
        json!({ "type": "function", "name": "close", "parameters": { "type": "object" } });
    let rows = [
        (
            custom.clone(),
            "apply_patch",
            &*input,
            json!({ "type": "custom_tool_call", "name": "apply_patch", "input": patch }),
        ),
        // A model that gives the field another name, or none, loses nothing.
        (
            custom.clone(),
            "apply_patch",
            r#"{"patch":"x"}"#,
            json!({ "type": "custom_tool_call", "name": "apply_patch", "input": "x" }),
        ),
        (
            custom.clone(),
            "apply_patch",
            "plain text",
            json!({ "type": "custom_tool_call", "name": "apply_patch", "input": "plain text" }),
        ),
        (
            json!({ "type": "namespace", "name": "agents", "tools": [function] }),
            "agents__close",
            r#"{"id":"1"}"#,
            json!({ "type": "function_call", "name": "close", "namespace": "agents",
                "arguments": r#"{"id":"1"}"# }),
        ),
        (
            json!({ "type": "namespace", "name": "mcp__x__", "tools": [custom] }),
            "mcp__x__apply_patch",
            &*input,
            json!({ "type": "custom_tool_call", "name": "apply_patch", "namespace": "mcp__x__",
                "input": patch }),
        ),
        (
            json!({ "type": "local_shell" }),
            "local_shell",
            r#"{"command":["ls","-l"]}"#,
            json!({ "type": "local_shell_call",
                "action": { "type": "exec", "command": ["ls", "-l"], "env": {} } }),
        ),
        (
            json!({ "type": "shell" }),
            "shell",
            r#"{"commands":["ls"]}"#,
            json!({ "type": "shell_call",
                "action": { "commands": ["ls"], "timeout_ms": null, "max_output_length": null } }),
        ),
        (
            json!({ "type": "apply_patch" }),
            "apply_patch",
            r#"{"type":"delete_file","path":"a"}"#,
            json!({ "type": "apply_patch_call", "operation": { "type": "delete_file", "path": "a" } }),
        ),
        (
            json!({ "type": "tool_search", "execution": "client", "parameters": { "type": "object" } }),
            "tool_search",
            r#"{"query":"x"}"#,
            json!({ "type": "tool_search_call", "execution": "client", "arguments": { "query": "x" } }),
        ),
    ];
    for (tool, name, arguments, mut wanted) in rows {
        let request = codex(&json!([tool]), &json!("go"));
        for to in OTHERS {
            let (body, dropped) = sent(&request, to).unwrap();
            assert_eq!(
                (tool_names(&body), dropped.len()),
                (vec![name], 0),
                "{tool} to {to}"
            );
        }
        let (item, streamed) = answered(&request, name, arguments);
        for (field, value) in [
            ("id", Value::Null),
            ("status", json!("completed")),
            ("call_id", json!("call_1")),
        ] {
            wanted[field] = value;
        }
        assert_eq!(item, wanted);
        if item["type"] == "custom_tool_call" {
            let deltas = streamed
                .iter()
                .filter(|event| event["type"] == "response.custom_tool_call_input.delta");
            let said: String = deltas.filter_map(|event| event["delta"].as_str()).collect();
            assert_eq!(item["input"], said);
        }
        // A call comes back in the history, and has its upstream name again.
        let mut call = item;
        call["call_id"] = "call_1".into();
        let output = call["type"]
            .as_str()
            .unwrap()
            .replace("function_call", "function_call_output");
        let output = match &*output {
            "function_call_output" => output,
            kind => format!("{}_output", kind.trim_end_matches("_output")),
        };
        if output.starts_with("tool_search") {
            continue;
        }
        let result = json!({ "type": output, "call_id": "call_1", "output": "it went well" });
        let input = json!([{ "role": "user", "content": "go" }, call, result]);
        let request = codex(&json!([tool]), &input);
        for to in OTHERS {
            let (body, _) = sent(&request, to).unwrap();
            let said = history(&body);
            let is_there = said.contains(&format!("\"{name}\"")) && said.contains("it went well");
            assert!(is_there, "{to}: {said}");
        }
    }
}

#[test]
fn the_grammar_of_a_custom_tool_is_in_its_description() {
    let format = json!({ "type": "grammar", "syntax": "lark", "definition": "start: /.+/s" });
    let tool = json!({ "type": "custom", "name": "f", "description": "Edits.", "format": format });
    let (body, _) = sent(&codex(&json!([tool]), &json!("go")), "anthropic").unwrap();
    let description = body["tools"][0]["description"].as_str().unwrap();
    assert!(description.starts_with("Edits.") && description.contains("start: /.+/s"));
    assert_eq!(
        body["tools"][0]["input_schema"]["required"],
        json!(["input"])
    );
}

#[test]
fn tools_that_openai_runs_are_left_out_unless_the_choice_demands_them() {
    let function = json!({ "type": "function", "name": "f", "parameters": {} });
    for kind in [
        "web_search",
        "web_search_preview",
        "web_search_preview_2025_03_11",
        "web_search_2025_08_26",
        "image_generation",
        "file_search",
        "code_interpreter",
        "mcp",
        "tool_search",
    ] {
        let tools = json!([function, { "type": kind }]);
        for to in OTHERS {
            let (body, dropped) = sent(&codex(&tools, &json!("go")), to).unwrap();
            assert_eq!(tool_names(&body), ["f"]);
            assert_eq!(dropped, [format!("tool `{kind}`")]);
        }
        let choice = |choice: Value| {
            let body =
                json!({ "model": "m", "input": "go", "tools": tools, "tool_choice": choice });
            sent(&parse("openai-responses", &body), "openai-chat")
        };
        let refused = choice(json!({ "type": kind })).unwrap_err();
        assert!(
            refused.contains("`tool_choice`") && refused.contains(kind),
            "{refused}"
        );
        let allowed = json!({ "type": "allowed_tools", "mode": "required",
            "tools": [{ "type": "function", "name": "f" }] });
        assert_eq!(choice(allowed).unwrap().0["tool_choice"], "required");
    }
    let only = json!({ "model": "m", "input": "go", "tool_choice": "required",
        "tools": [{ "type": "web_search" }] });
    assert!(sent(&parse("openai-responses", &only), "gemini").is_err());
}

#[test]
fn what_is_refused_is_named_with_its_type() {
    let function = json!({ "type": "function", "name": "f", "parameters": {} });
    let tools = json!([function, { "type": "computer_use_preview" }]);
    let items = |item: Value| json!([{ "role": "user", "content": "go" }, item]);
    for (tools, input, wanted) in [
        (
            tools,
            json!("go"),
            "`tools[1]`, of type `computer_use_preview`",
        ),
        (
            json!([]),
            items(json!({ "type": "item_reference", "id": "1" })),
            "`input[1]`, of type `item_reference`",
        ),
        (
            json!([]),
            items(json!({ "type": "compaction", "encrypted_content": "x" })),
            "`input[1]`, of type `compaction`",
        ),
        (
            json!([]),
            items(json!({ "role": "user", "content": [{ "type": "input_odd" }] })),
            "`input[1].content[0]`, of type `input_odd`",
        ),
    ] {
        for to in OTHERS {
            let refused = sent(&codex(&tools, &input), to).unwrap_err();
            assert!(refused.contains(wanted), "{refused}");
        }
    }
}

#[test]
fn tools_that_come_with_the_input_are_offered_once() {
    let found = json!([{ "type": "function", "name": "g", "parameters": {} },
        { "type": "namespace", "name": "n", "tools": [
            { "type": "function", "name": "h", "parameters": {} }] }]);
    let input = json!([
        { "role": "user", "content": "go" },
        { "type": "additional_tools", "role": "developer", "tools": found },
        { "type": "tool_search_call", "call_id": "c", "execution": "client", "arguments": { "query": "q" } },
        { "type": "tool_search_output", "call_id": "c", "execution": "client", "tools": found },
        { "type": "web_search_call", "id": "ws_1", "status": "completed" },
        { "type": "web_search_call", "id": "ws_2", "status": "completed" },
    ]);
    let tools = json!([{ "type": "function", "name": "f", "parameters": {} },
        { "type": "tool_search", "execution": "client", "parameters": {} }]);
    for to in OTHERS {
        let (body, dropped) = sent(&codex(&tools, &input), to).unwrap();
        assert_eq!(tool_names(&body), ["f", "tool_search", "g", "n__h"]);
        assert_eq!(dropped, ["input[] of type web_search_call"]);
        let said = history(&body);
        assert!(
            said.contains("\"tool_search\"") && said.contains("available now: g, n"),
            "{said}"
        );
    }
}

#[test]
fn system_messages_in_the_middle_are_joined_but_for_openais_models() {
    let claude = json!({ "model": "m", "max_tokens": 9, "system": "You are an agent.", "messages": [
        { "role": "user", "content": "hi" }, { "role": "system", "content": "Agents: none." }] });
    let codex = json!({ "model": "m", "instructions": "You are an agent.", "input": [
        { "role": "user", "content": "hi" }, { "role": "developer", "content": "Agents: none." }] });
    for (from, body) in [("anthropic", claude), ("openai-responses", codex)] {
        let request = parse(from, &body);
        let (dialect, side) = Dialect::with_upstream("openai-chat").unwrap();
        for (model, wanted) in [
            ("qwen3-coder", &["system", "user"][..]),
            ("openai/gpt-oss-120b", &["system", "user"]),
            ("gpt-4o", &["system", "user", "system"]),
            ("o3", &["system", "user", "system"]),
        ] {
            let written = translate(dialect, side, &request, model).unwrap();
            let body: Value = serde_json::from_slice(&written.body).unwrap();
            let messages = body["messages"].as_array().unwrap();
            let roles: Vec<_> = messages
                .iter()
                .filter_map(|message| message["role"].as_str())
                .collect();
            assert_eq!(roles, wanted, "{from} {model}");
            if wanted.len() == 2 {
                assert_eq!(messages[0]["content"], "You are an agent.\n\nAgents: none.");
            }
        }
    }
}

#[test]
fn a_message_of_another_agent_is_one_of_the_user() {
    let text = json!({ "type": "input_text", "text": "NEW_TASK" });
    let sealed = json!({ "type": "encrypted_content", "encrypted_content": "gAAAA" });
    let message =
        |parts: &Value| json!([{ "type": "agent_message", "author": "/root", "content": parts }]);
    for parts in [json!([text]), json!("NEW_TASK")] {
        let request = codex(&json!([]), &message(&parts));
        let (body, _) = sent(&request, "openai-chat").unwrap();
        let want = json!([{ "role": "user", "content": "NEW_TASK" }]);
        assert_eq!(body["messages"], want, "{parts}");
    }
    let request = codex(&json!([]), &message(&json!([text, sealed])));
    let refused = sent(&request, "openai-chat").unwrap_err();
    assert!(refused.contains("encrypted_content"), "{refused}");
}

#[test]
fn a_call_that_the_upstream_ran_has_its_result_within() {
    let call = |fields: Value| {
        let mut call = json!({ "type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "n",
            "arguments": r#"{"q":1}"# });
        call.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        call
    };
    for (fields, text, is_error) in [
        (json!({ "output": "OUT", "error": null }), "OUT", false),
        (json!({ "output": { "a": 1 } }), r#"{"a":1}"#, false),
        (
            json!({ "output": null, "error": "it broke" }),
            "it broke",
            true,
        ),
        (json!({ "error": { "code": 7 } }), r#"{"code":7}"#, true),
    ] {
        let input = json!([{ "role": "user", "content": "x" }, call(fields)]);
        let (body, _) = sent(&codex(&json!([]), &input), "anthropic").unwrap();
        let (called, result) = (
            &body["messages"][1]["content"],
            &body["messages"][2]["content"],
        );
        assert_eq!(
            (&called[0]["name"], &called[0]["input"]),
            (&json!("n"), &json!({ "q": 1 }))
        );
        assert_eq!(result[0]["tool_use_id"], called[0]["id"]);
        let content = &result[0]["content"];
        assert!(content == text || content[0]["text"] == text, "{content}");
        assert_eq!(result[0]["is_error"] == true, is_error, "{result}");
    }
}
