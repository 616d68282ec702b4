//! Room for streams in memory, and what is given up for it.

use std::time::Duration;

use stream::{End, Head, Lifetime, Memory, StoreLimits, StreamError, StreamId};
use tokio_util::sync::CancellationToken;

use crate::support::*;

const LIMITS: StoreLimits = StoreLimits {
    max_bytes: 64 * 1024,
    max_total_bytes: 4 << 20,
    max_readers: 10,
};

/// Puts as many streams into a store as it takes.
fn fill(memory: &Memory, head: &Head) -> (Vec<StreamId>, StreamError) {
    let mut made = Vec::new();
    loop {
        let id = StreamId::random();
        match memory.create(id.clone(), head.clone(), None) {
            Ok(_) => made.push(id),
            Err(error) => return (made, error),
        }
    }
}

#[test]
fn empty_streams_are_bounded_in_number_and_none_is_given_up_for_another() {
    let memory = Memory::new(LIMITS);
    let (made, refused) = fill(&memory, &published());
    assert_eq!(refused, StreamError::StoreFull);
    assert_eq!(made.len(), LIMITS.max_total_bytes / 1024);
    assert!(made.iter().all(|id| memory.find(id, None).is_ok()));
    memory.remove(&made[0]);
    assert!(memory.create(made[0].clone(), published(), None).is_ok());
}

#[test]
fn what_was_unread_for_longest_makes_room_first() {
    let memory = Memory::new(LIMITS);
    let generated = || {
        let id = StreamId::random();
        let writer = memory.write(id.clone(), written()).unwrap();
        writer.finish(Some(one(&"x".repeat(1000))), End::Completed);
        id
    };
    let ids: Vec<StreamId> = (0..1000).map(|_| generated()).collect();
    // Read again, the first one is the last to go.
    let first = memory.find(&ids[0], None).unwrap();
    first.read(first.head().at(0), 1).unwrap();
    (0..1500).for_each(|_| drop(generated()));
    assert!(memory.find(&ids[0], None).is_ok());
    let gone = ids[1..].iter().filter(|id| memory.find(id, None).is_err());
    let gone = gone.count();
    assert!(gone > 0, "nothing was given up");
    let in_order = ids[1..].iter().take(gone);
    assert!(
        in_order
            .map(|id| memory.find(id, None))
            .all(|found| found.is_err())
    );
}

#[tokio::test]
async fn all_that_expires_at_once_is_forgotten() {
    let memory = Memory::new(LIMITS);
    let mut head = published();
    head.lifetime = Lifetime::Idle(Duration::ZERO);
    for _ in 0..2000 {
        memory
            .create(StreamId::random(), head.clone(), None)
            .unwrap();
    }
    let kept = StreamId::random();
    memory.create(kept.clone(), published(), None).unwrap();
    // A generation that was refused is forgotten long before its stream would be.
    drop(memory.write(StreamId::random(), written()).unwrap());
    let end = CancellationToken::new();
    let sweeping = memory.clone().sweep(end.clone());
    let emptied = async {
        until(async || (memory.held() < 2048).then_some(())).await;
        end.cancel();
    };
    tokio::join!(sweeping, emptied);
    assert!(memory.find(&kept, None).is_ok());
}
