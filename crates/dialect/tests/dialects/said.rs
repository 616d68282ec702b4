//! What a stream says, as a test can compare it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dialect::event::{Citation, Event, FinishReason, Usage};
use dialect::request::Request;
use dialect::sse;
use dialect::{Dialect, FinishRule, ResponseMeta, plain};
use serde_json::Value;

/// All that a stream says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) payloads: Vec<String>,
    pub(crate) text: String,
    pub(crate) reasoning: String,
    pub(crate) refusal: String,
    /// Packed, in order.
    pub(crate) states: Vec<String>,
    pub(crate) citations: Vec<Citation>,
    /// As they came.
    pub(crate) logprobs: Vec<String>,
    /// Id, name, arguments, and whether they were said to be whole.
    pub(crate) tools: Vec<(String, String, String, bool)>,
    pub(crate) images: Vec<String>,
    /// Kinds of what no event carries.
    pub(crate) unsupported: Vec<String>,
    pub(crate) finish: Option<FinishReason>,
    pub(crate) usage: Option<Usage>,
    pub(crate) error: Option<String>,
    pub(crate) whole: bool,
}

impl Said {
    pub(crate) fn add(&mut self, event: &Event<'_>) {
        match event {
            Event::Text(text) => self.text.push_str(text),
            Event::Reasoning(text) => self.reasoning.push_str(text),
            Event::Refusal(text) => self.refusal.push_str(text),
            Event::State(state) => self.states.push(state.encode()),
            Event::Logprobs(tokens) => self.logprobs.push(tokens.to_string()),
            Event::Citation(citation) => self.citations.push(citation.clone()),
            Event::ToolCall { index, id, name } => {
                assert_eq!(
                    *index as usize,
                    self.tools.len(),
                    "calls are numbered from 0, in order"
                );
                self.tools
                    .push((id.to_string(), name.to_string(), String::new(), false));
            }
            Event::ToolArguments { index, fragment } => {
                let call = self
                    .tools
                    .get_mut(*index as usize)
                    .expect("a call that was announced");
                call.2.push_str(fragment);
            }
            Event::ToolEnd { index } => {
                let call = self
                    .tools
                    .get_mut(*index as usize)
                    .expect("a call that was announced");
                assert!(!std::mem::replace(&mut call.3, true), "a call ends once");
            }
            Event::Image(image) => self.images.push(image.to_url()),
            Event::Unsupported(kind) => self.unsupported.push(kind.to_string()),
            Event::Finish(reason) => self.finish = Some(*reason),
            Event::Usage(usage) => self.usage = Some(*usage),
        }
    }

    /// The calls, with their arguments as values: none are `{}`, and what is cut off stays text.
    pub(crate) fn calls(&self) -> Vec<(String, Value)> {
        let value = |text: &str| match serde_json::from_str(text) {
            Ok(value) => value,
            Err(_) if text.is_empty() => serde_json::json!({}),
            Err(_) => Value::String(text.to_owned()),
        };
        self.tools
            .iter()
            .map(|(_, name, arguments, _)| (name.clone(), value(arguments)))
            .collect()
    }
}

/// Reads a stream that came in these pieces; with a place for them, collects its events too.
pub(crate) fn read<'a>(
    dialect: &Dialect,
    pieces: impl Iterator<Item = &'a [u8]>,
    mut events: Option<&mut Vec<Event<'static>>>,
) -> Said {
    let mut said = Said::default();
    let mut frames = sse::FrameSplitter::new(1 << 20);
    let mut reader = dialect
        .upstream
        .expect("a dialect of upstreams")
        .event_reader(FinishRule::Required);
    let mut is_ended = false;
    let mut take = |run: &[u8], said: &mut Said| {
        for frame in sse::frames(run) {
            if let Some(error) = frame.error {
                said.error = reader.read_error(error).map(|failure| failure.to_string());
            }
            let Some(data) = frame.data.filter(|data| !data.is_empty()) else {
                let raw = &run[frame.range];
                if raw.starts_with(b"{") {
                    said.error = reader
                        .read_error(raw)
                        .map(|failure| failure.to_string())
                        .or(said.error.take());
                }
                continue;
            };
            // What follows the end mark is nobody's.
            if is_ended {
                continue;
            }
            said.payloads
                .push(String::from_utf8_lossy(&data).into_owned());
            let mut sink = |event: Event<'_>| {
                said.add(&event);
                if let Some(events) = &mut events {
                    events.push(event.into_owned());
                }
            };
            let seen = reader
                .read_payload(&data, Some(&mut sink))
                .expect("every payload can be read");
            is_ended = seen.is_end;
            said.error = seen
                .error
                .map(|failure| failure.to_string())
                .or(said.error.take());
        }
    };
    for piece in pieces {
        take(
            &frames
                .push(Bytes::copy_from_slice(piece))
                .expect("no event is over the cap"),
            &mut said,
        );
    }
    take(&frames.finish(), &mut said);
    let mut late = Vec::new();
    let end = reader.finish_stream(Some(&mut |event| late.push(event.into_owned())));
    late.iter().for_each(|event| said.add(event));
    if let Some(events) = &mut events {
        events.extend(late);
    }
    said.whole = end.is_ok();
    if let Err(failure) = end {
        // An error that was told earlier is the reason.
        if !failure.to_string().contains("ended before") {
            said.error = Some(failure.to_string());
        }
    }
    said
}

/// What a client's answer bears in tests: nothing that changes.
pub(crate) fn meta(request: Request) -> ResponseMeta {
    ResponseMeta {
        id: "0123456789abcdef".to_owned(),
        created: 1_700_000_000,
        model: "a-model".to_owned(),
        request: Arc::new(request),
        encoding: plain::TextEncoding::Text,
    }
}

/// Writes events as a whole stream of that dialect, in SSE.
pub(crate) fn write(dialect: &Dialect, events: &[Event<'_>]) -> Vec<u8> {
    let request = Request {
        include_usage: true,
        ..Request::prompt("Hello")
    };
    let mut writer = dialect.client.event_writer(meta(request));
    let mut out = BytesMut::new();
    for event in events {
        writer
            .write_event(event, &mut |name, data| {
                sse::write_frame(&mut out, name, data)
            })
            .expect("nothing is too large");
    }
    writer.write_end(&mut |name, data| sse::write_frame(&mut out, name, data));
    out.to_vec()
}

/// Dialects that upstreams speak: every one of them is a client's too.
pub(crate) fn dialects() -> impl Iterator<Item = &'static Dialect> {
    dialect::DIALECTS
        .iter()
        .copied()
        .filter(|dialect| dialect.upstream.is_some())
}
