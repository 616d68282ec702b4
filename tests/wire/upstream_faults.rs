//! Whatever an upstream does wrong, the client is told, in its dialect, and never `[DONE]`.

use serde_json::{Value, json};

use crate::support::*;

/// What a client of a broken stream gets: the frames before, and the error.
fn broken(body: impl Into<Vec<u8>>) -> (String, Value) {
    let upstream = Upstream::streaming(body);
    let server = Server::before(&upstream);
    let got = server.chat(json!({})).body();
    assert!(!got.contains("data: [DONE]"), "{got}");
    let (_, last) = events(&got).pop().expect("an error frame");
    let error: Value = serde_json::from_str(&last).expect("JSON");
    assert!(
        !error["error"].is_null(),
        "the last frame is an error: {got}"
    );
    assert_ne!(server.ended(), "complete");
    (got, error["error"].clone())
}

#[test]
fn an_end_without_a_finish_is_a_break() {
    for body in [
        says("a"),
        String::new(),
        format!("{}{DONE}", says("a")),
        format!("{}data: {{\"choices\":[", says("a")),
    ] {
        let (got, error) = broken(body.clone());
        let code = error["code"].as_str().unwrap().to_owned();
        assert!(
            code == "upstream_truncated" || code == "upstream_bad_payload",
            "{code}"
        );
        assert!(got.starts_with(&says("a")) || body.is_empty());
    }
}

#[test]
fn done_alone_suffices_where_configured() {
    let body = format!("{}{DONE}", says("a"));
    let upstream = Upstream::streaming(body.clone());
    let server = Server::before_with(&upstream, "", "finish_reason = \"optional\"");
    assert_eq!(server.chat(json!({})).body(), body);
}

#[test]
fn one_of_two_answers_unfinished_is_a_break() {
    let second = "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}}]}\n\n";
    let (_, error) = broken(format!("{}{second}{STOP}{DONE}", says("a")));
    assert_eq!(error["code"], "upstream_truncated");
}

#[test]
fn an_error_without_a_word_is_still_one() {
    for odd in [
        "event: error\ndata:\n\n",
        "event: error\n\n",
        "[{\"error\":{\"message\":\"gone\"}}]\n\n",
    ] {
        let (_, error) = broken(format!("{}{STOP}{odd}", says("a")));
        assert_eq!(error["code"], "upstream_error", "{odd}");
    }
}

#[test]
fn errors_of_the_upstream_pass_and_end_the_stream() {
    let frame = "data: {\"error\":{\"message\":\"overloaded\",\"code\":529}}\n\n";
    let (got, _) = broken(format!("{}{frame}{DONE}", says("a")));
    assert_eq!(
        got,
        format!("{}{frame}", says("a")),
        "as it came, and nothing after"
    );
    for odd in [
        "error: {\"code\":500,\"message\":\"gone\"}\n\n",
        "event: error\ndata: {\"message\":\"gone\"}\n\n",
        "event: error\ndata: gone\n\n",
    ] {
        let (_, error) = broken(format!("{}{odd}", says("a")));
        assert_eq!(
            (error["message"].as_str(), error["code"].as_str()),
            (Some("gone"), Some("upstream_error")),
            "{odd}"
        );
    }
    let (_, error) = broken(format!(
        "{}data: {{\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"error\"}}]}}\n\n",
        says("a")
    ));
    assert_eq!(error["code"], "upstream_error");
}

#[test]
fn frames_that_are_no_json_are_a_break() {
    for junk in ["data: <html>\n\n", "data: {\"choices\":\n\n", "data: 5\n\n"] {
        let (got, error) = broken(format!("{}{junk}{STOP}{DONE}", says("a")));
        assert_eq!(error["code"], "upstream_bad_payload", "{got}");
    }
}

#[test]
fn an_event_over_the_cap_is_a_break() {
    let long = says(&"x".repeat(300_000));
    let upstream = Upstream::streaming(format!("{long}{STOP}{DONE}"));
    let server = Server::before(&upstream);
    assert_eq!(
        server.chat(json!({})).body(),
        format!("{long}{STOP}{DONE}"),
        "under the cap it passes whole"
    );
    let server = Server::before_with(&upstream, "max_event_bytes = \"64KiB\"", "");
    assert!(server.chat(json!({})).body().contains("event_too_large"));
    assert_eq!(server.ended(), "event_too_large");
    // A line that never ends.
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        c.chunk(b"data: ");
        while c.chunk(&[b'x'; 65536]) {}
        c.wait_closed();
    });
    let server = Server::before(&upstream);
    assert!(server.chat(json!({})).body().contains("event_too_large"));
    upstream.wait_closed(1);
}

#[test]
fn a_model_may_have_sizes_of_its_own() {
    let long = says(&"x".repeat(300_000));
    let stream = format!("{long}{STOP}{DONE}");
    let whole = json!({ "choices": [{ "message": { "content": "x".repeat(300_000) }, "finish_reason": "stop" }] });
    let (whole, streamed) = (whole.to_string(), stream.clone());
    let upstream = Upstream::start(move |c| {
        while let Some(request) = c.request() {
            let (media_type, body) = match request.json()["stream"] == true {
                true => ("text/event-stream", &streamed),
                false => ("application/json", &whole),
            };
            let length = body.len();
            c.send(format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes());
        }
    });
    let sizes = "max_body = \"4KiB\"\nmax_event_bytes = \"64KiB\"\nmax_response_bytes = \"64KiB\"";
    let server = Server::with(
        &format!(
            "workers = 1\n[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"{}\"\n\
             [[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\" }}]\n{sizes}\n\
             [[models]]\nname = \"large\"\ntargets = [{{ provider = \"up\" }}]\n",
            upstream.base_url()
        ),
        &[],
    );
    let words = "y".repeat(5000);
    for (asked, code) in [
        (json!({}), "event_too_large"),
        (json!({ "stream": false }), "response_too_large"),
        (json!({ "user": words }), "body_too_large"),
    ] {
        let mut other = asked.clone();
        other["model"] = "large".into();
        assert!(server.chat(other).body().contains("xxx"), "{code}");
        let got = server.chat(asked).body();
        assert!(got.contains(code) && !got.contains("xxx"), "{got}");
    }
    assert_eq!(upstream.requests().len(), 5);
    let mut passed_on = server.post(
        "/v1/embeddings",
        "",
        &json!({ "model": "m", "input": "y".repeat(5000) }).to_string(),
    );
    assert_eq!((passed_on.status(), upstream.requests().len()), (413, 5));
}

#[test]
fn a_reset_and_a_cut_connection_are_breaks() {
    for reset in [false, true] {
        let upstream = Upstream::start(move |c| {
            c.request();
            c.stream_head();
            c.say("a");
            std::thread::sleep(std::time::Duration::from_millis(50));
            if reset {
                c.reset();
            }
        });
        let server = Server::before(&upstream);
        let body = server.chat(json!({})).body();
        assert!(
            body.starts_with(&says("a")) && body.contains("upstream_reset"),
            "{body}"
        );
        assert_eq!(server.ended(), "upstream_reset");
    }
}

#[test]
fn no_stream_where_one_was_due() {
    for (head, body) in [
        (
            "200 OK\r\ncontent-type: text/html",
            "<html><title>a sign-in</title>secret page</html>",
        ),
        ("200 OK\r\ncontent-type: application/json", "{}"),
        (
            "200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip",
            "x",
        ),
        (
            "200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: identity\r\ncontent-encoding: gzip",
            "x",
        ),
        ("204 No Content", ""),
        ("302 Found\r\nlocation: http://127.0.0.1:1/", ""),
    ] {
        let length = if head.starts_with("204") {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        let upstream = Upstream::raw(format!("HTTP/1.1 {head}\r\n{length}\r\n{body}"));
        let server = Server::before(&upstream);
        let mut client = server.chat(json!({}));
        assert_eq!(client.status(), 502, "{head}");
        let error = client.json();
        assert_eq!(error["error"]["code"], "upstream_not_a_stream", "{head}");
        assert!(!error.to_string().contains("secret page"));
        assert!(!server.log().contains("secret page"));
        let line = server.logged("generation", 1);
        assert!(line["error"].as_str().unwrap().contains("instead of"));
        assert_eq!(
            upstream.requests().len(),
            1,
            "nothing is followed or sent again"
        );
    }
}

#[test]
fn an_answer_that_is_half_a_json_object() {
    let upstream = Upstream::raw(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{\"id\": 12",
    );
    let server = Server::before(&upstream);
    let mut client = server.chat(json!({ "stream": false }));
    assert_eq!(client.status(), 502);
    assert_eq!(client.json()["error"]["code"], "upstream_bad_payload");
    let upstream = Upstream::raw(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"id\": 12",
    );
    let server = Server::before(&upstream);
    let mut client = server.chat(json!({ "stream": false }));
    assert_eq!(client.status(), 502);
    assert_eq!(client.json()["error"]["code"], "upstream_reset");
}

#[test]
fn a_time_to_wait_that_only_the_body_tells_is_a_header() {
    let body = r#"{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"38.2s"}]}}"#;
    for (header, told) in [("", "39"), ("retry-after: 7\r\n", "7")] {
        let length = body.len();
        let upstream = Upstream::raw(format!(
            "HTTP/1.1 429 X\r\ncontent-type: application/json\r\n{header}connection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        ));
        let server = Server::before(&upstream);
        let mut client = server.chat(json!({}));
        assert_eq!(client.status(), 429);
        assert_eq!(client.header("retry-after").as_deref(), Some(told));
    }
}

#[test]
fn refusals_keep_their_status_their_body_and_retry_after() {
    for status in [400, 401, 403, 404, 422, 429, 500, 503, 529] {
        let body = "{ \"error\": {\"message\":\"because\",  \"type\":\"t\",\"code\":null,\"vendor\":1.0} }";
        let length = body.len();
        let upstream = Upstream::raw(format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\nretry-after: 7\r\n\
             retry-after-ms: 7000\r\nx-request-id: up-9\r\n\r\n{body}"
        ));
        let server = Server::before(&upstream);
        let mut client = server.chat(json!({}));
        assert_eq!((client.status(), client.body().as_str()), (status, body));
        assert_eq!(client.header("retry-after").as_deref(), Some("7"));
        assert_eq!(client.header("retry-after-ms").as_deref(), Some("7000"));
        assert_eq!(
            client.header("x-upstream-request-id").as_deref(),
            Some("up-9")
        );
        assert!(client.header("x-request-id").unwrap().starts_with("req_"));
        // The plain dialect tells whose fault it was.
        let mut plain = server.get("/stream?prompt=x+canary-prompt&model=m");
        let expected = match status {
            401 | 403 | 500 => 502,
            529 => 503,
            same => same,
        };
        assert_eq!(plain.status(), expected, "{status}");
        let error = plain.json();
        assert_eq!(error["error"]["code"], "upstream_refused");
        assert!(
            error["error"]["message"]
                .as_str()
                .unwrap()
                .contains("because")
        );
        assert_eq!(server.logged("generation", 1)["status"], status);
        assert_eq!(upstream.requests().len(), 2, "no request is sent twice");
    }
}

#[test]
fn a_key_that_the_upstream_repeats_is_not_passed_on() {
    let body = "{\"error\":{\"message\":\"bad key sk-canary-key\"}}";
    let upstream = Upstream::raw(format!(
        "HTTP/1.1 401 X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let server = Server::before(&upstream);
    let mut client = server.chat(json!({}));
    assert_eq!(client.json()["error"]["message"], "bad key ***");
    server.logged("generation", 1);
    assert!(!server.log().contains("canary"));
}

#[test]
fn no_connection() {
    let refused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let plain = Upstream::start(|c| {
        c.send(b"this is no TLS, and says so at length\r\n");
    });
    for (url, status, code) in [
        (format!("http://{refused}"), 502, "connect_failed"),
        ("http://nowhere.invalid".to_owned(), 502, "dns_failed"),
        (format!("https://{}", plain.address), 502, "tls_failed"),
    ] {
        let config = format!(
            "[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\n[[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\" }}]\n"
        );
        // A proxy from the environment is nobody's wish: requests don't go there.
        let canary = Upstream::raw("HTTP/1.1 200 OK\r\n\r\n");
        let proxy = format!("http://{}", canary.address);
        let server = Server::with(
            &config,
            &[
                ("HTTP_PROXY", &proxy),
                ("http_proxy", &proxy),
                ("ALL_PROXY", &proxy),
            ],
        );
        let mut client = server.chat(json!({}));
        assert_eq!(
            (client.status(), client.json()["error"]["code"].as_str()),
            (status, Some(code)),
            "{url}"
        );
        assert_eq!(server.ended(), code);
        assert_eq!(canary.connections(), 0);
    }
}

#[test]
fn headers_that_a_connection_names_stay_with_it() {
    let body = format!("{STOP}{DONE}");
    let upstream = Upstream::raw(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: OpenAI-Version, close, x-request-id\r\n\
         openai-version: 1\r\nopenai-processing-ms: 2\r\nx-request-id: up\r\n\r\n{body}"
    ));
    let server = Server::before(&upstream);
    let mut client = server.chat(json!({}));
    assert_eq!(client.body(), body);
    assert_eq!(client.header("openai-processing-ms").as_deref(), Some("2"));
    assert_eq!(client.header("openai-version"), None);
    assert_eq!(client.header("x-upstream-request-id"), None);
}

#[test]
fn a_kept_connection_that_breaks_is_no_reason_to_send_a_post_again() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        c.chunk(format!("{STOP}{DONE}").as_bytes());
        c.end();
        // The second request is read, and then the connection breaks without an answer.
        c.request();
    });
    let server = Server::before_with(&upstream, "workers = 1", "");
    assert!(server.chat(json!({})).body().ends_with(DONE));
    let mut client = server.chat(json!({}));
    assert_eq!(client.status(), 502);
    assert_eq!(client.json()["error"]["code"], "upstream_reset");
    assert_eq!(upstream.requests().len(), 2);
    let line = server.logged("generation", 2);
    assert!(
        line["error"].as_str().unwrap().contains("uncertain"),
        "{line}"
    );
}

#[test]
fn a_refusal_before_the_request_was_read_is_told() {
    let upstream = Upstream::start(|c| {
        use std::io::Read;
        // The head's first byte, and no more.
        c.stream.read_exact(&mut [0]).expect("a request");
        let body = "{\"error\":{\"message\":\"too big\"}}";
        let length = body.len();
        c.send(
            format!("HTTP/1.1 413 X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
                .as_bytes(),
        );
        // A close with unread bytes is a reset, which may overtake the answer.
        std::thread::sleep(std::time::Duration::from_secs(1));
    });
    let server = Server::before_with(&upstream, "max_body = \"64MiB\"", "");
    let mut client = server.chat(json!({ "user": "x".repeat(16 << 20) }));
    assert_eq!(client.status(), 413);
    assert_eq!(client.json()["error"]["message"], "too big");
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_a_break() {
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked",
        "HTTP/1.1 200 OK\r\nx: a\r\n folded: b",
        "SSH-2.0-x",
    ] {
        let body = format!("{STOP}{DONE}");
        let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        let upstream = Upstream::raw(format!(
            "{head}\r\ncontent-type: text/event-stream\r\n\r\n{chunk}"
        ));
        let server = Server::before(&upstream);
        let mut client = server.chat(json!({}));
        assert_eq!(client.status(), 502, "{head}");
        assert_eq!(client.json()["error"]["code"], "upstream_reset", "{head}");
        assert_eq!(upstream.requests().len(), 1, "no request is sent twice");
    }
    for chunk in [
        "10000000000000000\r\n",
        "-1\r\n",
        "5 \r\nhello\r\n",
        "3\nabc\n",
    ] {
        let head =
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream";
        let upstream = Upstream::raw(format!(
            "{head}\r\n\r\n{:x}\r\n{}\r\n{chunk}",
            says("a").len(),
            says("a")
        ));
        let server = Server::before(&upstream);
        let body = server.chat(json!({})).body();
        assert!(
            body.contains("upstream_reset") && !body.contains("[DONE]"),
            "{chunk}: {body}"
        );
    }
}
