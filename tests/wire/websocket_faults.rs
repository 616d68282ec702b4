//! Sockets that break the rules, fall silent, take nothing; and the server's end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::*;
use crate::ws_client::*;

fn handshake(server: &Server, headers: &str) -> Client {
    let head = "GET /v1/ws HTTP/1.1\r\nhost: chat.example\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n\
                sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    Client::send(server.address, format!("{head}{headers}\r\n").as_bytes())
}

#[test]
fn pages_of_other_origins_get_no_socket() {
    let server = Server::with(
        "hosts = [\"chat.example\"]\n[cors]\norigins = [\"https://app.example\"]",
        &[],
    );
    for own in [
        "",
        "origin: https://chat.example\r\n",
        "origin: https://app.example\r\n",
    ] {
        let mut client = handshake(&server, own);
        assert_eq!(client.status(), 101, "{own}");
        assert_eq!(
            client.header("sec-websocket-accept").as_deref(),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
        assert!(client.header("x-request-id").is_some());
    }
    for foreign in [
        "null",
        "https://evil.example",
        "https://app.example.evil.example",
        "https://chat.example:444",
    ] {
        let mut client = handshake(&server, &format!("origin: {foreign}\r\n"));
        assert_eq!(client.status(), 403, "{foreign}");
        let error = client.json();
        assert_eq!(error["error"]["code"], "forbidden");
        assert!(
            error["error"]["message"]
                .as_str()
                .is_some_and(|text| text.contains("cors.origins")),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_handshake_is_told_what_is_missing() {
    let server = Server::with("hosts = [\"chat.example\"]\n", &[]);
    let mut client = server.get("/v1/ws");
    assert_eq!(
        (client.status(), client.header("upgrade").as_deref()),
        (426, Some("websocket"))
    );
    assert!(
        client.json()["error"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("WebSocket"))
    );
    let old = "GET /v1/ws HTTP/1.1\r\nhost: t\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 8\r\n\
               sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut client = Client::send(server.address, old.as_bytes());
    assert_eq!(
        (
            client.status(),
            client.header("sec-websocket-version").as_deref()
        ),
        (426, Some("13"))
    );
    let mut client = Client::send(
        server.address,
        old.replace(": 8", ": 13").replace("bXBsZS", "").as_bytes(),
    );
    assert_eq!(client.status(), 400);
    let mut client = handshake(&server, "sec-websocket-protocol: other, tokenrill.v1\r\n");
    assert_eq!(
        client.header("sec-websocket-protocol").as_deref(),
        Some("tokenrill.v1")
    );
    let mut client = handshake(&server, "sec-websocket-protocol: other\r\n");
    assert_eq!(
        (client.status(), client.header("sec-websocket-protocol")),
        (101, None)
    );
}

#[test]
fn who_breaks_the_protocol_is_told_how() {
    let server = Server::with("[websocket]\nmax_message = \"4KiB\"", &[]);
    let unmasked = vec![0x81, 2, b'{', b'}'];
    // Far more than is let in, and than a connection's buffers hold: the answer must still arrive.
    let oversize = frame(0x81, &vec![b' '; 3 << 20]);
    let pieces = [frame(0x01, &[b' '; 3000]), frame(0x80, &[b' '; 3000])].concat();
    for (bytes, code) in [
        (unmasked, 1002),
        (frame(0x83, b""), 1002),
        (frame(0xc1, b"{}"), 1002),
        (frame(0x09, b""), 1002),
        (frame(0x80, b"{}"), 1002),
        (frame(0x82, b"{}"), 1003),
        (frame(0x81, b"\"\xff\xfe\""), 1007),
        (frame(0x81, b"\xed\xa0\x80"), 1007),
        (oversize, 1009),
        (pieces, 1009),
    ] {
        let mut ws = Ws::open(&server);
        // Something runs, and is no excuse.
        ws.say(start("g", "mock", "x"));
        assert_eq!(ws.hear()["type"], "started");
        ws.raw(&bytes);
        assert_eq!(
            ws.hear_close().0,
            code,
            "{:?}",
            &bytes[..bytes.len().min(20)]
        );
        ws.wait_end();
    }
    for n in 1..=10 {
        assert_eq!(server.logged("generation", n)["ended"], "client_left");
    }
}

#[test]
fn a_text_in_pieces_with_a_ping_between_is_one_message() {
    let server = Server::mock();
    let mut ws = Ws::open(&server);
    let text = start("g", "mock-echo", "zwölf Boxkämpfer").to_string();
    let (first, rest) = text.as_bytes().split_at(text.find('ö').unwrap() + 1);
    ws.raw(
        &[
            frame(0x01, first),
            frame(0x89, b"there?"),
            frame(0x80, rest),
        ]
        .concat(),
    );
    let heard = ws.hear_all("g");
    assert_eq!(data(&heard).concat(), "zwölf Boxkämpfer[DONE]");
}

#[test]
fn who_answers_no_ping_is_dropped_and_who_does_stays() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        c.say("first");
        c.wait_closed();
    });
    let server = Server::before_with(&upstream, "[websocket]\nping = \"100ms\"", "");
    let mut dead = Ws::open(&server);
    dead.say(start("g", "m", "x"));
    let mut alive = Ws::open(&server);
    let reader = std::thread::spawn(move || {
        // Reading is what answers them.
        let mut pings = 0;
        while pings < 8 {
            pings += usize::from(alive.inner.read().expect("it stays").is_ping());
        }
        alive.say(json!({ "type": "leave", "id": "nobody" }));
        assert_eq!(alive.hear()["error"]["status"], 404);
    });
    // Two pings, and the end.
    let heard = dead.raw_to_end();
    assert_eq!(
        heard.windows(2).filter(|two| two == &[0x89, 0]).count(),
        2,
        "{heard:?}"
    );
    upstream.wait_closed(1);
    assert_eq!(server.ended(), "client_left");
    reader.join().unwrap();
}

#[test]
fn a_socket_without_work_is_closed_and_one_with_work_is_not() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        c.say("first");
        std::thread::sleep(Duration::from_millis(900));
        c.chunk(format!("{STOP}{DONE}").as_bytes());
        c.end();
    });
    let server = Server::before_with(&upstream, "[websocket]\nidle = \"300ms\"", "");
    let mut idle = Ws::open(&server);
    let mut busy = Ws::open(&server);
    busy.say(start("g", "m", "x"));
    assert_eq!(idle.hear_close().0, 1000);
    assert_eq!(status(&busy.hear_all("g")), "completed");
    let since = Instant::now();
    assert_eq!(busy.hear_close().0, 1000);
    assert!(
        since.elapsed() >= Duration::from_millis(250),
        "{:?}",
        since.elapsed()
    );
}

/// Pushes until nobody takes it any more, and counts.
fn fire_hose() -> (Upstream, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let upstream = Upstream::start(move |c| {
        let Some(seen) = c.request() else { return };
        c.stream_head();
        if seen.json()["messages"][0]["content"] == "little" {
            for n in 0..200 {
                c.say(&format!("t{n}"));
            }
            c.chunk(format!("{STOP}{DONE}").as_bytes());
            return c.end();
        }
        let run = says(&"x".repeat(1000)).repeat(16);
        while c.chunk(run.as_bytes()) {
            count.fetch_add(run.len(), Ordering::Relaxed);
        }
        c.wait_closed();
    });
    (upstream, taken)
}

/// Waits until a number has stopped changing.
fn settled(number: impl Fn() -> usize) -> usize {
    let mut last = (number(), Instant::now());
    until("it has settled", || {
        let now = number();
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > Duration::from_millis(500)).then_some(now)
    })
}

#[test]
fn a_socket_that_takes_nothing_stalls_its_own_and_nobody_else_and_is_dropped() {
    let (upstream, taken) = fire_hose();
    let server = Server::before_with(
        &upstream,
        "workers = 1\n[timeouts]\nclient_stall = \"4s\"\n",
        "",
    );
    let resident = server.resident();
    let mut stalled = Ws::open(&server);
    for n in 0..8 {
        stalled.say(start(&n.to_string(), "m", "much"));
    }
    upstream.wait_requests(8);
    let stuck = settled(|| taken.load(Ordering::Relaxed));
    // What lies in the kernel's buffers of nine connections.
    assert!(stuck < 64 << 20, "{stuck} bytes were taken");
    let grown = server.resident().saturating_sub(resident);
    assert!(
        grown < 20 << 10,
        "{grown} KiB for a client that takes nothing"
    );
    let mut healthy = Ws::open(&server);
    healthy.say(start("g", "m", "little"));
    assert_eq!(data(&healthy.hear_all("g")).len(), 201);
    upstream.wait_closed(8);
    for n in 2..=9 {
        assert_eq!(server.logged("generation", n)["ended"], "client_stall");
    }
}

#[test]
fn those_that_push_have_turns() {
    let (upstream, _) = fire_hose();
    let server = Server::before(&upstream);
    let mut ws = Ws::open(&server);
    for id in ["a", "b", "c"] {
        ws.say(start(id, "m", "much"));
    }
    upstream.wait_requests(3);
    let heard: Vec<String> = (0..3000)
        .map(|_| ws.hear()["id"].as_str().expect("an id").to_owned())
        .collect();
    for id in ["a", "b", "c"] {
        let share = heard.iter().filter(|of| *of == id).count();
        assert!(share > 500, "{id} has {share} of 3000");
    }
}

#[test]
fn a_flood_of_pings_or_of_nonsense_is_held_back() {
    let server = Server::with("[timeouts]\nclient_stall = \"2s\"\n", &[]);
    let resident = server.resident();
    for one in [frame(0x89, &[b'p'; 125]), frame(0x81, b"nonsense")] {
        let mut ws = Ws::open(&server);
        ws.inner
            .get_mut()
            .set_write_timeout(Some(PATIENCE))
            .unwrap();
        let flood = one.repeat(1000);
        let mut sent = 0;
        // Answers nobody reads: it stops taking, and then drops the socket.
        while ws.raw(&flood) {
            sent += flood.len();
            assert!(sent < 256 << 20, "{sent} bytes were taken");
        }
        let grown = server.resident().saturating_sub(resident);
        assert!(grown < 10 << 10, "{grown} KiB for {sent} bytes");
    }
    assert_eq!(server.get("/healthz").status(), 200);
}

/// Says a token, then waits for the gate, then finishes.
fn gated() -> (Upstream, std::sync::mpsc::Sender<()>) {
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let upstream = Upstream::start(move |c| {
        c.request();
        c.stream_head();
        c.say("first");
        if gate.lock().unwrap().recv().is_ok() {
            c.chunk(format!("{}{STOP}{DONE}", says("last")).as_bytes());
            c.end();
        }
        c.wait_closed();
    });
    (upstream, open)
}

#[test]
fn a_server_that_ends_says_so_to_the_idle_at_once_and_to_the_busy_when_they_are_done() {
    let (upstream, open) = gated();
    let mut server = Server::before(&upstream);
    let (mut idle, mut busy) = (Ws::open(&server), Ws::open(&server));
    busy.begin(start("g", "m", "x"));
    server.signal(Signal::SIGTERM);
    assert_eq!(idle.hear_close().0, 1001);
    busy.say(start("late", "m", "x"));
    let late = busy.hear();
    assert_eq!(
        (late["id"].as_str(), late["error"]["status"].as_u64()),
        (Some("late"), Some(503)),
        "{late}"
    );
    open.send(()).unwrap();
    let heard = busy.hear_all("g");
    assert_eq!(
        (data(&heard), status(&heard)),
        (vec!["last".into(), "[DONE]".into()], "completed".into())
    );
    assert_eq!(busy.hear_close().0, 1001);
    assert!(server.wait_exit().success());
}

#[test]
fn past_the_deadline_what_runs_ends_with_an_error_and_the_socket_with_1001() {
    let (upstream, _open) = gated();
    let mut server = Server::before_with(&upstream, "drain = \"200ms\"", "");
    let mut ws = Ws::open(&server);
    let mut lingering = start("lingering", "m", "x");
    lingering["linger"] = "30s".into();
    for one in [start("g", "m", "x"), lingering] {
        ws.begin(one);
    }
    server.signal(Signal::SIGTERM);
    let mut last: Vec<_> = (0..4).map(|_| ws.hear()).collect();
    last.sort_by_key(|message| message["id"].to_string() + &message["type"].to_string());
    let (ends, errors): (Vec<_>, Vec<_>) = last
        .into_iter()
        .partition(|message| message["type"] == "end");
    assert!(
        errors.iter().all(|event| event["data"]
            .as_str()
            .is_some_and(|data| data.contains("draining"))),
        "{errors:?}"
    );
    assert!(
        ends.len() == 2 && ends.iter().all(|end| end["status"] == "failed"),
        "{ends:?}"
    );
    assert_eq!(ws.hear_close().0, 1001);
    assert!(server.wait_exit().success());
}
