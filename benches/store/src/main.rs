//! What streams cost a Redis, by its own count: CPU per append and per reader, memory per stream.
//!
//! Two replicas in one process, one `redis-server`. Redis serves on one thread, so a second of its
//! CPU is a second of one server: what a step costs it says how many steps one server carries,
//! whatever the load of this machine.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use store::redis::{RedisAddress, Topology};
use stream::{
    End, Head, Lifetime, ReaderEvent, StoreLimits, Reader, RecordBatch, StreamError, StreamId, Streams,
};
use tokio::task::JoinSet;

const PORT: u16 = 16399;
/// One token's frame, about as long as an OpenAI chunk is short.
const FRAME: usize = 200;
const TOKENS_PER_SECOND: u32 = 50;

struct Redis(
    Child,
    #[expect(dead_code, reason = "kept until the end")] tempfile::TempDir,
);

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cli(arguments: &[&str]) -> String {
    let asked = Command::new("redis-cli")
        .args(["-p", &PORT.to_string()])
        .args(arguments)
        .output();
    asked
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

/// What Redis counts.
struct Counted {
    cpu: f64,
    scripts: f64,
    memory: f64,
}

fn counted() -> Counted {
    let info = cli(&["INFO", "everything"]);
    let values: BTreeMap<&str, &str> = info
        .lines()
        .filter_map(|line| line.trim().split_once(':'))
        .collect();
    let number = |key: &str| {
        values
            .get(key)
            .and_then(|value| value.parse().ok())
            .unwrap_or(0.0)
    };
    let calls = values
        .get("cmdstat_evalsha")
        .and_then(|stat| stat.strip_prefix("calls=")?.split(',').next());
    Counted {
        cpu: number("used_cpu_user") + number("used_cpu_sys"),
        scripts: calls.and_then(|calls| calls.parse().ok()).unwrap_or(0.0),
        memory: number("used_memory"),
    }
}

fn report(what: &str, before: &Counted, seconds: f64, tokens: f64) {
    let after = counted();
    let (cpu, scripts) = (after.cpu - before.cpu, after.scripts - before.scripts);
    println!(
        "{what}: {tokens:.0} records in {seconds:.1} s, {scripts:.0} scripts; redis: {cpu:.2} s of CPU, {:.1} µs a script, \
         {:.2} µs a record",
        cpu / scripts * 1e6,
        cpu / tokens * 1e6
    );
}

async fn replica() -> Streams {
    let options = StoreLimits {
        max_bytes: 4 << 20,
        max_total_bytes: 1 << 30,
        max_readers: 10_000,
    };
    let address = RedisAddress {
        tls: false,
        topology: Topology::One,
        nodes: vec![("127.0.0.1".to_owned(), PORT)],
        database: 0,
        username: None,
        password: None,
        key_prefix: "bench:".to_owned(),
    };
    let streams = Streams::shared(options, address);
    streams.connect().await.expect("redis is there");
    streams
}

fn head(dialect: Option<&str>) -> Head {
    let mut head = Head::new(
        "text/event-stream",
        Lifetime::Idle(Duration::from_secs(600)),
    );
    head.dialect = dialect.map(str::to_owned);
    head
}

fn frame() -> RecordBatch {
    RecordBatch::one(Bytes::from(vec![b'x'; FRAME]))
}

/// Generations that all speak at a model's pace.
async fn generate(here: &Streams, ids: &[StreamId], seconds: u32) {
    let mut speaking = JoinSet::new();
    for id in ids {
        let writer = here.write(id, head(Some("plain"))).expect("there is room");
        speaking.spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / TOKENS_PER_SECOND);
            for _ in 0..seconds * TOKENS_PER_SECOND {
                ticks.tick().await;
                writer.append(frame());
            }
            writer.end(End::Completed);
        });
    }
    speaking.join_all().await;
}

async fn read_whole(there: &Streams, id: &StreamId) -> usize {
    let mut reader: Reader = loop {
        match there.attach(id, None, None).await {
            Ok(reader) => break reader,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let mut records = 0;
    loop {
        match poll_fn(|cx| reader.poll_next(cx)).await {
            ReaderEvent::Records(run, _) => records += usize::try_from(run.count()).unwrap_or(0),
            ReaderEvent::End(_) | ReaderEvent::Gone => return records,
        }
    }
}

async fn generations(here: &Streams, there: &Streams, readers_each: usize) {
    const STREAMS: usize = 200;
    const SECONDS: u32 = 8;
    let ids: Vec<StreamId> = (0..STREAMS).map(|_| StreamId::random()).collect();
    let before = counted();
    let began = Instant::now();
    let mut reading = JoinSet::new();
    for id in &ids {
        for _ in 0..readers_each {
            let (there, id) = (there.clone(), id.clone());
            reading.spawn(async move { read_whole(&there, &id).await });
        }
    }
    generate(here, &ids, SECONDS).await;
    let read: usize = reading.join_all().await.into_iter().sum();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let said = STREAMS * (SECONDS * TOKENS_PER_SECOND) as usize;
    assert_eq!(
        read,
        said * readers_each,
        "every reader has read everything"
    );
    let what = format!(
        "{STREAMS} generations of {TOKENS_PER_SECOND} tokens/s, {readers_each} readers elsewhere each"
    );
    report(&what, &before, began.elapsed().as_secs_f64(), said as f64);
}

async fn published(here: &Streams) {
    const STREAMS: usize = 64;
    let before = counted();
    let began = Instant::now();
    let mut appending = JoinSet::new();
    for _ in 0..STREAMS {
        let here = here.clone();
        appending.spawn(async move {
            let (id, mut appended) = (StreamId::random(), 0_usize);
            here.create(&id, head(None), None)
                .await
                .expect("it is made");
            while began.elapsed() < Duration::from_secs(5) {
                here.update(&id, None, |_| Ok::<_, StreamError>((Some(frame()), ())))
                    .await
                    .expect("it is appended");
                appended += 1;
            }
            appended
        });
    }
    let appended: usize = appending.join_all().await.into_iter().sum();
    let seconds = began.elapsed().as_secs_f64();
    report(
        &format!("{STREAMS} publishers over one connection"),
        &before,
        seconds,
        appended as f64,
    );
    println!("    {:.0} appends/s", appended as f64 / seconds);
}

async fn memory(here: &Streams) {
    const STREAMS: usize = 1000;
    const RECORDS: u64 = 500;
    let before = counted();
    let mut ids = Vec::new();
    for _ in 0..STREAMS {
        let id = StreamId::random();
        let writer = here.write(&id, head(Some("plain"))).expect("there is room");
        for _ in 0..RECORDS {
            writer.append(frame());
        }
        writer.end(End::Completed);
        ids.push(id);
    }
    while ids
        .iter()
        .any(|id| !cli(&["HGET", &format!("bench:{{{id}}}:head"), "head"]).contains("completed"))
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let each = (counted().memory - before.memory) / STREAMS as f64;
    let said = (RECORDS * FRAME as u64) as f64;
    println!("memory: {each:.0} bytes a stream of {RECORDS} records and {said:.0} bytes");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Command::new("redis-server")
        .args([
            "--port",
            &PORT.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
        ])
        .arg(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is there");
    let _redis = Redis(redis, folder);
    while cli(&["PING"]).trim() != "PONG" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (here, there) = (replica().await, replica().await);
    for readers in [0, 1, 10] {
        generations(&here, &there, readers).await;
    }
    published(&here).await;
    memory(&here).await;
    here.close().await;
    there.close().await;
}
