//! The rest of an answer that broke between two servers is asked for again: nothing is generated
//! twice, and the client sees nothing of it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::*;

const WORDS: &str = "one two three four five six seven eight nine ten eleven twelve";

/// The way in which a connection between two servers ends.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// With a RST, once the answer has come so far.
    Reset(&'static str),
    /// With a FIN, at the end of that event.
    Close(&'static str),
    /// Not at all, but nothing more comes.
    Silence(&'static str),
    /// As its server ends it.
    None,
}

/// A proxy in front of a server, which ends its connections in these ways, one after the other, and
/// then no more. A connection that only cancels something is not counted.
fn cutting(server: SocketAddr, cuts: Vec<Cut>) -> Upstream {
    let number = AtomicUsize::new(0);
    Upstream::start(move |c| {
        while let Some(request) = c.request() {
            let mut inner = TcpStream::connect(server).unwrap();
            let head = request
                .head
                .replace("connection: keep-alive", "connection: close");
            write!(inner, "{head}\r\n\r\n").unwrap();
            inner.write_all(&request.body).unwrap();
            let cut = match head.lines().next().unwrap().contains("/cancel ") {
                true => Cut::None,
                false => {
                    let number = number.fetch_add(1, Ordering::SeqCst);
                    cuts.get(number).copied().unwrap_or(Cut::None)
                }
            };
            if !pass_on(c, &mut inner, cut) {
                return;
            }
        }
    })
}

/// Passes on an answer, up to its cut. Returns false if the connection has ended.
fn pass_on(c: &mut Connection, inner: &mut TcpStream, cut: Cut) -> bool {
    let (mut passed, mut buffer) = (Vec::new(), [0; 4096]);
    let needle = match cut {
        Cut::Reset(needle) | Cut::Close(needle) | Cut::Silence(needle) => needle.as_bytes(),
        Cut::None => b"\r\n0\r\n\r\n",
    };
    loop {
        let Ok(n @ 1..) = inner.read(&mut buffer) else {
            return false;
        };
        let from = passed.len();
        passed.extend_from_slice(&buffer[..n]);
        let Some(at) = find(&passed, needle) else {
            if !c.send(&passed[from..]) {
                return false;
            }
            if passed.ends_with(b"content-length: 0\r\n\r\n") || is_whole(&passed) {
                return true;
            }
            continue;
        };
        let mut end = at + needle.len();
        if let Cut::Close(_) = cut {
            while find(&passed[at..], b"\n\n").is_none() {
                let n = inner.read(&mut buffer).unwrap();
                passed.extend_from_slice(&buffer[..n]);
            }
            end = at + find(&passed[at..], b"\n\n").unwrap() + 2;
        }
        c.send(&passed[from.min(end)..end]);
        match cut {
            Cut::Reset(_) => c.reset(),
            Cut::Close(_) => c.stream.shutdown(Shutdown::Both).unwrap(),
            Cut::Silence(_) => c.wait_closed(),
            Cut::None => return true,
        }
        return false;
    }
}

/// Returns whether an answer with a length is there.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = find(answer, b"\r\n\r\n") else {
        return false;
    };
    let text = String::from_utf8_lossy(&answer[..head]).to_lowercase();
    if text.starts_with("http/1.1 204") {
        return true;
    }
    let length = text.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.lines().next()?.trim().parse::<usize>().ok());
    length.is_some_and(|length| answer.len() >= head + 4 + length)
}

/// The server whose answers break on the way.
fn inner() -> Server {
    Server::with("workers = 1\n", &[])
}

/// A server that asks these for the mock's echo.
fn outer(targets: &[(&Upstream, &str)], dialect: &str, rules: &str) -> Server {
    outer_of("mock-echo", targets, dialect, rules)
}

/// The same for another model.
fn outer_of(model: &str, targets: &[(&Upstream, &str)], dialect: &str, rules: &str) -> Server {
    let mut config = "workers = 1\n[timeouts]\nbetween_tokens = \"400ms\"\n".to_owned();
    let mut list = Vec::new();
    let version = match dialect {
        "anthropic" => "",
        "gemini" => "/v1beta",
        _ => "/v1",
    };
    for (number, (upstream, more)) in targets.iter().enumerate() {
        let address = upstream.address;
        config += &format!(
            "[providers.p{number}]\ndialect = \"{dialect}\"\nbase_url = \"http://{address}{version}\"\n"
        );
        list.push(format!(
            "{{ provider = \"p{number}\", model = \"{model}\"{more} }}"
        ));
    }
    let list = list.join(", ");
    config += &format!("[[models]]\nname = \"m\"\ntargets = [{list}]\n{rules}\n");
    Server::with(&config, &[])
}

const STREAM: &str = ", resume = \"stream\"";
const BACKGROUND: &str = ", resume = \"background\"";

/// Asks for the words in a dialect.
fn ask(server: &Server, dialect: &str) -> Client {
    let message = json!([{ "role": "user", "content": WORDS }]);
    let (path, body) = match dialect {
        "openai-chat" => (
            "/v1/chat/completions",
            json!({ "model": "m", "stream": true, "messages": message, "stream_options": { "include_usage": true } }),
        ),
        "openai-responses" => (
            "/v1/responses",
            json!({ "model": "m", "stream": true, "input": WORDS }),
        ),
        "anthropic" => (
            "/v1/messages",
            json!({ "model": "m", "stream": true, "messages": message, "max_tokens": 99 }),
        ),
        _ => (
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            json!({ "contents": [{ "role": "user", "parts": [{ "text": WORDS }] }] }),
        ),
    };
    server.post(path, "", &body.to_string())
}

/// Returns the text of a stream in any dialect.
fn text_of(body: &str) -> String {
    let mut text = String::new();
    for (_, data) in events(body) {
        let payload: Value = serde_json::from_str(&data).unwrap_or_default();
        let places = [
            &payload["choices"][0]["delta"]["content"],
            &payload["candidates"][0]["content"]["parts"][0]["text"],
            &payload["delta"]["text"],
        ];
        let is_delta = payload["type"] == "response.output_text.delta";
        let delta = payload["delta"].as_str().filter(|_| is_delta);
        let said = places.into_iter().find_map(Value::as_str).or(delta);
        text.push_str(said.unwrap_or_default());
    }
    text
}

/// The end of a whole answer.
fn end_of(dialect: &str) -> &'static str {
    match dialect {
        "openai-chat" => DONE,
        "openai-responses" => "event: response.completed\n",
        "anthropic" => "event: message_stop\n",
        _ => "\"finishReason\"",
    }
}

/// Checks that an answer is whole, and was made once.
fn assert_resumed(inner: &Server, outer: &Server, body: &str, dialect: &str, times: u64) {
    assert_eq!(text_of(body), WORDS, "{dialect} {body}");
    assert_eq!(body.matches(end_of(dialect)).count(), 1, "{dialect} {body}");
    assert!(
        !body.contains("\nid:") && !body.contains("retry:"),
        "{body}"
    );
    let line = outer.logged("generation", 1);
    assert_eq!(
        (&line["ended"], &line["resumed"], &line["continued"]),
        (&json!("complete"), &json!(times), &Value::Null),
        "{dialect} {body}"
    );
    let made = inner.logged("generation", 1);
    assert_eq!(made["ended"], "complete");
    assert_eq!(made["tokens"], line["tokens"], "{dialect}");
    assert_eq!(
        inner.log().matches("\"generation\"").count(),
        1,
        "{}",
        inner.log()
    );
}

#[test]
fn a_stream_of_another_server_is_resumed_where_it_was_read() {
    let cuts = [
        vec![Cut::Reset("three"), Cut::Close("seven")],
        vec![Cut::Silence("two"), Cut::Reset("twelve")],
    ];
    for upstream in ["openai-chat", "openai-responses", "anthropic", "gemini"] {
        for (cuts, client) in cuts.iter().zip([upstream, "anthropic"]) {
            let inner = inner();
            let proxy = cutting(inner.address, cuts.clone());
            let outer = outer(&[(&proxy, STREAM)], upstream, "");
            let mut heard = ask(&outer, client);
            assert_eq!(heard.header("x-stream-id"), None);
            assert_resumed(&inner, &outer, &heard.body(), client, 2);
            let asked = proxy.requests();
            assert_eq!(asked[0].header("x-linger").as_deref(), Some("30s"));
            assert_eq!(asked.len(), 3);
            for again in &asked[1..] {
                let last = again.header("last-event-id").unwrap();
                let stream = last.split_once('.').unwrap().0;
                let wanted = format!("GET /v1/stream/{stream} HTTP/1.1");
                assert_eq!(again.head.lines().next(), Some(wanted.as_str()));
            }
        }
    }
}

#[test]
fn bytes_of_a_resumed_stream_are_those_of_an_unbroken_one() {
    let inner = inner();
    let bodies = [vec![], vec![Cut::Reset("five"), Cut::Reset("ten")]].map(|cuts| {
        let proxy = cutting(inner.address, cuts);
        let outer = outer(&[(&proxy, STREAM)], "anthropic", "");
        let body = ask(&outer, "anthropic").body();
        let id = body.split("\"id\":\"").nth(1).unwrap();
        let id = id.split('"').next().unwrap().to_owned();
        body.replace(&id, "ID")
    });
    assert_eq!(bodies[0], bodies[1]);
}

#[test]
fn what_its_upstream_no_longer_has_is_continued_or_told_as_it_broke() {
    let body = r#"{"error":{"message":"gone","code":null}}"#;
    let gone = format!(
        "HTTP/1.1 410 Gone\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let upstream = || {
        let gone = gone.clone();
        Upstream::start(move |c| {
            while let Some(request) = c.request() {
                if request.head.starts_with("GET") {
                    c.send(gone.as_bytes());
                    continue;
                }
                if request.head.contains("/cancel ") {
                    c.send(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
                    continue;
                }
                c.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nx-stream-id: s1\r\n\r\n");
                c.chunk(format!("id: s1.1\n{}", says("one two")).as_bytes());
                return c.reset();
            }
        })
    };
    let broken = upstream();
    let outer_alone = outer(&[(&broken, STREAM)], "openai-chat", "");
    let body = ask(&outer_alone, "openai-chat").body();
    assert!(ends_with_error(&body), "{body}");
    assert_eq!(outer_alone.ended(), "upstream_reset");
    let (broken, inner) = (upstream(), inner());
    let well = cutting(inner.address, vec![]);
    let targets = [(&broken, STREAM), (&well, STREAM)];
    let outer = outer(&targets, "openai-chat", "continue = \"text\"");
    let body = ask(&outer, "openai-chat").body();
    assert_eq!(text_of(&body), WORDS, "{body}");
    let line = outer.logged("generation", 1);
    assert_eq!(
        (&line["resumed"], &line["continued"]),
        (&json!(1), &json!("turn"))
    );
}

#[test]
fn a_resume_is_an_attempt_and_needs_no_leave_of_the_client() {
    let inner = inner();
    let cuts = ["one", "two", "three"].map(Cut::Close).to_vec();
    let proxy = cutting(inner.address, cuts.clone());
    let outer_of_three = outer(&[(&proxy, STREAM)], "openai-chat", "");
    let body = ask(&outer_of_three, "openai-chat").body();
    assert!(ends_with_error(&body), "{body}");
    assert_eq!(text_of(&body), "one two three");
    // Nothing is left to be made for nobody.
    until("the upstream is told", || {
        let cancels = |request: &Seen| request.head.contains("/cancel ");
        proxy.requests().iter().any(cancels).then_some(())
    });
    let proxy = cutting(inner.address, cuts);
    let outer_of_four = outer(&[(&proxy, STREAM)], "openai-chat", "attempts = 4");
    let body =
        json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": WORDS }] });
    let never = "x-tokenrill-continue: never\r\n";
    let mut client = outer_of_four.post("/v1/chat/completions", never, &body.to_string());
    assert_eq!(text_of(&client.body()), WORDS);
}

#[test]
fn a_client_that_leaves_cancels_what_its_upstream_would_keep() {
    for (dialect, how) in [("openai-chat", STREAM), ("openai-responses", BACKGROUND)] {
        let inner = inner();
        let proxy = cutting(inner.address, vec![]);
        let outer = outer_of("mock-stall-2", &[(&proxy, how)], dialect, "");
        let mut client = ask(&outer, dialect);
        client.wait_for("delta");
        drop(client);
        assert_eq!(inner.ended(), "cancelled", "{how}");
        assert_eq!(outer.ended(), "client_left");
    }
}

#[test]
fn a_response_in_the_background_is_resumed_and_looks_like_any() {
    for client in ["openai-responses", "openai-chat"] {
        let inner = inner();
        let proxy = cutting(
            inner.address,
            vec![Cut::Reset("three"), Cut::Close("seven")],
        );
        let outer = outer(&[(&proxy, BACKGROUND)], "openai-responses", "");
        let body = ask(&outer, client).body();
        assert_resumed(&inner, &outer, &body, client, 2);
        assert!(!body.contains("\"background\":true"), "{body}");
        let asked = proxy.requests();
        let first = asked[0].json();
        assert_eq!(
            (&first["background"], &first["store"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(asked.len(), 3);
        for again in &asked[1..] {
            assert!(
                again.head.starts_with("GET /v1/responses/resp_"),
                "{}",
                again.head
            );
            assert!(
                again.head.contains("?stream=true&starting_after="),
                "{}",
                again.head
            );
        }
        if client == "openai-responses" {
            let numbers: Vec<u64> = events(&body)
                .iter()
                .filter_map(|(_, data)| {
                    let event: Value = serde_json::from_str(data).ok()?;
                    event["sequence_number"].as_u64()
                })
                .collect();
            let count = u64::try_from(numbers.len()).unwrap();
            assert_eq!(numbers, (0..count).collect::<Vec<u64>>());
        }
    }
}

/// An upstream of Responses whose rest is this, for the first time that it is asked for.
fn with_rest(numbers: &'static [u64]) -> Upstream {
    let event = |number: u64| {
        let response =
            json!({ "id": "resp_1", "background": true, "status": "in_progress", "output": [] });
        match number {
            0 => json!({ "type": "response.created", "sequence_number": 0, "response": response }),
            6 => {
                json!({ "type": "response.completed", "sequence_number": 6, "response": { "id": "resp_1", "status": "completed", "output": [] } })
            }
            _ => {
                json!({ "type": "response.output_text.delta", "sequence_number": number, "item_id": "i", "output_index": 0, "content_index": 0, "delta": format!("{number} ") })
            }
        }
    };
    let frame = move |number: &u64| {
        let event = event(*number);
        format!(
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().unwrap()
        )
    };
    Upstream::start(move |c| {
        while let Some(request) = c.request() {
            if request.head.contains("/cancel ") {
                c.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
                continue;
            }
            c.stream_head();
            let is_rest = request.head.starts_with("GET");
            let numbers = if is_rest { numbers } else { &[0, 1, 2, 3] };
            c.chunk(numbers.iter().map(frame).collect::<String>().as_bytes());
            if !is_rest {
                return c.reset();
            }
            c.end();
        }
    })
}

#[test]
fn events_that_come_again_are_left_out_and_missing_ones_are_an_error() {
    let upstream = with_rest(&[2, 3, 4, 5, 6]);
    let outer_of_all = outer(&[(&upstream, BACKGROUND)], "openai-responses", "");
    let body = ask(&outer_of_all, "openai-responses").body();
    assert_eq!(text_of(&body), "1 2 3 4 5 ", "{body}");
    let upstream = with_rest(&[5, 6]);
    let outer_of_some = outer(&[(&upstream, BACKGROUND)], "openai-responses", "");
    let body = ask(&outer_of_some, "openai-responses").body();
    assert!(ends_with_error(&body), "{body}");
    assert_eq!(text_of(&body), "1 2 3 ");
}

#[test]
fn a_response_that_is_not_to_be_stored_is_asked_for_as_any() {
    let upstream = with_rest(&[]);
    let outer = outer(&[(&upstream, BACKGROUND)], "openai-responses", "");
    let body = json!({ "model": "m", "stream": true, "store": false, "input": "x" });
    let body = outer.post("/v1/responses", "", &body.to_string()).body();
    assert!(ends_with_error(&body), "{body}");
    let asked = upstream.requests();
    assert_eq!(
        (asked.len(), &asked[0].json()["background"]),
        (1, &Value::Null)
    );
}

#[test]
fn a_response_whose_client_has_left_before_it_has_an_id_is_cancelled_once_it_has() {
    let (left, may_begin) = std::sync::mpsc::channel::<()>();
    let may_begin = std::sync::Mutex::new(may_begin);
    let upstream = Upstream::start(move |c| {
        while let Some(request) = c.request() {
            if request.head.contains("/cancel ") {
                c.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
                continue;
            }
            may_begin.lock().unwrap().recv().unwrap();
            c.stream_head();
            let created = json!({ "type": "response.created", "sequence_number": 0, "response": { "id": "resp_1" } });
            c.chunk(format!("data: {created}\n\n").as_bytes());
            c.wait_closed();
        }
    });
    let outer = outer(&[(&upstream, BACKGROUND)], "openai-responses", "");
    let client = ask(&outer, "openai-responses");
    upstream.wait_requests(1);
    drop(client);
    assert_eq!(outer.ended(), "client_left");
    left.send(()).unwrap();
    upstream.wait_requests(2);
    let line = upstream.requests()[1].head.clone();
    assert!(
        line.starts_with("POST /v1/responses/resp_1/cancel HTTP/1.1"),
        "{line}"
    );
}

#[test]
fn a_target_that_can_not_be_asked_again_is_a_problem_of_the_configuration() {
    let upstream = Upstream::streaming("");
    let url = upstream.base_url();
    let config = format!(
        "[providers.chat]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\n\
         [[models]]\nname = \"a\"\ntargets = [{{ provider = \"chat\", resume = \"background\" }}]\n\
         [[models]]\nname = \"b\"\nattempts = 1\ntargets = [{{ provider = \"chat\", resume = \"stream\" }}]\n\
         [[models]]\nname = \"c\"\ntargets = [{{ provider = \"mock\", resume = \"stream\" }}]\n"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.toml"), config).unwrap();
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_tokenrill"))
        .args(["check", "--config", "c.toml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    for part in [
        "models.0.targets.0.resume: can be \"background\" only where",
        "models.1.targets.0.resume: asks the upstream again, which needs at least two `attempts`",
        "models.2.targets.0.resume: is for upstreams across HTTP",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
