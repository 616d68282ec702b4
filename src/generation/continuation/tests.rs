//! Answers that break at every place and in every way, in every pair of dialects, and go on.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod harness;
mod several;

use dialect::event::{Citation, Event};
use futures_util::future::join_all;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::config::ContinueBy;
use crate::provider::scripted::ScriptedEnd;
use harness::{
    Broken, Case, Run, Scripted, TOKENS, UPSTREAMS, body_of, events_as_frames, frames_of,
    read_answer, refused_by, run,
};

/// The ways in which an upstream's stream breaks.
const BREAKS: [Broken; 5] = [
    Broken::Reset,
    Broken::Closed,
    Broken::Silent,
    Broken::ErrorFrame,
    Broken::BadJson,
];

/// The things that a model says when it is asked to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Further {
    Exactly,
    LastWordsAgain,
    FromTheStart,
    WhiteSpaceAgain,
}

const FURTHER: [Further; 4] = [
    Further::Exactly,
    Further::LastWordsAgain,
    Further::FromTheStart,
    Further::WhiteSpaceAgain,
];

/// Returns the second part of an answer of which `said` is the first.
fn further(how: Further, said: &str) -> String {
    let whole = TOKENS.concat();
    let shown = said.trim_end();
    match how {
        Further::Exactly => whole[said.len()..].to_owned(),
        Further::WhiteSpaceAgain => whole[shown.len()..].to_owned(),
        Further::FromTheStart => whole,
        // Fewer could be no repetition.
        Further::LastWordsAgain => {
            let mut letters = shown.char_indices().rev();
            let from = letters.nth(11).map_or(0, |(at, _)| at);
            whole[from..].to_owned()
        }
    }
}

/// Runs one case, and checks what the client got and what the upstreams saw.
async fn check(case: Case, how: Further) {
    let said = TOKENS[..case.cut].concat();
    let text = further(how, &said);
    let second = frames_of(case.upstream, &[&text], Some(5));
    let run = case
        .run(move |_| Ok((second.clone(), ScriptedEnd::Closed)))
        .await;
    let context = format!("{case:?} {how:?}\n{}", run.wire);
    let answer =
        read_answer(case.client, &run.wire).unwrap_or_else(|error| panic!("{error} {context}"));
    assert_eq!(answer.text, TOKENS.concat(), "{context}");
    assert_eq!(answer.ends, 1, "{context}");
    assert!(answer.is_one && !has_error(&run.wire), "{context}");
    assert!(
        run.wire.contains(": tokenrill continued") == (case.client != "gemini"),
        "{context}"
    );
    let outcome = run.outcome;
    assert_eq!(
        (outcome.code, outcome.attempts),
        ("complete", 2),
        "{context}"
    );
    let by = outcome.continued.unwrap();
    let is_prefill = case.by == ContinueBy::Prefill;
    assert_eq!(
        by,
        (if is_prefill { "prefill" } else { "turn" }, said.len())
    );
    // Both parts are counted.
    assert_eq!(outcome.output, Some(case.cut as u64 + 5), "{context}");
    if case.client != "plain" {
        assert_eq!(answer.output, Some(case.cut as u64 + 5), "{context}");
    }
    // It is told at the end, where there is a place for it.
    let note = dialect::ContinuedNote {
        breaks: 1,
        by: by.0,
        usage_estimated: true,
    };
    let field = format!("\"tokenrill\":{}", note.to_json());
    let notes = usize::from(case.client != "plain");
    assert_eq!(run.wire.matches(&field).count(), notes, "{context}");
    // The second upstream got the first one's request, and the answer so far.
    let [first, second] = &run.seen[..] else {
        panic!("{context}")
    };
    let (first, second) = (messages(first), messages(second));
    assert_eq!(first, second[..first.len()], "{context}");
    let tail: Vec<String> = second[first.len()..]
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        tail[0].contains(&json!(said.trim_end()).to_string()),
        "{tail:?} {context}"
    );
    assert_eq!(tail.len(), if is_prefill { 1 } else { 2 }, "{context}");
    if !is_prefill {
        assert!(tail[1].contains("cut off"), "{tail:?}");
    }
}

fn has_error(wire: &str) -> bool {
    wire.contains("event: error") || wire.contains("\"error\":{")
}

fn messages(body: &Value) -> Vec<Value> {
    for list in ["messages", "contents", "input"] {
        match &body[list] {
            Value::Array(items) => return items.clone(),
            Value::String(text) => {
                return vec![json!({ "role": "user", "content": text })];
            }
            _ => {}
        }
    }
    panic!("no messages in {body}")
}

/// Breaks answers of one client's in every way at some places, and in one way at all of them.
async fn check_client(client: &'static str) {
    let mut checks = Vec::new();
    for upstream in UPSTREAMS {
        for by in [ContinueBy::Prefill, ContinueBy::Turn] {
            for broken in BREAKS {
                let places = if broken == Broken::Reset { 1 } else { 4 };
                for cut in (1..=TOKENS.len()).step_by(places) {
                    let case = Case {
                        client,
                        upstream,
                        by,
                        broken,
                        cut,
                    };
                    checks.extend(FURTHER.map(|how| check(case, how)));
                }
            }
        }
    }
    join_all(checks).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_is_whole_for_plain_clients() {
    check_client("plain").await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_is_whole_for_clients_of_chat_completions() {
    check_client("openai-chat").await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_is_whole_for_clients_of_responses() {
    check_client("openai-responses").await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_is_whole_for_clients_of_messages() {
    check_client("anthropic").await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_is_whole_for_clients_of_gemini() {
    check_client("gemini").await;
}

const CASE: Case = Case {
    client: "openai-chat",
    upstream: ("openai-chat", ""),
    by: ContinueBy::Turn,
    broken: Broken::Reset,
    cut: 5,
};

/// Returns the text of a whole answer, and the number of attempts.
fn whole(run: &Run) -> (String, usize) {
    let answer = read_answer(CASE.client, &run.wire).unwrap();
    assert_eq!(answer.ends, 1, "{}", run.wire);
    (answer.text, run.outcome.attempts)
}

/// Checks that an answer broke, and that nobody was asked to go on.
fn assert_broken(run: &Run, what: &str) {
    assert!(has_error(&run.wire), "{what} {}", run.wire);
    assert!(!run.wire.contains("[DONE]"), "{what} {}", run.wire);
    assert_eq!(run.outcome.attempts, 1, "{what}");
    assert_eq!(run.seen.len(), 1, "{what}");
}

fn good() -> Scripted {
    let rest = TOKENS[CASE.cut..].concat();
    Ok((
        frames_of(CASE.upstream, &[&rest], Some(5)),
        ScriptedEnd::Closed,
    ))
}

fn text(text: &str) -> Event<'_> {
    Event::Text(text.into())
}

#[tokio::test(start_paused = true)]
async fn what_is_no_text_alone_is_never_continued() {
    let call = || Event::ToolCall {
        index: 0,
        id: "call_1".into(),
        name: "f".into(),
    };
    let arguments = |fragment: &'static str| Event::ToolArguments {
        index: 0,
        fragment: fragment.into(),
    };
    let end = || Event::ToolEnd { index: 0 };
    let cited = || {
        Event::Citation(Citation {
            url: "http://a.test".to_owned(),
            ..Citation::default()
        })
    };
    for (what, events) in [
        ("a call", vec![call()]),
        (
            "half a call",
            vec![text("One"), call(), arguments("{\"a\"")],
        ),
        (
            "a whole call",
            vec![text("One"), call(), arguments("{}"), end()],
        ),
        ("thoughts", vec![Event::Reasoning("Hm".into())]),
        ("a refusal", vec![Event::Refusal("I won't".into())]),
        ("a citation", vec![text("One"), cited()]),
    ] {
        let first = events_as_frames(CASE.upstream, events.into_iter(), None);
        let first = move |_: &Value| Ok((first.clone(), ScriptedEnd::Reset));
        let run = CASE.run_after(first, |_| good()).await;
        assert_broken(&run, what);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_or_a_filter_may_forbid_it() {
    let mut never = HeaderMap::new();
    never.insert("x-tokenrill-continue", "never".parse().unwrap());
    let broken = |_: &Value| Ok(CASE.first());
    let forbidden = run(&CASE, &body_of(CASE.client), never, broken, |_| good()).await;
    assert_broken(&forbidden, "the header");
    for field in [
        json!({ "n": 2 }),
        json!({ "response_format": { "type": "json_object" } }),
        json!({ "logprobs": true }),
    ] {
        let mut body = body_of(CASE.client);
        let fields = field.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        let run = run(&CASE, &body, HeaderMap::new(), broken, |_| good()).await;
        assert_broken(&run, &field.to_string());
    }
    let filtered = |_: &Value| {
        let (bytes, _) = CASE.first();
        let error = r#"data: {"error":{"message":"no","code":"content_filter"}}"#;
        let bytes = [&bytes, error.as_bytes(), b"\n\n"].concat();
        Ok((bytes.into(), ScriptedEnd::Closed))
    };
    let run = CASE.run_after(filtered, |_| good()).await;
    assert_broken(&run, "a filter");
}

#[tokio::test(start_paused = true)]
async fn where_no_target_is_to_go_on_the_answer_ends_with_its_error() {
    let case = Case {
        by: ContinueBy::Never,
        ..CASE
    };
    assert_broken(&case.run(|_| good()).await, "never");
}

#[tokio::test(start_paused = true)]
async fn thoughts_before_the_text_are_shown_once() {
    let thought = || Event::Reasoning("Hm".into());
    let first = events_as_frames(
        CASE.upstream,
        [thought(), text("One two")].into_iter(),
        None,
    );
    let first = move |_: &Value| Ok((first.clone(), ScriptedEnd::Reset));
    let second = events_as_frames(
        CASE.upstream,
        [thought(), text(" three")].into_iter(),
        Some(5),
    );
    let second = move |_: &Value| Ok((second.clone(), ScriptedEnd::Closed));
    let run = CASE.run_after(first, second).await;
    assert_eq!(whole(&run), ("One two three".to_owned(), 2));
    assert_eq!(run.wire.matches("\"reasoning_content\":\"Hm\"").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_refuses_a_prefill_is_asked_by_a_turn() {
    let case = Case {
        by: ContinueBy::Prefill,
        upstream: ("openai-chat", "mistral"),
        ..CASE
    };
    let second = |body: &Value| match messages(body).len() {
        2 => Err(refused_by(400, "This model does not support prefill")),
        _ => good(),
    };
    let first = move |body: &Value| match messages(body).len() {
        1 => Ok(case.first()),
        _ => second(body),
    };
    let run = case.run_after(first, second).await;
    assert_eq!(whole(&run), (TOKENS.concat(), 3));
    assert_eq!(run.outcome.continued.unwrap().0, "turn");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_begun_anew_is_left_to_another() {
    let said = "The answer to your question is that it depends";
    let first = move |body: &Value| {
        let texts = match messages(body).len() {
            1 => return Ok((frames_of(CASE.upstream, &[said], None), ScriptedEnd::Reset)),
            _ => [" on the weather."],
        };
        let whole = frames_of(CASE.upstream, &texts, Some(5));
        Ok((whole, ScriptedEnd::Closed))
    };
    let other = "The answer to your question is forty-two.";
    let second = move |_: &Value| {
        let whole = frames_of(CASE.upstream, &[other], Some(5));
        Ok((whole, ScriptedEnd::Closed))
    };
    let run = CASE.run_after(first, second).await;
    assert_eq!(whole(&run), (format!("{said} on the weather."), 3));
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_break_twice() {
    let second = |_: &Value| {
        let bytes = frames_of(CASE.upstream, &TOKENS[5..8], None);
        Ok((bytes, ScriptedEnd::Closed))
    };
    let first = |body: &Value| match messages(body).len() {
        1 => Ok(CASE.first()),
        _ => {
            let rest = frames_of(CASE.upstream, &TOKENS[8..], Some(4));
            Ok((rest, ScriptedEnd::Closed))
        }
    };
    let run = CASE.run_after(first, second).await;
    assert_eq!(whole(&run), (TOKENS.concat(), 3));
    assert_eq!(run.outcome.output, Some(5 + 3 + 4));
    assert_eq!(run.wire.matches("tokenrill continued").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_continues_ends_with_its_own_failure() {
    let first = |body: &Value| match messages(body).len() {
        1 => Ok(CASE.first()),
        _ => Err(refused_by(500, "second")),
    };
    let second = |_: &Value| Err(refused_by(400, "first"));
    let run = CASE.run_after(first, second).await;
    assert!(has_error(&run.wire) && !run.wire.contains("[DONE]"));
    assert_eq!(run.wire.matches("\"error\":").count(), 1, "{}", run.wire);
    assert_eq!(
        (run.outcome.code, run.outcome.attempts),
        ("upstream_reset", 3)
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_after_the_seam_arrives_whole() {
    let call = Event::ToolCall {
        index: 0,
        id: "call_1".into(),
        name: "f".into(),
    };
    let arguments = Event::ToolArguments {
        index: 0,
        fragment: "{\"a\":1}".into(),
    };
    let events = [text(" so:"), call, arguments, Event::ToolEnd { index: 0 }];
    let second = events_as_frames(CASE.upstream, events.into_iter(), Some(5));
    let second = move |_: &Value| Ok((second.clone(), ScriptedEnd::Closed));
    let run = CASE.run(second).await;
    assert_eq!(whole(&run).0, TOKENS[..5].concat() + " so:");
    assert!(run.wire.contains("call_1") && run.wire.contains("{\\\"a\\\":1}"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_at_its_limit_is_whole() {
    let mut body = body_of(CASE.client);
    body["max_tokens"] = 5.into();
    let first = |_: &Value| Ok(CASE.first());
    let limited = run(&CASE, &body, HeaderMap::new(), first, |_| good()).await;
    assert_eq!(whole(&limited), (TOKENS[..5].concat(), 1));
    assert!(limited.wire.contains("\"finish_reason\":\"length\""));
    body["max_tokens"] = 50.into();
    let first = |_: &Value| Ok(CASE.first());
    let run = run(&CASE, &body, HeaderMap::new(), first, |_| good()).await;
    assert_eq!(whole(&run).1, 2);
    assert_eq!(run.seen[1]["max_tokens"], 45);
}
