//! The log and the store, without HTTP.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests"
)]

use std::future::poll_fn;
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::*;

fn streams() -> Memory {
    Memory::new(StoreLimits {
        max_bytes: 4096,
        max_total_bytes: 64 * 1024,
        max_readers: 3,
    })
}

fn head() -> Head {
    let mut head = Head::new("text/plain", Lifetime::Unlimited);
    head.dialect = Some("plain".to_owned());
    head
}

fn writer() -> (Memory, Writer) {
    let streams = streams();
    let writer = streams.write(StreamId::random(), head()).unwrap();
    (streams, writer)
}

fn start(writer: &Writer) -> Offset {
    writer.log().head().at(0)
}

fn run(records: &[&str]) -> RecordBatch {
    let mut end = 0;
    let ends = records.iter().map(|record| {
        end += record.len() as u32;
        end
    });
    RecordBatch::many(Bytes::from(records.concat()), ends.collect())
}

fn next(reader: &mut Reader) -> Option<String> {
    match reader.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(ReaderEvent::Records(run, _)) => {
            Some(String::from_utf8(run.into_bytes().to_vec()).unwrap())
        }
        Poll::Ready(ReaderEvent::End(end)) => Some(format!("end: {}", end.as_str())),
        Poll::Ready(ReaderEvent::Gone) => Some("gone".to_owned()),
        Poll::Pending => None,
    }
}

fn outlook(writer: &Writer) -> WriterStatus {
    writer.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn offsets_sort_as_text_and_are_read_in_one_spelling_only() {
    let offset = Offset {
        epoch: 0x6920_0000,
        position: 255,
    };
    assert_eq!(offset.to_string(), "69200000_0000000000ff");
    assert_eq!(offset.to_string().len(), Offset::LENGTH);
    assert_eq!("69200000_0000000000ff".parse(), Ok(offset));
    let later = Offset {
        position: 256,
        ..offset
    };
    assert!(offset < later && offset.to_string() < later.to_string());
    for wrong in [
        "",
        "-1",
        "now",
        "69200000_0000000000FF",
        "69200000_ff",
        "+9200000_0000000000ff",
        "69200000-0000000000ff",
    ] {
        assert_eq!(wrong.parse::<Offset>(), Err(ParseOffsetError), "{wrong}");
    }
}

#[test]
fn an_event_id_names_its_stream_and_a_place() {
    let (id, offset) = (
        StreamId::random(),
        Offset {
            epoch: 1,
            position: 2,
        },
    );
    assert_eq!(
        StreamId::of_event(&format!("{id}.{offset}")),
        Some((id, offset))
    );
    for wrong in [
        "",
        ".",
        "a",
        "a.b",
        ".00000001_000000000002",
        "a b.00000001_000000000002",
    ] {
        assert_eq!(StreamId::of_event(wrong), None, "{wrong}");
    }
}

#[test]
fn a_reader_joins_in_the_middle_of_a_run() {
    let (_streams, writer) = writer();
    writer.append(run(&["a", "bb", "ccc"]));
    writer.append(run(&["d"]));
    for (position, rest) in [(0, "abbccc"), (1, "bbccc"), (2, "ccc")] {
        let mut reader =
            Reader::attach(writer.log().clone(), writer.log().head().at(position)).unwrap();
        assert_eq!(next(&mut reader).as_deref(), Some(rest));
        assert_eq!(next(&mut reader).as_deref(), Some("d"));
        assert_eq!(next(&mut reader), None);
    }
    let records: Vec<Bytes> = run(&["a", "bb", "ccc"]).records().collect();
    assert_eq!(records, ["a", "bb", "ccc"]);
    assert_eq!(run(&["x"]).records().count(), 1);
}

#[tokio::test]
async fn a_waiting_reader_is_woken_by_a_record_and_by_the_end() {
    let (_streams, writer) = writer();
    let mut reader = Reader::attach(writer.log().clone(), start(&writer)).unwrap();
    let reading = tokio::spawn(async move {
        let mut heard = Vec::new();
        loop {
            match poll_fn(|cx| reader.poll_next(cx)).await {
                ReaderEvent::Records(run, _) => heard.push(run.into_bytes()),
                ReaderEvent::End(end) => return (heard, end),
                ReaderEvent::Gone => panic!("nothing was trimmed"),
            }
        }
    });
    tokio::task::yield_now().await;
    writer.append(run(&["a"]));
    tokio::task::yield_now().await;
    writer.append(run(&["b"]));
    writer.end(End::Completed);
    let (heard, end) = reading.await.unwrap();
    assert_eq!(heard.concat(), b"ab");
    assert_eq!(end, End::Completed);
}

#[tokio::test]
async fn who_waits_for_the_end_is_told_at_the_end_a_deletion_and_the_deadline() {
    let streams = Streams::new(StoreLimits {
        max_bytes: 4096,
        max_total_bytes: 64 * 1024,
        max_readers: 0,
    });
    let later = tokio::time::Instant::now() + Duration::from_secs(3600);
    let wait = |id: StreamId, deadline| {
        let streams = streams.clone();
        tokio::spawn(async move { streams.wait_for_end(&id, None, deadline).await })
    };
    let (ended, deleted) = (StreamId::random(), StreamId::random());
    let writer = streams.write(&ended, head()).unwrap();
    let _other = streams.write(&deleted, head()).unwrap();

    let too_early = wait(ended.clone(), tokio::time::Instant::now()).await;
    assert_eq!(too_early.unwrap().unwrap().end, None);

    let waiting = (wait(ended.clone(), later), wait(deleted.clone(), later));
    tokio::task::yield_now().await;
    writer.append(run(&["a"]));
    writer.end(End::Completed);
    streams.delete(&deleted, None).await.unwrap();
    let end = waiting.0.await.unwrap().unwrap().end;
    assert_eq!(end, Some(End::Completed));
    let error = waiting.1.await.unwrap().unwrap_err();
    assert!(matches!(error, StreamError::Unknown | StreamError::Gone(_)));

    let end = wait(ended, later).await.unwrap().unwrap().end;
    assert_eq!(end, Some(End::Completed), "it has ended before");
}

#[test]
fn the_fastest_reader_sets_the_pace_and_a_slow_one_is_told_what_it_missed() {
    let (_streams, writer) = writer();
    let mut slow = Reader::attach(writer.log().clone(), start(&writer)).unwrap();
    let mut fast = Reader::attach(writer.log().clone(), start(&writer)).unwrap();
    let record = "x".repeat(1000);
    for _ in 0..4 {
        assert!(outlook(&writer).room);
        writer.append(run(&[&record]));
    }
    assert!(
        !outlook(&writer).room,
        "nobody has read anything: nothing may be given up"
    );
    assert_eq!(next(&mut fast), Some(record.clone()));
    assert!(outlook(&writer).room);
    writer.append(run(&["y"]));
    assert_eq!(next(&mut slow).as_deref(), Some("gone"));
    let heard: Vec<String> = std::iter::from_fn(|| next(&mut fast)).collect();
    assert_eq!(
        heard,
        [record.clone(), record.clone(), record, "y".to_owned()]
    );
    let trimmed = Reader::attach(writer.log().clone(), start(&writer)).unwrap_err();
    assert!(matches!(trimmed, StreamError::Gone(_)), "{trimmed:?}");
}

#[test]
fn a_writer_is_woken_by_its_readers_and_not_by_itself() {
    struct Count(std::sync::atomic::AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let count = std::sync::Arc::new(Count(0.into()));
    let woken = || count.0.load(std::sync::atomic::Ordering::SeqCst);
    let waker = Waker::from(count.clone());
    let (_streams, writer) = writer();
    let reader = Reader::attach(writer.log().clone(), start(&writer)).unwrap();
    writer.poll(&mut Context::from_waker(&waker));
    writer.append(run(&["a"]));
    assert_eq!(woken(), 0);
    drop(reader);
    assert_eq!(woken(), 1, "it has no reader any more");
    writer.poll(&mut Context::from_waker(&waker));
    writer.log().cancel();
    assert_eq!(woken(), 2);
}

#[test]
fn a_writer_that_vanishes_leaves_no_reader_waiting() {
    let (_streams, writer) = writer();
    let mut reader = Reader::attach(writer.log().clone(), start(&writer)).unwrap();
    writer.append(run(&["a"]));
    drop(writer);
    assert_eq!(next(&mut reader).as_deref(), Some("a"));
    assert_eq!(next(&mut reader).as_deref(), Some("end: lost"));
}

#[test]
fn readers_are_counted_and_capped() {
    let (_streams, writer) = writer();
    let attach = || Reader::attach(writer.log().clone(), start(&writer));
    let readers: Vec<Reader> = (0..3).map(|_| attach().unwrap()).collect();
    assert_eq!(attach().unwrap_err(), StreamError::TooManyReaders);
    drop(readers);
    assert!(outlook(&writer).unattended.is_some());
    let _reader = attach().unwrap();
    assert_eq!(outlook(&writer).unattended, None);
}

#[test]
fn an_offset_that_is_not_there_yet_or_was_another_streams_is_refused() {
    let (_streams, writer) = writer();
    writer.append(run(&["a"]));
    let log = writer.log();
    assert_eq!(
        log.read(log.head().at(2), 100).unwrap_err(),
        StreamError::NotYetWritten
    );
    let earlier = Offset {
        epoch: log.head().epoch - 1,
        position: 0,
    };
    assert!(matches!(log.read(earlier, 100), Err(StreamError::Gone(_))));
    let batch = log.read(log.head().at(0), 100).unwrap();
    assert!(batch.is_up_to_date() && !batch.is_end());
}

#[test]
fn another_callers_stream_is_an_unknown_one() {
    let streams = streams();
    let (id, owner) = (StreamId::random(), Owner::new("a".to_owned()));
    let mut head = head();
    head.owner = Some(owner.clone());
    let _writer = streams.write(id.clone(), head).unwrap();
    assert!(streams.find(&id, Some(&owner)).is_ok());
    for other in [None, Some(Owner::new("b".to_owned()))] {
        assert_eq!(
            streams.find(&id, other.as_ref()).unwrap_err(),
            StreamError::Unknown
        );
    }
    assert_eq!(
        streams.find(&StreamId::random(), None).unwrap_err(),
        StreamError::Unknown
    );
}

#[test]
fn another_name_is_its_owners_and_goes_with_its_stream() {
    let streams = streams();
    let make = |owner: Option<&str>, name: &str| {
        let mut head = head();
        head.owner = owner.map(|owner| Owner::new(owner.to_owned()));
        let writer = streams.write(StreamId::random(), head).unwrap();
        streams.alias(writer.log().id(), name).unwrap();
        writer
    };
    let (a, b) = (Owner::new("a".to_owned()), Owner::new("b".to_owned()));
    let (of_a, of_all) = (make(Some("a"), "n"), make(None, "open"));
    assert_eq!(streams.named("n", Some(&a)).as_ref(), Ok(of_a.log().id()));
    for other in [None, Some(&b)] {
        assert_eq!(streams.named("n", other), Err(StreamError::Unknown));
        assert_eq!(streams.named("open", other).as_ref(), Ok(of_all.log().id()));
    }
    let later = make(Some("a"), "n");
    streams.remove(of_a.log().id());
    assert_eq!(
        streams.named("n", Some(&a)).as_ref(),
        Ok(later.log().id()),
        "the later one has it"
    );
    streams.alias(later.log().id(), "m").unwrap();
    assert_eq!(
        streams.named("n", Some(&a)),
        Err(StreamError::Unknown),
        "it has one at most"
    );
    streams.remove(later.log().id());
    assert_eq!(streams.named("m", Some(&a)), Err(StreamError::Unknown));
    assert_eq!(
        streams.alias(later.log().id(), "n"),
        Err(StreamError::Unknown)
    );
}

#[test]
fn what_is_forgotten_is_gone_and_gives_its_bytes_back() {
    let streams = streams();
    let id = StreamId::random();
    let writer = streams.write(id.clone(), head()).unwrap();
    let mut reader = Reader::attach(writer.log().clone(), start(&writer)).unwrap();
    writer.append(run(&["a"]));
    streams.remove(&id);
    assert!(matches!(streams.find(&id, None), Err(StreamError::Gone(_))));
    assert_eq!(next(&mut reader).as_deref(), Some("gone"));
    assert!(outlook(&writer).cancelled);
    drop((reader, writer));
    assert_eq!(streams.held(), 0);
}

#[test]
fn ended_streams_make_room_for_new_ones_and_running_ones_do_not() {
    let streams = streams();
    let fill = |end: Option<End>| {
        let writer = streams.write(StreamId::random(), head()).unwrap();
        writer.append(run(&[&"x".repeat(20_000)]));
        let id = writer.log().id().clone();
        match end {
            Some(end) => {
                writer.end(end);
                (id, None)
            }
            None => (id, Some(writer)),
        }
    };
    let (ended, _) = fill(Some(End::Completed));
    let running: Vec<_> = (0..3).map(|_| fill(None)).collect();
    assert!(streams.create(StreamId::random(), head(), None).is_ok());
    assert!(matches!(
        streams.find(&ended, None),
        Err(StreamError::Gone(_))
    ));
    assert!(running.iter().all(|(id, _)| streams.find(id, None).is_ok()));
    let _another = fill(None);
    assert_eq!(
        streams
            .create(StreamId::random(), head(), None)
            .unwrap_err(),
        StreamError::StoreFull
    );
}

#[test]
fn who_reads_page_by_page_keeps_a_generation_going() {
    let (_streams, writer) = writer();
    let log = writer.log().clone();
    let record = "x".repeat(1000);
    for _ in 0..4 {
        writer.append(run(&[&record]));
    }
    assert!(!outlook(&writer).room);
    let page = log.read(log.head().at(0), usize::MAX).unwrap();
    assert!(
        !outlook(&writer).room,
        "it is on its way, and may have to come again"
    );
    std::thread::sleep(Duration::from_millis(30));
    log.read(page.next, usize::MAX).unwrap();
    assert!(!outlook(&writer).room, "whoever only looks is no reader");
    log.paged(page.next);
    let outlook = outlook(&writer);
    assert!(outlook.room, "who asks for what follows has it");
    assert!(
        outlook
            .unattended
            .is_some_and(|since| since < Duration::from_millis(30)),
        "{outlook:?}"
    );
}

#[test]
fn of_two_at_once_under_one_key_one_makes_the_stream() {
    let streams = Memory::new(StoreLimits {
        max_bytes: 4096,
        max_total_bytes: 64 << 20,
        max_readers: 3,
    });
    for n in 0..500 {
        let barrier = Barrier::new(2);
        let make = || {
            let key = IdempotencyKey {
                key: n.to_string(),
                asked: String::new(),
            };
            barrier.wait();
            streams.write_once(StreamId::random(), head(), key).unwrap()
        };
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(make);
            (make(), other.join().unwrap())
        });
        assert!(matches!(
            (&one, &other),
            (IdempotentCreate::Created(_), IdempotentCreate::Duplicate(_))
                | (IdempotentCreate::Duplicate(_), IdempotentCreate::Created(_))
        ));
    }
}

#[test]
fn nothing_is_refused_while_an_ended_stream_could_make_room() {
    let streams = streams();
    let mut lengths = (0..).map(|n| 3000 + 37 * (n % 29));
    for length in lengths.by_ref().take(200) {
        let writer = streams.write(StreamId::random(), head()).unwrap();
        writer.append(run(&[&"x".repeat(length)]));
        writer.end(End::Completed);
    }
    let writer = streams.write(StreamId::random(), head()).unwrap();
    let reader = Reader::attach(writer.log().clone(), start(&writer)).unwrap();
    assert!(outlook(&writer).room);
    drop(reader);
}

#[test]
fn what_others_hold_stops_no_generation_that_is_read() {
    let streams = streams();
    let (mut head, mut others) = (head(), 0);
    head.dialect = None;
    let writer = streams.write(StreamId::random(), self::head()).unwrap();
    let mut reader = Reader::attach(writer.log().clone(), start(&writer)).unwrap();
    while streams
        .create(StreamId::random(), head.clone(), Some(run(&["x"])))
        .is_ok()
    {
        others += 1;
    }
    assert!(others > 50);
    for _ in 0..5 {
        assert!(outlook(&writer).room);
        writer.append(run(&[&"y".repeat(2000)]));
        assert!(!outlook(&writer).room, "it has not been read yet");
        assert_eq!(next(&mut reader).map(|read| read.len()), Some(2000));
    }
}
