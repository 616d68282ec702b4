//! Whatever a model says, written in any dialect and read back, is the same, up to what the dialect
//! can say.

use dialect::Dialect;
use dialect::event::{Citation, Event, FinishReason, ReasoningState, StateOrigin, Usage};
use proptest::prelude::*;

use crate::said::{Said, dialects, read, write};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z ]{1,12}",
        "\\PC{1,6}",
        Just("\r\n".to_owned()),
        Just("data: x\n\n".to_owned()),
        Just("[DONE]".to_owned()),
        Just("\u{1f30a}\u{0}\"\\".to_owned()),
    ]
}

fn json() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(serde_json::json!({})),
        text().prop_map(|text| serde_json::json!({ "text": text })),
        (any::<i32>(), text())
            .prop_map(|(n, text)| serde_json::json!({ "a": [n, { "b": text }], "}": "{" })),
    ]
    .prop_map(|value| value.to_string())
}

fn state() -> impl Strategy<Value = ReasoningState<'static>> {
    let origin = prop_oneof![
        Just(StateOrigin::Anthropic),
        Just(StateOrigin::AnthropicRedacted),
        Just(StateOrigin::OpenAiResponses),
        Just(StateOrigin::Gemini)
    ];
    (origin, "[a-zA-Z0-9+/]{4,20}").prop_map(|(origin, value)| {
        let value = if origin == StateOrigin::OpenAiResponses {
            format!("rs_1 {value}")
        } else {
            value
        };
        ReasoningState {
            origin,
            value: value.into(),
        }
    })
}

/// One thing that a model says, in one or several pieces.
#[derive(Debug, Clone)]
enum Thing {
    Text(Vec<String>),
    Thought(Vec<String>, ReasoningState<'static>),
    Refusal(String),
    Cited(String, Citation),
    Call {
        name: String,
        arguments: String,
        cuts: Vec<usize>,
    },
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        4 => prop::collection::vec(text(), 1..4).prop_map(Thing::Text),
        2 => (prop::collection::vec(text(), 1..3), state()).prop_map(|(texts, state)| Thing::Thought(texts, state)),
        1 => text().prop_map(Thing::Refusal),
        1 => (text(), "[a-z]{1,8}").prop_map(|(text, name)| {
            let url = format!("https://example.org/{name}");
            Thing::Cited(text, Citation { url, title: name, ..Citation::default() })
        }),
        3 => ("[a-z_]{1,12}", json(), prop::collection::vec(any::<usize>(), 0..4))
            .prop_map(|(name, arguments, cuts)| Thing::Call { name, arguments, cuts }),
    ]
}

fn usage() -> impl Strategy<Value = Usage> {
    (0..5000_u64, 0..5000_u64, 0..100_u64, 0..100_u64).prop_map(
        |(input, output, cached, reasoning)| Usage {
            input: input + cached,
            output: output + reasoning,
            cached: Some(cached),
            cache_written: None,
            reasoning: Some(reasoning),
        },
    )
}

/// The events of these things; a model that calls tools ends with it.
fn events(things: &[Thing], reason: FinishReason, usage: Usage) -> Vec<Event<'static>> {
    let mut events = Vec::new();
    let mut calls = 0;
    for thing in things {
        match thing {
            Thing::Text(texts) => {
                events.extend(texts.iter().map(|text| Event::Text(text.clone().into())))
            }
            Thing::Thought(texts, state) => {
                // A thought that is sealed whole shows nothing.
                if state.origin != StateOrigin::AnthropicRedacted {
                    events.extend(
                        texts
                            .iter()
                            .map(|text| Event::Reasoning(text.clone().into())),
                    );
                }
                events.push(Event::State(state.clone()));
            }
            Thing::Refusal(text) => events.push(Event::Refusal(text.clone().into())),
            Thing::Cited(text, citation) => {
                events.push(Event::Text(text.clone().into()));
                events.push(Event::Citation(citation.clone()));
            }
            Thing::Call {
                name,
                arguments,
                cuts,
            } => {
                let index = calls;
                calls += 1;
                events.push(Event::ToolCall {
                    index,
                    id: format!("call_{index}").into(),
                    name: name.clone().into(),
                });
                let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % arguments.len()).collect();
                cuts.retain(|cut| arguments.is_char_boundary(*cut));
                cuts.extend([0, arguments.len()]);
                cuts.sort_unstable();
                for pair in cuts.windows(2).filter(|pair| pair[0] < pair[1]) {
                    let fragment = arguments[pair[0]..pair[1]].to_owned().into();
                    events.push(Event::ToolArguments { index, fragment });
                }
                events.push(Event::ToolEnd { index });
            }
        }
    }
    events.push(Event::Usage(usage));
    events.push(Event::Finish(if calls > 0 {
        FinishReason::ToolCalls
    } else {
        reason
    }));
    events
}

/// None of something is as much as not counting it: some dialects say the one for the other.
fn counted(usage: Option<Usage>) -> Option<Usage> {
    let some = |count: Option<u64>| count.filter(|count| *count > 0);
    usage.map(|usage| Usage {
        cached: some(usage.cached),
        cache_written: some(usage.cache_written),
        reasoning: some(usage.reasoning),
        ..usage
    })
}

/// What a dialect can't say: the whole list, and nothing else may be lost.
fn losses(said: &mut Said, dialect: &Dialect) {
    // Where refusals are text, the reason says what they are.
    let refuses = matches!(dialect.name, "openai-chat" | "openai-responses");
    if !refuses && !said.refusal.is_empty() && said.finish == Some(FinishReason::Stop) {
        said.finish = Some(FinishReason::ContentFilter);
    }
    // Only Anthropic tells the end at a stop sequence from any other.
    if dialect.name != "anthropic" && said.finish == Some(FinishReason::StopSequence) {
        said.finish = Some(FinishReason::Stop);
    }
    if dialect.name == "gemini" {
        // A source is told once.
        let mut once = Vec::new();
        said.citations.retain(|cited| {
            !once.contains(cited) && {
                once.push(cited.clone());
                true
            }
        });
    }
}

/// All text and refusals in order: the dialects that have no refusals mix them.
fn spoken(events: &[Event<'_>]) -> String {
    let spoken = |event: &Event<'_>| match event {
        Event::Text(text) | Event::Refusal(text) => Some(text.to_string()),
        _ => None,
    };
    events.iter().filter_map(spoken).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_in_a_dialect_reads_back(
        things in prop::collection::vec(thing(), 0..7),
        reason in prop_oneof![
            Just(FinishReason::Stop), Just(FinishReason::StopSequence),
            Just(FinishReason::Length), Just(FinishReason::ContentFilter),
        ],
        usage in usage(),
        piece in 1..200_usize,
    ) {
        let events = events(&things, reason, usage);
        let mut said = Said { whole: true, ..Said::default() };
        events.iter().for_each(|event| said.add(event));
        for dialect in dialects() {
            let wire = write(dialect, &events);
            let mut back = Vec::new();
            let mut there = read(dialect, wire.chunks(piece), Some(&mut back));
            prop_assert!(there.whole && there.error.is_none(), "{}: {:?}", dialect.name, there.error);
            there.payloads.clear();
            let mut want = said.clone();
            losses(&mut want, dialect);
            (want.usage, there.usage) = (counted(want.usage), counted(there.usage));
            prop_assert_eq!(spoken(&back), spoken(&events), "{}", dialect.name);
            if matches!(dialect.name, "anthropic" | "gemini") {
                (want.text, want.refusal) = (String::new(), String::new());
                there.text = String::new();
            }
            // An id of the shape that every dialect allows stays what it is; a seal comes back as
            // it was.
            prop_assert_eq!(there, want, "{}: {}", dialect.name, String::from_utf8_lossy(&wire));
        }
    }

    #[test]
    fn calls_that_overlap_are_all_there(order in prop::collection::vec(0..3_u32, 0..30)) {
        // Three calls announced at once, whose arguments come in any order, as some upstreams send
        // them.
        let arguments = ["{\"a\":\"0123456789\"}", "{}", "{\"b\":[1,2,3]}"];
        let mut events: Vec<Event<'static>> = (0..3)
            .map(|index| Event::ToolCall { index, id: format!("call_{index}").into(), name: format!("f{index}").into() })
            .collect();
        let mut at = [0; 3];
        for index in order.into_iter().chain([2, 1, 0, 0, 1, 2].repeat(20)) {
            let (whole, from) = (arguments[index as usize], &mut at[index as usize]);
            if *from < whole.len() {
                events.push(Event::ToolArguments { index, fragment: whole[*from..=*from].into() });
                *from += 1;
                if *from == whole.len() {
                    events.push(Event::ToolEnd { index });
                }
            }
        }
        events.push(Event::Finish(FinishReason::ToolCalls));
        let mut said = Said::default();
        events.iter().for_each(|event| said.add(event));
        for dialect in dialects() {
            let there = read(dialect, std::iter::once(&*write(dialect, &events)), None);
            let mut calls = there.calls();
            if dialect.name == "gemini" {
                // Each is said when it is whole.
                calls.sort_by(|a, b| a.0.cmp(&b.0));
            }
            prop_assert_eq!(calls, said.calls(), "{}", dialect.name);
        }
    }
}
