//! Who gives up a question never gets another's answer, and nobody gets theirs.

use std::time::Duration;

use stream::{StreamError, StreamId};

use crate::support::*;

const CALLS: usize = 12_000;

#[tokio::test]
async fn answers_reach_those_who_asked_though_thousands_give_up() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let streams = redis.streams().await;
    // Each stream says who it is.
    let ids: Vec<StreamId> = (0..50)
        .map(|n| StreamId::from_client(&format!("s{n}")).unwrap())
        .collect();
    for id in &ids {
        streams
            .create(id, published(), Some(one(id.as_str())))
            .await
            .unwrap();
    }
    let (mut aborted, mut answered) = (0, 0);
    for round in 0..CALLS / 50 {
        let mut asking = tokio::task::JoinSet::new();
        for (n, id) in ids.iter().enumerate() {
            let (streams, id) = (streams.clone(), id.clone());
            asking.spawn(async move {
                let asked = async {
                    let start = streams.head(&id, None).await.unwrap().at(0);
                    let batch = streams.read(&id, None, start, 1 << 20).await.unwrap();
                    assert_eq!(batch.runs[0].clone().into_bytes(), id.as_str());
                    if n == 0 {
                        let append =
                            |_: &mut stream::Head| Ok::<_, StreamError>((Some(one("+")), ()));
                        streams.update(&id, None, append).await.unwrap();
                    }
                };
                let patience = Duration::from_micros(((round * 7 + n * 13) % 40 * 50) as u64);
                tokio::time::timeout(patience, asked).await.is_ok()
            });
        }
        for done in asking.join_all().await {
            if done { answered += 1 } else { aborted += 1 }
        }
    }
    assert_eq!(aborted + answered, CALLS);
    assert!(aborted > 1000, "only {aborted} gave up");
    for id in &ids {
        let start = streams.head(id, None).await.unwrap().at(0);
        let batch = streams.read(id, None, start, 1).await.unwrap();
        assert_eq!(batch.runs[0].clone().into_bytes(), id.as_str());
    }
}
