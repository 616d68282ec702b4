//! The writer of the log: a bounded queue of lines, and a thread of its own that writes them.
//!
//! Whoever logs never waits and never fails, whatever becomes of stderr: a pipe that nobody reads,
//! a full disk, a reader that is gone. Lines that can't be kept or written are dropped and counted,
//! and the count is a line of its own once writing works again. At the end the rest is written
//! within a short time limit. (Why this is no crate's: docs/decisions.md.)

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer as FieldWriter;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use super::Format;
use super::line::bound_line;

/// Lines that may wait to be written, in bytes.
const MAX_QUEUED_BYTES: usize = 1024 * 1024;
/// Pause before the count of lost lines is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Pause before writing again to a stderr that is full and set not to block.
const BUSY_INTERVAL: Duration = Duration::from_millis(20);
/// Time limit for writing the rest at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// The side of the log that takes lines.
#[derive(Debug, Clone)]
pub(super) struct LogWriter {
    queue: Arc<Queue>,
    format: Format,
}

/// The log's thread. Dropping it writes the rest, within a short time limit.
#[derive(Debug)]
#[must_use = "the log ends when this is dropped"]
pub struct LogGuard(Arc<Queue>);

/// Starts the thread that writes lines to `out`.
pub(super) fn start_writer(
    out: impl Write + Send + 'static,
    format: Format,
) -> io::Result<(LogWriter, LogGuard)> {
    let queue = Arc::new(Queue::default());
    let printer = Printer {
        out,
        format,
        lost: 0,
        rest: Vec::new(),
    };
    let lines = queue.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "ends with its guard, which waits for it within a time limit: stderr may block for ever"
    )]
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || printer.run(&lines))?;
    let writer = LogWriter {
        queue: queue.clone(),
        format,
    };
    Ok((writer, LogGuard(queue)))
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = &'a LogWriter;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &LogWriter {
    /// Takes one whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.push(&bound_line(line, self.format));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        self.0.changed.notify_all();
        let unfinished = |state: &mut QueueState| !state.is_finished;
        let _ = self
            .0
            .changed
            .wait_timeout_while(state, FLUSH_TIMEOUT, unfinished);
    }
}

/// Lines between those who log and the thread that writes.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    /// Whole lines.
    lines: Vec<u8>,
    /// Lines that found no room since the others were taken.
    dropped: u64,
    /// Set when no more lines will come.
    is_closed: bool,
    /// Set when the thread has written what it could after the close.
    is_finished: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.lines.len() + line.len() > MAX_QUEUED_BYTES {
            state.dropped += 1;
            return;
        }
        let was_empty = state.lines.is_empty();
        state.lines.extend_from_slice(line);
        drop(state);
        if was_empty {
            self.changed.notify_all();
        }
    }

    /// Waits for lines, or for `limit` at most, and moves them to `lines`. Returns how many were
    /// dropped after these, and whether no more will come.
    fn take(&self, lines: &mut Vec<u8>, limit: Option<Duration>) -> (u64, bool) {
        lines.clear();
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut state = self.lock();
        while state.lines.is_empty() && state.dropped == 0 && !state.is_closed {
            let left = deadline.map(|deadline| deadline.duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => break,
                Some(left) => {
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        std::mem::swap(&mut state.lines, lines);
        (std::mem::take(&mut state.dropped), state.is_closed)
    }

    fn finish(&self) {
        self.lock().is_finished = true;
        self.changed.notify_all();
    }
}

/// The state of the thread that writes.
struct Printer<W> {
    out: W,
    format: Format,
    /// Lines that were dropped, and not yet told.
    lost: u64,
    /// The rest of a line that was written in part.
    rest: Vec<u8>,
}

impl<W: Write> Printer<W> {
    fn run(mut self, queue: &Queue) {
        let mut lines = Vec::new();
        let mut works = true;
        loop {
            let limit = match self.lost {
                0 => None,
                _ if works => Some(Duration::ZERO),
                _ => Some(RETRY_INTERVAL),
            };
            let (dropped, is_closed) = queue.take(&mut lines, limit);
            works = self.print(&lines);
            self.lost += dropped;
            if is_closed && lines.is_empty() && (self.lost == 0 || !works) {
                return queue.finish();
            }
        }
    }

    /// Writes what is left of earlier lines, then these. Returns whether all were written; those
    /// that were not are counted.
    fn print(&mut self, lines: &[u8]) -> bool {
        if self.write_rest() && self.write_notice() {
            return self.write_lines(lines);
        }
        self.lost += count_lines(lines);
        false
    }

    /// Completes a line that was written in part.
    fn write_rest(&mut self) -> bool {
        let (written, result) = write_counted(&mut self.out, &self.rest);
        self.rest.drain(..written);
        result.is_ok()
    }

    /// Tells how many lines were lost, if any were.
    fn write_notice(&mut self) -> bool {
        let lost = std::mem::take(&mut self.lost);
        if lost == 0 {
            return true;
        }
        let works = self.write_lines(notice(lost, self.format).as_bytes());
        // A notice that was begun will be completed.
        if !works && self.rest.is_empty() {
            self.lost = lost;
        }
        works
    }

    /// Writes whole lines. After an error the rest of a line that was begun is kept, and the lines
    /// behind it are counted as lost.
    fn write_lines(&mut self, lines: &[u8]) -> bool {
        let (written, result) = write_counted(&mut self.out, lines);
        if result.is_ok() {
            return true;
        }
        let (before, mut unwritten) = lines.split_at(written);
        if before.last().is_some_and(|last| *last != b'\n') {
            let end = memchr::memchr(b'\n', unwritten).map_or(unwritten.len(), |at| at + 1);
            let (begun, others) = unwritten.split_at(end);
            self.rest = begun.to_vec();
            unwritten = others;
        }
        self.lost += count_lines(unwritten);
        false
    }
}

/// Writes all bytes unless there is an error; returns how many were written.
fn write_counted(out: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // As full as a pipe that blocks: it is waited for in the same way.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(BUSY_INTERVAL);
            }
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

fn count_lines(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

/// Returns the line that tells of lost ones, in the words of the others.
fn notice(lost: u64, format: Format) -> String {
    let mut time = String::new();
    let _ = SystemTime.format_time(&mut FieldWriter::new(&mut time));
    match format {
        Format::Text => format!("{time}  WARN log lines were dropped lines={lost}\n"),
        Format::Json => format!(
            "{{\"timestamp\":\"{time}\",\"level\":\"WARN\",\"message\":\"log lines were dropped\",\"lines\":{lost}}}\n"
        ),
    }
}

#[cfg(test)]
mod tests;
