//! What a stream's log costs, per token: an append, and the reads of it.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use stream::{Head, Lifetime, Memory, ReaderEvent, StoreLimits, Reader, RecordBatch, StreamId, Writer};

/// So many tokens are written before a new stream begins: a log is no queue, and keeps what was read.
const TOKENS: usize = 1000;

fn token() -> Bytes {
    Bytes::from(format!(
        "id: 0123456789abcdef0123456789abcdef.1700000000_42\ndata: {}\n\n",
        "x".repeat(200)
    ))
}

/// A stream with so many readers.
fn stream(readers: usize) -> (Writer, Vec<Reader>) {
    let memory = Memory::new(StoreLimits {
        max_bytes: 1 << 30,
        max_total_bytes: 1 << 32,
        max_readers: 1 << 10,
    });
    let head = Head::new("text/event-stream", Lifetime::Idle(Duration::from_secs(60)));
    let writer = memory.write(StreamId::random(), head).expect("room");
    let attach = |_| Reader::attach(writer.log().clone(), writer.tail()).expect("it is there");
    let readers = (0..readers).map(attach).collect();
    (writer, readers)
}

/// Without a reader.
#[divan::bench]
fn log_append(bencher: Bencher<'_, '_>) {
    let (token, mut written) = (token(), 0);
    let (mut writer, _) = stream(0);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        written += 1;
        if written % TOKENS == 0 {
            writer = stream(0).0;
        }
        writer.append(RecordBatch::one(black_box(token.clone())));
    });
}

/// A token that all readers wait for, is written, wakes them and is read by each: what is counted is reads.
#[divan::bench(args = [1, 100])]
fn log_read(bencher: Bencher<'_, '_>, count: usize) {
    let (token, mut written) = (token(), 0);
    let (mut writer, mut readers) = stream(count);
    let mut cx = Context::from_waker(Waker::noop());
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        written += 1;
        if written % TOKENS == 0 {
            (writer, readers) = stream(count);
        }
        writer.append(RecordBatch::one(token.clone()));
        for reader in &mut readers {
            let Poll::Ready(ReaderEvent::Records(run, _)) = reader.poll_next(&mut cx) else {
                panic!("no token")
            };
            black_box(run);
            assert!(reader.poll_next(&mut cx).is_pending());
        }
    });
}
