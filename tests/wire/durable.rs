//! `/v1/stream/{id}`: streams that are written over HTTP, and a browser's feed of them.

use serde_json::{Value, json};

use crate::support::{Client, Server, until};

const TEXT: &str = "content-type: text/plain\r\n";
const JSON: &str = "content-type: application/json\r\n";
const EVENTS: &str = "accept: text/event-stream\r\n";

fn ask(server: &Server, method: &str, path: &str, headers: &str, body: &str) -> Client {
    let length = body.len();
    let head = format!(
        "{method} /v1/stream/{path} HTTP/1.1\r\nhost: t\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    Client::send(server.address, head.as_bytes())
}

fn done(
    server: &Server,
    status: u16,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Client {
    let mut client = ask(server, method, path, headers, body);
    assert_eq!(
        client.status(),
        status,
        "{method} {path} {headers}: {}",
        client.text()
    );
    for header in [
        "x-content-type-options",
        "cross-origin-resource-policy",
        "x-request-id",
    ] {
        assert!(
            client.header(header).is_some(),
            "{method} {path}: no {header}"
        );
    }
    client
}

fn create(server: &Server, id: &str, headers: &str, body: &str) -> String {
    next_offset(&mut done(server, 201, "PUT", id, headers, body))
}

fn append(server: &Server, id: &str, headers: &str, body: &str) -> String {
    next_offset(&mut done(server, 204, "POST", id, headers, body))
}

fn get(server: &Server, path: &str, headers: &str) -> Client {
    let head = format!("GET /v1/stream/{path} HTTP/1.1\r\nhost: t\r\n{headers}\r\n");
    Client::send(server.address, head.as_bytes())
}

fn next_offset(client: &mut Client) -> String {
    client.header("stream-next-offset").expect("an offset")
}

fn code(client: &mut Client) -> String {
    client.json()["error"]["code"]
        .as_str()
        .expect("a code")
        .to_owned()
}

/// (id, data) of each message that a browser's `onmessage` would get.
fn messages(text: &str) -> Vec<(String, String)> {
    let (mut messages, mut id, mut data) = (Vec::new(), String::new(), Vec::new());
    for line in text.split('\n') {
        match line.split_once(':') {
            Some(("id", value)) => value.trim_start().clone_into(&mut id),
            Some(("data", value)) => data.push(value.strip_prefix(' ').unwrap_or(value).to_owned()),
            _ if line.is_empty() && !data.is_empty() => {
                messages.push((id.clone(), std::mem::take(&mut data).join("\n")));
            }
            _ => {}
        }
    }
    messages
}

#[test]
fn many_producers_at_once_lose_nothing_and_double_nothing() {
    let server = Server::mock();
    create(&server, "s", JSON, "");
    std::thread::scope(|scope| {
        for producer in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for seq in 0..20 {
                    let headers =
                        format!("{JSON}producer-id: p{producer}\r\nproducer-epoch: 0\r\nproducer-seq: {seq}\r\n");
                    let body = json!({ "producer": producer, "seq": seq }).to_string();
                    done(server, 200, "POST", "s", &headers, &body);
                    // The answer might have been lost: once more.
                    let mut again = done(server, 204, "POST", "s", &headers, &body);
                    assert_eq!(again.header("producer-seq"), Some(seq.to_string()));
                }
            });
        }
    });
    let all = get(&server, "s", "").json();
    let all = all.as_array().expect("an array");
    assert_eq!(all.len(), 160);
    for producer in 0..8 {
        let said: Vec<&Value> = all
            .iter()
            .filter(|message| message["producer"] == producer)
            .collect();
        assert!(
            said.iter()
                .enumerate()
                .all(|(seq, message)| message["seq"] == seq),
            "{producer}: {said:?}"
        );
    }
}

#[test]
fn of_many_at_once_one_makes_it_and_one_is_next() {
    let server = Server::mock();
    let at_once = |method: &'static str, headers: &'static str| -> Vec<u16> {
        let ask_one = || ask(&server, method, "s", headers, "x").status();
        std::thread::scope(|scope| {
            let asking: Vec<_> = (0..16).map(|_| scope.spawn(ask_one)).collect();
            let mut statuses: Vec<u16> = asking
                .into_iter()
                .map(|one| one.join().expect("an answer"))
                .collect();
            statuses.sort_unstable();
            statuses
        })
    };
    let made = at_once("PUT", TEXT);
    assert_eq!(
        (made[..15].iter().all(|status| *status == 200), made[15]),
        (true, 201),
        "{made:?}"
    );
    let appended = at_once("POST", "content-type: text/plain\r\nstream-seq: 1\r\n");
    assert_eq!(
        (
            appended[0],
            appended[1..].iter().all(|status| *status == 409)
        ),
        (204, true),
        "{appended:?}"
    );
    assert_eq!(get(&server, "s", "").body(), "xx");
}

#[test]
fn a_live_reader_gets_what_is_appended_and_the_end() {
    let server = Server::mock();
    create(&server, "s", TEXT, "a");
    let mut live = get(&server, "s?offset=-1&live=sse", "");
    live.wait_for("upToDate");
    append(&server, "s", TEXT, "b\nc");
    live.wait_for("data:b\ndata:c\n");
    append(&server, "s", &format!("{TEXT}stream-closed: true\r\n"), "d");
    let body = live.body();
    assert!(body.contains("data:d\n"), "{body}");
    assert!(
        body.trim_end()
            .ends_with("\"streamClosed\":true,\"upToDate\":true}"),
        "{body}"
    );
    assert_eq!(
        live.header("content-type").as_deref(),
        Some("text/event-stream")
    );
}

#[test]
fn a_long_poll_is_woken_by_data_and_told_the_end() {
    let server = Server::mock();
    let tail = create(&server, "s", TEXT, "");
    let mut waiting = get(&server, &format!("s?offset={tail}&live=long-poll"), "");
    // Whether it waits already or comes after it, it gets the append.
    let tail = append(&server, "s", TEXT, "a");
    assert_eq!((waiting.status(), waiting.body()), (200, "a".to_owned()));
    assert!(waiting.header("stream-cursor").is_some());
    done(&server, 204, "POST", "s", "stream-closed: true\r\n", "");
    let mut end = get(&server, &format!("s?offset={tail}&live=long-poll"), "");
    assert_eq!(
        (end.status(), end.header("stream-closed").as_deref()),
        (204, Some("true"))
    );
}

#[test]
fn a_long_poll_ends_when_the_server_does() {
    let mut server = Server::mock();
    create(&server, "s", TEXT, "");
    let mut waiting = get(&server, "s?offset=-1&live=long-poll", "");
    let mut live = get(&server, "s?offset=-1&live=sse", "");
    let mut feed = get(&server, "s", EVENTS);
    live.wait_for("upToDate");
    feed.wait_for("retry:");
    server.signal(nix::sys::signal::Signal::SIGTERM);
    live.body();
    feed.body();
    // Either it waited and was let go, or it came too late to be taken.
    waiting.wait_end();
    assert!(server.wait_exit().success());
}

#[test]
fn an_sse_stream_that_is_cut_anywhere_goes_on_where_it_was() {
    let server = Server::mock();
    create(&server, "s", JSON, "[1,{\"two\":\"\\n\"}]");
    append(&server, "s", JSON, "[[3]]");
    append(&server, "s", JSON, "\"vier\"");
    done(&server, 204, "POST", "s", "stream-closed: true\r\n", "");
    let whole = get(&server, "s?offset=-1&live=sse", "").body();
    let values = |text: &str| -> Vec<Value> {
        let blocks = text
            .split_inclusive("\n\n")
            .filter(|block| block.ends_with("\n\n") && block.contains("event: data"));
        let arrays = blocks.map(|block| messages(block).remove(0).1);
        arrays
            .flat_map(|array| serde_json::from_str::<Vec<Value>>(&array).expect("an array"))
            .collect()
    };
    let all = values(&whole);
    assert_eq!(
        all,
        [json!(1), json!({ "two": "\n" }), json!([3]), json!("vier")]
    );
    for cut in 0..=whole.len() {
        let first = &whole[..cut];
        let complete = &first[..first.rfind("\n\n").map_or(0, |end| end + 2)];
        let last = complete
            .lines()
            .filter_map(|line| line.strip_prefix("id: "))
            .next_back();
        let headers = last.map_or(String::new(), |id| format!("last-event-id: {id}\r\n"));
        let rest = get(&server, "s?offset=-1&live=sse", &headers).body();
        let heard = [values(complete), values(&rest)].concat();
        assert_eq!(heard, all, "cut at {cut}");
    }
}

#[test]
fn an_event_source_reads_a_feed_comes_back_and_is_told_to_stop() {
    let server = Server::mock();
    create(&server, "orders", JSON, "[{\"n\":1},{\"n\":2}]");
    let mut feed = get(&server, "orders", EVENTS);
    feed.wait_for_many("data:", 2);
    append(&server, "orders", JSON, "{\"n\":3}");
    feed.wait_for_many("data:", 3);
    let heard = messages(&feed.text());
    let data: Vec<&str> = heard.iter().map(|(_, data)| data.as_str()).collect();
    assert_eq!(data, ["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"]);
    assert!(
        !feed.text().contains("event:"),
        "onmessage hears only events without a name"
    );
    // It breaks; meanwhile the last one comes.
    let id = &heard[1].0;
    drop(feed);
    append(
        &server,
        "orders",
        &format!("{JSON}stream-closed: true\r\n"),
        "{\"n\":4}",
    );
    let rest = messages(
        &get(
            &server,
            "orders",
            &format!("{EVENTS}last-event-id: {id}\r\n"),
        )
        .body(),
    );
    let data: Vec<&str> = rest.iter().map(|(_, data)| data.as_str()).collect();
    assert_eq!(data, ["{\"n\":3}", "{\"n\":4}"]);
    let last = &rest[1].0;
    assert_eq!(
        get(
            &server,
            "orders",
            &format!("{EVENTS}last-event-id: {last}\r\n")
        )
        .status(),
        204
    );
    let bare = last.rsplit('.').next().expect("an offset");
    assert_eq!(
        get(&server, &format!("orders?last_event_id={bare}"), EVENTS).status(),
        204
    );
    assert_eq!(
        get(
            &server,
            "orders",
            &format!("{EVENTS}last-event-id: other.{bare}\r\n")
        )
        .status(),
        400
    );
}

#[test]
fn a_feed_has_text_and_says_so_of_anything_else() {
    let server = Server::mock();
    create(&server, "t", TEXT, " one\r\ntwo");
    done(&server, 204, "POST", "t", "stream-closed: true\r\n", "");
    let heard = messages(&get(&server, "t", EVENTS).body());
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].1, " one\ntwo");
    create(&server, "b", "content-type: image/png\r\n", "\u{1}");
    let mut refused = done(&server, 406, "GET", "b", EVENTS, "");
    assert_eq!(code(&mut refused), "not_acceptable");
}

#[test]
fn a_deleted_stream_ends_its_readers_and_its_name_is_free() {
    let server = Server::mock();
    create(&server, "s", TEXT, "old");
    let mut live = get(&server, "s?offset=-1&live=sse", "");
    live.wait_for("upToDate");
    done(&server, 204, "DELETE", "s", "", "");
    assert!(
        !live.body().contains("streamClosed"),
        "it was not closed: it is gone"
    );
    for method in ["GET", "DELETE"] {
        let mut gone = done(&server, 404, method, "s", "", "");
        assert_eq!(code(&mut gone), "not_found");
    }
    done(&server, 404, "POST", "s", TEXT, "x");
    create(&server, "s", TEXT, "new");
    assert_eq!(get(&server, "s", "").body(), "new");
}

#[test]
fn what_makes_no_sense_is_told_with_its_place() {
    let server = Server::mock();
    create(&server, "s", TEXT, "x");
    for (method, path, headers, body, param) in [
        ("GET", "s?offset=", "", "", "offset"),
        ("GET", "s?offset=00000000_000000000000x", "", "", "offset"),
        ("GET", "s?offset=-1&offset=-1", "", "", "offset"),
        ("GET", "s?live=sse", "", "", "offset"),
        ("GET", "s?offset=-1&live=yes", "", "", "live"),
        (
            "GET",
            "s",
            "last-event-id: garbage\r\n",
            "",
            "last-event-id",
        ),
        (
            "PUT",
            "n",
            "stream-ttl: 1\r\nstream-expires-at: 2030-01-01T00:00:00Z\r\n",
            "",
            "stream-ttl",
        ),
        (
            "PUT",
            "n",
            "stream-ttl: 99999999999999\r\n",
            "",
            "stream-ttl",
        ),
        (
            "PUT",
            "n",
            "stream-expires-at: soon\r\n",
            "",
            "stream-expires-at",
        ),
        ("PUT", "n", "content-type: text\r\n", "", "content-type"),
        (
            "PUT",
            "n",
            "stream-fork-offset: -1\r\n",
            "",
            "stream-fork-offset",
        ),
        (
            "PUT",
            "n",
            "stream-forked-from: /elsewhere/s\r\n",
            "",
            "stream-forked-from",
        ),
        ("PUT", "n", JSON, "{", "body"),
        ("POST", "s", TEXT, "", "body"),
        ("POST", "s", "", "x", "content-type"),
        (
            "POST",
            "s",
            "content-type: text/plain\r\nproducer-id: p\r\n",
            "x",
            "producer-epoch",
        ),
        ("PUT", "a b", TEXT, "", "id"),
        ("PUT", "%ff", TEXT, "", "id"),
    ] {
        let path = path.replace(' ', "%20");
        let mut refused = done(&server, 400, method, &path, headers, body);
        let error = refused.json()["error"].clone();
        assert_eq!(error["param"], param, "{method} {path} {headers}: {error}");
        assert!(!error["message"].as_str().expect("a message").is_empty());
    }
    let future = get(&server, "s", "")
        .header("stream-next-offset")
        .expect("an offset");
    let future = format!("{}_0000000000ff", &future[..8]);
    done(&server, 400, "GET", &format!("s?offset={future}"), "", "");
    done(
        &server,
        410,
        "GET",
        "s?offset=00000001_000000000000",
        "",
        "",
    );
    done(&server, 405, "PATCH", "s", "", "");
    done(
        &server,
        415,
        "POST",
        "s",
        &format!("{TEXT}content-encoding: gzip\r\n"),
        "x",
    );
}

#[test]
fn a_stream_is_forgotten_after_its_time_and_asking_does_not_prolong_it() {
    let server = Server::mock();
    create(&server, "s", &format!("{TEXT}stream-ttl: 1\r\n"), "x");
    let mut head = done(&server, 200, "HEAD", "s", "", "");
    assert_eq!(head.header("stream-ttl").as_deref(), Some("1"));
    assert_eq!(head.header("cache-control").as_deref(), Some("no-store"));
    // HEAD all the while: were it a read, this would never end.
    until("the stream is forgotten", || {
        (ask(&server, "HEAD", "s", "", "").status() == 404).then_some(())
    });
    done(&server, 404, "GET", "s", "", "");
    create(
        &server,
        "u",
        &format!("{TEXT}stream-expires-at: 2020-01-01T00:00:00Z\r\n"),
        "x",
    );
    done(&server, 404, "GET", "u", "", "");
}

#[test]
fn a_reader_that_waits_keeps_an_idle_stream() {
    let server = Server::mock();
    create(&server, "s", &format!("{TEXT}stream-ttl: 1\r\n"), "");
    create(&server, "alone", &format!("{TEXT}stream-ttl: 1\r\n"), "");
    let mut live = get(&server, "s?offset=-1&live=sse", "");
    live.wait_for("upToDate");
    until("the other is forgotten", || {
        (ask(&server, "HEAD", "alone", "", "").status() == 404).then_some(())
    });
    append(&server, "s", TEXT, "still");
    live.wait_for("data:still");
}

#[test]
fn caps_are_told_by_their_names() {
    let config = "[streams]\nmax_bytes = \"4KiB\"\nmax_total_bytes = \"16KiB\"\nmax_readers = 1\n";
    let server = Server::with(config, &[]);
    let large = "x".repeat(3000);
    create(&server, "s", TEXT, &large);
    let mut full = done(&server, 413, "POST", "s", TEXT, &large);
    assert!(
        full.json()["error"]["message"]
            .as_str()
            .expect("words")
            .contains("streams.max_bytes")
    );
    assert_eq!(
        get(&server, "s", "").body().len(),
        3000,
        "what is refused is not appended by half"
    );
    done(&server, 204, "POST", "s", "stream-closed: true\r\n", "");
    let mut refused = (0..16)
        .map(|n| ask(&server, "PUT", &format!("t{n}"), TEXT, &large))
        .find_map(|mut client| (client.status() != 201).then_some(client));
    let refused = refused.as_mut().expect("the sum is bounded");
    assert_eq!(refused.status(), 503);
    assert!(refused.header("retry-after").is_some());
    assert!(
        refused.json()["error"]["message"]
            .as_str()
            .expect("words")
            .contains("streams.max_total_bytes")
    );
    assert_eq!(
        get(&server, "s", "").body().len(),
        3000,
        "what is closed was put there to stay"
    );
    let mut reader = get(&server, "t0?offset=now&live=sse", "");
    reader.wait_for("upToDate");
    let mut second = done(&server, 429, "GET", "t0?offset=now&live=sse", "", "");
    assert_eq!(code(&mut second), "too_many_readers");
}

#[test]
fn a_page_is_known_by_its_tag_until_something_changes() {
    let server = Server::mock();
    create(&server, "s", TEXT, "a");
    let tag = get(&server, "s", "").header("etag").expect("a tag");
    let known = format!("if-none-match: {tag}\r\n");
    assert_eq!(get(&server, "s", &known).status(), 304);
    done(&server, 204, "POST", "s", "stream-closed: true\r\n", "");
    let mut closed = get(&server, "s", &known);
    assert_eq!(
        (closed.status(), closed.header("stream-closed").as_deref()),
        (200, Some("true"))
    );
    done(&server, 204, "DELETE", "s", "", "");
    create(&server, "s", TEXT, "b");
    assert_eq!(
        (get(&server, "s", &known).body()),
        "b",
        "another stream of that name, perhaps of the same second"
    );
}

#[test]
fn pages_are_bounded() {
    let server = Server::mock();
    create(&server, "s", TEXT, "");
    let large = "x".repeat(700_000);
    for _ in 0..3 {
        append(&server, "s", TEXT, &large);
    }
    let mut page = get(&server, "s", "");
    assert_eq!(page.body().len(), 1_400_000);
    assert_eq!(page.header("stream-up-to-date"), None);
    let next = next_offset(&mut page);
    let mut rest = get(&server, &format!("s?offset={next}"), "");
    assert_eq!(
        (
            rest.body().len(),
            rest.header("stream-up-to-date").as_deref()
        ),
        (700_000, Some("true"))
    );
}

#[test]
fn a_fork_lives_on_without_its_source() {
    let server = Server::mock();
    create(&server, "source", JSON, "[1,2,3]");
    let from = "stream-forked-from: /v1/stream/source\r\nstream-fork-offset: -1\r\nstream-fork-sub-offset: 2\r\n";
    create(&server, "fork", from, "");
    append(&server, "fork", JSON, "4");
    done(&server, 204, "DELETE", "source", "", "");
    done(&server, 410, "GET", "source", "", "");
    done(&server, 410, "POST", "source", JSON, "1");
    done(&server, 409, "PUT", "source", JSON, "");
    assert_eq!(get(&server, "fork", "").body(), "[1,2,4]");
    done(&server, 204, "DELETE", "fork", "", "");
    done(&server, 404, "GET", "source", "", "");
    create(&server, "source", JSON, "");
}

#[test]
fn a_generations_stream_is_read_but_not_written() {
    let server = Server::mock();
    let mut answer = server.get("/stream?model=mock-fast&prompt=hi+canary-prompt&linger=10s");
    let said = answer.body();
    let id = answer.header("x-stream-id").expect("a stream");
    let mut read = done(&server, 200, "GET", &id, "", "");
    assert_eq!(read.body(), said, "its bytes are its frames");
    assert!(
        read.header("content-type")
            .is_some_and(|kind| kind.starts_with("text/event-stream"))
    );
    assert_eq!(
        done(&server, 200, "HEAD", &id, "", "")
            .header("stream-closed")
            .as_deref(),
        Some("true")
    );
    let live = get(&server, &format!("{id}?offset=-1&live=sse"), "").body();
    assert!(live.contains("event: data") && live.contains("streamClosed"));
    assert_eq!(get(&server, &id, EVENTS).body(), said);
    for (method, headers, body) in [
        ("POST", TEXT, "x"),
        ("PUT", TEXT, "x"),
        ("POST", "stream-closed: true\r\n", ""),
    ] {
        let mut refused = done(&server, 409, method, &id, headers, body);
        assert_eq!(code(&mut refused), "conflict");
    }
    done(&server, 204, "DELETE", &id, "", "");
    done(&server, 410, "GET", &id, "", "");
}

#[test]
fn a_long_append_is_told_whole_in_pieces() {
    let server = Server::mock();
    let closed = "stream-closed: true\r\n";
    let numbers: Vec<String> = (0..60_000).map(|n| n.to_string()).collect();
    create(
        &server,
        "many",
        &format!("{JSON}{closed}"),
        &format!("[{}]", numbers.join(",")),
    );
    let body = get(&server, "many", EVENTS).body();
    let told: Vec<String> = messages(&body).into_iter().map(|(_, data)| data).collect();
    assert_eq!(told, numbers);
    let sse = get(&server, "many?offset=-1&live=sse", "").body();
    let (_, array) = messages(&sse).swap_remove(0);
    assert_eq!(array, format!("[{}]", numbers.join(",")));
    let lines = numbers.join("\r\n ");
    create(&server, "lines", &format!("{TEXT}{closed}"), &lines);
    let (_, text) = messages(&get(&server, "lines", EVENTS).body()).swap_remove(0);
    assert_eq!(text, lines.replace("\r\n", "\n"));
    let bytes = "content-type: application/octet-stream\r\n";
    create(
        &server,
        "bytes",
        &format!("{bytes}{closed}"),
        &"abcd".repeat(50_000),
    );
    let (_, text) = messages(&get(&server, "bytes?offset=-1&live=sse", "").body()).swap_remove(0);
    let whole =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).expect("base64");
    assert_eq!(whole, "abcd".repeat(50_000).as_bytes());
}
