//! HTTP/2 clients: each stream has what a connection of HTTP/1.1 has, and is no other's trouble.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::h2_client::{H2, Stream, get, post, run};
use crate::support::*;

const SLOW: &str =
    "[timeouts]\nfirst_token = \"10m\"\nbetween_tokens = \"10m\"\n[sse]\nheartbeat = \"10m\"\n";

/// A request for the model `flood` gets frames without end, for `silent` nothing, any other one
/// token; and `gated` its end once the gate opens.
fn upstream() -> (Upstream, std::sync::mpsc::Sender<()>, Arc<AtomicUsize>) {
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let (gate, sent) = (Mutex::new(gate), Arc::new(AtomicUsize::new(0)));
    let count = sent.clone();
    let upstream = Upstream::start(move |c| {
        let Some(request) = c.request() else { return };
        let model = request.json()["model"].clone();
        if model == "silent" {
            return c.wait_closed();
        }
        c.stream_head();
        if model == "flood" {
            let run = says(&"x".repeat(1000)).repeat(16);
            while c.chunk(run.as_bytes()) {
                count.fetch_add(run.len(), Ordering::Relaxed);
            }
        } else {
            c.say("first");
            if model == "gated" && gate.lock().unwrap().recv().is_ok() {
                c.chunk(format!("{}{STOP}{DONE}", says("last")).as_bytes());
                c.end();
            }
        }
        c.wait_closed();
    });
    (upstream, open, sent)
}

#[test]
fn many_streams_share_a_connection() {
    const STREAMS: usize = 12;
    // None ends before all have begun.
    let all = Arc::new(Barrier::new(STREAMS));
    let upstream = Upstream::start(move |c| {
        let asked = c.request().unwrap().json()["messages"][0]["content"]
            .as_str()
            .unwrap()
            .to_owned();
        c.stream_head();
        c.say(&asked);
        all.wait();
        c.chunk(format!("{}{STOP}{DONE}", says(&asked).repeat(100)).as_bytes());
        c.end();
    });
    let server = Server::before(&upstream);
    run(async {
        let client = H2::connect(server.address).await;
        let mut streams = tokio::task::JoinSet::new();
        for n in 0..STREAMS {
            let client = client.clone();
            let asked = format!("stream-{n}");
            streams.spawn(async move {
                let stream = client
                    .chat(json!({ "messages": [{ "role": "user", "content": asked }] }))
                    .await;
                assert_eq!(stream.head.status, 200);
                (asked, stream.text().await)
            });
        }
        for (asked, text) in streams.join_all().await {
            assert_eq!(text, format!("{}{STOP}{DONE}", says(&asked).repeat(101)));
        }
    });
}

#[test]
fn a_host_that_is_none_is_refused() {
    let server = Server::mock();
    run(async {
        let client = H2::connect(server.address).await;
        for (authority, host, status) in [
            ("t", "t", 200),
            ("T", "t", 200),
            ("[::1]:80", "[::1]:80", 200),
            ("t", "u", 400),
            ("t", "t:80", 400),
            ("t", "", 400),
            ("t", "a b", 400),
            ("t", "a/b", 400),
            ("t", "user@a", 400),
            ("t", "a, b", 400),
        ] {
            let request = http::Request::get(format!("http://{authority}/healthz"));
            let request = request.header("host", host).body(()).unwrap();
            let stream = client.ask(request, None).await.unwrap();
            assert_eq!(stream.head.status, status, "{authority} {host}");
        }
    });
}

#[test]
fn a_browsers_eventsource() {
    let server = Server::with("[mock]\ntokens_per_second = 0\n", &[]);
    let path = "/stream?prompt=hi+canary-prompt&model=mock-echo";
    let over_http1 = server.get(path).body();
    run(async {
        let mut request = get(path);
        for (name, value) in [
            ("accept", "text/event-stream"),
            ("cache-control", "no-cache"),
            ("accept-encoding", "gzip, deflate, br, zstd"),
            ("sec-fetch-mode", "cors"),
            ("priority", "u=1, i"),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let stream = H2::connect(server.address)
            .await
            .ask(request, None)
            .await
            .unwrap();
        assert_eq!(stream.head.status, 200);
        assert_eq!(
            stream.header("content-type"),
            Some("text/event-stream; charset=utf-8")
        );
        assert_eq!(
            stream.header("cache-control"),
            Some("no-cache, no-transform")
        );
        assert!(stream.header("x-request-id").unwrap().starts_with("req_"));
        assert!(
            stream.header("connection").is_none() && stream.header("transfer-encoding").is_none()
        );
        // What it dispatches: its frames have ids besides.
        assert_eq!(events(&stream.text().await), events(&over_http1));
    });
}

#[test]
fn a_reset_cancels_its_own_generation_at_once() {
    let (upstream, open, sent) = upstream();
    let server = Server::before_with(&upstream, SLOW, "");
    run(async {
        let client = H2::connect(server.address).await;
        let mut other = client.chat(json!({ "model": "gated" })).await;
        other.wait_for("first").await;
        // Before our head.
        let body = chat_body(json!({ "model": "silent" })).to_string();
        let (answer, mut request) = client
            .send(post("/v1/chat/completions"), Some(body.into()))
            .await
            .unwrap();
        upstream.wait_requests(2);
        request.send_reset(h2::Reason::CANCEL);
        drop(answer);
        upstream.wait_closed(1);
        assert_eq!(server.logged("generation", 1)["status"], 499);
        // While the upstream is silent.
        let mut stream = client.chat(json!({})).await;
        stream.wait_for("first").await;
        stream.cancel();
        upstream.wait_closed(2);
        // While the client takes nothing: its window has closed.
        let stream = client.chat(json!({ "model": "flood" })).await;
        until("its window is full", || {
            (sent.load(Ordering::Relaxed) > 65_535).then_some(())
        });
        stream.cancel();
        upstream.wait_closed(3);
        // The first one is whole.
        open.send(()).unwrap();
        other.wait_for("data: [DONE]").await;
    });
    for (nth, ended) in ["client_left", "client_left", "client_left", "complete"]
        .iter()
        .enumerate()
    {
        assert_eq!(server.logged("generation", nth + 1)["ended"], *ended);
    }
}

#[test]
fn a_client_that_leaves_cancels_all_its_streams() {
    let (upstream, _open, _) = upstream();
    let server = Server::before_with(&upstream, SLOW, "");
    run(async {
        let client = H2::connect(server.address).await;
        for _ in 0..3 {
            client.chat(json!({})).await.wait_for("first").await;
        }
        let streams: Vec<_> = [client.chat(json!({})).await, client.chat(json!({})).await].into();
        upstream.wait_closed(3);
        client.leave();
        upstream.wait_closed(5);
        drop(streams);
    });
    assert_eq!(server.logged("generation", 5)["ended"], "client_left");
}

#[test]
fn a_stream_whose_client_takes_nothing_is_reset_and_its_neighbours_go_on() {
    let (upstream, open, _) = upstream();
    let stall = SLOW.replace("first_token", "client_stall = \"300ms\"\nfirst_token");
    let server = Server::before_with(&upstream, &stall, "");
    run(async {
        let client = H2::connect(server.address).await;
        let mut healthy = client.chat(json!({ "model": "gated" })).await;
        healthy.wait_for("first").await;
        let mut stalled = client.chat(json!({ "model": "flood" })).await;
        assert_eq!(server.logged("generation", 1)["ended"], "client_stall");
        upstream.wait_closed(1);
        // What it had been sent is still there, and then it ends as what it is.
        let error = loop {
            if let Err(error) = stalled.piece().await.expect("no proper end") {
                break error;
            }
        };
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
        // Silence is not a stall: the healthy one has been silent for longer.
        open.send(()).unwrap();
        healthy.wait_for("data: [DONE]").await;
    });
    assert_eq!(server.logged("generation", 2)["ended"], "complete");
}

#[test]
fn a_client_that_reads_nothing_at_all_is_dropped() {
    let (upstream, _open, _) = upstream();
    let stall = SLOW.replace("first_token", "client_stall = \"300ms\"\nfirst_token");
    let server = Server::before_with(&upstream, &stall, "");
    let path = "/stream?prompt=x+canary-prompt&model=flood";
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // As much window as there can be: only the socket itself holds anything back.
    bytes.extend(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x7f\xff\xff\xff");
    bytes.extend(b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\x00\x00");
    for stream in [1, 3] {
        let headers = [
            b"\x82\x86\x41\x01t\x04",
            &[u8::try_from(path.len()).unwrap()][..],
            path.as_bytes(),
        ]
        .concat();
        bytes.extend([
            0,
            0,
            u8::try_from(headers.len()).unwrap(),
            1,
            5,
            0,
            0,
            0,
            stream,
        ]);
        bytes.extend(headers);
    }
    let _client = Client::send(server.address, &bytes);
    upstream.wait_closed(2);
    for nth in [1, 2] {
        assert_eq!(server.logged("generation", nth)["ended"], "client_stall");
    }
}

#[test]
fn what_is_held_for_streams_that_take_nothing_has_a_bound() {
    const STREAMS: u64 = 40;
    let (upstream, _open, sent) = upstream();
    let patient = "workers = 1\n[timeouts]\nclient_stall = \"10m\"\n";
    let server = Server::before_with(&upstream, patient, "");
    run(async {
        let client = H2::connect(server.address).await;
        let start = async |count: u64| {
            let mut streams = Vec::new();
            for _ in 0..count {
                streams.push(client.chat(json!({ "model": "flood" })).await);
            }
            let mut last = (0, std::time::Instant::now());
            until("all are held back", || {
                let now = sent.load(Ordering::Relaxed);
                if now != last.0 {
                    last = (now, std::time::Instant::now());
                }
                (last.1.elapsed() > Duration::from_millis(500)).then_some(())
            });
            streams
        };
        // The first ones pay for what is made once.
        let _first = start(4).await;
        let before = server.resident();
        let mut streams = start(STREAMS).await;
        let each = server.resident().saturating_sub(before) / STREAMS;
        // A debug build counts too.
        assert!(each < 256, "{each} KiB for each");
        assert_eq!(client.get("/healthz").await.text().await, "ok");
        // Held back is not lost.
        let stream = streams.last_mut().unwrap();
        let mut taken = String::new();
        while taken.len() < 2 << 20 {
            taken.push_str(&stream.piece().await.unwrap().unwrap());
        }
        let frame = says(&"x".repeat(1000));
        assert!(
            taken
                .as_bytes()
                .chunks(frame.len())
                .all(|run| frame.as_bytes().starts_with(run))
        );
    });
}

#[test]
fn a_whole_answer_waits_for_its_client_too() {
    let big = json!({ "choices": [{ "message": { "content": "z".repeat(3 << 20) } }] }).to_string();
    let upstream = Upstream::raw(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{big}",
        big.len()
    ));
    let server = Server::before_with(&upstream, "[timeouts]\nclient_stall = \"500ms\"\n", "");
    run(async {
        let client = H2::connect(server.address).await;
        let mut untaken = client.chat(json!({ "stream": false })).await;
        assert_eq!(untaken.reset().await, h2::Reason::CANCEL);
        let stream = client.chat(json!({ "stream": false })).await;
        assert_eq!(client.get("/healthz").await.text().await, "ok");
        assert_eq!(
            stream.header("content-length"),
            Some(big.len().to_string().as_str())
        );
        assert!(stream.text().await == big);
    });
}

#[test]
fn running_streams_finish_and_the_client_is_told_to_ask_elsewhere() {
    let (upstream, open, _) = upstream();
    let mut server = Server::before_with(&upstream, SLOW, "");
    run(async {
        let idle = H2::connect(server.address).await;
        assert_eq!(idle.get("/readyz").await.text().await, "ok");
        let client = H2::connect(server.address).await;
        let mut stream = client.chat(json!({ "model": "gated" })).await;
        stream.wait_for("first").await;
        server.signal(Signal::SIGTERM);
        idle.wait_closed().await;
        while client.ask(get("/readyz"), None).await.is_ok() {}
        open.send(()).unwrap();
        stream.wait_for("data: [DONE]").await;
        assert!(stream.piece().await.is_none());
    });
    assert!(server.wait_exit().success());
    assert_eq!(server.ended(), "complete");
}

#[test]
fn past_the_deadline_each_stream_ends_with_an_error() {
    let (upstream, _open, _) = upstream();
    let mut server = Server::before_with(&upstream, &format!("drain = \"200ms\"\n{SLOW}"), "");
    run(async {
        let client = H2::connect(server.address).await;
        let streams = [client.chat(json!({})).await, client.chat(json!({})).await];
        server.signal(Signal::SIGTERM);
        for stream in streams {
            let text = stream.text().await;
            assert!(
                text.contains("\"draining\"") && !text.contains("[DONE]"),
                "{text}"
            );
        }
    });
    assert!(server.wait_exit().success());
}

#[test]
fn refusals_have_their_status_and_say_why() {
    let server = Server::with("max_body = \"4MiB\"", &[]);
    run(async {
        let client = H2::connect(server.address).await;
        let mut many = get("/healthz");
        for n in 0..101 {
            many.headers_mut().insert(
                http::HeaderName::try_from(format!("x-{n}")).unwrap(),
                "y".parse().unwrap(),
            );
        }
        let mut large = get("/healthz");
        large
            .headers_mut()
            .insert("x", "y".repeat(40_000).parse().unwrap());
        for request in [many, large] {
            let stream = client.ask(request, None).await.unwrap();
            assert_eq!(stream.head.status, 431);
            assert_eq!(stream.json().await["error"]["code"], "headers_too_large");
        }
        // So many that they are not even read.
        let mut huge = get("/healthz");
        huge.headers_mut()
            .insert("x", "y".repeat(100_000).parse().unwrap());
        assert_eq!(client.ask(huge, None).await.unwrap().head.status, 431);
        // Bodies that are sent whole before the answer is read: nothing interrupts them, and the
        // connection goes on.
        for (kind, status, code) in [
            ("application/json", 413, "body_too_large"),
            ("image/png", 415, "unsupported_media_type"),
        ] {
            let mut request = post("/stream");
            request
                .headers_mut()
                .insert("content-type", kind.parse().unwrap());
            let (answer, mut stream) = client.ready().await.send_request(request, false).unwrap();
            for _ in 0..600 {
                let piece = Bytes::from(vec![b'x'; 16_384]);
                stream.reserve_capacity(piece.len());
                while stream.capacity() < piece.len() {
                    let more = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                    more.expect("the stream is open").expect("no reset");
                }
                stream.send_data(piece, false).unwrap();
            }
            stream.send_data(Bytes::new(), true).unwrap();
            let mut stream = Stream::new(answer.await.unwrap(), stream);
            assert_eq!(stream.head.status, status);
            stream.wait_for(code).await;
        }
        assert_eq!(client.get("/nowhere").await.head.status, 404);
        assert_eq!(
            client
                .get("/stream?prompt=x+canary-prompt&model=nope")
                .await
                .head
                .status,
            404
        );
        assert_eq!(client.get("/healthz").await.text().await, "ok");
    });
}

#[test]
fn resets_without_end_leave_nothing_behind() {
    let (upstream, _open, _) = upstream();
    let server = Server::before_with(&upstream, SLOW, "");
    run(async {
        for _ in 0..4 {
            let client = H2::connect(server.address).await;
            for _ in 0..200 {
                let body = Bytes::from(chat_body(json!({})).to_string());
                // The server may have had enough of it.
                let Ok((answer, mut request)) =
                    client.send(post("/v1/chat/completions"), Some(body)).await
                else {
                    break;
                };
                request.send_reset(h2::Reason::CANCEL);
                drop(answer);
            }
        }
    });
    until("all that began is cancelled", || {
        let (begun, log) = (upstream.connections(), server.log());
        let (all, left) = (
            log.matches("\"message\":\"generation\"").count(),
            log.matches("\"client_left\"").count(),
        );
        (all == left && all >= begun).then_some(())
    });
    assert_eq!(server.get("/healthz").body(), "ok");
}
