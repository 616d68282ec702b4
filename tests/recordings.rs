//! Every recorded Chat Completions stream of some thirty providers, cut in every way, must read the same.
//!
//! The recordings are real traffic and lie beside the checkout, in `../shared/recordings`; where they are not, this suite
//! says so and passes.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "tests")]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokenrill::dialect::{EventReader, FinishRule, openai_chat};
use tokenrill::event::{Event, FinishReason, Usage};
use tokenrill::sse;

/// Recordings that end in an error of their provider: they must be told as broken, and all others must be whole.
const BROKEN: &[&str] = &[
    "with-extended-thinking-gpustack-qwen3-streams-thinking-content-when-available.sse",
    "tool-use-failed-error-streaming.sse",
    "tool-use-failed-error-streaming-with-text.sse",
    "openrouter-stream-error.sse",
    "llamacpp-2025-error-field-tail.sse",
    "vllm-200-error-then-done.sse",
];

/// What a stream says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    payloads: Vec<String>,
    text: String,
    reasoning: String,
    tools: Vec<(u32, String, String)>,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
    error: Option<String>,
    whole: bool,
}

fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Said {
    let mut said = Said::default();
    let mut frames = sse::Reader::new(1 << 20);
    let mut reader = EventReader::OpenAiChat(openai_chat::EventReader::new(FinishRule::Required));
    let mut take = |run: &[u8]| {
        for frame in sse::frames(run) {
            if let Some(error) = frame.error {
                said.error = reader.error(error).map(|failure| failure.to_string());
            }
            let Some(data) = frame.data.filter(|data| !data.is_empty()) else { continue };
            said.payloads.push(String::from_utf8_lossy(&data).into_owned());
            let (text, reasoning, tools) = (&mut said.text, &mut said.reasoning, &mut said.tools);
            let (finish, usage) = (&mut said.finish, &mut said.usage);
            let mut sink = |event: Event<'_>| match event {
                Event::Text(piece) => text.push_str(&piece),
                Event::Reasoning(piece) => reasoning.push_str(&piece),
                Event::Refusal(_) => {}
                Event::ToolCall { index, name, .. } => tools.push((index, name.into_owned(), String::new())),
                Event::ToolArguments { index, fragment } => {
                    let call = tools.iter_mut().find(|call| call.0 == index).expect("a call that was announced");
                    call.2.push_str(&fragment);
                }
                Event::Finish(reason) => *finish = Some(reason),
                Event::Usage(counted) => *usage = Some(counted),
            };
            let seen = reader.read(&data, Some(&mut sink)).expect("every recorded payload can be read");
            said.error = seen.error.map(|failure| failure.to_string()).or(said.error.take());
        }
    };
    for chunk in chunks {
        take(&frames.push(Bytes::copy_from_slice(chunk)).expect("no recorded event is over the cap"));
    }
    take(&frames.finish());
    said.whole = reader.end().is_ok();
    said
}

fn recordings() -> Option<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/recordings");
    let index = std::fs::read_to_string(folder.join("index.tsv")).ok()?;
    let files = index.lines().skip(1).filter_map(|line| {
        let mut columns = line.split('\t');
        let (file, _provider, dialect) = (columns.next()?, columns.next()?, columns.next()?);
        (dialect == "openai-chat" && file.ends_with(".sse")).then(|| folder.join(file))
    });
    Some(files.collect())
}

#[test]
fn every_recording_reads_the_same_however_it_is_cut() {
    let Some(files) = recordings() else {
        println!("skipped: there are no recordings beside this checkout");
        return;
    };
    assert!(files.len() > 50, "only {} recordings", files.len());
    let mut broken = Vec::new();
    for file in &files {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let bytes = std::fs::read(file).expect("a recording");
        let whole = read(std::iter::once(&*bytes));
        assert!(!whole.payloads.is_empty() || whole.error.is_some(), "{name} says nothing");
        for size in [1, 2, 3, 7, 64, 1000] {
            assert_eq!(read(bytes.chunks(size)), whole, "{name} in pieces of {size}");
        }
        if !whole.whole || whole.error.is_some() {
            assert!(whole.error.is_some(), "{name} is broken without an error");
            broken.push(name);
        }
    }
    broken.sort();
    let mut expected = BROKEN.to_vec();
    expected.sort_unstable();
    assert_eq!(broken, expected, "of {} recordings", files.len());
    println!("{} recordings read", files.len());
}
