//! A stream put together as one answer, for a client that asked for that.

use dialect::event::Event;
use dialect::failure::Failure;
use dialect::request::Image;
use dialect::{Answer, AnswerFolder, Dialect, EventReader, sse};

use super::classify::{FrameKind, PayloadVerdict, classify_frame, judge_payload};
use crate::generation::meter::Meter;
use crate::generation::omitted::log_omitted;

/// An answer that was put together, and the upstream's own content beyond its events.
pub(in crate::generation) type FinishedFold = (Answer, Option<Box<dyn AnswerFolder>>);

/// Bytes that an event takes besides its text.
const EVENT_SIZE: usize = 64;

/// An answer that is being put together.
#[derive(Debug)]
pub(in crate::generation) struct FoldedAnswer {
    reader: Box<dyn EventReader>,
    client: &'static Dialect,
    answer: Answer,
    /// The upstream's own content beyond events, if the client speaks the same dialect.
    own: Option<Box<dyn AnswerFolder>>,
    size: usize,
    max_bytes: usize,
}

impl FoldedAnswer {
    pub(in crate::generation) fn new(
        reader: Box<dyn EventReader>,
        (client, upstream): (&'static Dialect, &'static Dialect),
        max_bytes: usize,
    ) -> Self {
        let same = upstream.upstream.filter(|_| *upstream == *client);
        Self {
            reader,
            client,
            answer: Answer::default(),
            own: same.and_then(|side| side.answer_folder()),
            size: 0,
            max_bytes,
        }
    }

    /// Returns true if nothing of the stream is lost, further answers included.
    pub(in crate::generation) fn keeps_all(&self) -> bool {
        self.own.is_some()
    }

    /// Adds a run of whole frames; returns whether the stream has ended with it. `is_cut` says that
    /// the upstream's body ended with it.
    pub(in crate::generation) fn add_run(
        &mut self,
        run: &[u8],
        is_cut: bool,
        meter: &mut Meter,
    ) -> Result<bool, Failure> {
        for frame in sse::frames(run) {
            let data = match classify_frame(&frame, &run[frame.range.clone()], &*self.reader) {
                FrameKind::Payload(data) => data,
                FrameKind::Error(failure) => return Err(failure),
                FrameKind::Comment | FrameKind::Blank | FrameKind::NoData => continue,
            };
            let (client, answer, size) = (self.client, &mut self.answer, &mut self.size);
            let is_whole = self.own.is_some();
            let mut add = |event: Event<'_>| {
                if !is_whole {
                    log_omitted(client, &event);
                }
                *size += event_size(&event);
                answer.add(&event);
            };
            let read = self.reader.read_payload(data, Some(&mut add));
            let mut own_size = 0;
            if let Some(own) = &mut self.own {
                own.add_payload(data);
                own_size = own.size();
            }
            if self.size.max(own_size) > self.max_bytes {
                return Err(Failure::response_too_large(self.max_bytes));
            }
            match judge_payload(read, &frame, data, &*self.reader, is_cut, meter) {
                PayloadVerdict::Continue => {}
                PayloadVerdict::Reported { failure, .. }
                | PayloadVerdict::Broken(failure)
                | PayloadVerdict::Unpaid(failure) => return Err(failure),
                PayloadVerdict::Ended => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Returns the size of the answer so far, in bytes.
    pub(in crate::generation) fn size(&self) -> usize {
        self.size + self.own.as_ref().map_or(0, |own| own.size())
    }

    /// Returns the answer of a stream that has ended, and the content beyond its events.
    pub(in crate::generation) fn finish(mut self) -> Result<FinishedFold, Failure> {
        let answer = &mut self.answer;
        self.reader
            .finish_stream(Some(&mut |event| answer.add(&event)))?;
        Ok((self.answer, self.own))
    }
}

/// Returns the size that an event adds to an answer.
fn event_size(event: &Event<'_>) -> usize {
    EVENT_SIZE
        + match event {
            Event::Text(text) | Event::Reasoning(text) | Event::Refusal(text) => text.len(),
            Event::State(state) => state.value.len(),
            Event::Logprobs(tokens) => tokens.len(),
            Event::ToolCall { id, name, .. } => id.len() + name.len(),
            Event::ToolArguments { fragment, .. } => fragment.len(),
            Event::Citation(citation) => {
                citation.url.len() + citation.title.len() + citation.quote.len()
            }
            Event::Image(Image::Url(url)) => url.len(),
            Event::Image(Image::Data { base64, .. }) => base64.len(),
            Event::ToolEnd { .. } | Event::Usage(_) | Event::Finish(_) | Event::Unsupported(_) => 0,
        }
}
