//! All that belongs to a key while it is good, and ends with it: streams, generations, readers.

use serde_json::json;

use crate::keys_support::*;
use crate::support::*;

/// Says one token, and then nothing until it is left.
fn silent_after_one() -> Upstream {
    Upstream::start(|c| {
        if c.request().is_some() {
            c.stream_head();
            c.say("once");
            c.wait_closed();
        }
    })
}

fn revoke(server: &Server, key: &str) {
    let output = keys(server.folder.path(), &["revoke", id(key)]);
    assert!(output.status.success());
}

fn chat(server: &Server, key: &str, headers: &str) -> Client {
    let headers = bearer(key) + headers;
    server.post(
        "/v1/chat/completions",
        &headers,
        &chat_body(json!({})).to_string(),
    )
}

#[test]
fn a_stream_belongs_to_the_key_through_rotation_and_to_nobody_else() {
    let upstream = silent_after_one();
    let keyed = Keyed::before(&upstream, "");
    let (mine, other) = (keyed.key("mine", &[]), keyed.key("other", &[]));
    let server = keyed.start();
    let mut begun = chat(&server, &mine, "x-linger: 60s\r\n");
    begun.wait_for("once");
    let stream = begun.header("x-stream-id").unwrap();
    let path = format!("/v1/stream/{stream}");
    let read = |key: &str| {
        get(
            &server,
            &path,
            &(bearer(key) + "accept: text/event-stream\r\n"),
        )
    };
    assert_eq!(read(&other).status(), 404);
    let mut cancel = server.post(&format!("{path}/cancel"), &bearer(&other), "");
    assert_eq!(cancel.status(), 404);
    read(&mine).wait_for("once");
    let rotated = printed_key(&keys(server.folder.path(), &["rotate", id(&mine)]));
    until("the new key is taken", || {
        (get(&server, "/v1/key", &bearer(&rotated)).status() == 200).then_some(())
    });
    read(&rotated).wait_for("once");
    // What ran before goes on.
    assert_eq!(
        server
            .post(&format!("{path}/cancel"), &bearer(&rotated), "")
            .status(),
        200
    );
    upstream.wait_closed(1);
}

#[test]
fn revoking_a_key_cuts_what_runs_for_it_and_nothing_else() {
    let upstream = silent_after_one();
    let keyed = Keyed::before(&upstream, "");
    let (bad, good) = (keyed.key("bad", &[]), keyed.key("good", &[]));
    let server = keyed.start();
    let mut direct = chat(&server, &bad, "");
    let mut lingering = chat(&server, &bad, "x-linger: 60s\r\n");
    let mut of_good = chat(&server, &good, "");
    for client in [&mut direct, &mut lingering, &mut of_good] {
        client.wait_for("once");
    }
    let stream = lingering.header("x-stream-id").unwrap();
    let headers = bearer(&bad) + "accept: text/event-stream\r\n";
    let mut reader = get(&server, &format!("/v1/stream/{stream}"), &headers);
    reader.wait_for("once");
    let whole = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    let mut whole = server.post("/v1/chat/completions", &bearer(&bad), &whole.to_string());
    upstream.wait_requests(4);
    revoke(&server, &bad);
    for client in [&mut direct, &mut lingering, &mut reader] {
        let body = client.body();
        assert!(body.contains("\"code\":\"key_revoked\""), "{body}");
        assert!(!body.contains("[DONE]"), "{body}");
    }
    assert_eq!(whole.status(), 401);
    upstream.wait_closed(3);
    assert_eq!(chat(&server, &bad, "").status(), 401);
    let ended: Vec<String> = (1..=3)
        .map(|n| server.logged("generation", n)["ended"].to_string())
        .collect();
    assert_eq!(ended, ["\"key_revoked\""; 3]);
    // The other's goes on.
    assert!(!of_good.text().contains("error"));
    chat(&server, &good, "").wait_for("once");
}

#[test]
fn a_key_ends_with_its_time_and_so_does_what_runs_for_it() {
    let upstream = silent_after_one();
    let keyed = Keyed::before(&upstream, "");
    let key = keyed.key("short", &["--expires", "6s"]);
    let server = keyed.start();
    let mut client = chat(&server, &key, "");
    client.wait_for("once");
    let body = client.body();
    assert!(body.contains("\"code\":\"key_revoked\""), "{body}");
    upstream.wait_closed(1);
    let mut late = chat(&server, &key, "");
    assert_eq!(late.status(), 401);
    assert_eq!(late.json()["error"]["code"], "key_expired");
}

#[test]
fn each_api_is_told_in_mid_stream_that_the_key_is_revoked() {
    let upstream = silent_after_one();
    let keyed = Keyed::before(&upstream, "");
    let key = keyed.key("bad", &[]);
    let server = keyed.start();
    let hi = json!([{ "role": "user", "content": "hi" }]);
    let requests = [
        (
            "/v1/responses",
            json!({ "model": "m", "stream": true, "input": "hi" }),
        ),
        (
            "/v1/messages",
            json!({ "model": "m", "stream": true, "max_tokens": 9, "messages": hi }),
        ),
        (
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            json!({ "contents": [{ "parts": [{ "text": "hi" }] }] }),
        ),
        ("/stream", json!({ "model": "m", "prompt": "hi" })),
    ];
    let mut clients: Vec<Client> = requests
        .iter()
        .map(|(path, body)| server.post(path, &bearer(&key), &body.to_string()))
        .collect();
    for client in &mut clients {
        client.wait_for("once");
    }
    revoke(&server, &key);
    let words = [
        "key_revoked",
        "authentication_error",
        "UNAUTHENTICATED",
        "key_revoked",
    ];
    for (client, word) in clients.iter_mut().zip(words) {
        let body = client.body();
        assert!(body.contains(word), "{word}: {body}");
        for mark in ["response.completed", "message_stop", "\"STOP\"", "[DONE]"] {
            assert!(!body.contains(mark), "{body}");
        }
    }
    upstream.wait_closed(4);
}
