//! The probes that fill the tables of `docs/dialects.md`: all that can be asked for or said, each
//! with a mark that is found again in what a dialect writes.

use dialect::event::{Citation, Event, FinishReason, ReasoningState, StateOrigin, Usage};
use dialect::request::{
    Effort, Format, Image, Logprobs, Message, Part, Reasoning, Request, Role, Sampling, Tool,
    ToolChoice,
};
use serde_json::json;

/// Text that can't be mistaken for anything else.
pub(super) const MARK: &str = "MARK";
pub(super) const NUMBER: u32 = 31_337;

/// A thing that a request may ask for, by the name that the table gives it: a request without it,
/// and one with.
pub(super) fn requests() -> Vec<(&'static str, Request, Request)> {
    let base = Request {
        model: Some("m".to_owned()),
        n: 1,
        ..Request::prompt("Hello")
    };
    let and = |request: &Request, role, parts| {
        let mut request = request.clone();
        request.messages.push(Message { role, parts });
        request
    };
    let call = |arguments: String| Part::ToolCall {
        id: "call_1".to_owned(),
        name: "f".to_owned(),
        arguments,
    };
    let called = and(&base, Role::Assistant, vec![call(String::new())]);
    let image = Image::Data {
        media_type: "image/png".to_owned(),
        base64: MARK.to_owned(),
    };
    let tool = |description: Option<&str>| Tool {
        name: "f".to_owned(),
        description: description.map(str::to_owned),
        parameters: json!({ "type": "object" }).into(),
        strict: None,
        cache: None,
        custom: None,
    };
    let offered = Request {
        tools: vec![tool(None)],
        ..base.clone()
    };
    let mut table = Vec::new();
    let mut add = |name, before: &Request, after| table.push((name, before.clone(), after));

    let mut system = base.clone();
    system.messages.insert(0, Message::text(Role::System, MARK));
    add("system prompt", &base, system);
    let reasoning = |origin| Part::Reasoning {
        text: "thought".to_owned(),
        state: Some(ReasoningState {
            origin,
            value: format!("rs_1 {MARK}").into(),
        }),
    };
    for (name, role, part) in [
        ("user text", Role::User, Part::Text(MARK.to_owned())),
        (
            "assistant text",
            Role::Assistant,
            Part::Text(MARK.to_owned()),
        ),
        (
            "image, base64",
            Role::User,
            Part::Image(image.clone(), None),
        ),
        (
            "image, address",
            Role::User,
            Part::Image(Image::Url(format!("https://example.org/{MARK}.png")), None),
        ),
        (
            "refusal said before",
            Role::Assistant,
            Part::Refusal(MARK.to_owned()),
        ),
        (
            "tool call",
            Role::Assistant,
            call(format!("{{\"x\":\"{MARK}\"}}")),
        ),
        (
            "thinking sealed by Anthropic",
            Role::Assistant,
            reasoning(StateOrigin::Anthropic),
        ),
        (
            "thinking sealed by Responses",
            Role::Assistant,
            reasoning(StateOrigin::OpenAiResponses),
        ),
        (
            "thinking sealed by Gemini",
            Role::Assistant,
            reasoning(StateOrigin::Gemini),
        ),
    ] {
        add(name, &base, and(&base, role, vec![part]));
    }
    for (name, content, error) in [
        ("tool result", Part::Text(MARK.to_owned()), false),
        ("tool result, failed", Part::Text(MARK.to_owned()), true),
        ("tool result, image", Part::Image(image, None), false),
    ] {
        let part = Part::ToolResult {
            id: "call_1".to_owned(),
            content: vec![content],
            error,
        };
        add(name, &called, and(&called, Role::Tool, vec![part]));
    }
    add(
        "tool",
        &base,
        Request {
            tools: vec![tool(Some(MARK))],
            ..base.clone()
        },
    );
    for (name, choice) in [
        ("tool choice: auto", ToolChoice::Auto),
        ("tool choice: none", ToolChoice::None),
        ("tool choice: any", ToolChoice::Required),
        ("tool choice: one", ToolChoice::Named("f".to_owned())),
    ] {
        add(
            name,
            &offered,
            Request {
                tool_choice: Some(choice),
                ..offered.clone()
            },
        );
    }
    add(
        "no parallel calls",
        &offered,
        Request {
            parallel_tool_calls: Some(false),
            ..offered.clone()
        },
    );
    add(
        "JSON",
        &base,
        Request {
            format: Some(Format::Json),
            ..base.clone()
        },
    );
    let schema = Format::Schema {
        name: "n".to_owned(),
        schema: json!({ "title": MARK }).into(),
        strict: None,
    };
    add(
        "JSON of a schema",
        &base,
        Request {
            format: Some(schema),
            ..base.clone()
        },
    );
    for (name, alternatives) in [("log probabilities", 0), ("with alternatives", NUMBER)] {
        let logprobs = Some(Logprobs {
            alternatives,
            param: Some("logprobs"),
        });
        add(
            name,
            &base,
            Request {
                logprobs,
                ..base.clone()
            },
        );
    }
    for (name, budget) in [
        ("reasoning effort", None),
        ("thinking budget", Some(NUMBER)),
    ] {
        let reasoning = Some(Reasoning {
            effort: Some(Effort::High),
            budget,
            shown: Some(true),
        });
        add(
            name,
            &base,
            Request {
                reasoning,
                ..base.clone()
            },
        );
    }
    add(
        "limit on tokens",
        &base,
        Request {
            max_tokens: Some(NUMBER),
            ..base.clone()
        },
    );
    let none = Sampling::default();
    for (name, sampling) in [
        (
            "temperature 0.5",
            Sampling {
                temperature: Some(0.5),
                ..none
            },
        ),
        (
            "temperature 1.5",
            Sampling {
                temperature: Some(1.5),
                ..none
            },
        ),
        (
            "top_p",
            Sampling {
                top_p: Some(0.5),
                ..none
            },
        ),
        (
            "top_k",
            Sampling {
                top_k: Some(u64::from(NUMBER)),
                ..none
            },
        ),
        (
            "seed",
            Sampling {
                seed: Some(i64::from(NUMBER)),
                ..none
            },
        ),
        (
            "presence penalty",
            Sampling {
                presence_penalty: Some(0.5),
                ..none
            },
        ),
        (
            "frequency penalty",
            Sampling {
                frequency_penalty: Some(0.5),
                ..none
            },
        ),
    ] {
        add(
            name,
            &base,
            Request {
                sampling,
                ..base.clone()
            },
        );
    }
    add(
        "stop sequences",
        &base,
        Request {
            stop: vec![MARK.to_owned()],
            ..base.clone()
        },
    );
    add(
        "user",
        &base,
        Request {
            user: Some(MARK.to_owned()),
            ..base.clone()
        },
    );
    add(
        "several answers (`n`)",
        &base,
        Request {
            n: 2,
            ..base.clone()
        },
    );
    table
}

/// The things that an answer may say, by the names that the table gives them.
pub(super) fn events() -> Vec<(&'static str, Vec<Event<'static>>)> {
    let call = || Event::ToolCall {
        index: 0,
        id: "call_1".into(),
        name: MARK.into(),
    };
    let state = |origin| {
        Event::State(ReasoningState {
            origin,
            value: MARK.into(),
        })
    };
    let finish = |reason| vec![Event::Finish(reason)];
    vec![
        ("text", vec![Event::Text(MARK.into())]),
        (
            "source of the text",
            vec![
                Event::Text("x".into()),
                Event::Citation(Citation {
                    url: MARK.to_owned(),
                    title: "t".to_owned(),
                    ..Citation::default()
                }),
            ],
        ),
        ("reasoning", vec![Event::Reasoning(MARK.into())]),
        (
            "seal of reasoning",
            vec![Event::Reasoning("x".into()), state(StateOrigin::Anthropic)],
        ),
        (
            "reasoning sealed whole",
            vec![state(StateOrigin::AnthropicRedacted)],
        ),
        ("refusal", vec![Event::Refusal(MARK.into())]),
        (
            "image",
            vec![Event::Image(Image::Data {
                media_type: "image/png".to_owned(),
                base64: MARK.to_owned(),
            })],
        ),
        ("tool call", vec![call(), Event::ToolEnd { index: 0 }]),
        (
            "its arguments",
            vec![
                Event::ToolCall {
                    index: 0,
                    id: "call_1".into(),
                    name: "f".into(),
                },
                Event::ToolArguments {
                    index: 0,
                    fragment: format!("{{\"x\":\"{MARK}\"}}").into(),
                },
                Event::ToolEnd { index: 0 },
            ],
        ),
        ("end: all said", finish(FinishReason::Stop)),
        ("end: stop sequence", finish(FinishReason::StopSequence)),
        ("end: length", finish(FinishReason::Length)),
        ("end: tool calls", finish(FinishReason::ToolCalls)),
        ("end: filter", finish(FinishReason::ContentFilter)),
        (
            "input tokens",
            vec![Event::Usage(Usage {
                input: u64::from(NUMBER),
                output: 1,
                ..Usage::default()
            })],
        ),
        (
            "of them cached",
            vec![Event::Usage(Usage {
                input: 90_000,
                output: 1,
                cached: Some(u64::from(NUMBER)),
                ..Usage::default()
            })],
        ),
        (
            "output tokens",
            vec![Event::Usage(Usage {
                input: 1,
                output: u64::from(NUMBER),
                ..Usage::default()
            })],
        ),
        (
            "of them reasoning",
            vec![Event::Usage(Usage {
                input: 1,
                output: 90_000,
                reasoning: Some(u64::from(NUMBER)),
                ..Usage::default()
            })],
        ),
    ]
}
