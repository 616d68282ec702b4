//! What the parts of the token path cost: each measurement is of one token, as it comes in the middle of an answer.

mod log;
mod payloads;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dialect::event::Event;
use dialect::request::Request;
use dialect::sse;
use dialect::{EventWriter, ResponseMeta, plain};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};

use crate::payloads::{NAMES, dialect, reader, token};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn meta() -> ResponseMeta {
    ResponseMeta {
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        created: 1_700_000_000,
        model: "gpt-5-mini".to_owned(),
        request: Arc::new(Request::prompt("Hello")),
        encoding: plain::TextEncoding::Text,
    }
}

/// Cuts a chunk into events and reads their fields: every token of every stream.
#[divan::bench]
fn sse_read(bencher: Bencher<'_, '_>) {
    let chunk = Bytes::from(format!("data: {}\n\n", token("openai-chat")));
    let mut reader = sse::FrameSplitter::new(1 << 20);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let run = reader.push(chunk.clone()).expect("it is small");
        sse::frames(&run)
            .map(|frame| black_box(frame.range.len()))
            .sum::<usize>()
    });
}

#[divan::bench]
fn sse_write(bencher: Bencher<'_, '_>) {
    let data = token("openai-chat");
    let mut out = BytesMut::with_capacity(1 << 12);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        out.clear();
        sse::write_frame(&mut out, None, black_box(data.as_bytes()));
    });
}

/// A token under an id, as a stream that outlives its connection sends it.
#[divan::bench]
fn sse_write_numbered(bencher: Bencher<'_, '_>) {
    let frame = format!("data: {}\n\n", token("openai-chat"));
    let mut out = BytesMut::with_capacity(1 << 12);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        out.clear();
        sse::write_frame_with_id(
            &mut out,
            b"0123456789abcdef0123456789abcdef.1700000000_42",
            None,
            black_box(frame.as_bytes()),
        );
    });
}

/// The same dialect on both sides: a payload is read for what must be known.
#[divan::bench(args = NAMES)]
fn pass_on(bencher: Bencher<'_, '_>, name: &str) {
    let (data, mut reader) = (token(name), reader(name));
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        reader
            .read_payload(black_box(data.as_bytes()), None)
            .expect("a payload")
            .has_content
    });
}

/// Another dialect on the other side: a payload is read as events.
#[divan::bench(args = NAMES)]
fn read_events(bencher: Bencher<'_, '_>, name: &str) {
    let (data, mut reader) = (token(name), reader(name));
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let mut sink = |event: Event<'_>| {
            black_box(event);
        };
        reader
            .read_payload(black_box(data.as_bytes()), Some(&mut sink))
            .expect("a payload")
            .has_content
    });
}

/// A token as a client of that dialect gets it.
#[divan::bench(args = NAMES)]
fn write_events(bencher: Bencher<'_, '_>, name: &str) {
    // What Responses keeps of an answer has a cap: an answer here is 100,000 tokens.
    let fresh = || -> Box<dyn EventWriter> { dialect(name).client.event_writer(meta()) };
    let (mut writer, mut written) = (fresh(), 0);
    let mut out = BytesMut::with_capacity(1 << 16);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        out.clear();
        written += 1;
        if written % 100_000 == 0 {
            writer = fresh();
        }
        let event = Event::Text(black_box(" stream").into());
        writer
            .write_event(&event, &mut |name, data| {
                sse::write_frame(&mut out, name, data)
            })
            .expect("room");
    });
}
