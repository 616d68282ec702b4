//! Streams against a model that is nothing but lists, step by random step: in memory, and in Redis where one replica writes and
//! another reads.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stream::{End, Head, Lifetime, Offset, Reader, StreamError, StreamId, Streams, Writer};

use crate::support::*;

/// Streams that a step may be about; the last ones are generations'.
const STREAMS: usize = 4;
const PUBLISHED: usize = 2;

#[derive(Debug, Clone)]
enum Step {
    Create {
        stream: usize,
        first: bool,
    },
    Append {
        stream: usize,
        records: usize,
    },
    Close {
        stream: usize,
    },
    Read {
        stream: usize,
        from: u64,
        most: usize,
    },
    Attach {
        stream: usize,
        from: u64,
    },
    Hear {
        reader: usize,
    },
    Leave {
        reader: usize,
    },
    Cancel {
        stream: usize,
    },
    Delete {
        stream: usize,
    },
    Expire {
        stream: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let stream = 0..STREAMS;
    prop_oneof![
        3 => (stream.clone(), any::<bool>()).prop_map(|(stream, first)| Step::Create { stream, first }),
        6 => (stream.clone(), 1..5_usize).prop_map(|(stream, records)| Step::Append { stream, records }),
        1 => stream.clone().prop_map(|stream| Step::Close { stream }),
        3 => (stream.clone(), 0..8_u64, 1..40_usize).prop_map(|(stream, from, most)| Step::Read { stream, from, most }),
        3 => (stream.clone(), 0..8_u64).prop_map(|(stream, from)| Step::Attach { stream, from }),
        4 => (0..4_usize).prop_map(|reader| Step::Hear { reader }),
        1 => (0..4_usize).prop_map(|reader| Step::Leave { reader }),
        1 => stream.clone().prop_map(|stream| Step::Cancel { stream }),
        1 => stream.clone().prop_map(|stream| Step::Delete { stream }),
        1 => (0..PUBLISHED).prop_map(|stream| Step::Expire { stream }),
    ]
}

/// What a stream should hold.
#[derive(Debug, Default)]
struct Held {
    epoch: u32,
    records: Vec<String>,
    end: Option<End>,
    writer: Option<Writer>,
}

struct AttachedReader {
    reader: Reader,
    stream: StreamId,
    /// Tells streams of one id apart.
    made: usize,
    position: usize,
}

struct World {
    writes: Streams,
    reads: Streams,
    ids: Vec<StreamId>,
    /// With the number under which it was made.
    held: BTreeMap<StreamId, (usize, Held)>,
    /// Those that were deleted after their end.
    over: BTreeMap<usize, Held>,
    readers: Vec<AttachedReader>,
    made: usize,
}

impl World {
    fn new(writes: Streams, reads: Streams) -> Self {
        static CASE: AtomicUsize = AtomicUsize::new(0);
        let case = CASE.fetch_add(1, Ordering::Relaxed);
        let ids = (0..STREAMS)
            .map(|n| StreamId::from_client(&format!("case-{case}-{n}")).unwrap())
            .collect();
        Self {
            writes,
            reads,
            ids,
            held: BTreeMap::new(),
            over: BTreeMap::new(),
            readers: Vec::new(),
            made: 0,
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Create { stream, first } => self.create(stream, first).await,
            Step::Append { stream, records } => self.append(stream, records).await,
            Step::Close { stream } => self.close(stream).await,
            Step::Read { stream, from, most } => self.read(stream, from, most).await,
            Step::Attach { stream, from } => self.attach(stream, from).await,
            Step::Hear { reader } => self.hear(reader).await,
            Step::Leave { reader } => {
                drop((reader < self.readers.len()).then(|| self.readers.remove(reader)))
            }
            Step::Cancel { stream } => self.cancel(stream).await,
            Step::Delete { stream } => self.delete(stream).await,
            Step::Expire { stream } => self.expire(stream).await,
        }
    }

    async fn create(&mut self, stream: usize, first: bool) {
        let id = self.ids[stream].clone();
        self.made += 1;
        if stream >= PUBLISHED {
            if self.held.contains_key(&id) {
                return;
            }
            // A generation's id never comes back.
            let id = StreamId::random();
            self.ids[stream] = id.clone();
            let writer = self.writes.write(&id, written()).unwrap();
            writer.append(one("begun"));
            let epoch = writer.tail().epoch;
            let records = vec!["begun".to_owned()];
            self.held.insert(
                id.clone(),
                (
                    self.made,
                    Held {
                        epoch,
                        records,
                        end: None,
                        writer: Some(writer),
                    },
                ),
            );
            // From here on other replicas know it.
            until(async || self.reads.head(&id, None).await.ok()).await;
            return;
        }
        let head = published();
        let epoch = head.epoch;
        let created = self
            .writes
            .create(&id, head, first.then(|| one("first")))
            .await;
        if self.held.contains_key(&id) {
            assert_eq!(created, Err(StreamError::Exists));
        } else {
            created.unwrap();
            let records = first.then(|| "first".to_owned()).into_iter().collect();
            self.held.insert(
                id,
                (
                    self.made,
                    Held {
                        epoch,
                        records,
                        ..Held::default()
                    },
                ),
            );
        }
    }

    async fn append(&mut self, stream: usize, records: usize) {
        let id = &self.ids[stream];
        let Some((_, held)) = self.held.get_mut(id) else {
            let appended = self
                .writes
                .update(id, None, |_| Ok::<_, StreamError>((Some(one("x")), ())))
                .await;
            return assert!(is_missing(&appended.unwrap_err()));
        };
        if held.end.is_some() {
            return;
        }
        let texts: Vec<String> = (0..records)
            .map(|n| format!("{}.{n};", held.records.len()))
            .collect();
        let run = many(&texts);
        match &held.writer {
            Some(writer) => writer.append(run),
            None => {
                let place = self.writes.update(id, None, |head: &mut Head| {
                    Ok::<_, StreamError>((Some(run.clone()), head.next))
                });
                assert_eq!(place.await.unwrap(), held.records.len() as u64);
            }
        }
        held.records.extend(texts);
    }

    async fn close(&mut self, stream: usize) {
        let id = &self.ids[stream];
        let Some((_, held)) = self.held.get_mut(id) else {
            return;
        };
        if held.end.is_some() {
            return;
        }
        if let Some(writer) = held.writer.take() {
            writer.end(End::Completed);
            held.end = Some(End::Completed);
            return;
        }
        let close = |head: &mut Head| {
            head.end = Some(End::Closed);
            Ok::<_, StreamError>((None, ()))
        };
        self.writes.update(id, None, close).await.unwrap();
        held.end = Some(End::Closed);
    }

    async fn read(&mut self, stream: usize, from: u64, most: usize) {
        let id = &self.ids[stream];
        let Some((_, held)) = self.held.get(id) else {
            let from = Offset {
                epoch: 1,
                position: from,
            };
            return assert!(is_missing(
                &self.reads.read(id, None, from, most).await.unwrap_err()
            ));
        };
        let read = self
            .reads
            .read(
                id,
                None,
                Offset {
                    epoch: held.epoch,
                    position: from,
                },
                most,
            )
            .await;
        if from > held.records.len() as u64 {
            return match read {
                // What a generation elsewhere may still say is not there yet.
                Ok(page) => assert!(stream >= PUBLISHED && page.runs.is_empty()),
                Err(error) => assert_eq!(error, StreamError::NotYetWritten),
            };
        }
        let batch = read.unwrap();
        let texts: Vec<String> = batch
            .runs
            .iter()
            .flat_map(|run| {
                run.records()
                    .map(|r| String::from_utf8(r.to_vec()).unwrap())
            })
            .collect();
        let from = from as usize;
        assert!(
            held.records[from..].starts_with(&texts),
            "{texts:?} of {:?} from {from}",
            held.records
        );
        assert_eq!(batch.next.position as usize, from + texts.len());
        if stream < PUBLISHED {
            assert!(!texts.is_empty() || from == held.records.len());
            assert_eq!(
                (batch.head.next as usize, batch.head.end),
                (held.records.len(), held.end)
            );
        }
    }

    async fn attach(&mut self, stream: usize, from: u64) {
        let id = &self.ids[stream];
        let Some((made, held)) = self.held.get(id) else {
            return assert!(is_missing(
                &self.reads.attach(id, None, None).await.unwrap_err()
            ));
        };
        if self.readers.len() > 3 {
            return;
        }
        let attach = async || {
            self.reads
                .attach(
                    id,
                    None,
                    Some(Offset {
                        epoch: held.epoch,
                        position: from,
                    }),
                )
                .await
        };
        if from > held.records.len() as u64 {
            return match attach().await {
                // What a generation elsewhere may still say is waited for.
                Ok(_) => assert!(stream >= PUBLISHED),
                Err(error) => assert_eq!(error, StreamError::NotYetWritten),
            };
        }
        // What a generation has just said may be on its way.
        let reader = until(async || match attach().await {
            Err(StreamError::NotYetWritten) if stream >= PUBLISHED => None,
            other => Some(other.unwrap()),
        });
        let attached = AttachedReader {
            reader: reader.await,
            stream: id.clone(),
            made: *made,
            position: from as usize,
        };
        self.readers.push(attached);
    }

    async fn hear(&mut self, reader: usize) {
        let Some(attached) = self.readers.get_mut(reader) else {
            return;
        };
        match self
            .held
            .get(&attached.stream)
            .filter(|(made, _)| *made == attached.made)
        {
            None => {
                let heard = hear(&mut attached.reader, usize::MAX).await;
                // Who had all of an ended stream on its way may get it.
                let whole = self.over.get(&attached.made).is_some_and(|held| {
                    heard.records == held.records[attached.position..] && heard.end == held.end
                });
                assert!(heard.gone || whole, "{heard:?}");
                self.readers.remove(reader);
            }
            Some((_, held)) => {
                let want = &held.records[attached.position..];
                let heard = hear(&mut attached.reader, want.len()).await;
                assert_eq!(heard.records, want);
                attached.position = held.records.len();
                if held.end.is_some() {
                    assert_eq!(hear(&mut attached.reader, 1).await.end, held.end);
                }
            }
        }
    }

    async fn cancel(&mut self, stream: usize) {
        let id = &self.ids[stream];
        let cancelled = self.reads.cancel(id, None).await;
        let Some((_, held)) = self.held.get_mut(id) else {
            return assert!(is_missing(&cancelled.unwrap_err()));
        };
        cancelled.unwrap();
        if let Some(writer) = held.writer.take() {
            let told = poll_fn(|cx| {
                if writer.poll(cx).cancelled {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            });
            tokio::time::timeout(PATIENCE, told)
                .await
                .expect("the writer is told");
            writer.append(one("cancelled"));
            writer.end(End::Cancelled);
            held.records.push("cancelled".to_owned());
            held.end = Some(End::Cancelled);
        }
    }

    async fn delete(&mut self, stream: usize) {
        let id = &self.ids[stream];
        let deleted = self.reads.delete(id, None).await;
        let Some((made, held)) = self.held.remove(id) else {
            return assert!(is_missing(&deleted.unwrap_err()));
        };
        deleted.unwrap();
        if held.end.is_some() {
            self.over.insert(made, held);
        }
        // The replica that writes it is told.
        until(async || self.writes.head(id, None).await.err().filter(is_missing)).await;
    }

    async fn expire(&mut self, stream: usize) {
        let id = &self.ids[stream];
        if self.held.remove(id).is_none() {
            return;
        }
        self.readers.retain(|attached| attached.stream != *id);
        let expire = |head: &mut Head| {
            head.lifetime = Lifetime::Until(SystemTime::now() - Duration::from_secs(1));
            Ok::<_, StreamError>((None, ()))
        };
        self.writes.update(id, None, expire).await.unwrap();
        assert!(is_missing(&self.reads.head(id, None).await.unwrap_err()));
    }
}

fn is_missing(error: &StreamError) -> bool {
    matches!(error, StreamError::Unknown | StreamError::Gone(_))
}

fn many(texts: &[String]) -> stream::RecordBatch {
    let mut end = 0;
    let ends = texts.iter().map(|text| {
        end += text.len() as u32;
        end
    });
    let ends = ends.collect();
    stream::RecordBatch::many(texts.concat().into(), ends)
}

fn check(cases: u32, store: impl AsyncFn() -> (Streams, Streams)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (writes, reads) = runtime.block_on(store());
    let config = Config {
        cases,
        max_shrink_iters: 20,
        failure_persistence: None,
        ..Config::default()
    };
    let checked = TestRunner::new(config).run(&proptest::collection::vec(step(), 1..40), |steps| {
        let mut world = World::new(writes.clone(), reads.clone());
        runtime.block_on(async {
            for step in steps {
                world.step(step).await;
            }
            for reader in (0..world.readers.len()).rev() {
                world.hear(reader).await;
            }
        });
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn in_memory_streams_do_what_lists_would() {
    check(200, async || {
        let streams = Streams::new(OPTIONS);
        (streams.clone(), streams)
    });
}

#[test]
fn in_redis_streams_do_what_lists_would_on_two_replicas() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    check(60, async || (redis.streams().await, redis.streams().await));
}
