//! A generation outlives its client's connection: who comes back gets what follows, exactly; who
//! never does ends it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::*;

/// Every way to start one: its path, and its body; none is a GET.
fn starts() -> Vec<(String, Option<Value>)> {
    let words: Vec<String> = (0..200).map(|n| format!("w{n}")).collect();
    let prompt = words.join(" ");
    let messages = json!([{ "role": "user", "content": prompt }]);
    vec![
        (
            format!("/stream?model=mock-echo&prompt={}", words.join("+")),
            None,
        ),
        (
            "/v1/chat/completions".to_owned(),
            Some(json!({ "model": "mock-echo", "stream": true, "messages": messages })),
        ),
        (
            "/v1/responses".to_owned(),
            Some(json!({ "model": "mock-echo", "stream": true, "input": prompt })),
        ),
        (
            "/v1/messages".to_owned(),
            Some(
                json!({ "model": "mock-echo", "stream": true, "max_tokens": 999, "messages": messages }),
            ),
        ),
        (
            "/v1beta/models/mock-echo:streamGenerateContent".to_owned(),
            Some(json!({ "contents": [{ "role": "user", "parts": [{ "text": prompt }] }] })),
        ),
    ]
}

fn ask(server: &Server, start: &(String, Option<Value>), headers: &str) -> Client {
    match &start.1 {
        Some(body) => server.post(&start.0, headers, &body.to_string()),
        None => Client::send(
            server.address,
            format!("GET {} HTTP/1.1\r\nhost: t\r\n{headers}\r\n", start.0).as_bytes(),
        ),
    }
}

pub(crate) fn get(server: &Server, path: &str, headers: &str) -> Client {
    Client::send(
        server.address,
        format!("GET {path} HTTP/1.1\r\nhost: t\r\n{headers}\r\n").as_bytes(),
    )
}

/// The blocks of a stream, each with its id.
pub(crate) fn blocks(body: &str) -> Vec<(String, &str)> {
    let id = |block: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix("id: "))
            .map(str::to_owned)
    };
    body.split_inclusive("\n\n")
        .map(|block| (id(block).unwrap_or_else(|| panic!("no id: {block}")), block))
        .collect()
}

/// A server before an upstream that says so many tokens, each when it is told to go on.
pub(crate) fn paced(tokens: usize, top: &str) -> (Upstream, Server, Go) {
    let go = Go::default();
    let told = go.clone();
    let upstream = Upstream::start(move |c| {
        while c.request().is_some() {
            c.stream_head();
            for n in 0..tokens {
                if !told.wait(c) {
                    return c.wait_closed();
                }
                c.say(&format!("t{n}"));
            }
            c.chunk(format!("{STOP}{DONE}").as_bytes());
            c.end();
        }
    });
    let server = Server::before_with(&upstream, top, "");
    (upstream, server, go)
}

/// How often an upstream may go on.
#[derive(Clone, Default)]
pub(crate) struct Go(Arc<AtomicUsize>);

impl Go {
    pub(crate) fn on(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits for the word; false if the other side closes instead.
    pub(crate) fn wait(&self, c: &Connection) -> bool {
        until("the upstream may go on or is closed", || {
            if self
                .0
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                .is_ok()
            {
                return Some(true);
            }
            c.is_closed().then_some(false)
        })
    }
}

#[test]
fn whoever_comes_back_gets_exactly_what_follows_in_every_dialect() {
    let server = Server::mock();
    for start in starts() {
        let mut client = ask(&server, &start, "x-linger: 30s\r\n");
        let id = client.header("x-stream-id").expect("the stream's id");
        let whole = client.body();
        let blocks = blocks(&whole);
        assert!(blocks.len() > 200, "{whole}");
        assert_eq!(whole.matches("retry: ").count(), 1, "told once: {whole}");
        let mut from = 0;
        for (n, (event_id, block)) in blocks.iter().enumerate() {
            assert!(event_id.starts_with(&format!("{id}.")), "{event_id}");
            from += block.len();
            let header = format!("last-event-id: {event_id}\r\n");
            let query = format!("/v1/stream/{id}?last_event_id={event_id}");
            let mut again = match n % 3 {
                0 => ask(&server, &start, &header),
                1 => get(
                    &server,
                    &format!("/v1/stream/{id}"),
                    &format!("accept: text/event-stream\r\n{header}"),
                ),
                _ => get(&server, &query, "accept: text/event-stream\r\n"),
            };
            if n + 1 == blocks.len() {
                assert_eq!(again.status(), 204);
            } else {
                assert_eq!(
                    (again.status(), again.header("x-stream-id")),
                    (200, Some(id.clone()))
                );
                assert_eq!(again.body(), whole[from..], "{}: after {n}", start.0);
            }
        }
        let mut all = get(
            &server,
            &format!("/v1/stream/{id}"),
            "accept: text/event-stream\r\n",
        );
        assert_eq!(all.body(), whole);
    }
}

#[test]
fn a_connection_cut_at_every_token_loses_and_repeats_nothing() {
    const TOKENS: usize = 200;
    let (upstream, server, go) = paced(TOKENS, "");
    let mut heard = String::new();
    let mut headers = String::new();
    for n in 0..TOKENS {
        let mut client = server.post(
            "/v1/chat/completions?linger=20s",
            &headers,
            &chat_body(json!({})).to_string(),
        );
        client.head();
        go.on();
        client.wait_for(&format!("\"t{n}\""));
        let text = client.text();
        let block = text
            .split("\r\n")
            .find(|part| part.contains(&format!("\"t{n}\"")))
            .expect("a block")
            .to_owned();
        // The end follows the last token at once, and may come with it.
        let (id, block) = blocks(&block).swap_remove(0);
        heard.push_str(block);
        headers = format!("last-event-id: {id}\r\n");
        if n % 2 == 0 {
            client.reset();
        }
    }
    let mut client = server.post("/v1/chat/completions", &headers, "");
    heard.push_str(&client.body());
    let said: Vec<String> = events(&heard)
        .into_iter()
        .map(|(_, data)| match serde_json::from_str::<Value>(&data) {
            Ok(value) => value["choices"][0]["delta"]["content"]
                .as_str()
                .unwrap_or("(stop)")
                .to_owned(),
            Err(_) => data,
        })
        .collect();
    let want: Vec<String> = (0..TOKENS)
        .map(|n| format!("t{n}"))
        .chain(["(stop)".into(), "[DONE]".into()])
        .collect();
    assert_eq!(said, want);
    assert_eq!(upstream.requests().len(), 1, "one generation");
    assert_eq!(server.ended(), "complete");
}

#[test]
fn linger_is_said_in_a_header_in_the_query_or_in_the_body_and_no_upstream_hears_of_it() {
    let upstream = Upstream::streaming(format!("{}{STOP}{DONE}", says("hi")));
    let server = Server::before(&upstream);
    let ways: [(&str, &str, Value); 4] = [
        ("", "x-linger: 5s\r\n", json!({})),
        ("?linger=5", "", json!({})),
        ("", "", json!({ "linger": "500ms" })),
        ("", "", json!({ "linger": 3 })),
    ];
    for (query, header, fields) in ways {
        let path = format!("/v1/chat/completions{query}");
        let mut client = server.post(&path, header, &chat_body(fields).to_string());
        assert!(client.header("x-stream-id").is_some());
        assert!(client.body().ends_with("data: [DONE]\n\n"));
    }
    for seen in upstream.requests() {
        assert!(
            !String::from_utf8_lossy(&seen.body).contains("linger")
                && seen.header("x-linger").is_none()
        );
    }
    let mut plain = server.post(
        "/stream",
        "",
        &json!({ "prompt": "a canary-prompt", "model": "m", "linger": "5s" }).to_string(),
    );
    assert!(plain.header("x-stream-id").is_some());
    let mut none = server.chat(json!({ "linger": 0 }));
    assert_eq!(none.header("x-stream-id"), None);
    assert!(!none.body().contains("id: "));
    for wrong in [json!("soon"), json!(-1), json!([]), json!("2h"), json!(1.5)] {
        let mut refused = server.chat(json!({ "linger": wrong }));
        assert_eq!(refused.status(), 400, "{wrong}");
        assert_eq!(refused.json()["error"]["param"], "linger");
    }
}

#[test]
fn an_event_source_lingers_by_itself_and_curl_does_not() {
    let server = Server::mock();
    let mut browser = get(
        &server,
        "/stream?prompt=hi+canary-prompt&model=mock-fast",
        "accept: text/event-stream\r\n",
    );
    assert!(browser.header("x-stream-id").is_some());
    let last = blocks(&browser.body()).pop().expect("a last one").0;
    let mut again = get(
        &server,
        "/stream?prompt=hi+canary-prompt&model=mock-fast",
        &format!("accept: text/event-stream\r\nlast-event-id: {last}\r\n"),
    );
    assert_eq!(again.status(), 204, "how it is told not to come again");
    assert_eq!(
        get(
            &server,
            "/stream?prompt=hi+canary-prompt",
            "accept: */*\r\n"
        )
        .header("x-stream-id"),
        None
    );
}

#[test]
fn nobody_for_its_linger_ends_a_generation_and_the_stream_says_so() {
    let (upstream, server, go) = paced(5, "");
    let mut client = server.post(
        "/v1/chat/completions",
        "x-linger: 300ms\r\n",
        &chat_body(json!({})).to_string(),
    );
    let id = client.header("x-stream-id").expect("an id");
    go.on();
    client.wait_for("\"t0\"");
    drop(client);
    upstream.wait_closed(1);
    assert_eq!(server.ended(), "abandoned");
    let body = get(&server, &format!("/v1/stream/{id}"), "").body();
    let events = events(&body);
    assert!(
        events[0].1.contains("\"t0\""),
        "what was said is kept: {body}"
    );
    let error: Value = serde_json::from_str(&events[1].1).expect("JSON");
    assert_eq!(
        (error["error"]["code"].as_str(), events.len()),
        (Some("abandoned"), 2)
    );
    assert!(!body.contains("[DONE]"));
}

#[test]
fn a_cancelled_generation_ends_at_once_and_tells_its_readers() {
    let (upstream, server, go) = paced(5, "");
    let mut client = server.post(
        "/v1/chat/completions",
        "x-linger: 1m\r\n",
        &chat_body(json!({})).to_string(),
    );
    let id = client.header("x-stream-id").expect("an id");
    go.on();
    client.wait_for("\"t0\"");
    let mut cancel = server.post(&format!("/v1/stream/{id}/cancel"), "", "");
    let said = cancel.json();
    assert_eq!(
        (said["id"].as_str(), said["status"].as_str()),
        (Some(id.as_str()), Some("cancelled"))
    );
    upstream.wait_closed(1);
    let body = client.body();
    let last = blocks(&body).pop().expect("a last one");
    assert!(
        last.1.contains("\"cancelled\"") && !body.contains("[DONE]"),
        "{body}"
    );
    assert_eq!(
        last.0,
        format!("{id}.{}", said["next_offset"].as_str().expect("an offset"))
    );
    assert_eq!(server.ended(), "cancelled");
    let again = server
        .post(&format!("/v1/stream/{id}/cancel"), "", "")
        .json();
    assert_eq!(again, said, "once more is the same");
    assert_eq!(
        get(
            &server,
            "/stream",
            &format!("last-event-id: {}\r\n", last.0)
        )
        .status(),
        204
    );
}

#[test]
fn a_broken_generation_is_read_to_its_error_and_then_to_nothing() {
    let server = Server::mock();
    let mut client = get(
        &server,
        "/stream?prompt=hi+canary-prompt&model=mock-break&linger=5s",
        "",
    );
    let body = client.body();
    let blocks = blocks(&body);
    let (last, error) = blocks.last().expect("a last one");
    assert!(
        error.contains("event: error") && !body.contains("[DONE]"),
        "{body}"
    );
    let middle = &blocks[3].0;
    let rest: String = blocks[4..].iter().map(|(_, block)| *block).collect();
    assert_eq!(
        get(&server, "/stream", &format!("last-event-id: {middle}\r\n")).body(),
        rest
    );
    assert_eq!(
        get(&server, "/stream", &format!("last-event-id: {last}\r\n")).status(),
        204
    );
}

#[test]
fn what_can_not_be_resumed_is_refused_with_the_reason() {
    let server = Server::with("streams.ttl = \"100ms\"\n", &[]);
    let mut client = get(
        &server,
        "/stream?prompt=hi+canary-prompt&model=mock-fast&linger=5s",
        "authorization: Bearer a\r\n",
    );
    let id = client.header("x-stream-id").expect("an id");
    let mut reader = get(
        &server,
        &format!("/v1/stream/{id}"),
        "authorization: Bearer a\r\n",
    );
    assert_eq!(reader.status(), 200);
    let first = blocks(&client.body())[0].0.clone();
    let future = first.replace("_000000000001", "_0000000fffff");
    let unknown = first.replace(&id, "stm_AAAAAAAAAAAAAAAAAAAAAA");
    let ask = |last: &str, key: &str| {
        let mut client = get(
            &server,
            "/stream",
            &format!("last-event-id: {last}\r\n{key}"),
        );
        (
            client.status(),
            client.json()["error"]["code"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let own = "authorization: Bearer a\r\n";
    assert_eq!(ask(&future, own), (400, "invalid_request".to_owned()));
    for garbage in ["1", "x.y", "stm_x.6b018d8f_1", "../.6b018d8f_000000000001"] {
        assert_eq!(
            ask(garbage, own),
            (400, "invalid_request".to_owned()),
            "{garbage}"
        );
    }
    // Another caller's and one that never was can't be told apart.
    for (last, key) in [
        (&unknown, own),
        (&first, "authorization: Bearer b\r\n"),
        (&first, ""),
    ] {
        assert_eq!(ask(last, key), (404, "not_found".to_owned()), "{key}");
    }
    for key in ["authorization: Bearer b\r\n", ""] {
        let mut refused = server.post(&format!("/v1/stream/{id}/cancel"), key, "");
        assert_eq!(refused.status(), 404);
    }
    drop((client, reader));
    until("its time is over", || {
        // Each question is a reader, and begins its time anew.
        std::thread::sleep(std::time::Duration::from_millis(200));
        (get(
            &server,
            "/stream",
            &format!("last-event-id: {first}\r\n{own}"),
        )
        .status()
            == 410)
            .then_some(())
    });
    assert_eq!(ask(&first, own), (410, "gone".to_owned()));
    let foreign = "authorization: Bearer b\r\n";
    assert_eq!(ask(&first, foreign), (404, "not_found".to_owned()));
}

#[test]
fn many_readers_share_one_generation_up_to_a_cap() {
    let (upstream, server, go) = paced(20, "streams.max_readers = 20\n");
    let mut first = server.post(
        "/v1/chat/completions",
        "x-linger: 1m\r\n",
        &chat_body(json!({})).to_string(),
    );
    let id = first.header("x-stream-id").expect("an id");
    let path = format!("/v1/stream/{id}");
    let mut readers: Vec<Client> = (1..20)
        .map(|_| get(&server, &path, "accept: text/event-stream\r\n"))
        .collect();
    assert!(readers.iter_mut().all(|reader| reader.status() == 200));
    let mut refused = get(&server, &path, "accept: text/event-stream\r\n");
    assert_eq!(
        (refused.status(), refused.header("retry-after").is_some()),
        (429, true)
    );
    for _ in 0..20 {
        go.on();
    }
    let whole = first.body();
    assert!(whole.ends_with("data: [DONE]\n\n"));
    for mut reader in readers {
        assert_eq!(reader.body(), whole);
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_reader_that_stands_still_slows_nobody_and_is_told_what_it_missed() {
    let frame = says(&"x".repeat(4000));
    let go = Go::default();
    let told = go.clone();
    let upstream = Upstream::start(move |c| {
        c.request();
        c.stream_head();
        told.wait(c);
        for _ in 0..3000 {
            c.chunk(frame.as_bytes());
        }
        c.chunk(format!("{STOP}{DONE}").as_bytes());
        c.end();
        c.wait_closed();
    });
    let server = Server::before_with(&upstream, "streams.max_bytes = \"256KiB\"\n", "");
    let mut fast = server.post(
        "/v1/chat/completions",
        "x-linger: 1m\r\n",
        &chat_body(json!({})).to_string(),
    );
    let id = fast.header("x-stream-id").expect("an id");
    let mut slow = get(
        &server,
        &format!("/v1/stream/{id}"),
        "accept: text/event-stream\r\n",
    );
    assert_eq!(slow.status(), 200);
    go.on();
    let whole = fast.body();
    assert!(whole.ends_with("data: [DONE]\n\n"));
    assert_eq!(whole.matches("xxxx\"").count(), 3000);
    let heard = slow.body();
    assert!(
        heard.contains("fell_behind") && !heard.contains("[DONE]"),
        "{}",
        &heard[heard.len() - 300..]
    );
    let (kept, _) = heard.split_at(heard.rfind("data: {\"error\"").expect("an error frame"));
    assert!(whole.starts_with(kept), "it has a beginning without a gap");
    let last = blocks(kept).pop().expect("a last one").0;
    assert_eq!(
        get(&server, "/stream", &format!("last-event-id: {last}\r\n")).status(),
        410
    );
}

#[test]
fn at_the_cap_the_upstream_waits_for_the_fastest_reader() {
    let frame = says(&"x".repeat(4000));
    let upstream = Upstream::start(move |c| {
        c.request();
        c.stream_head();
        for _ in 0..5000 {
            c.chunk(frame.as_bytes());
        }
        c.chunk(format!("{STOP}{DONE}").as_bytes());
        c.end();
        c.wait_closed();
    });
    let server = Server::before_with(&upstream, "streams.max_bytes = \"256KiB\"\n", "");
    let before = server.resident();
    let mut reader = server.post(
        "/v1/chat/completions",
        "x-linger: 1m\r\n",
        &chat_body(json!({})).to_string(),
    );
    reader.head();
    let mut last = 0;
    // Nothing grows any more: all buffers between are full.
    until("the upstream is held up", || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let now = server.resident();
        (std::mem::replace(&mut last, now) == now).then_some(())
    });
    assert!(
        last - before < 10 * 1024,
        "20 MB were not taken in: {} KiB",
        last - before
    );
    let whole = reader.body();
    assert_eq!(whole.matches("xxxx\"").count(), 5000);
    assert!(whole.ends_with("data: [DONE]\n\n"));
}

#[test]
fn one_idempotency_key_makes_one_generation() {
    let (upstream, server, go) = paced(2, "");
    let post = |key: &str, caller: &str, fields: Value| {
        let headers = format!("idempotency-key: {key}\r\nx-linger: 1m\r\n{caller}");
        server.post(
            "/v1/chat/completions",
            &headers,
            &chat_body(fields).to_string(),
        )
    };
    let mut first = post("k1", "", json!({}));
    let id = first.header("x-stream-id");
    let mut second = post("k1", "", json!({}));
    assert_eq!(second.header("x-stream-id"), id);
    let mut other = post("k1", "", json!({ "temperature": 0.5 }));
    assert_eq!(other.status(), 409);
    for _ in 0..2 {
        go.on();
    }
    let whole = first.body();
    assert_eq!(second.body(), whole);
    assert_eq!(post("k1", "", json!({})).body(), whole, "and after its end");
    assert_eq!(upstream.requests().len(), 1);
    let mut anothers = post("k1", "authorization: Bearer b\r\n", json!({}));
    for _ in 0..2 {
        go.on();
    }
    assert_ne!(anothers.header("x-stream-id"), id);
    assert!(anothers.body().ends_with("data: [DONE]\n\n"));
}

#[test]
fn a_linger_is_no_part_of_what_an_idempotency_key_stands_for() {
    let (upstream, server, go) = paced(1, "");
    let post = |linger: &str| {
        server.post(
            "/v1/chat/completions",
            "idempotency-key: k\r\n",
            &chat_body(json!({ "linger": linger })).to_string(),
        )
    };
    let mut first = post("1m");
    let id = first.header("x-stream-id");
    assert!(id.is_some());
    assert_eq!(post("2m").header("x-stream-id"), id);
    go.on();
    assert!(first.body().ends_with("data: [DONE]\n\n"));
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn who_leaves_before_the_upstream_accepts_takes_it_from_nobody_else() {
    let go = Go::default();
    let told = go.clone();
    let upstream = Upstream::start(move |c| {
        c.request();
        if !told.wait(c) {
            return c.wait_closed();
        }
        c.stream_head();
        c.say("whole");
        c.chunk(format!("{STOP}{DONE}").as_bytes());
        c.end();
    });
    let server = Server::before_with(&upstream, "sse.commit_after = \"10m\"\n", "");
    let post = || {
        server.post(
            "/v1/chat/completions",
            "idempotency-key: k\r\nx-linger: 1m\r\n",
            &chat_body(json!({})).to_string(),
        )
    };
    // Alone it is cancelled, however long it might have lingered.
    let alone = post();
    upstream.wait_requests(1);
    drop(alone);
    upstream.wait_closed(1);
    assert_eq!(server.ended(), "client_left");

    let first = post();
    upstream.wait_requests(2);
    let mut second = post();
    assert_eq!(second.status(), 200, "the stream that the first began");
    let sockets =
        || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).map_or(0, Iterator::count);
    let before = sockets();
    drop(first);
    until("the server has seen that the first has left", || {
        (sockets() < before).then_some(())
    });
    go.on();
    let body = second.body();
    assert!(body.contains("whole") && body.ends_with("data: [DONE]\n\n"));
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn a_refused_request_leaves_no_stream_and_its_key_may_ask_again() {
    // It says that it closes: the second request would else race with the end of the first.
    let upstream =
        Upstream::raw("HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let server = Server::before(&upstream);
    for nth in 1..=2 {
        let headers = "idempotency-key: k\r\nx-linger: 1m\r\n";
        let mut client = server.post(
            "/v1/chat/completions",
            headers,
            &chat_body(json!({})).to_string(),
        );
        assert_eq!((client.status(), client.header("x-stream-id")), (503, None));
        upstream.wait_requests(nth);
    }
}

#[test]
fn an_upstreams_own_ids_and_retries_are_replaced_by_ours() {
    let mut body = String::new();
    for (n, frame) in [says("a"), says("b"), STOP.to_owned(), DONE.to_owned()]
        .iter()
        .enumerate()
    {
        body.push_str(&format!(
            "id: theirs-{n}\r\nretry: 5\r\n: note\r\n{}",
            frame.replace('\n', "\r\n")
        ));
    }
    let upstream = Upstream::streaming(body);
    let server = Server::before(&upstream);
    let mut client = server.post(
        "/v1/chat/completions",
        "x-linger: 1m\r\n",
        &chat_body(json!({})).to_string(),
    );
    let body = client.body();
    assert!(
        !body.contains("theirs") && !body.contains("retry: 5"),
        "{body}"
    );
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    for line in body.lines().filter_map(|line| line.strip_prefix("id: ")) {
        *ids.entry(line.to_owned()).or_default() += 1;
    }
    assert_eq!((ids.len(), ids.values().max()), (4, Some(&1)), "{body}");
}

#[test]
fn a_server_that_ends_lets_readers_finish_and_waits_for_nobody_else() {
    let (upstream, mut server, go) = paced(3, "");
    let mut read = server.post(
        "/v1/chat/completions",
        "x-linger: 10m\r\n",
        &chat_body(json!({})).to_string(),
    );
    read.head();
    let left = server.post(
        "/v1/chat/completions",
        "x-linger: 10m\r\n",
        &chat_body(json!({})).to_string(),
    );
    upstream.wait_requests(2);
    drop(left);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    upstream.wait_closed(1);
    // Both upstreams wait for the same word; only one is still there to hear it.
    for _ in 0..6 {
        go.on();
    }
    assert!(read.body().ends_with("data: [DONE]\n\n"));
    assert!(server.wait_exit().success());
}

#[test]
fn a_generation_that_others_asked_for_too_outlives_the_first_who_did() {
    let upstream = Upstream::start(|c| {
        while c.request().is_some() {
            std::thread::sleep(std::time::Duration::from_millis(700));
            c.stream_head();
            c.chunk(format!("{}{STOP}{DONE}", says("a")).as_bytes());
            c.end();
        }
    });
    let server = Server::before_with(&upstream, "", "");
    let post = || {
        let headers = "idempotency-key: k\r\nx-linger: 1m\r\n";
        server.post(
            "/v1/chat/completions",
            headers,
            &chat_body(json!({})).to_string(),
        )
    };
    let first = post();
    upstream.wait_requests(1);
    let mut second = post();
    assert_eq!(second.status(), 200);
    drop(first);
    assert!(second.body().ends_with("data: [DONE]\n\n"));
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_stream_with_all_its_readers_can_be_cancelled() {
    let (upstream, server, go) = paced(5, "[streams]\nmax_readers = 1\n");
    let mut client = server.post(
        "/v1/chat/completions",
        "x-linger: 1m\r\n",
        &chat_body(json!({})).to_string(),
    );
    let id = client.header("x-stream-id").expect("an id");
    go.on();
    client.wait_for("\"t0\"");
    let said = server
        .post(&format!("/v1/stream/{id}/cancel"), "", "")
        .json();
    assert_eq!(said["status"].as_str(), Some("cancelled"), "{said}");
    upstream.wait_closed(1);
}

#[test]
fn a_client_that_sends_all_of_its_body_first_can_come_back_too() {
    let (_upstream, server, go) = paced(2, "max_body = \"64MiB\"\n");
    let mut client = server.post(
        "/v1/chat/completions",
        "x-linger: 1m\r\n",
        &chat_body(json!({})).to_string(),
    );
    go.on();
    client.wait_for("\"t0\"");
    let id = client.header("x-stream-id").expect("an id");
    let text = client.text();
    let event = text
        .lines()
        .find_map(|line| line.strip_prefix("id: "))
        .expect("an event's id")
        .to_owned();
    assert!(event.starts_with(&id));
    let padded = chat_body(json!({ "user": "x".repeat(32 << 20) })).to_string();
    // All of it is sent before anything is read, and the stream is still going on.
    let mut again = server.post(
        "/v1/chat/completions",
        &format!("last-event-id: {event}\r\n"),
        &padded,
    );
    assert_eq!(again.status(), 200);
    go.on();
    assert!(again.body().ends_with("data: [DONE]\n\n"));
}

#[test]
fn a_key_that_asks_for_another_encoding_asks_for_something_else() {
    let server = Server::mock();
    let ask = |encoding: &str| {
        let path = format!("/stream?model=mock-echo&prompt=a+b&encoding={encoding}");
        get(&server, &path, "idempotency-key: k\r\nx-linger: 1m\r\n")
    };
    assert!(ask("text").body().contains("data: a\n"));
    assert_eq!(ask("json").status(), 409);
    assert_eq!(ask("text").status(), 200);
}

#[test]
fn generations_without_clients_are_bounded_for_each_caller_and_in_all() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        c.say("x");
        c.wait_closed();
    });
    let config = "[streams]\nmax_lingering = 3\nmax_lingering_per_caller = 2\n";
    let server = Server::before_with(&upstream, config, "");
    let post = |key: &str| {
        let headers = format!("x-linger: 10m\r\nauthorization: Bearer {key}\r\n");
        let mut client = server.post(
            "/v1/chat/completions",
            &headers,
            &chat_body(json!({})).to_string(),
        );
        client.status();
        client
    };
    let mut kept = [post("one"), post("one")];
    assert_eq!(post("one").status(), 429);
    let mut other = post("two");
    assert_eq!(other.status(), 200);
    let mut refused = post("three");
    assert_eq!(refused.status(), 503);
    assert!(refused.header("retry-after").is_some());
    let id = kept[0].header("x-stream-id").unwrap();
    let cancel = format!("/v1/stream/{id}/cancel");
    let own = "authorization: Bearer one\r\n";
    assert_eq!(server.post(&cancel, own, "").status(), 200);
    until("its place is free", || {
        (post("two").status() == 200).then_some(())
    });
}
