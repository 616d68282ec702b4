//! How a proxy behaves when its clients do not: W4, they leave; W5, they hardly read; W6, they are
//! in a hurry.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Client, connect, find};
use crate::goals::Tables;
use crate::load::at;
use crate::plan::{Wanted, warm_up};
use crate::process::Process;
use crate::proxies::Proxy;
use crate::run::{client, load};
use crate::table::Figures;

pub const AFTER_FIVE: &str = "W4 200 clients leave after five tokens";
pub const BEFORE_FIRST: &str = "W4 200 clients leave before the first";
pub const SLOW: &str = "W5 20 clients read 1 KB/s of 50 MB";
const NEW: &str = "W6 2000 requests of five tokens, new connections";
const KEPT: &str = "W6 2000 requests of five tokens, kept connections";

/// How many leave, and how many read slowly.
const LEAVERS: u64 = 200;
const READERS: usize = 20;
/// How long they read, at a kilobyte a second.
pub const SECONDS: u64 = 12;
/// Short requests, and how many at once.
const REQUESTS: usize = 2000;
const AT_ONCE: usize = 50;

/// Measures who takes part and prints a table for each workload.
pub fn run(wanted: &Wanted, upstream: u16, tables: &mut Tables) {
    let mut measure = |word: &str, titles: &[&'static str], columns: &[(&str, usize)], one: One| {
        if !wanted.is_workload(word) {
            return;
        }
        for proxy in wanted.turns(word) {
            let Some(process) = proxy.start(&wanted.binary, upstream) else {
                continue;
            };
            for &title in titles {
                let figures = one(title, proxy, &process, upstream);
                tables.entry(title).or_default().add(proxy.name(), figures);
            }
        }
        for &title in titles {
            tables.entry(title).or_default().print(title, columns);
        }
    };
    measure(
        "W4",
        &[AFTER_FIVE, BEFORE_FIRST],
        &[("p50 ms", 2), ("max ms", 2), ("seen", 0)],
        leave,
    );
    measure("W5", &[SLOW], &[("KiB/stream", 1)], read_slowly);
    let columns = [
        ("CPU µs/req", 1),
        ("× nginx", 2),
        ("p50 µs", 0),
        ("p99 µs", 0),
        ("req/s", 0),
    ];
    measure("W6", &[NEW, KEPT], &columns, ask_shortly);
}

/// Measures one proxy once.
type One = fn(&str, Proxy, &Process, u16) -> Figures;

fn leave(title: &str, proxy: Proxy, process: &Process, upstream: u16) -> Figures {
    let after = if title == AFTER_FIVE { "5" } else { "0" };
    let [port, upstream_port] = [process.port, upstream].map(|port| port.to_string());
    let apart = proxy.apart_ms().to_string();
    let words = [
        "hangup",
        &proxy.client(upstream),
        &port,
        &upstream_port,
        after,
        &apart,
    ];
    figures(client(process, words.map(str::to_owned).into_iter()).0)
}

fn read_slowly(_: &str, proxy: Proxy, process: &Process, upstream: u16) -> Figures {
    // Once for what is made only once, but few: what they leave behind is not given to the slow
    // ones.
    load(proxy, process, upstream, &warm_up(2));
    let before = process.resident();
    let words = [
        "slow",
        &proxy.client(upstream),
        &process.port.to_string(),
        &READERS.to_string(),
    ];
    let (said, most) = client(process, words.map(str::to_owned).into_iter());
    if said["is cut"] != false {
        eprintln!("{SLOW}: {} did not keep all of them", proxy.name());
    }
    Figures::from([(
        "KiB/stream".to_owned(),
        (most - before).max(0.0) * 1024.0 / READERS as f64,
    )])
}

fn ask_shortly(title: &str, proxy: Proxy, process: &Process, upstream: u16) -> Figures {
    let requests = proxy.requests(REQUESTS);
    let kept = if title == KEPT { "kept" } else { "new" };
    let before = process.cpu();
    let words = [
        "short",
        &proxy.client(upstream),
        &process.port.to_string(),
        kept,
        &requests.to_string(),
    ];
    let (said, _) = client(process, words.map(str::to_owned).into_iter());
    let mut figures = figures(said);
    figures.insert(
        "CPU µs/req".to_owned(),
        process.cpu().since(&before) / requests as f64 * 1e6,
    );
    figures
}

/// The numbers that a client said.
fn figures(said: serde_json::Value) -> Figures {
    let pairs = said.as_object().into_iter().flatten();
    pairs
        .filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)))
        .collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Clients that come so many milliseconds apart and leave after so many tokens; how long the
/// upstream took to see it, by its own clock.
pub fn hangup(client: &str, port: &str, upstream: &str, after: &str, apart: &str) -> String {
    let client = Arc::new(Client::of(client));
    let (port, upstream): (u16, u16) = (
        port.parse().expect("a port"),
        upstream.parse().expect("a port"),
    );
    let after: usize = after.parse().expect("a number");
    let apart = Duration::from_millis(apart.parse().expect("milliseconds"));
    runtime().block_on(async move {
        let mut set = tokio::task::JoinSet::new();
        for id in 0..LEAVERS {
            let client = client.clone();
            set.spawn(async move {
                // One after the other: what is measured is one client's leaving, not two hundred at
                // once.
                tokio::time::sleep(apart * id as u32).await;
                let gap = if after == 0 { 60_000 } else { 20 };
                let mut stream =
                    ask(&client, port, &format!("1000 tokens {gap} gap {id} id")).await;
                if after == 0 {
                    // Not at the moment when another one comes.
                    tokio::time::sleep(apart * (200 / apart.as_millis() as u32) + apart / 2).await;
                }
                let (mut raw, mut seen) = (Vec::new(), 0);
                while seen < after * 2 {
                    assert!(
                        stream.read_buf(&mut raw).await.expect("more") > 0,
                        "it ended too early"
                    );
                    seen = raw.iter().filter(|byte| **byte == b'@').count();
                }
                let left = crate::now();
                drop(stream);
                (id, left)
            });
        }
        let left = set.join_all().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let seen = told(upstream).await;
        let mut delays: Vec<u64> = left
            .iter()
            .filter_map(|(id, left)| {
                // What an earlier proxy's clients left behind came earlier.
                let (_, at) = seen.iter().find(|(seen, at)| seen == id && at >= left)?;
                Some(at.saturating_sub(*left))
            })
            .collect();
        let seen = delays.len();
        let mut ms = |part: f64| (seen > 0).then(|| at(&mut delays, part) / 1000.0);
        serde_json::json!({ "p50 ms": ms(0.5), "max ms": ms(1.0), "seen": seen }).to_string()
    })
}

/// Who left, as the upstream saw it.
async fn told(upstream: u16) -> Vec<(u64, u64)> {
    let mut stream = TcpStream::connect(("127.0.0.1", upstream))
        .await
        .expect("the upstream");
    stream
        .write_all(b"GET /left HTTP/1.1\r\nhost: arena\r\n\r\n")
        .await
        .expect("a request");
    let mut raw = Vec::new();
    loop {
        stream.read_buf(&mut raw).await.expect("an answer");
        let Some(head) = find(&raw, b"\r\n\r\n") else {
            continue;
        };
        if let Ok(left) = serde_json::from_slice(&raw[head + 4..]) {
            return left;
        }
    }
}

/// Clients that take a kilobyte a second of a long answer, or what there is of it: some proxies
/// have nothing for some.
pub fn slow(client: &str, port: &str, streams: &str) -> String {
    let client = Arc::new(Client::of(client));
    let (port, streams): (u16, usize) = (
        port.parse().expect("a port"),
        streams.parse().expect("a number"),
    );
    runtime().block_on(async move {
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..streams {
            let client = client.clone();
            set.spawn(async move {
                let mut stream = ask(&client, port, "250000 tokens 0 gap").await;
                let mut piece = [0; 1024];
                let mut seconds = tokio::time::interval(Duration::from_secs(1));
                loop {
                    seconds.tick().await;
                    if stream.read_exact(&mut piece).await.is_err() {
                        return;
                    }
                }
            });
        }
        tokio::time::sleep(Duration::from_secs(SECONDS)).await;
        let is_cut = set.try_join_next().is_some();
        serde_json::json!({ "is cut": is_cut }).to_string()
    })
}

/// Many short requests, on new connections or on kept ones.
pub fn short(client: &str, port: &str, kept: bool, requests: usize) -> String {
    let client = Arc::new(Client::of(client));
    let port: u16 = port.parse().expect("a port");
    runtime().block_on(async move {
        let started = std::time::Instant::now();
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let client = client.clone();
            set.spawn(async move {
                let (mut times, mut delays, mut first) = (Vec::new(), Vec::new(), Vec::new());
                let mut stream: Option<TcpStream> = None;
                for _ in 0..requests / AT_ONCE {
                    let began = crate::now();
                    let mut connection = match stream.take() {
                        Some(connection) => connection,
                        None => connect(port).await.expect("the proxy listens"),
                    };
                    let read = client.read(&mut connection, "5 tokens 0 gap", &mut delays, &mut first);
                    read.await.expect("a whole answer");
                    times.push(crate::now() - began);
                    if kept {
                        stream = Some(connection);
                    }
                }
                times
            });
        }
        let mut times: Vec<u64> = set.join_all().await.into_iter().flatten().collect();
        let rate = times.len() as f64 / started.elapsed().as_secs_f64();
        serde_json::json!({ "p50 µs": at(&mut times, 0.5), "p99 µs": at(&mut times, 0.99), "req/s": rate }).to_string()
    })
}

/// Sends a request with that prompt.
async fn ask(client: &Client, port: u16, prompt: &str) -> TcpStream {
    let mut stream = connect(port).await.expect("the proxy listens");
    stream
        .write_all(&client.request(prompt))
        .await
        .expect("a request");
    stream
}
