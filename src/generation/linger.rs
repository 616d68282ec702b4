//! A generation that outlives its readers: it writes a stream, and they read that.
//!
//! It is driven by a task of its own, on the thread where it began, which owns it to its end. It reads its upstream as
//! long as the stream has room, and ends early when it is told to, or when nobody has read it for its [`Linger`].

use std::fmt::{self, Write as _};
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, Sleep};

use super::{Draining, Generation};
use dialect::failure::{Failure, classes};
use dialect::sse;
use stream::{End, Head, Offset, Run, Streams, Writer};

/// How long a full stream waits for a reader that may be coming back, where no linger says it.
const RETURN: Duration = Duration::from_secs(5);
/// How often a writer looks for room that other streams have given up, or for the server's end.
const LOOK: Duration = Duration::from_millis(250);
/// The longest id of an upstream's answer that is remembered, in bytes.
const LONGEST_NAME: usize = 256;
/// So many steps, then others have their turn: an upstream that never pauses must not keep its readers from reading.
const AT_ONCE: usize = 16;

/// How long a generation may run on without a reader. None: a client that leaves cancels its upstream at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Linger(Duration);

/// Text that is no linger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "`linger` should be a duration such as \"15s\" or \"2m\", or a number of seconds; 0 is none"
)]
pub struct NotALinger;

impl Linger {
    /// What a browser's `EventSource` gets, which reconnects by itself.
    pub const OF_EVENT_SOURCE: Self = Self(Duration::from_secs(15));

    /// As long as it takes.
    pub const UNLIMITED: Self = Self(Duration::MAX);

    /// Of a duration; zero is none.
    #[must_use]
    pub fn new(duration: Duration) -> Self {
        Self(duration)
    }

    /// Whether a client that leaves ends its generation.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0.is_zero()
    }

    /// As a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Linger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl FromStr for Linger {
    type Err = NotALinger;

    fn from_str(text: &str) -> Result<Self, NotALinger> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text
                .parse()
                .map(|seconds| Self(Duration::from_secs(seconds)))
                .map_err(|_| NotALinger);
        }
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|_| NotALinger)
    }
}

/// A generation on its way into a stream. Whoever polls it drives it.
#[derive(Debug)]
pub struct Lingering {
    generation: Generation,
    writer: Writer,
    streams: Streams,
    linger: Linger,
    draining: Draining,
    numbering: Numbering,
    timer: Pin<Box<Sleep>>,
}

/// Where polling a generation leads.
enum Step {
    /// The upstream has said its own id of the answer, in these frames.
    Named(String, Bytes),
    End(End),
}

impl Lingering {
    /// Drives that generation into that stream.
    #[must_use]
    pub fn new(
        generation: Generation,
        writer: Writer,
        streams: Streams,
        linger: Linger,
        draining: Draining,
    ) -> Self {
        let numbering = Numbering::new(writer.log().id(), &writer.log().head());
        let timer = Box::pin(tokio::time::sleep(linger.0));
        Self {
            generation,
            writer,
            streams,
            linger,
            draining,
            numbering,
            timer,
        }
    }

    /// To its end.
    pub async fn run(mut self) {
        loop {
            match std::future::poll_fn(|cx| self.poll(cx)).await {
                Step::Named(name, frames) => {
                    // Before anyone can read the name, and ask for it.
                    if let Err(error) = self.streams.alias(self.writer.log().id(), &name) {
                        tracing::warn!(stream = %self.writer.log().id(), %error, "an answer can't be found by its upstream's id");
                    }
                    self.append(&frames);
                }
                Step::End(end) => return self.writer.end(end),
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        for _ in 0..AT_ONCE {
            let outlook = self.writer.poll(cx);
            if outlook.cancelled {
                return self.stop(Failure::cancelled());
            }
            if let Some(since) = outlook.unattended {
                if since >= self.linger.0 {
                    return self.stop(Failure::abandoned(self.linger.0));
                }
                // Nobody can come any more, unless to another replica.
                if self.draining.is_begun() && !self.streams.is_shared() {
                    return self.stop(Failure::draining());
                }
                if self.wait((self.linger.0 - since).min(LOOK), cx).is_ready() {
                    continue;
                }
            }
            if !outlook.room {
                // One without a limit would wait for ever for who does not come.
                if self.linger == Linger::UNLIMITED
                    && outlook.unattended.is_some_and(|since| since >= RETURN)
                {
                    return self.stop(Failure::unread());
                }
                // While nobody polls it, a generation does not see the server's end.
                if self.generation.is_cut() {
                    return self.stop(Failure::draining());
                }
                ready!(self.wait(LOOK, cx));
                continue;
            }
            match ready!(self.generation.poll_frames(cx)) {
                Some(frames) => match self
                    .generation
                    .take_name()
                    .filter(|name| name.len() <= LONGEST_NAME)
                {
                    Some(name) => return Poll::Ready(Step::Named(name, frames)),
                    None => self.append(&frames),
                },
                None if self.generation.is_complete() => {
                    return Poll::Ready(Step::End(End::Completed));
                }
                None => return Poll::Ready(Step::End(End::Failed)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn stop(&mut self, failure: Failure) -> Poll<Step> {
        let end = if failure.is(&classes::CANCELLED) || failure.is(&classes::ABANDONED) {
            End::Cancelled
        } else {
            End::Failed
        };
        let last = self.generation.stop(failure);
        self.append(&last);
        Poll::Ready(Step::End(end))
    }

    fn append(&mut self, frames: &Bytes) {
        if let Some(run) = self.numbering.number(frames) {
            self.writer.append(run);
        }
    }

    /// Ready after so long at most; the timer moves only when that is earlier than it would fire.
    fn wait(&mut self, at_most: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let due = Instant::now() + at_most;
        if self.timer.is_elapsed() || due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
        self.timer.as_mut().poll(cx)
    }
}

/// Gives every frame its id: `<stream-id>.<offset>`, the place after it.
#[derive(Debug)]
struct Numbering {
    /// The last id: `prefix` bytes of it are the same in all.
    id: String,
    prefix: usize,
    head: Head,
}

impl Numbering {
    fn new(id: &stream::StreamId, head: &Head) -> Self {
        let id = format!("{id}.");
        Self {
            prefix: id.len(),
            id,
            head: head.clone(),
        }
    }

    /// Frames as records. What says nothing (comments, heartbeats) is none: each reader has heartbeats of its own.
    fn number(&mut self, frames: &Bytes) -> Option<Run> {
        let mut out = BytesMut::with_capacity(frames.len() + 2 * self.prefix + Offset::LENGTH);
        // None but the last is in there: mostly there is one record, which needs no list of ends.
        let (mut ends, mut last) = (Vec::new(), 0);
        for frame in sse::frames(frames).filter(|frame| frame.data.is_some()) {
            let retry = (self.head.next == 0).then_some(sse::RETRY);
            self.head.next += 1;
            self.id.truncate(self.prefix);
            // Infallible: a String grows.
            let _ = write!(self.id, "{}", self.head.tail());
            sse::write_numbered(&mut out, &self.id, retry, &frames[frame.range]);
            if last > 0 {
                ends.push(last);
            }
            last = u32::try_from(out.len()).unwrap_or(u32::MAX);
        }
        if ends.is_empty() {
            return (last > 0).then(|| Run::one(out.freeze()));
        }
        ends.push(last);
        Some(Run::many(out.freeze(), ends))
    }
}
