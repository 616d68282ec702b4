//! Backpressure and crowds: a client that reads slowly slows its upstream and nobody else, and
//! memory has a bound.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::*;

const PATIENT: &str = "[timeouts]\nclient_stall = \"10m\"\n";
const WHOLE: usize = 50 << 20;

/// Pushes 50 MiB as fast as they are taken, and counts them.
fn fire_hose() -> (Upstream, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let upstream = Upstream::start(move |c| {
        c.request();
        c.stream_head();
        let run = says(&"x".repeat(1000)).repeat(16);
        let mut sent = 0;
        while sent < WHOLE && c.chunk(run.as_bytes()) {
            sent += run.len();
            count.fetch_add(run.len(), Ordering::Relaxed);
        }
        c.chunk(format!("{STOP}{DONE}").as_bytes());
        c.end();
        c.wait_closed();
    });
    (upstream, taken)
}

/// Waits until a number has stopped changing.
fn settled(what: &str, number: impl Fn() -> usize) -> usize {
    let mut last = (number(), std::time::Instant::now());
    until(what, || {
        let now = number();
        if now != last.0 {
            last = (now, std::time::Instant::now());
        }
        (last.1.elapsed() > Duration::from_millis(500)).then_some(now)
    })
}

#[test]
fn a_client_that_reads_nothing_stops_the_upstream_and_then_gets_it_all() {
    let (upstream, taken) = fire_hose();
    let server = Server::before_with(&upstream, PATIENT, "");
    let mut client = server.chat(json!({}));
    client.head();
    let stuck = settled("the upstream is held back", || {
        taken.load(Ordering::Relaxed)
    });
    // Nearly all of this lies in the kernels' buffers of three sockets.
    assert!(
        stuck < WHOLE / 4,
        "{stuck} bytes were taken from the upstream"
    );
    // With the head came the first of the body.
    let mut rest = client.received.len();
    let mut last = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    while find(&last, b"data: [DONE]").is_none() {
        let n = client.stream.read(&mut buffer).expect("more");
        assert!(n > 0, "it ended after {rest}");
        rest += n;
        last.extend_from_slice(&buffer[..n]);
        let keep = last.len().saturating_sub(100);
        last.drain(..keep);
    }
    assert!(rest > WHOLE, "{rest}");
    assert_eq!(server.ended(), "complete");
}

#[test]
fn memory_for_a_client_that_reads_nothing_has_a_bound() {
    const CLIENTS: usize = 20;
    let (upstream, taken) = fire_hose();
    let server = Server::before_with(&upstream, PATIENT, "");
    let start = |count: usize| -> Vec<Client> {
        let mut clients: Vec<Client> = (0..count).map(|_| server.chat(json!({}))).collect();
        clients.iter_mut().for_each(|client| drop(client.head()));
        settled("all are held back", || taken.load(Ordering::Relaxed));
        clients
    };
    // The first ones pay for what is made once.
    let _first = start(4);
    let before = server.resident();
    let _clients = start(CLIENTS);
    let each = (server.resident().saturating_sub(before)) / CLIENTS as u64;
    // A debug build counts too.
    assert!(each < 256, "{each} KiB per stalled stream");
    // A healthy neighbour notices nothing.
    assert!(server.get("/healthz").body() == "ok");
}

#[test]
fn a_big_event_to_a_slow_client_arrives_whole() {
    let big = says(&"y".repeat(900_000));
    let sent = format!("{big}{STOP}{DONE}");
    let upstream = Upstream::streaming(sent.clone());
    let server = Server::before_with(&upstream, PATIENT, "");
    let mut client = server.chat(json!({}));
    client.head();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(client.body(), sent);
}

#[test]
fn two_thousand_streams_lose_no_token() {
    const STREAMS: usize = 2_000;
    let server = Server::with("[mock]\ntokens_per_second = 20\n", &[]);
    let whole = server
        .get("/stream?prompt=hi+canary-prompt&model=mock-fast&max_tokens=40")
        .body();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = server.address;
    let bodies = runtime.block_on(async {
        let mut streams = tokio::task::JoinSet::new();
        for _ in 0..STREAMS {
            streams.spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
                let request =
                    "GET /stream?prompt=hi+canary-prompt&model=mock&max_tokens=40 HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
                stream.write_all(request.as_bytes()).await.expect("sent");
                let mut answer = Vec::new();
                tokio::time::timeout(PATIENCE * 3, stream.read_to_end(&mut answer))
                    .await
                    .expect("in time")
                    .expect("read");
                String::from_utf8(answer).expect("UTF-8")
            });
        }
        streams.join_all().await
    });
    assert_eq!(bodies.len(), STREAMS);
    for body in bodies {
        let mut chunks = body.split("\r\n\r\n").nth(1).expect("a body").split("\r\n");
        let mut text = String::new();
        // Length, data, length, data, …
        while let (Some(_length), Some(data)) = (chunks.next(), chunks.next()) {
            text.push_str(data);
        }
        assert_eq!(text, whole);
    }
    until("each has its line", || {
        (server.log().matches("\"ended\":\"complete\"").count() == STREAMS + 1).then_some(())
    });
}
