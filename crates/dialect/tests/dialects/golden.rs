//! A corpus of streams of our own making, `tests/fixtures/`: each is read, and written in every
//! other dialect. What comes of it was looked at once, and is held by the snapshots beside this
//! file (`cargo insta review` to look again).

use std::fmt::Write as _;
use std::path::Path;

use bytes::BytesMut;
use dialect::event::Event;
use dialect::failure::Failure;
use dialect::request::Request;
use dialect::sse;
use dialect::{DIALECTS, Dialect, FinishRule};

use crate::said::meta;

/// Its events, and how it ended.
fn events(dialect: &Dialect, bytes: &[u8]) -> (Vec<Event<'static>>, Result<(), Failure>) {
    let mut frames = sse::FrameSplitter::new(1 << 20);
    let mut run = frames.push(bytes.to_vec().into()).unwrap().to_vec();
    run.extend_from_slice(&frames.finish());
    let mut reader = dialect.upstream.unwrap().event_reader(FinishRule::Required);
    let mut events = Vec::new();
    for frame in sse::frames(&run) {
        let failure = match &frame.data {
            Some(data) => {
                reader
                    .read_payload(data, Some(&mut |event| events.push(event.into_owned())))
                    .unwrap()
                    .error
            }
            None if run[frame.range.clone()].starts_with(b"{") => {
                reader.read_error(&run[frame.range])
            }
            None => None,
        };
        if let Some(failure) = failure {
            return (events, Err(failure));
        }
    }
    let ended = reader.finish_stream(Some(&mut |event| events.push(event.into_owned())));
    (events, ended)
}

/// A stream in another dialect, as its client gets it.
fn written(dialect: &Dialect, events: &[Event<'_>], ended: &Result<(), Failure>) -> String {
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
            .unwrap();
    }
    match ended {
        Ok(()) => writer.write_end(&mut |name, data| sse::write_frame(&mut out, name, data)),
        Err(failure) => writer.write_error(failure, "req_1", &mut |name, data| {
            sse::write_frame(&mut out, name, data)
        }),
    }
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn every_fixture_in_every_dialect() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let mut looked_at = 0;
    for dialect in DIALECTS.iter().filter(|dialect| dialect.upstream.is_some()) {
        let mut files: Vec<_> = std::fs::read_dir(folder.join(dialect.name))
            .unwrap()
            .map(|file| file.unwrap())
            .collect();
        files.sort_by_key(std::fs::DirEntry::file_name);
        for file in files {
            let (events, ended) = events(dialect, &std::fs::read(file.path()).unwrap());
            let mut text = String::from("== events\n");
            for event in &events {
                writeln!(text, "{event:?}").unwrap();
            }
            match &ended {
                Ok(()) => text.push_str("whole\n"),
                Err(failure) => writeln!(text, "broken: {failure}").unwrap(),
            }
            for other in DIALECTS.iter().filter(|other| other.name != dialect.name) {
                write!(
                    text,
                    "\n== {}\n{}",
                    other.name,
                    written(other, &events, &ended)
                )
                .unwrap();
            }
            let name = format!(
                "{}-{}",
                dialect.name,
                file.path().file_stem().unwrap().to_string_lossy()
            );
            insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
                insta::assert_snapshot!(name, text);
            });
            looked_at += 1;
        }
    }
    assert!(looked_at > 60, "only {looked_at} fixtures");
}
