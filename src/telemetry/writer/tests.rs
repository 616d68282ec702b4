//! A log whose stderr is full, slow, gone, or back.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::*;

/// A stderr that does as it is told for each write: takes so many bytes, or fails.
struct Scripted {
    steps: Receiver<io::Result<usize>>,
    written: Written,
}

type Written = Arc<Mutex<Vec<u8>>>;

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A script that is over takes everything.
        let count = self
            .steps
            .recv()
            .unwrap_or(Ok(usize::MAX))?
            .min(bytes.len());
        self.written
            .lock()
            .unwrap()
            .extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn scripted() -> (SyncSender<io::Result<usize>>, Written, Scripted) {
    let (script, steps) = sync_channel(100);
    let written = Arc::new(Mutex::new(Vec::new()));
    let out = Scripted {
        steps,
        written: written.clone(),
    };
    (script, written, out)
}

fn printer(out: Scripted) -> Printer<Scripted> {
    Printer {
        out,
        format: Format::Json,
        lost: 0,
        rest: Vec::new(),
    }
}

fn full() -> io::Result<usize> {
    Err(io::ErrorKind::StorageFull.into())
}

/// Returns the lines, those of JSON as the number that they tell.
fn lines(written: &Mutex<Vec<u8>>) -> Vec<String> {
    let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    let told = |line: &str| match serde_json::from_str::<serde_json::Value>(line) {
        Ok(notice) => format!("lost {}", notice["lines"]),
        Err(_) => line.to_owned(),
    };
    text.lines().map(told).collect()
}

#[test]
fn lines_that_a_full_disk_refuses_are_counted_and_told_once_it_has_room() {
    let (script, written, out) = scripted();
    let mut printer = printer(out);
    for step in [Ok(6), full(), full(), full()] {
        script.send(step).unwrap();
    }
    assert!(!printer.print(b"one-\ntwo-\nthree-\n"));
    assert!(!printer.print(b"four-\n"));
    assert!(!printer.print(b""));
    drop(script);
    assert!(printer.print(b"five-\n"));
    assert!(printer.print(b"six-\n"));
    assert_eq!(lines(&written), ["one-", "two-", "lost 2", "five-", "six-"]);
}

#[test]
fn a_notice_that_fails_is_told_again_and_one_that_was_begun_is_completed() {
    let (script, written, out) = scripted();
    let mut printer = printer(out);
    for step in [full(), full(), Ok(5), full()] {
        script.send(step).unwrap();
    }
    assert!(!printer.print(b"one-\n"));
    assert!(!printer.print(b""));
    assert!(!printer.print(b"two-\n"));
    drop(script);
    assert!(printer.print(b"three-\n"));
    assert_eq!(lines(&written), ["lost 1", "lost 1", "three-"]);
}

#[test]
fn a_stderr_that_blocks_holds_nobody_and_the_end_waits_for_a_moment_only() {
    let (script, written, out) = scripted();
    let (writer, guard) = start_writer(out, Format::Json).unwrap();
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    for _ in 0..3 * MAX_QUEUED_BYTES / line.len() {
        (&writer).write_all(&line).unwrap();
    }
    drop(guard);
    assert!(written.lock().unwrap().is_empty());
    drop(script);
}

#[test]
fn lines_beyond_the_queue_are_counted_and_told_behind_the_others() {
    let (script, written, out) = scripted();
    let (writer, guard) = start_writer(out, Format::Json).unwrap();
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    let count = 3 * MAX_QUEUED_BYTES / line.len();
    for _ in 0..count {
        (&writer).write_all(&line).unwrap();
    }
    drop(script);
    drop(guard);
    let lines = lines(&written);
    // The thread may begin before the queue is full or after it: there are one or two notices.
    let (notices, kept): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.starts_with("lost"));
    let lost = notices
        .iter()
        .map(|notice| notice[5..].parse::<usize>().unwrap());
    assert_eq!(lost.sum::<usize>(), count - kept.len());
    assert!(!notices.is_empty() && kept.len() >= MAX_QUEUED_BYTES / line.len());
    assert!(kept.iter().all(|line| line.len() == 1023));
    assert!(
        lines[0].len() == 1023,
        "the notice stands behind the lines before it"
    );
}

#[test]
fn the_rest_is_written_at_the_end() {
    let (script, written, out) = scripted();
    drop(script);
    let (writer, guard) = start_writer(out, Format::Text).unwrap();
    (&writer).write_all(b"one\n").unwrap();
    (&writer).write_all(b"two\n").unwrap();
    drop(guard);
    assert_eq!(lines(&written), ["one", "two"]);
}
