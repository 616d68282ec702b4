//! Whole servers on one Redis, and one that is killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::*;

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(store: &str) -> Self {
        Self::with_rate(store, 5)
    }

    /// Starts a server whose mock says so many tokens a second.
    fn with_rate(store: &str, rate: u32) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tokenrill"))
            .args(["--listen", "127.0.0.1:0"])
            .env("TOKENRILL_STREAMS_STORE", store)
            .env("TOKENRILL_MOCK_TOKENS_PER_SECOND", rate.to_string())
            .env("TOKENRILL_WORKERS", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut greeting = String::new();
        BufReader::new(process.stdout.take().expect("stdout"))
            .read_line(&mut greeting)
            .expect("it greets");
        let address = greeting
            .trim()
            .rsplit_once("http://")
            .expect("an address")
            .1
            .to_owned();
        Self { process, address }
    }

    fn get(&self, path: &str) -> BufReader<TcpStream> {
        self.ask("GET", path)
    }

    fn ask(&self, method: &str, path: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\nconnection: close\r\n\r\n"
        );
        stream
            .write_all(head.as_bytes())
            .expect("it takes the request");
        BufReader::new(stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read_until(reader: &mut BufReader<TcpStream>, what: &str) -> String {
    let mut heard = String::new();
    while !heard.contains(what) {
        let read = reader.read_line(&mut heard).expect("more");
        assert!(read > 0, "no {what:?} in {heard}");
    }
    heard
}

const ENDLESS: &str = "/stream?prompt=say+a+lot+of+words&linger=60s";

#[test]
fn a_generation_of_one_server_is_read_joined_and_cancelled_at_another() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let store = format!("redis://127.0.0.1:{}", redis.port);
    let (one, other) = (Server::start(&store), Server::start(&store));
    let (id, mut first, _) = begun(&one);
    let path = format!("/v1/stream/{id}");
    let mut second = joined(&other, &path);
    read_until(&mut second, "data: ");
    let mut told = String::new();
    other
        .ask("POST", &format!("{path}/cancel"))
        .read_to_string(&mut told)
        .expect("an answer");
    assert!(told.contains("\"status\":\"cancelled\""), "{told}");
    for reader in [&mut first, &mut second] {
        let rest = read_until(reader, "cancelled");
        assert!(!rest.contains("[DONE]"), "{rest}");
    }
}

#[test]
fn readers_of_a_server_that_is_killed_are_told_within_ten_seconds() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let store = format!("redis://127.0.0.1:{}", redis.port);
    let (mut one, other) = (Server::start(&store), Server::start(&store));
    let (id, _first, _) = begun(&one);
    let path = format!("/v1/stream/{id}");
    let mut second = joined(&other, &path);
    read_until(&mut second, "data: ");
    one.process.kill().expect("it runs");
    let killed = Instant::now();
    let rest = read_until(&mut second, "writer_lost");
    assert!(killed.elapsed() < LOST_WITHIN, "{:?}", killed.elapsed());
    assert!(!rest.contains("[DONE]"), "{rest}");
    let mut late = String::new();
    other
        .get(&path)
        .read_to_string(&mut late)
        .expect("an answer");
    assert!(
        late.contains("data: ") && late.contains("writer_lost") && !late.contains("[DONE]"),
        "{late}"
    );
}

#[test]
fn whoever_has_more_than_a_killed_server_copied_is_told_that_it_is_lost_and_once() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let store = format!("redis://127.0.0.1:{}", redis.port);
    let (mut one, other) = (Server::with_rate(&store, 40), Server::with_rate(&store, 40));
    let mut reader = one.get(ENDLESS);
    let mut heard = read_until(&mut reader, "data: ");
    let id = stream_id(&heard);
    for _ in 0..15 {
        heard += &read_until(&mut reader, "data: ");
    }
    one.process.kill().expect("it runs");
    // What was on its way still comes; the connection may then break, or end.
    while reader.read_line(&mut heard).is_ok_and(|read| read > 0) {}
    let (whole, _part) = heard.rsplit_once("\n\n").expect("a whole event");
    let resume = format!("/v1/stream/{id}?last_event_id={}", last_id(whole));
    let mut sdk = String::new();
    other
        .get(&resume)
        .read_to_string(&mut sdk)
        .expect("an answer");
    assert!(sdk.starts_with("HTTP/1.1 200"), "{sdk}");
    assert!(sdk.contains("writer_lost"), "{sdk}");
    // A browser that comes again by itself after that is told that this was all.
    let told = format!("/v1/stream/{id}?last_event_id={}", last_id(&sdk));
    let mut again = other.get(&told);
    assert!(read_until(&mut again, "\r\n").contains("204"));
    // One whose connection broke before it was told is told now, though it has every record.
    let mut untold = String::new();
    let mut again = other.get(&resume);
    again.read_to_string(&mut untold).expect("an answer");
    assert!(untold.contains("writer_lost"), "{untold}");
    let mut post = String::new();
    other
        .ask(
            "POST",
            &resume.replace(&format!("/v1/stream/{id}"), "/stream"),
        )
        .read_to_string(&mut post)
        .expect("an answer");
    assert!(
        post.contains("200 OK") && post.contains("writer_lost"),
        "{post}"
    );
}

#[test]
fn whoever_comes_back_at_once_at_another_server_gets_what_follows() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let store = format!("redis://127.0.0.1:{}", redis.port);
    let (one, other) = (Server::with_rate(&store, 50), Server::with_rate(&store, 50));
    for events in 0..12 {
        let mut reader = one.get("/stream?prompt=Hello&max_tokens=30&linger=30s");
        let mut heard = read_until(&mut reader, "\r\n\r\n");
        let id = stream_id(&heard);
        for _ in 0..events {
            heard += &read_until(&mut reader, "\n\n");
        }
        drop(reader);
        let mut path = format!("/v1/stream/{id}");
        if events > 0 {
            path += &format!("?last_event_id={}", last_id(&heard));
        }
        let mut rest = String::new();
        let mut back = other.get(&path);
        back.read_to_string(&mut rest).expect("the rest");
        assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");
        assert!(rest.contains("[DONE]"), "{rest}");
        if events > 0 {
            assert!(
                !rest.contains(last_id(&heard)),
                "an event came twice: {rest}"
            );
        }
    }
}

/// The stream of a generation that this server has begun, its reader, and what that has heard.
fn begun(server: &Server) -> (String, BufReader<TcpStream>, String) {
    let mut reader = server.get(ENDLESS);
    let heard = read_until(&mut reader, "data: ");
    (stream_id(&heard), reader, heard)
}

/// Returns the stream's id in the head of a response.
fn stream_id(heard: &str) -> String {
    let after = heard.split("x-stream-id: ").nth(1).expect("an id");
    after.lines().next().expect("a line").to_owned()
}

fn joined(server: &Server, path: &str) -> BufReader<TcpStream> {
    loop {
        let mut reader = server.get(path);
        if read_until(&mut reader, "\r\n").contains("200") {
            return reader;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn last_id(heard: &str) -> &str {
    heard
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("id: "))
        .expect("an id")
}

#[test]
fn readers_of_a_server_that_ends_are_told_to_come_again_and_go_on_at_another() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let store = format!("redis://127.0.0.1:{}", redis.port);
    let (one, mut other) = (Server::start(&store), Server::start(&store));
    let (id, mut first, mut whole) = begun(&one);
    let mut second = joined(&other, &format!("/v1/stream/{id}"));
    let mut heard = read_until(&mut second, "data: ");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(other.process.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    second.read_to_string(&mut heard).expect("a clean end");
    let end = heard
        .trim_end_matches("\r\n0")
        .trim_end()
        .trim_end_matches("\r\n0")
        .trim_end();
    assert!(end.ends_with("retry: 1000"), "{heard}");
    assert!(!heard.contains("error"), "{heard}");
    let mut third = one.get(&format!(
        "/v1/stream/{id}?last_event_id={}",
        last_id(&heard)
    ));
    third.read_to_string(&mut heard).expect("the rest");
    first.read_to_string(&mut whole).expect("the whole");
    let ids = |text: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.strip_prefix("id: "))
            .map(str::to_owned)
            .collect()
    };
    assert!(heard.contains("[DONE]"), "{heard}");
    assert_eq!(ids(&heard), ids(&whole));
    assert!(other.process.wait().expect("it ends").success());
}

#[test]
fn while_redis_is_away_a_browser_is_told_to_come_again_and_others_that_it_is() {
    if !has_redis() {
        return;
    }
    let mut redis = Redis::start();
    let store = format!("redis://127.0.0.1:{}", redis.port);
    let (one, other) = (Server::start(&store), Server::start(&store));
    let (id, mut first, heard) = begun(&one);
    drop(joined(&other, &format!("/v1/stream/{id}")));
    redis.kill();
    let resume = format!("/stream?last_event_id={}", last_id(&heard));
    let mut browser = String::new();
    other
        .get(&resume)
        .read_to_string(&mut browser)
        .expect("an answer");
    assert!(
        browser.starts_with("HTTP/1.1 200") && browser.contains("text/event-stream"),
        "{browser}"
    );
    assert!(
        browser.contains("retry: 1000\n\n") && !browser.contains("data:"),
        "{browser}"
    );
    let mut sdk = String::new();
    other
        .ask("POST", &resume)
        .read_to_string(&mut sdk)
        .expect("an answer");
    assert!(
        sdk.starts_with("HTTP/1.1 503")
            && sdk.contains("retry-after")
            && sdk.contains("store_away"),
        "{sdk}"
    );
    read_until(&mut first, "[DONE]");
}

#[test]
fn a_server_without_its_redis_says_so_in_one_line_and_ends() {
    let port = free_port();
    let started = Command::new(env!("CARGO_BIN_EXE_tokenrill"))
        .args(["--listen", "127.0.0.1:0"])
        .env(
            "TOKENRILL_STREAMS_STORE",
            format!("redis://127.0.0.1:{port}"),
        )
        .env("TOKENRILL_STREAMS_PASSWORD_ENV", "PASSWORD")
        .env("PASSWORD", "hunter2")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    assert_eq!(started.status.code(), Some(2), "{said}");
    let line = said
        .lines()
        .find(|line| line.starts_with("tokenrill: "))
        .expect("a complaint");
    assert!(
        line.contains(&format!(
            "can't reach redis://127.0.0.1:{port} (streams.store): "
        )),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
    let checked = Command::new(env!("CARGO_BIN_EXE_tokenrill"))
        .arg("check")
        .env(
            "TOKENRILL_STREAMS_STORE",
            "redis+sentinel://127.0.0.1:1/service",
        )
        .status();
    assert!(
        checked.expect("it runs").success(),
        "a check connects to nothing"
    );
}
