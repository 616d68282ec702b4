//! A client that leaves cancels the upstream, in every phase. All timers here are minutes long:
//! only the leaving itself can be what closes the upstream's connection.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use crate::support::*;

const SLOW: &str =
    "[timeouts]\nfirst_token = \"10m\"\nbetween_tokens = \"10m\"\n[sse]\nheartbeat = \"10m\"\n";

fn silent_before_head() -> Upstream {
    Upstream::start(|c| {
        c.request();
        c.wait_closed();
    })
}

fn silent_after(tokens: usize) -> Upstream {
    Upstream::start(move |c| {
        c.request();
        c.stream_head();
        for n in 0..tokens {
            c.say(&format!("t{n}"));
        }
        c.wait_closed();
    })
}

#[test]
fn while_waiting_for_the_upstreams_head() {
    let upstream = silent_before_head();
    let server = Server::before_with(&upstream, SLOW, "");
    let client = server.chat(json!({}));
    upstream.wait_requests(1);
    drop(client);
    upstream.wait_closed(1);
    assert_eq!(server.ended(), "client_left");
    assert_eq!(server.logged("generation", 1)["status"], 499);
}

#[test]
fn after_our_head_and_before_the_upstreams() {
    let upstream = silent_before_head();
    let server = Server::before_with(&upstream, &format!("{SLOW}commit_after = \"50ms\"\n"), "");
    let mut client = server.chat(json!({}));
    assert_eq!(client.status(), 200);
    drop(client);
    upstream.wait_closed(1);
    assert_eq!(server.ended(), "client_left");
}

#[test]
fn before_the_first_token() {
    let upstream = silent_after(0);
    let server = Server::before_with(&upstream, SLOW, "");
    let mut client = server.chat(json!({}));
    client.head();
    drop(client);
    upstream.wait_closed(1);
    assert_eq!(server.ended(), "client_left");
}

#[test]
fn mid_stream_with_fin_and_with_rst() {
    for reset in [false, true] {
        let upstream = silent_after(3);
        let server = Server::before_with(&upstream, SLOW, "");
        let mut client = server.chat(json!({}));
        client.wait_for("t2");
        if reset {
            client.reset();
        } else {
            drop(client);
        }
        upstream.wait_closed(1);
        let line = server.logged("generation", 1);
        assert_eq!(
            (line["ended"].as_str(), line["tokens"].as_u64()),
            (Some("client_left"), Some(3))
        );
    }
}

#[test]
fn even_after_a_stray_byte() {
    // What is not read must not hide the end that comes after it.
    for stray in [&b"G"[..], b"\r\n", b"GET / HTTP/1.1\r\nhost: t\r\n\r\n"] {
        for upstream in [silent_before_head(), silent_after(0), silent_after(2)] {
            let server = Server::before_with(&upstream, SLOW, "");
            let mut client = server.chat(json!({}));
            upstream.wait_requests(1);
            client.stream.write_all(stray).unwrap();
            // Let the byte be read before the end comes: the order is what the trap is made of.
            std::thread::sleep(Duration::from_millis(20));
            drop(client);
            upstream.wait_closed(1);
            assert_eq!(server.ended(), "client_left");
        }
    }
}

#[test]
fn a_request_that_is_no_stream() {
    let upstream = silent_before_head();
    let server = Server::before_with(&upstream, SLOW, "");
    let client = server.chat(json!({ "stream": false }));
    upstream.wait_requests(1);
    drop(client);
    upstream.wait_closed(1);
    assert_eq!(server.ended(), "client_left");
}

#[test]
fn a_half_closed_client_counts_as_gone() {
    let upstream = silent_after(1);
    let server = Server::before_with(&upstream, SLOW, "");
    let mut client = server.chat(json!({}));
    client.wait_for("t0");
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    upstream.wait_closed(1);
    assert_eq!(server.ended(), "client_left");
}

#[test]
fn while_connecting() {
    let (address, _full) = unanswering();
    let config = format!(
        "{SLOW}[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"http://{address}\"\n\
         [[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\" }}]\n"
    )
    .replace("first_token", "connect = \"10m\"\nfirst_token");
    let server = Server::with(&config, &[]);
    let client = server.chat(json!({}));
    std::thread::sleep(Duration::from_millis(50));
    assert!(
        server
            .log()
            .lines()
            .all(|line| !line.contains("\"generation\"")),
        "it should still be connecting"
    );
    drop(client);
    assert_eq!(server.ended(), "client_left");
}

#[test]
fn a_client_that_reads_nothing_is_dropped() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        let much = says(&"x".repeat(1000)).repeat(50);
        while c.chunk(much.as_bytes()) {}
        c.wait_closed();
    });
    let server = Server::before_with(
        &upstream,
        &format!("{SLOW}[log]\nlevel = \"info\"\n")
            .replace("first_token", "client_stall = \"300ms\"\nfirst_token"),
        "",
    );
    let _client = server.chat(json!({}));
    upstream.wait_closed(1);
    assert_eq!(server.ended(), "client_stall");
}
