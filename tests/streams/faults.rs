//! What is left when Redis, or a replica, breaks.

use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use stream::{End, Reader, StreamError, StreamId, Streams};

use crate::support::*;

#[tokio::test]
async fn a_redis_that_is_not_there_is_said_in_one_line_without_its_password() {
    let mut address = address(free_port());
    address.username = Some("someone".to_owned());
    let said = Streams::shared(OPTIONS, address.clone())
        .connect()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        said.starts_with(&format!(
            "can't reach redis://127.0.0.1:{} (streams.store): ",
            address.nodes[0].1
        )),
        "{said}"
    );
    assert!(!said.contains('\n') && !said.contains("someone"), "{said}");
}

#[tokio::test]
async fn a_redis_that_dies_and_comes_back_empty_costs_a_local_reader_nothing_and_a_remote_one_a_pause()
 {
    if !has_redis() {
        return;
    }
    let mut redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    writer.append(one("a"));
    let mut local = Reader::attach(writer.log().clone(), writer.log().head().at(0)).unwrap();
    let mut remote = attach(&there, &id).await;
    assert_eq!(hear(&mut remote, 1).await.records, ["a"]);
    redis.kill();
    writer.append(one("b"));
    assert_eq!(hear(&mut local, 2).await.records, ["a", "b"]);
    until(async || {
        (there.attach(&id, None, None).await.err() == Some(StreamError::Unavailable)).then_some(())
    })
    .await;
    let asked = Instant::now();
    assert_eq!(there.head(&id, None).await, Err(StreamError::Unavailable));
    assert!(asked.elapsed() < Duration::from_secs(2));
    redis.restart();
    writer.append(one("c"));
    assert_eq!(hear(&mut remote, 2).await.records.concat(), "bc");
    let mut late = attach(&there, &id).await;
    assert_eq!(hear(&mut late, 3).await.records.concat(), "abc");
    writer.end(End::Completed);
    for reader in [&mut local, &mut remote, &mut late] {
        assert_eq!(hear(reader, 2).await.end, Some(End::Completed));
    }
}

#[tokio::test]
async fn a_redis_that_stands_still_for_ten_seconds_stops_nobody_and_loses_no_writer() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    let mut local = Reader::attach(writer.log().clone(), writer.log().head().at(0)).unwrap();
    writer.append(one("0 "));
    let mut remote = attach(&there, &id).await;
    assert_eq!(hear(&mut remote, 1).await.records, ["0 "]);
    assert_eq!(hear(&mut local, 1).await.records, ["0 "]);
    redis.signal(Signal::SIGSTOP);
    let stopped = Instant::now();
    let mut n = 0;
    while stopped.elapsed() < Duration::from_secs(10) {
        n += 1;
        writer.append(one(&format!("{n} ")));
        assert_eq!(hear(&mut local, 1).await.records, [format!("{n} ")]);
        let asked = Instant::now();
        assert_eq!(
            there.head(&StreamId::random(), None).await,
            Err(StreamError::Unavailable)
        );
        assert!(
            asked.elapsed() < Duration::from_secs(3),
            "{:?}",
            asked.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    redis.signal(Signal::SIGCONT);
    let want: String = (1..=n).map(|n| format!("{n} ")).collect();
    assert_eq!(hear(&mut remote, n).await.records.concat(), want);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(
        !writer
            .poll(&mut Context::from_waker(Waker::noop()))
            .cancelled,
        "it was taken for lost"
    );
    writer.end(End::Completed);
    assert_eq!(hear(&mut remote, 1).await.end, Some(End::Completed));
}

#[tokio::test]
async fn a_stream_that_redis_has_lost_and_nobody_brings_back_is_gone() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let gate = Gate::to(redis.port).await;
    let (here, there) = (streams_at(address(gate.port)).await, redis.streams().await);
    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    writer.append(one("a"));
    let mut reader = attach(&there, &id).await;
    assert_eq!(hear(&mut reader, 1).await.records, ["a"]);
    gate.shut(true);
    redis.cli(&["FLUSHALL"]);
    let gone = Heard {
        gone: true,
        ..Heard::default()
    };
    assert_eq!(hear(&mut reader, 1).await, gone);
}

#[tokio::test]
async fn a_writer_that_is_cut_off_is_told_of_as_lost_and_does_not_come_back() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let gate = Gate::to(redis.port).await;
    let (here, there) = (streams_at(address(gate.port)).await, redis.streams().await);
    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    writer.append(one("a"));
    let mut reader = attach(&there, &id).await;
    assert_eq!(hear(&mut reader, 1).await.records, ["a"]);
    gate.shut(true);
    let lost = Instant::now();
    writer.append(one("b"));
    assert_eq!(
        hear(&mut reader, 1).await,
        Heard {
            end: Some(End::Lost),
            ..Heard::default()
        }
    );
    assert!(lost.elapsed() < LOST_WITHIN, "{:?}", lost.elapsed());
    assert_eq!(there.head(&id, None).await.unwrap().end, Some(End::Lost));
    gate.shut(false);
    until(async || {
        writer
            .poll(&mut Context::from_waker(Waker::noop()))
            .cancelled
            .then_some(())
    })
    .await;
    writer.append(one("c"));
    writer.end(End::Completed);
    here.close().await;
    let mut again = there.attach(&id, None, None).await.unwrap();
    let heard = hear(&mut again, 10).await;
    assert_eq!(
        (heard.records, heard.end),
        (vec!["a".to_owned()], Some(End::Lost))
    );
}

#[tokio::test]
async fn a_foreign_or_broken_entry_is_never_passed_on() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    for (name, fields) in [
        (
            "foreign",
            vec!["n", "0123", "f", "1", "e", "\u{1}\0\0\0", "b", "x"],
        ),
        ("other", vec!["some", "thing"]),
        (
            "more",
            vec!["n", "NONCE", "f", "1", "e", "12345", "b", "x", "c", "y"],
        ),
        ("ends", vec!["n", "NONCE", "f", "1", "e", "zzzz", "b", "x"]),
        ("place", vec!["n", "NONCE", "f", "0", "e", "zzzz", "b", "x"]),
    ] {
        let id = StreamId::from_client(name).unwrap();
        here.create(&id, published(), Some(one("a"))).await.unwrap();
        let mut reader = there.attach(&id, None, None).await.unwrap();
        assert_eq!(hear(&mut reader, 1).await.records, ["a"]);
        let nonce = redis.cli(&["HGET", &format!("test:{{{name}}}:head"), "nonce"]);
        let fields: Vec<&str> = fields
            .iter()
            .map(|&field| {
                if field == "NONCE" {
                    nonce.trim()
                } else {
                    field
                }
            })
            .collect();
        let fields: Vec<&str> = fields
            .into_iter()
            .filter(|field| !field.contains('\0'))
            .collect();
        let key = format!("test:{{{name}}}:log");
        let fields = if fields.len() % 2 == 1 {
            [&fields[..], &["x"]].concat()
        } else {
            fields
        };
        redis.cli(&[&["XADD", &key, "2-0"], &fields[..]].concat());
        assert!(hear(&mut reader, 1).await.gone, "{name}");
        let start = here.head(&id, None).await.unwrap().at(0);
        assert!(
            matches!(
                there.read(&id, None, start, 1 << 20).await,
                Err(StreamError::Gone(_))
            ),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_redis_without_memory_refuses_appends_and_serves_on() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let here = redis.streams().await;
    let id = StreamId::from_client("full").unwrap();
    here.create(&id, published(), Some(one("a"))).await.unwrap();
    let append = async || {
        here.update(&id, None, |_| Ok::<_, StreamError>((Some(one("b")), ())))
            .await
    };
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(append().await, Err(StreamError::StoreFull));
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    append().await.unwrap();
    let large = "x".repeat(OPTIONS.max_bytes);
    let grown = here
        .update(&id, None, |_| Ok::<_, StreamError>((Some(one(&large)), ())))
        .await;
    assert_eq!(grown, Err(StreamError::Full));
    let mut reader = here.attach(&id, None, None).await.unwrap();
    assert_eq!(hear(&mut reader, 2).await.records, ["a", "b"]);
}

#[tokio::test]
async fn a_redis_without_memory_takes_no_new_stream_and_gives_out_and_ends_what_it_has() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    let id = |n: usize| StreamId::from_client(&format!("full-{n}")).unwrap();
    here.create(&id(0), published(), Some(one("a")))
        .await
        .unwrap();
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    for n in 1..10 {
        let created = here.create(&id(n), published(), Some(one("a"))).await;
        assert_eq!(created, Err(StreamError::StoreFull));
        assert_eq!(
            redis
                .cli(&["EXISTS", &format!("test:{{full-{n}}}:head")])
                .trim(),
            "0"
        );
    }
    let mut reader = there.attach(&id(0), None, None).await.unwrap();
    assert_eq!(hear(&mut reader, 1).await.records, ["a"]);
    let close = |head: &mut stream::Head| {
        head.end = Some(End::Closed);
        Ok::<_, StreamError>((None, ()))
    };
    here.update(&id(0), None, close).await.unwrap();
    assert_eq!(hear(&mut reader, 1).await.end, Some(End::Closed));
    there.delete(&id(0), None).await.unwrap();
}

#[tokio::test]
async fn a_redis_without_memory_loses_no_writer() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    writer.append(one("a"));
    let mut reader = attach(&there, &id).await;
    assert_eq!(hear(&mut reader, 1).await.records, ["a"]);
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    writer.append(one("b"));
    tokio::time::sleep(LOST_WITHIN).await;
    let outlook = writer.poll(&mut Context::from_waker(Waker::noop()));
    assert!(!outlook.cancelled, "it was taken for lost");
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(hear(&mut reader, 1).await.records, ["b"]);
    writer.end(End::Completed);
    assert_eq!(hear(&mut reader, 1).await.end, Some(End::Completed));
}
