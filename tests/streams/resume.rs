//! Readers that come back to another replica than the one that writes their stream.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use nix::sys::signal::Signal;
use stream::{End, Offset, Reader, StreamError, StreamId};

use crate::support::*;

/// Polls a reader that has nothing to read now.
fn assert_waiting(reader: &mut Reader) {
    let next = reader.poll_next(&mut Context::from_waker(Waker::noop()));
    assert!(next.is_pending(), "{next:?}");
}

#[tokio::test]
async fn a_new_stream_is_found_elsewhere_as_soon_as_its_id_is_given_out() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    for _ in 0..10 {
        let id = StreamId::random();
        let writer = here.write(&id, written()).unwrap();
        here.announce(&id).await;
        assert_eq!(there.head(&id, None).await.map(|head| head.next), Ok(0));
        writer.end(End::Completed);
        // One that has ended, and is no longer here, as well.
        here.announce(&id).await;
    }
}

#[tokio::test]
async fn while_redis_is_away_a_new_stream_is_not_waited_for() {
    if !has_redis() {
        return;
    }
    let mut redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    redis.kill();
    until(async || {
        let asked = here.head(&StreamId::random(), None).await;
        (asked == Err(StreamError::Unavailable)).then_some(())
    })
    .await;
    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    writer.append(one("a"));
    let announced = here.announce(&id);
    tokio::pin!(announced);
    let first_poll = poll_fn(|cx| Poll::Ready(announced.as_mut().poll(cx))).await;
    assert!(first_poll.is_ready(), "it waits");
    redis.restart();
    // As soon as it can be asked, there is no other answer than the stream.
    let mut reader = until(async || match there.attach(&id, None, None).await {
        Err(StreamError::Unavailable) => None,
        found => Some(found.unwrap()),
    })
    .await;
    assert_eq!(hear(&mut reader, 1).await.records, ["a"]);
}

#[tokio::test]
async fn a_reader_that_has_more_than_is_copied_is_waited_for() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let gate = Gate::to(redis.port).await;
    let (here, there) = (streams_at(address(gate.port)).await, redis.streams().await);
    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    writer.append(one("a"));
    let mut behind = attach(&there, &id).await;
    assert_eq!(hear(&mut behind, 1).await.records, ["a"]);
    gate.shut(true);
    writer.append(one("b"));
    writer.append(one("c"));
    let mut ahead = there.attach(&id, None, Some(writer.tail())).await.unwrap();
    assert_waiting(&mut ahead);
    // Who asks page by page is told that there is no more now.
    let page = there.read(&id, None, writer.tail(), 1000).await.unwrap();
    assert!(page.runs.is_empty() && page.is_up_to_date() && !page.is_end());
    assert_eq!(page.next, writer.tail());
    gate.shut(false);
    writer.append(one("d"));
    let never = Offset {
        position: 1000,
        ..writer.tail()
    };
    let mut lost_its_way = there.attach(&id, None, Some(never)).await.unwrap();
    assert_waiting(&mut lost_its_way);
    writer.end(End::Completed);
    for (reader, rest) in [(&mut behind, "bcd"), (&mut ahead, "d")] {
        let heard = hear(reader, 10).await;
        assert_eq!(heard.records.concat(), rest);
        assert_eq!(heard.end, Some(End::Completed));
    }
    assert!(hear(&mut lost_its_way, 1).await.gone);
    assert_eq!(
        there.attach(&id, None, Some(never)).await.unwrap_err(),
        StreamError::NotYetWritten
    );
}

#[tokio::test]
async fn a_reader_that_has_more_than_a_lost_writer_copied_is_told_of_the_loss() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let gate = Gate::to(redis.port).await;
    let (here, there) = (streams_at(address(gate.port)).await, redis.streams().await);
    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    writer.append(one("a"));
    here.announce(&id).await;
    until(async || (there.head(&id, None).await.ok()?.next == 1).then_some(())).await;
    gate.shut(true);
    writer.append(one("b"));
    let lost = Heard {
        end: Some(End::Lost),
        ..Heard::default()
    };
    for _ in 0..2 {
        let mut reader = there.attach(&id, None, Some(writer.tail())).await.unwrap();
        assert_eq!(hear(&mut reader, 1).await, lost);
    }
    let page = there.read(&id, None, writer.tail(), 1000).await.unwrap();
    assert!(page.runs.is_empty() && page.is_end());
}

#[tokio::test]
async fn whoever_waits_for_the_end_of_a_lost_writers_stream_is_told_of_the_loss() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let gate = Gate::to(redis.port).await;
    let (here, there) = (streams_at(address(gate.port)).await, redis.streams().await);
    let id = StreamId::random();
    let _writer = here.write(&id, written()).unwrap();
    here.announce(&id).await;
    gate.shut(true);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let head = there.wait_for_end(&id, None, deadline).await.unwrap();
    assert_eq!(head.end, Some(End::Lost));
}

#[tokio::test]
async fn a_redis_that_is_emptied_around_the_end_leaves_no_reader_waiting() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    for said in 0..3 {
        let id = StreamId::random();
        let writer = here.write(&id, written()).unwrap();
        here.announce(&id).await;
        let mut reader = there.attach(&id, None, None).await.unwrap();
        for n in 0..said {
            writer.append(one(&n.to_string()));
            assert_eq!(hear(&mut reader, 1).await.records, [n.to_string()]);
        }
        redis.cli(&["FLUSHALL"]);
        writer.finish(Some(one("last")), End::Failed);
        let heard = hear(&mut reader, 10).await;
        assert_eq!(heard.records, ["last"]);
        assert_eq!(heard.end, Some(End::Failed));
    }
}

#[tokio::test]
async fn a_redis_that_stands_still_for_a_moment_makes_no_new_stream_unknown() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    for _ in 0..5 {
        redis.signal(Signal::SIGSTOP);
        let id = StreamId::random();
        let writer = here.write(&id, written()).unwrap();
        here.announce(&id).await;
        redis.signal(Signal::SIGCONT);
        let head = until(async || match there.head(&id, None).await {
            Err(StreamError::Unavailable) => None,
            found => Some(found),
        })
        .await;
        assert_eq!(head.map(|head| head.next), Ok(0));
        writer.end(End::Completed);
    }
}

#[tokio::test]
async fn a_redis_that_is_emptied_makes_no_silent_stream_unknown() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let (here, there) = (redis.streams().await, redis.streams().await);
    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    writer.append(one("a"));
    for _ in 0..3 {
        here.announce(&id).await;
        redis.cli(&["FLUSHALL"]);
        let mut reader = there.attach(&id, None, None).await.unwrap();
        assert_eq!(hear(&mut reader, 1).await.records, ["a"]);
    }
}

#[tokio::test]
async fn a_replica_that_starts_before_all_is_copied_waits_for_it() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let gate = Gate::to(redis.port).await;
    let here = streams_at(address(gate.port)).await;
    gate.shut(true);
    let id = StreamId::random();
    let writer = here.write(&id, written()).unwrap();
    writer.append(one("a"));
    let there = redis.streams().await;
    // Longer than any other replica would look for it, and than it takes to notice a broken link.
    let open = async {
        tokio::time::sleep(std::time::Duration::from_millis(1600)).await;
        gate.shut(false);
    };
    let (attached, ()) = tokio::join!(there.attach(&id, None, None), open);
    let mut reader = attached.unwrap();
    assert_eq!(hear(&mut reader, 1).await.records, ["a"]);
}
