//! How a proxy behaves when its clients do not: W4, they leave; W5, they hardly read; W6, they are in a hurry.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::load::{Client, find};
use crate::proxies::{Process, Proxy};

/// How many leave, and how many read slowly.
const LEAVERS: u64 = 200;
const READERS: usize = 20;
/// How long they read, at a kilobyte a second.
const SECONDS: u64 = 8;
/// Short requests, and how many at once.
const REQUESTS: usize = 2000;
const AT_ONCE: usize = 50;

/// Measures all proxies and prints a table for each workload.
pub fn run(binary: &str, rounds: usize, upstream: &Process) {
    table(
        "W4 200 clients leave after five tokens",
        &["p50 ms", "max ms", "seen"],
        binary,
        rounds,
        upstream,
        |process, port| hangups(process, port, upstream.port, "5"),
    );
    table("W4 … before the first", &["p50 ms", "max ms", "seen"], binary, rounds, upstream, |process, port| {
        hangups(process, port, upstream.port, "0")
    });
    table("W5 20 clients read 1 KB/s of 50 MB", &["KB/stream"], binary, rounds, upstream, |process, port| {
        let before = process.resident();
        let (_, most) = crate::client(process, ["slow", &port.to_string(), &READERS.to_string()].into_iter());
        vec![(most - before).max(0.0) * 1024.0 / READERS as f64]
    });
    for kept in ["new", "kept"] {
        let name = format!("W6 2000 requests of five tokens, {kept} connections");
        table(&name, &["CPU µs/req", "p50 µs", "p99 µs", "req/s"], binary, rounds, upstream, |process, port| {
            let before = process.cpu();
            let (said, _) = crate::client(process, ["short", &port.to_string(), kept].into_iter());
            let number = |name: &str| said[name].as_f64().expect("a number");
            vec![(process.cpu() - before) / REQUESTS as f64 * 1e6, number("p50"), number("p99"), number("rate")]
        });
    }
}

fn hangups(process: &Process, port: u16, upstream: u16, after: &str) -> Vec<f64> {
    let words = [port.to_string(), upstream.to_string()];
    let (said, _) = crate::client(process, ["hangup", &words[0], &words[1], after].into_iter());
    ["p50", "max", "seen"].iter().map(|name| said[*name].as_f64().expect("a number")).collect()
}

fn table(
    name: &str,
    columns: &[&str],
    binary: &str,
    rounds: usize,
    upstream: &Process,
    measure: impl Fn(&Process, u16) -> Vec<f64>,
) {
    println!("\n{name}");
    print!("{:>12}", "");
    columns.iter().for_each(|column| print!(" {column:>12}"));
    println!();
    for proxy in Proxy::ALL.into_iter().filter(|proxy| *proxy != Proxy::Translated) {
        let mut all: Vec<Vec<f64>> = Vec::new();
        for _ in 0..rounds {
            match proxy.start(binary, upstream.port) {
                Some(process) => {
                    let port = if process.port == 0 { upstream.port } else { process.port };
                    all.push(measure(&process, port));
                }
                None => eprintln!("{} is not installed: skipped", proxy.name()),
            }
        }
        if all.is_empty() {
            continue;
        }
        print!("{:>12}", proxy.name());
        for column in 0..columns.len() {
            let mut values: Vec<f64> = all.iter().map(|round| round[column]).collect();
            values.sort_by(f64::total_cmp);
            print!(" {:>12.2}", values[values.len() / 2]);
        }
        println!();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Clients that leave after so many tokens; how long the upstream took to see it, by its own clock.
pub fn hangup(port: &str, upstream: &str, after: &str) -> String {
    let (port, upstream): (u16, u16) = (port.parse().expect("a port"), upstream.parse().expect("a port"));
    let after: usize = after.parse().expect("a number");
    runtime().block_on(async move {
        let mut set = tokio::task::JoinSet::new();
        for id in 0..LEAVERS {
            set.spawn(async move {
                // One after the other: what is measured is one client's leaving, not two hundred at once.
                tokio::time::sleep(Duration::from_millis(id * 5)).await;
                let gap = if after == 0 { 60_000 } else { 20 };
                let mut stream = ask(port, &format!("1000 tokens {gap} gap {id} id")).await;
                if after == 0 {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                let (mut raw, mut seen) = (Vec::new(), 0);
                while seen < after * 2 {
                    assert!(stream.read_buf(&mut raw).await.expect("more") > 0, "it ended too early");
                    seen = raw.iter().filter(|byte| **byte == b'@').count();
                }
                let left = crate::now();
                drop(stream);
                (id, left)
            });
        }
        let left = set.join_all().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let seen = told(upstream).await;
        let mut delays: Vec<f64> = left
            .iter()
            .filter_map(|(id, left)| {
                // What an earlier proxy's clients left behind came earlier.
                let (_, at) = seen.iter().find(|(seen, at)| seen == id && at >= left)?;
                Some(at.saturating_sub(*left) as f64 / 1e6)
            })
            .collect();
        delays.sort_by(f64::total_cmp);
        let at =
            |part: f64| delays.get(((delays.len().max(1) - 1) as f64 * part) as usize).copied().unwrap_or(f64::NAN);
        let or_never = |value: f64| if value.is_nan() { -1.0 } else { value };
        serde_json::json!({ "p50": or_never(at(0.5)), "max": or_never(at(1.0)), "seen": delays.len() }).to_string()
    })
}

/// Who left, as the upstream saw it.
async fn told(upstream: u16) -> Vec<(u64, u64)> {
    let mut stream = TcpStream::connect(("127.0.0.1", upstream)).await.expect("the upstream");
    stream.write_all(b"GET /left HTTP/1.1\r\nhost: arena\r\n\r\n").await.expect("a request");
    let mut raw = Vec::new();
    loop {
        stream.read_buf(&mut raw).await.expect("an answer");
        let Some(head) = find(&raw, b"\r\n\r\n") else { continue };
        if let Ok(left) = serde_json::from_slice(&raw[head + 4..]) {
            return left;
        }
    }
}

/// Clients that take a kilobyte a second of a long answer.
pub fn slow(port: &str, streams: &str) -> String {
    let (port, streams): (u16, usize) = (port.parse().expect("a port"), streams.parse().expect("a number"));
    runtime().block_on(async move {
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..streams {
            set.spawn(async move {
                let mut stream = ask(port, "250000 tokens 0 gap").await;
                let mut piece = [0; 1024];
                for _ in 0..SECONDS {
                    stream.read_exact(&mut piece).await.expect("a kilobyte");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            });
        }
        set.join_all().await;
        "{}".to_owned()
    })
}

/// Many short requests, on new connections or on kept ones.
pub fn short(port: &str, kept: bool) -> String {
    let port: u16 = port.parse().expect("a port");
    runtime().block_on(async move {
        let started = std::time::Instant::now();
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            set.spawn(async move {
                let client = Client::of("openai-chat");
                let mut times = Vec::new();
                let mut stream: Option<TcpStream> = None;
                for _ in 0..REQUESTS / AT_ONCE {
                    let began = crate::now();
                    let mut connection = match stream.take() {
                        Some(connection) => connection,
                        None => connect(port).await,
                    };
                    crate::load::read(&client, &mut connection, 5, 0, &mut Vec::new()).await.expect("a whole answer");
                    times.push(crate::now() - began);
                    if kept {
                        stream = Some(connection);
                    }
                }
                times
            });
        }
        let mut times: Vec<u64> = set.join_all().await.into_iter().flatten().collect();
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize] as f64 / 1000.0;
        let rate = times.len() as f64 / started.elapsed().as_secs_f64();
        serde_json::json!({ "p50": at(0.5), "p99": at(0.99), "rate": rate }).to_string()
    })
}

async fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the proxy listens");
    stream.set_nodelay(true).expect("nodelay");
    stream
}

/// Sends a request with that prompt.
async fn ask(port: u16, prompt: &str) -> TcpStream {
    let mut stream = connect(port).await;
    let body =
        format!("{{\"model\":\"gpt\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}]}}");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: arena\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.expect("a request");
    stream
}
