//! Several replicas, one Redis: any of them serves any stream.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use stream::{
    End, IdempotencyKey, IdempotentCreate, Lifetime, Offset, Owner, RecordBatch, StreamError,
    StreamId, Writer,
};

use crate::support::*;

fn cancelled(writer: &Writer) -> bool {
    writer
        .poll(&mut Context::from_waker(Waker::noop()))
        .cancelled
}

async fn until_cancelled(writer: &Writer) {
    let waiting = poll_fn(|cx| {
        if writer.poll(cx).cancelled {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("its writer is told");
}

#[tokio::test]
async fn what_one_replica_generates_another_reads_from_any_place() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    let say = |n: usize| writer.append(one(&format!("word {n} ")));
    (0..5).for_each(say);
    let mut reader = attach(&there, &id).await;
    assert_eq!(
        hear(&mut reader, 5).await.records.concat(),
        "word 0 word 1 word 2 word 3 word 4 "
    );
    // Live, and not by looking now and then.
    for n in 5..10 {
        let said = Instant::now();
        say(n);
        assert_eq!(hear(&mut reader, 1).await.records, [format!("word {n} ")]);
        assert!(
            said.elapsed() < Duration::from_millis(900),
            "{:?}",
            said.elapsed()
        );
    }
    let epoch = writer.tail().epoch;
    writer.end(End::Completed);
    assert_eq!(hear(&mut reader, 1).await.end, Some(End::Completed));
    for place in 0..=10 {
        let mut reader = there
            .attach(
                &id,
                None,
                Some(Offset {
                    epoch,
                    position: place,
                }),
            )
            .await
            .unwrap();
        let heard = hear(&mut reader, 100).await;
        assert_eq!(heard.records.len() as u64, 10 - place);
        assert_eq!(heard.end, Some(End::Completed));
    }
    let batch = there
        .read(&id, None, Offset { epoch, position: 3 }, 1 << 20)
        .await
        .unwrap();
    assert_eq!(batch.runs.iter().map(RecordBatch::count).sum::<u64>(), 7);
    assert!(batch.is_end());
    assert_eq!(
        there
            .attach(
                &id,
                None,
                Some(Offset {
                    epoch,
                    position: 11
                })
            )
            .await
            .unwrap_err(),
        StreamError::NotYetWritten
    );
    let earlier = there
        .attach(
            &id,
            None,
            Some(Offset {
                epoch: 1,
                position: 0,
            }),
        )
        .await
        .unwrap_err();
    assert!(matches!(earlier, StreamError::Gone(_)));
}

#[tokio::test]
async fn readers_that_are_far_apart_share_one_copy_and_miss_nothing() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    let record = |n: usize| format!("{n:05}{}", "x".repeat(995));
    (0..100).for_each(|n| writer.append(one(&record(n))));
    let mut early = attach(&there, &id).await;
    assert!(hear(&mut early, 1).await.records[0].starts_with("00000"));
    (100..150).for_each(|n| writer.append(one(&record(n))));
    let mut late = attach(&there, &id).await;
    writer.end(End::Completed);
    let (early, late) = (hear(&mut early, 1000).await, hear(&mut late, 1000).await);
    for (heard, first) in [(&early, 150 - early.records.len()), (&late, 0)] {
        let want: Vec<String> = (first..150).map(record).collect();
        assert!(
            heard.records == want,
            "{} of {}",
            heard.records.len(),
            want.len()
        );
        assert_eq!(heard.end, Some(End::Completed));
    }
}

#[tokio::test]
async fn appends_of_all_replicas_are_all_kept_each_once() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let replicas = [
        redis.streams().await,
        redis.streams().await,
        redis.streams().await,
    ];
    let id = StreamId::from_client("a.stream").unwrap();
    replicas[0]
        .create(&id, published(), Some(one("first")))
        .await
        .unwrap();
    assert_eq!(
        replicas[1]
            .create(&id, published(), None)
            .await
            .unwrap_err(),
        StreamError::Exists
    );
    let mut appending = tokio::task::JoinSet::new();
    for (number, replica) in replicas.iter().enumerate() {
        for n in 0..20 {
            let (replica, id) = (replica.clone(), id.clone());
            appending.spawn(async move {
                let run = one(&format!("{number}-{n}"));
                let append =
                    |head: &mut stream::Head| Ok::<_, StreamError>((Some(run.clone()), head.next));
                replica.update(&id, None, append).await.unwrap()
            });
        }
    }
    let places: BTreeSet<u64> = appending.join_all().await.into_iter().collect();
    assert_eq!(places, (1..=60).collect());
    let mut reader = replicas[2].attach(&id, None, None).await.unwrap();
    let heard: BTreeSet<String> = hear(&mut reader, 61).await.records.into_iter().collect();
    assert_eq!(heard.len(), 61);
    let close = |head: &mut stream::Head| {
        head.end = Some(End::Closed);
        Ok::<_, StreamError>((None, ()))
    };
    replicas[1].update(&id, None, close).await.unwrap();
    assert_eq!(hear(&mut reader, 1).await.end, Some(End::Closed));
    replicas[0].delete(&id, None).await.unwrap();
    assert_eq!(
        replicas[2].head(&id, None).await.unwrap_err(),
        StreamError::Unknown
    );
    replicas[2].create(&id, published(), None).await.unwrap();
}

#[tokio::test]
async fn any_replica_cancels_and_deletes_what_another_generates() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    writer.append(one("a"));
    let mut reader = attach(&there, &id).await;
    assert!(!cancelled(&writer));
    let asked = Instant::now();
    there.cancel(&id, None).await.unwrap();
    until_cancelled(&writer).await;
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
    writer.append(one("cancelled"));
    writer.end(End::Cancelled);
    let heard = hear(&mut reader, 100).await;
    assert_eq!(
        (heard.records.concat().as_str(), heard.end),
        ("acancelled", Some(End::Cancelled))
    );
    there.cancel(&id, None).await.unwrap();

    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    writer.append(one("a"));
    let mut reader = attach(&there, &id).await;
    assert_eq!(hear(&mut reader, 1).await.records, ["a"]);
    there.delete(&id, None).await.unwrap();
    until_cancelled(&writer).await;
    assert!(hear(&mut reader, 1).await.gone);
    for streams in [&here, &there] {
        assert!(matches!(
            streams.head(&id, None).await.unwrap_err(),
            StreamError::Gone(_)
        ));
    }
}

#[tokio::test]
async fn any_replica_waits_for_the_end_of_what_another_generates() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    writer.append(one("word"));
    let mut reader = attach(&there, &id).await;
    assert_eq!(hear(&mut reader, 1).await.records, ["word"]);

    let soon = tokio::time::Instant::now() + Duration::from_millis(50);
    let head = there.wait_for_end(&id, None, soon).await.unwrap();
    assert_eq!(head.end, None, "the deadline comes first");

    let later = tokio::time::Instant::now() + PATIENCE;
    let waits = (0..3).map(|_| there.wait_for_end(&id, None, later));
    let ends = futures_util::future::join_all(waits);
    let write = async {
        tokio::task::yield_now().await;
        writer.end(End::Completed);
    };
    let (ends, ()) = tokio::join!(ends, write);
    for head in ends {
        assert_eq!(head.unwrap().end, Some(End::Completed));
    }
    assert_eq!(hear(&mut reader, 1).await.end, Some(End::Completed));
    for streams in [here, there] {
        streams.close().await;
    }
}

#[tokio::test]
async fn another_callers_stream_is_an_unknown_one_everywhere() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    let (id, owner) = (StreamId::random(), Owner::new("a".to_owned()));
    let mut head = written();
    head.owner = Some(owner.clone());
    let writer = here.write(&id, head).unwrap();
    writer.append(one("secret"));
    until(async || there.head(&id, Some(&owner)).await.ok()).await;
    for other in [None, Some(Owner::new("b".to_owned()))] {
        let other = other.as_ref();
        assert_eq!(
            there.head(&id, other).await.unwrap_err(),
            StreamError::Unknown
        );
        assert_eq!(
            there.attach(&id, other, None).await.unwrap_err(),
            StreamError::Unknown
        );
        assert_eq!(
            there.cancel(&id, other).await.unwrap_err(),
            StreamError::Unknown
        );
        assert_eq!(
            there.delete(&id, other).await.unwrap_err(),
            StreamError::Unknown
        );
        assert_eq!(
            there.read(&id, other, writer.tail(), 1).await.unwrap_err(),
            StreamError::Unknown
        );
    }
}

#[tokio::test]
async fn a_request_that_comes_twice_makes_one_stream_wherever_it_comes() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let replicas = [redis.streams().await, redis.streams().await];
    let key = |asked: &str| IdempotencyKey {
        key: "k".to_owned(),
        asked: asked.to_owned(),
    };
    let ask = async |replica: usize, asked: &str| {
        replicas[replica]
            .write_once(&StreamId::random(), written(), key(asked))
            .await
            .unwrap()
    };
    let (first, second) = tokio::join!(ask(0, "a"), ask(1, "a"));
    let (writer, same) = match (first, second) {
        (IdempotentCreate::Created(writer), IdempotentCreate::Duplicate(id))
        | (IdempotentCreate::Duplicate(id), IdempotentCreate::Created(writer)) => (writer, id),
        other => panic!("{other:?}"),
    };
    assert_eq!(*writer.log().id(), same);
    assert!(matches!(ask(1, "b").await, IdempotentCreate::Conflict));
    // One that was refused before it said anything was none.
    drop(writer);
    until(async || matches!(ask(1, "c").await, IdempotentCreate::Created(_)).then_some(())).await;
}

#[tokio::test]
async fn a_reader_elsewhere_keeps_a_generation_going_and_its_pace() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    writer.append(one("a"));
    let mut reader = attach(&there, &id).await;
    let outlook = || writer.poll(&mut Context::from_waker(Waker::noop()));
    until(async || outlook().unattended.is_none().then_some(())).await;
    // Beyond the cap, only what was read there makes room here.
    let record = "x".repeat(16 * 1024);
    let mut heard = hear(&mut reader, 1).await.records.len();
    let mut said = 1;
    let deadline = Instant::now() + PATIENCE;
    while said < 64 {
        assert!(Instant::now() < deadline);
        if outlook().room {
            writer.append(one(&record));
            said += 1;
        } else {
            heard += hear(&mut reader, said - heard).await.records.len();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(heard > 16, "the cap was never reached");
    drop(reader);
    until(async || outlook().unattended).await;
}

#[tokio::test]
async fn a_lifetime_ends_for_everyone() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    let id = StreamId::from_client("short").unwrap();
    let mut head = published();
    head.lifetime = Lifetime::Idle(Duration::from_millis(400));
    here.create(&id, head.clone(), Some(one("a")))
        .await
        .unwrap();
    // A reader keeps it alive.
    let mut reader = there.attach(&id, None, None).await.unwrap();
    assert_eq!(hear(&mut reader, 1).await.records, ["a"]);
    tokio::time::sleep(Duration::from_millis(1000)).await;
    assert!(here.head(&id, None).await.is_ok());
    drop(reader);
    until(async || (here.head(&id, None).await == Err(StreamError::Unknown)).then_some(())).await;
    here.create(&id, head, None).await.unwrap();
    assert_eq!(redis.cli(&["EXISTS", "test:{short}:log"]).trim(), "0");
}
