//! `tokenrill tail` before a server that keeps its streams, over connections that break wherever
//! they can.

use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::*;

const TOKENS: &[&str] = &[
    "Grüße",
    " an",
    " alle",
    ",\n",
    "\n",
    " 你好",
    " {\"error\":1}",
    " [DONE] ",
    "🌊",
    " end",
];

fn tail(url: &str, more: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenrill"));
    command
        .args(["tail", url])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("the binary starts")
}

/// What it printed, what it complained about, and its exit code.
fn ended(tail: Child) -> (String, String, Option<i32>) {
    let Output {
        status,
        stdout,
        stderr,
    } = tail.wait_with_output().expect("it ends");
    (
        String::from_utf8(stdout).expect("UTF-8"),
        String::from_utf8_lossy(&stderr).into_owned(),
        status.code(),
    )
}

fn run(upstream: &Upstream, more: &[&str]) -> (String, String, Option<i32>) {
    ended(tail(
        &format!("http://{}/stream?prompt=x+canary-prompt", upstream.address),
        more,
    ))
}

/// The frame with that number. The first says how soon to come back.
fn frame(number: usize, event: &str, data: &str) -> String {
    let retry = if number == 0 { "retry: 1\n" } else { "" };
    let data: String = data
        .split('\n')
        .map(|line| format!("data: {line}\n"))
        .collect();
    format!("id: stm_x.{number}\n{retry}{event}{data}\n")
}

fn whole() -> Vec<String> {
    let mut frames: Vec<String> = TOKENS
        .iter()
        .enumerate()
        .map(|(at, token)| frame(at, "", token))
        .collect();
    frames.push(frame(TOKENS.len(), "", "[DONE]"));
    frames
}

/// The first frame that a request doesn't have yet.
fn from(request: &Seen) -> usize {
    let id = request.header("last-event-id");
    id.map_or(0, |id| {
        id.strip_prefix("stm_x.")
            .expect("an id of ours")
            .parse::<usize>()
            .expect("a number")
            + 1
    })
}

/// Says the rest from where the client is, as a script does it.
fn keeping(say: impl Fn(&mut Connection, &[String]) + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |c| {
        if let Some(request) = c.request() {
            say(c, &whole()[from(&request)..]);
        }
    })
}

fn assert_whole(upstream: &Upstream, more: &[&str]) {
    let (printed, complaint, code) = run(upstream, more);
    assert_eq!(
        (printed, complaint, code),
        (format!("{}\n", TOKENS.concat()), String::new(), Some(0))
    );
}

#[test]
fn a_stream_that_is_cut_after_every_frame_is_whole() {
    let ends = keeping(|c, rest| {
        c.stream_head();
        c.chunk(rest[0].as_bytes());
        c.end();
    });
    let breaks = keeping(|c, rest| {
        c.stream_head();
        c.chunk(rest[0].as_bytes());
    });
    for upstream in [&ends, &breaks] {
        assert_whole(
            upstream,
            &["--linger", "1m", "-H", "authorization: Bearer k"],
        );
        let requests = upstream.requests();
        assert_eq!(requests.len(), TOKENS.len() + 1);
        for (nth, request) in requests.iter().enumerate() {
            assert!(
                request
                    .head
                    .starts_with("GET /stream?prompt=x+canary-prompt HTTP/1.1\r\n")
            );
            assert_eq!(
                request.header("last-event-id"),
                nth.checked_sub(1).map(|last| format!("stm_x.{last}"))
            );
            assert_eq!(request.header("x-linger").as_deref(), Some("1m"));
            assert_eq!(request.header("authorization").as_deref(), Some("Bearer k"));
        }
    }
}

#[test]
fn a_stream_that_is_cut_at_every_byte_is_whole() {
    // One whole frame, and of the next a byte more each time it is cut there.
    let cut = AtomicUsize::new(0);
    let upstream = keeping(move |c, rest| {
        c.stream_head();
        let next = rest.get(1).map_or("", String::as_str);
        let some = cut.fetch_add(7, Ordering::Relaxed) % next.len().max(1);
        c.chunk(&[rest[0].as_bytes(), &next.as_bytes()[..some]].concat());
        c.reset();
    });
    for _ in 0..5 {
        let (printed, complaint, code) = run(&upstream, &[]);
        // A RST may overtake the frame: then it is asked for again, but nothing is said twice.
        assert_eq!(
            (printed, complaint, code),
            (format!("{}\n", TOKENS.concat()), String::new(), Some(0))
        );
    }
}

#[test]
fn a_server_that_restarts_and_keeps_its_streams() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let tail = tail(&format!("http://{address}/stream"), &[]);
    let answer = |listener: &TcpListener, answer: &str| {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while find(&head, b"\r\n\r\n").is_none() && stream.read(&mut byte).unwrap() == 1 {
            head.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(head).unwrap()
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    answer(&listener, &format!("{head}{}{}", whole()[0], whole()[1]));
    // It is gone: nobody answers.
    drop(listener);
    let held = until("the port is free", || {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).ok().map(|()| socket)
    });
    held.listen(16).unwrap();
    let listener = TcpListener::from(held);
    // What stands before it says that it is not ready, then it is.
    answer(
        &listener,
        "HTTP/1.1 503 Later\r\nretry-after: 0\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    );
    let again = answer(&listener, &format!("{head}{}", whole()[2..].concat()));
    assert!(again.contains("last-event-id: stm_x.1\r\n"), "{again}");
    assert_eq!(
        ended(tail),
        (format!("{}\n", TOKENS.concat()), String::new(), Some(0))
    );
}

#[test]
fn it_begins_where_it_is_told() {
    let upstream = keeping(|c, rest| {
        c.stream_head();
        c.chunk(rest.concat().as_bytes());
        c.end();
    });
    let (printed, _, code) = run(&upstream, &["--last-event-id", "stm_x.7"]);
    assert_eq!((printed.as_str(), code), ("🌊 end\n", Some(0)));
    assert_eq!(
        upstream.requests()[0].header("last-event-id").as_deref(),
        Some("stm_x.7")
    );
}

#[test]
fn where_nothing_is_left_it_ends() {
    let upstream = Upstream::start(|c| {
        if from(&c.request().unwrap()) == 0 {
            c.stream_head();
            c.chunk(frame(0, "", "all of it").as_bytes());
            c.end();
        } else {
            c.send(b"HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    assert_eq!(
        run(&upstream, &[]),
        ("all of it\n".to_owned(), String::new(), Some(0))
    );
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn an_error_is_no_end() {
    for (event, data) in [
        ("event: error\n", "{\"error\":{\"code\":\"x\"}}"),
        ("", "{\"error\":{\"code\":\"x\"}}"),
    ] {
        let upstream = Upstream::start(move |c| {
            if from(&c.request().unwrap()) == 0 {
                c.stream_head();
                c.chunk(format!("{}{}", frame(0, "", "some"), frame(1, event, data)).as_bytes());
                c.end();
            } else {
                c.send(b"HTTP/1.1 204 No Content\r\n\r\n");
            }
        });
        let (printed, complaint, code) = run(&upstream, &[]);
        assert!(
            printed.starts_with("some") && complaint.contains("the stream broke: "),
            "{printed} {complaint}"
        );
        assert!(
            complaint.contains("\"code\":\"x\"") && complaint.lines().count() == 1,
            "{complaint}"
        );
        assert_eq!(code, Some(1));
    }
}

#[test]
fn a_stream_without_ids_is_never_asked_for_again() {
    for answer in ["data: some\n\n", ""] {
        let upstream = Upstream::streaming(answer);
        let (_, complaint, code) = run(&upstream, &[]);
        assert!(
            complaint.contains("can't be resumed: it ended without [DONE]"),
            "{complaint}"
        );
        assert_eq!((code, upstream.requests().len()), (Some(1), 1));
    }
}

#[test]
fn a_connection_that_breaks_before_its_first_token_is_asked_for_again_under_the_same_key() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let upstream = Upstream::start(move |c| {
        c.request();
        c.stream_head();
        if !first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            c.chunk(b"id: s.1\ndata: all\n\nid: s.2\ndata: [DONE]\n\n");
        }
    });
    let (said, complaint, code) = run(&upstream, &[]);
    assert_eq!((said.as_str(), code), ("all\n", Some(0)), "{complaint}");
    let keys: Vec<_> = upstream
        .requests()
        .iter()
        .map(|request| request.header("idempotency-key"))
        .collect();
    assert!(
        keys.len() == 2 && keys[0].is_some() && keys[0] == keys[1],
        "{keys:?}"
    );
}

#[test]
fn a_stream_that_is_gone_is_given_up() {
    let upstream = Upstream::start(|c| {
        if from(&c.request().unwrap()) == 0 {
            c.stream_head();
            c.chunk(frame(0, "", "some").as_bytes());
        } else {
            c.send(b"HTTP/1.1 410 Gone\r\ncontent-length: 7\r\n\r\nexpired");
        }
    });
    let (printed, complaint, code) = run(&upstream, &[]);
    assert_eq!((printed.as_str(), code), ("some\n", Some(1)));
    assert!(
        complaint.contains("can't be resumed: ") && complaint.contains("410 Gone: expired"),
        "{complaint}"
    );
    // And one that can't be had for too long.
    let upstream = Upstream::start(|c| {
        if from(&c.request().unwrap()) == 0 {
            c.stream_head();
            c.chunk(frame(0, "", "some").as_bytes());
        } else {
            c.reset();
        }
    });
    let (printed, complaint, code) = run(&upstream, &["--patience", "200ms"]);
    assert_eq!((printed.as_str(), code), ("some\n", Some(1)));
    assert!(complaint.contains("could not be resumed: "), "{complaint}");
    assert!(upstream.requests().len() > 2, "it was tried");
}

#[test]
fn arguments_that_make_no_sense() {
    for more in [
        &["--header", "nothing"][..],
        &["--header", "a b: c"],
        &["--patience", "soon"],
        &["--linger", "a\nb"],
    ] {
        let (_, complaint, code) = ended(tail("http://127.0.0.1:1/", more));
        assert!(
            code == Some(2) && complaint.contains(more[0]),
            "{complaint}"
        );
    }
}
