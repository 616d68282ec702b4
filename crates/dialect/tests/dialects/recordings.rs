//! Every recorded stream of some thirty providers, cut in every way, must read the same; written in
//! every other dialect and read back, it must say the same.
//!
//! The recordings are real traffic and lie beside the checkout, in `../shared/recordings`; where
//! they are not, this suite says so and passes.

use std::path::Path;

use dialect::event::{Event, FinishReason};
use dialect::request::Request;
use dialect::{Answer, DIALECTS, Dialect, FinishRule};

use crate::said::{Said, dialects, meta, read, write};

/// Recordings that end in an error, or before their end: they must be told as broken, and all
/// others must be whole.
const BROKEN: &[&str] = &[
    "gemini/error-envelope-nonexistent-model-streaming-error-preserves-status-and-body.sse",
    "gpustack-llamabox/with-extended-thinking-gpustack-qwen3-streams-thinking-content-when-available.sse",
    "groq/tool-use-failed-error-streaming.sse",
    "groq/tool-use-failed-error-streaming-with-text.sse",
    "openrouter/openrouter-stream-error.sse",
    "openai/vercel-openai-error-1.payloads.jsonl",
    "excerpts/gemini-midstream-503-bare-json-tail.sse",
    "excerpts/anthropic-midstream-api-error-tail.sse",
    "excerpts/anthropic-midstream-overloaded-event.sse",
    "excerpts/llamacpp-2025-error-field-tail.sse",
    "excerpts/azure-async-filter-chunk.payloads.jsonl",
    "excerpts/dashscope-glm-empty-string-tool-ids.payloads.jsonl",
    "excerpts/vllm-200-error-then-done.sse",
];

struct Recording {
    name: String,
    dialect: &'static Dialect,
    bytes: Vec<u8>,
}

fn recordings() -> Option<Vec<Recording>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings");
    let index = std::fs::read_to_string(folder.join("index.tsv")).ok()?;
    let recordings = index.lines().skip(1).filter_map(|line| {
        let mut columns = line.split('\t');
        let (file, _provider, name) = (columns.next()?, columns.next()?, columns.next()?);
        let dialect = DIALECTS
            .iter()
            .find(|dialect| dialect.name == name && dialect.upstream.is_some())?;
        let bytes = std::fs::read(folder.join(file)).expect("a recording");
        let bytes = if file.ends_with(".payloads.jsonl") {
            let lines = bytes
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty());
            lines
                .flat_map(|line| [b"data: ", line, b"\n\n"].concat())
                .collect()
        } else if file.ends_with(".sse") {
            bytes
        } else {
            return None;
        };
        Some(Recording {
            name: file.to_owned(),
            dialect,
            bytes,
        })
    });
    Some(recordings.collect())
}

fn say_so() {
    println!("skipped: there are no recordings beside this checkout");
}

#[test]
fn every_recording_reads_the_same_however_it_is_cut() {
    let Some(recordings) = recordings() else {
        return say_so();
    };
    assert!(
        recordings.len() > 200,
        "only {} recordings",
        recordings.len()
    );
    let mut broken = Vec::new();
    for Recording {
        name,
        dialect,
        bytes,
    } in &recordings
    {
        let whole = read(dialect, std::iter::once(&**bytes), None);
        assert!(
            !whole.payloads.is_empty() || whole.error.is_some(),
            "{name} says nothing"
        );
        for size in [1, 2, 3, 7, 64, 1000] {
            let mut cut = read(dialect, bytes.chunks(size), None);
            // An id that its upstream left out is made up anew each time.
            for (cut, whole) in cut.tools.iter_mut().zip(&whole.tools) {
                cut.0.clone_from(&whole.0);
            }
            assert_eq!(cut, whole, "{name} in pieces of {size}");
        }
        if !whole.whole || whole.error.is_some() {
            broken.push(format!("{name}: {:?}", whole.error));
        }
    }
    let named = |broken: &String| BROKEN.iter().any(|name| broken.starts_with(name));
    let odd: Vec<&String> = broken.iter().filter(|broken| !named(broken)).collect();
    assert!(odd.is_empty(), "{odd:#?}");
    assert_eq!(
        broken.len(),
        BROKEN.len(),
        "of {} recordings",
        recordings.len()
    );
    println!("{} recordings read", recordings.len());
}

/// What may differ once a stream has been through another dialect.
fn through(said: &Said, dialect: &Dialect) -> Said {
    let mut said = said.clone();
    said.payloads.clear();
    said.states.clear();
    said.citations.clear();
    if matches!(dialect.name, "anthropic" | "gemini") && !said.refusal.is_empty() {
        // A refusal is text there, and the reason says what it is.
        let refusal = std::mem::take(&mut said.refusal);
        said.text.push_str(&refusal);
        if said.finish == Some(FinishReason::Stop) {
            said.finish = Some(FinishReason::ContentFilter);
        }
    }
    if dialect.name != "anthropic" && said.finish == Some(FinishReason::StopSequence) {
        said.finish = Some(FinishReason::Stop);
    }
    said
}

#[test]
fn every_recording_says_the_same_in_every_other_dialect() {
    let Some(recordings) = recordings() else {
        return say_so();
    };
    let mut pairs = 0;
    for Recording {
        name,
        dialect,
        bytes,
    } in &recordings
    {
        let mut events = Vec::new();
        let said = read(dialect, std::iter::once(&**bytes), Some(&mut events));
        if !said.whole || said.error.is_some() {
            continue;
        }
        for other in dialects() {
            let there = read(other, std::iter::once(&*write(other, &events)), None);
            let (want, at) = (through(&said, other), format!("{name} in {}", other.name));
            let cut_off = want
                .calls()
                .iter()
                .any(|(_, arguments)| !arguments.is_object());
            if other.name == "gemini" && cut_off {
                // Arguments are an object there, and half of one is no call.
                let whole: Vec<_> = want
                    .calls()
                    .into_iter()
                    .filter(|(_, arguments)| arguments.is_object())
                    .collect();
                assert_eq!(there.calls(), whole, "{at}");
                assert_eq!(
                    there.whole,
                    want.finish == Some(FinishReason::Length),
                    "{at}"
                );
                continue;
            }
            assert!(there.whole && there.error.is_none(), "{at}: {there:?}");
            assert_eq!(
                (&there.text, &there.refusal),
                (&want.text, &want.refusal),
                "{at}"
            );
            assert_eq!(there.reasoning, want.reasoning, "{at}");
            assert_eq!(there.calls(), want.calls(), "{at}");
            assert_eq!(
                there.finish.unwrap(),
                want.finish.unwrap_or(FinishReason::Stop),
                "{at}"
            );
            if let Some(usage) = want.usage {
                let there = there.usage.unwrap();
                assert_eq!(
                    (there.input, there.output),
                    (usage.input, usage.output),
                    "{at}"
                );
            }
            pairs += 1;
        }
    }
    println!("{pairs} streams written and read back");
    assert!(pairs > 800, "only {pairs}");
}

#[test]
fn every_stream_that_is_put_together_says_the_same() {
    let Some(recordings) = recordings() else {
        return say_so();
    };
    let mut tried = 0;
    for Recording {
        name,
        dialect,
        bytes,
    } in recordings
    {
        let side = dialect.upstream.unwrap();
        let Some(mut folder) = side.answer_folder() else {
            continue;
        };
        let mut events = Vec::new();
        let said = read(dialect, std::iter::once(&bytes[..]), Some(&mut events));
        if !said.whole || said.error.is_some() {
            continue;
        }
        let mut answer = Answer::default();
        events.iter().for_each(|event| answer.add(event));
        for payload in &said.payloads {
            folder.add_payload(payload.as_bytes());
        }
        let encoded = dialect
            .client
            .encode_answer(&answer, &meta(Request::prompt("p")));
        let whole = folder.complete(encoded);
        let mut again = Said::default();
        let mut add = |event: Event<'_>| again.add(&event);
        side.parse_answer(&whole, FinishRule::Required, Some(&mut add))
            .expect(&name);
        tried += 1;
        let texts = |said: &Said| [&said.text, &said.reasoning, &said.refusal].map(String::clone);
        assert_eq!(texts(&again), texts(&said), "{name}");
        assert_eq!(again.finish, said.finish, "{name}");
        assert_eq!(again.usage, said.usage, "{name}");
        assert_eq!(again.citations, said.citations, "{name}");
        // A call that was cut off is left out where its client could run it.
        if again.calls() != said.calls() {
            assert_eq!(said.finish, Some(FinishReason::Length), "{name}");
        }
    }
    assert!(tried > 150, "only {tried} recordings");
}
