//! Several targets for a model: a fault that comes before the answer is never seen by a client.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::*;

pub(crate) const WHOLE: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"real","choices":[{"index":0,"message":{"role":"assistant","content":"whole"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
/// The beginning of a stream that has not said anything yet.
const PREAMBLE: &str = "data: {\"id\":\"lost\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"real\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";

/// An upstream that answers, as a stream or whole, as it is asked.
pub(crate) fn good() -> Upstream {
    Upstream::start(|c| {
        while let Some(request) = c.request() {
            if request.json()["stream"] == true {
                c.stream_head();
                c.chunk(format!("{}{STOP}{DONE}", says("good")).as_bytes());
                c.end();
            } else {
                c.send(&json_response("200 OK", "", WHOLE));
            }
        }
    })
}

/// An upstream that refuses each request with that status.
pub(crate) fn refusing(
    status: &'static str,
    headers: &'static str,
    body: &'static str,
) -> Upstream {
    Upstream::start(move |c| {
        while c.request().is_some() {
            c.send(&json_response(status, headers, body));
        }
    })
}

/// An upstream that begins its streams with a preamble and then does something else.
fn preamble_then(then: impl Fn(&mut Connection) + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |c| {
        while c.request().is_some() {
            c.stream_head();
            c.chunk(PREAMBLE.as_bytes());
            then(c);
        }
    })
}

pub(crate) fn json_response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// The address of nobody.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/v1", listener.local_addr().unwrap())
}

/// A server with the model `m`, whose targets are these upstreams in their order; the first
/// provider is `one`, the second `two`.
pub(crate) fn server(targets: &[String], rules: &str) -> Server {
    let names = ["one", "two", "three"];
    let mut config = "workers = 1\n[log]\nlevel = \"debug\"\n".to_owned();
    for (name, url) in names.iter().zip(targets) {
        config += &format!("[providers.{name}]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\n");
    }
    let list: Vec<String> = names
        .iter()
        .zip(targets)
        .map(|(name, _)| format!("{{ provider = \"{name}\", model = \"real\" }}"))
        .collect();
    config += &format!(
        "[[models]]\nname = \"m\"\ntargets = [{}]\n{rules}\n",
        list.join(", ")
    );
    Server::with(&config, &[])
}

pub(crate) fn whole(server: &Server) -> Client {
    server.chat(json!({ "stream": false }))
}

/// Asks for a stream and for a whole answer, and checks that the good target gives both.
pub(crate) fn answers(server: &Server) {
    let mut client = server.chat(json!({}));
    assert_eq!(client.status(), 200, "{}", client.text());
    let body = client.body();
    assert_eq!(body, format!("{}{STOP}{DONE}", says("good")));
    let mut client = whole(server);
    assert_eq!(client.status(), 200, "{}", client.text());
    assert_eq!(client.json()["choices"][0]["message"]["content"], "whole");
}

#[test]
fn a_target_that_cant_be_reached_is_passed_over() {
    let two = good();
    let server = server(&[nobody(), two.base_url()], "");
    let mut client = server.chat(json!({}));
    assert_eq!(
        client.header("x-tokenrill-target").as_deref(),
        Some("two/real")
    );
    assert_eq!(client.header("x-tokenrill-attempts").as_deref(), Some("2"));
    assert!(client.body().ends_with(DONE));
    answers(&server);
    let line = server.logged("attempt failed", 1);
    assert_eq!(
        (&line["provider"], &line["verdict"], &line["sent"]),
        (&json!("one"), &json!("hard"), &json!("unsent"))
    );
}

#[test]
fn refusals_that_say_nothing_of_the_request_lead_to_the_next_target() {
    for (status, verdict) in [
        ("500 Oops", "hard"),
        ("502 Bad Gateway", "hard"),
        ("503 Busy", "busy"),
        ("529 Overloaded", "busy"),
        ("429 Too Many", "busy"),
        ("401 No", "key"),
        ("403 No", "key"),
        ("402 Pay", "quota"),
    ] {
        let (one, two) = (
            refusing(status, "", r#"{"error":{"message":"no","type":"x"}}"#),
            good(),
        );
        let server = server(&[one.base_url(), two.base_url()], "");
        answers(&server);
        assert_eq!(
            server.logged("attempt failed", 1)["verdict"],
            verdict,
            "{status}"
        );
        assert!(one.requests().len() <= 2, "{status}");
    }
}

#[test]
fn an_account_without_money_is_passed_over_whatever_the_status() {
    let broke = r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API"}}"#;
    let (one, two) = (refusing("400 Bad", "", broke), good());
    let server = server(&[one.base_url(), two.base_url()], "");
    answers(&server);
    answers(&server);
    // It rests for an hour.
    assert_eq!(one.requests().len(), 1);
}

#[test]
fn the_clients_own_fault_is_told_as_it_is_and_nobody_else_is_asked() {
    let wrong = r#"{"error":{"message":"temperature: too hot","type":"invalid_request_error"}}"#;
    let (one, two) = (refusing("400 Bad", "", wrong), good());
    let server = server(&[one.base_url(), two.base_url()], "");
    for mut client in [server.chat(json!({})), whole(&server)] {
        assert_eq!(client.status(), 400);
        assert_eq!(client.body(), wrong);
    }
    assert_eq!((one.requests().len(), two.requests().len()), (2, 0));
}

#[test]
fn a_fault_after_the_preamble_is_not_seen() {
    type Fault = fn(&mut Connection);
    let faults: [(&str, Fault); 5] = [
        ("reset", |c| c.reset()),
        ("ended", |c| c.end()),
        ("error", |c| {
            c.chunk(
                b"data: {\"error\":{\"message\":\"overloaded\",\"type\":\"overloaded_error\"}}\n\n",
            );
            c.end();
        }),
        ("broken JSON", |c| {
            c.chunk(b"data: {\"choices\":[{]}\n\n");
            c.end();
        }),
        ("a network error", |c| {
            c.chunk(STOP.replace("\"stop\"", "\"network_error\"").as_bytes());
            c.end();
        }),
    ];
    for (name, fault) in faults {
        let (one, two) = (preamble_then(fault), good());
        let server = server(&[one.base_url(), two.base_url()], "");
        let mut client = server.chat(json!({}));
        assert_eq!(client.status(), 200, "{name}");
        assert_eq!(
            client.header("x-tokenrill-target").as_deref(),
            Some("two/real"),
            "{name}"
        );
        assert_eq!(
            client.body(),
            format!("{}{STOP}{DONE}", says("good")),
            "{name}"
        );
        let mut translated = server.post(
            "/v1/messages",
            "",
            r#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"canary-prompt"}]}"#,
        );
        let body = translated.body();
        assert_eq!(body.matches("message_start\"").count(), 1, "{name}: {body}");
        assert!(
            body.contains("good") && body.contains("message_stop"),
            "{name}: {body}"
        );
    }
}

#[test]
fn a_target_that_is_silent_after_its_preamble_is_left_in_time() {
    let (one, two) = (preamble_then(Connection::wait_closed), good());
    let server = server(
        &[one.base_url(), two.base_url()],
        "[timeouts]\nfirst_token = \"200ms\"\n",
    );
    let mut client = server.chat(json!({}));
    assert_eq!(client.body(), format!("{}{STOP}{DONE}", says("good")));
    one.wait_closed(1);
}

#[test]
fn where_nobody_answers_the_status_says_so_and_no_frame_comes() {
    let busy = || {
        refusing(
            "503 Busy",
            "retry-after: 7\r\n",
            r#"{"error":{"message":"busy"}}"#,
        )
    };
    let (one, two) = (busy(), busy());
    let server = server(&[one.base_url(), two.base_url()], "");
    for stream in [true, false] {
        let mut client = server.chat(json!({ "stream": stream }));
        let status = client.status();
        assert!(matches!(status, 503 | 429), "{status}");
        let attempts = client.header("x-tokenrill-attempts");
        assert_eq!(attempts.as_deref(), Some(if stream { "2" } else { "0" }));
        let target = client.header("x-tokenrill-target");
        assert_eq!(target.as_deref(), stream.then_some("two/real"));
        assert!(client.header("retry-after").is_some());
        assert!(!client.body().contains("data:"));
    }
    // Both rest: the second request reached nobody.
    assert_eq!((one.requests().len(), two.requests().len()), (1, 1));
    // And each failure was judged once.
    server.logged("attempt failed", 2);
    assert_eq!(server.log().matches("attempt failed").count(), 2);
}

#[test]
fn once_something_was_said_nobody_else_is_asked() {
    let (one, two) = (
        preamble_then(|c| {
            c.say("half");
            c.reset();
        }),
        good(),
    );
    let server = server(&[one.base_url(), two.base_url()], "");
    let body = server.chat(json!({})).body();
    assert!(
        body.starts_with(PREAMBLE) && body.contains("half"),
        "{body}"
    );
    assert!(
        body.contains("upstream_reset") && !body.contains("[DONE]"),
        "{body}"
    );
    assert_eq!(two.requests().len(), 0);
}

#[test]
fn what_was_told_is_kept_to() {
    let (one, two) = (
        refusing(
            "429 Slow",
            "retry-after-ms: 60000\r\n",
            r#"{"error":{"message":"slow"}}"#,
        ),
        good(),
    );
    let server = server(&[one.base_url(), two.base_url()], "");
    for _ in 0..5 {
        answers(&server);
    }
    assert_eq!(one.requests().len(), 1);
}

#[test]
fn a_busy_target_is_waited_for_if_it_is_the_only_one() {
    let is_busy = Arc::new(AtomicBool::new(true));
    let was_busy = is_busy.clone();
    let one = Upstream::start(move |c| {
        while c.request().is_some() {
            if was_busy.swap(false, Ordering::Relaxed) {
                c.send(&json_response("429 Slow", "retry-after-ms: 100\r\n", "{}"));
            } else {
                c.send(&json_response("200 OK", "", WHOLE));
            }
        }
    });
    let server = server(&[one.base_url()], "attempts = 2");
    let mut client = whole(&server);
    assert_eq!(client.status(), 200, "{}", client.text());
    assert_eq!(client.header("x-tokenrill-attempts").as_deref(), Some("2"));
}

#[test]
fn a_dead_target_is_asked_by_few_and_never_by_all() {
    let one = refusing("500 Oops", "", r#"{"error":{"message":"no"}}"#);
    let two = good();
    let server = server(
        &[one.base_url(), two.base_url()],
        "retry_budget = \"100% + 10/s\"",
    );
    for _ in 0..40 {
        assert_eq!(whole(&server).status(), 200);
    }
    // Seven failures in a row open the breaker; a probe or two may have come since.
    let asked = one.requests().len();
    assert!((7..=12).contains(&asked), "{asked}");
    assert_eq!(two.requests().len(), 40);
}

#[test]
fn bad_requests_close_nobody() {
    let wrong = r#"{"error":{"message":"no","type":"invalid_request_error"}}"#;
    let one = Upstream::start(move |c| {
        let mut number = 0;
        while c.request().is_some() {
            number += 1;
            let answer = match number {
                ..=50 => json_response("400 Bad", "", wrong),
                _ => json_response("200 OK", "", WHOLE),
            };
            c.send(&answer);
        }
    });
    let two = good();
    let server = server(&[one.base_url(), two.base_url()], "");
    for _ in 0..50 {
        assert_eq!(whole(&server).status(), 400);
    }
    assert_eq!(whole(&server).status(), 200);
    assert_eq!(two.requests().len(), 0);
}

#[test]
fn the_budget_of_retries_is_not_exceeded() {
    let bad = || refusing("502 Oops", "", r#"{"error":{"message":"no"}}"#);
    let (one, two) = (bad(), bad());
    let rules = "retry_budget = \"10% + 0/s\"\nattempts = 5";
    let breaker = "breaker = { failures = 1000, open = \"1s..60s\" }";
    let config = format!(
        "workers = 1\n[providers.one]\ndialect = \"openai-chat\"\nbase_url = \"{}\"\n{breaker}\n\
         [providers.two]\ndialect = \"openai-chat\"\nbase_url = \"{}\"\n{breaker}\n\
         [[models]]\nname = \"m\"\ntargets = [{{ provider = \"one\", model = \"real\" }}, {{ provider = \"two\", model = \"real\" }}]\n{rules}\n",
        one.base_url(),
        two.base_url()
    );
    let server = Server::with(&config, &[]);
    let mut forbidden = 0;
    for _ in 0..15 {
        let mut client = whole(&server);
        assert_eq!(client.status(), 502);
        forbidden += usize::from(client.header("x-should-retry").as_deref() == Some("false"));
    }
    assert!(forbidden > 10, "{forbidden}");
    let asked = one.requests().len() + two.requests().len();
    assert!(asked <= 15 + 2, "{asked}");
}

#[test]
fn a_client_that_leaves_while_a_target_is_asked_cancels_it_and_says_nothing_of_it() {
    let one = Upstream::start(|c| {
        c.request();
        c.wait_closed();
    });
    let two = good();
    let server = server(&[one.base_url(), two.base_url()], "");
    for nth in 1..=8 {
        let client = server.chat(json!({}));
        one.wait_requests(nth);
        client.reset();
        one.wait_closed(nth);
    }
    assert_eq!(two.requests().len(), 0);
}

#[test]
fn nothing_is_repeated_for_a_client_that_repeats_it_once_the_budget_is_empty() {
    let (one, two) = (
        refusing("502 Oops", "", r#"{"error":{"message":"no"}}"#),
        good(),
    );
    let server = server(
        &[one.base_url(), two.base_url()],
        "retry_budget = \"0% + 0/s\"",
    );
    let body = chat_body(json!({ "stream": false })).to_string();
    let retried = "x-stainless-retry-count: 1\r\n";
    let mut client = server.post("/v1/chat/completions", retried, &body);
    assert_eq!(client.status(), 502);
    assert_eq!(client.header("x-should-retry").as_deref(), Some("false"));
    assert_eq!(two.requests().len(), 0);
}

#[test]
fn a_target_may_have_a_limit_of_its_own_for_the_first_token() {
    let (one, two) = (preamble_then(Connection::wait_closed), good());
    let config = format!(
        "[providers.one]\ndialect = \"openai-chat\"\nbase_url = \"{}\"\n\
         [providers.two]\ndialect = \"openai-chat\"\nbase_url = \"{}\"\n\
         [[models]]\nname = \"m\"\ntargets = [{{ provider = \"one\", model = \"real\", first_token = \"100ms\" }}, {{ provider = \"two\", model = \"real\" }}]\n",
        one.base_url(),
        two.base_url()
    );
    let server = Server::with(&config, &[]);
    let mut client = server.chat(json!({}));
    assert_eq!(client.body(), format!("{}{STOP}{DONE}", says("good")));
    one.wait_closed(1);
}

#[test]
fn a_client_s_own_time_limit_ends_a_whole_answer_that_is_not_there() {
    let one = Upstream::start(|c| {
        c.request();
        c.wait_closed();
    });
    let server = server(&[one.base_url()], "");
    let body = chat_body(json!({ "stream": false })).to_string();
    let mut client = server.post(
        "/v1/chat/completions",
        "x-stainless-timeout: 0.2\r\n",
        &body,
    );
    assert_eq!(client.status(), 504);
    assert!(client.body().contains("total_timeout"));
    one.wait_closed(1);
}

#[test]
fn a_stream_must_begin_within_its_clients_time() {
    let (one, two) = (preamble_then(Connection::wait_closed), good());
    let server = server(&[one.base_url(), two.base_url()], "");
    let body = chat_body(json!({})).to_string();
    let mut client = server.post("/v1/chat/completions", "x-request-timeout: 0.2\r\n", &body);
    assert_eq!(client.status(), 504);
    assert!(client.body().contains("total_timeout"));
    one.wait_closed(1);
    assert_eq!(two.requests().len(), 0);
}

#[test]
fn what_a_client_wrote_and_an_upstream_repeats_closes_nobody() {
    let echo = r#"{"error":{"message":"invalid schema in context=(properties, perday): credit balance","type":"invalid_request_error"}}"#;
    let (one, two) = (refusing("400 Bad", "", echo), good());
    let server = server(&[one.base_url(), two.base_url()], "");
    for _ in 0..2 {
        assert_eq!(whole(&server).status(), 400);
    }
    assert_eq!((one.requests().len(), two.requests().len()), (2, 0));
}

#[test]
fn behind_the_asterisk_one_unknown_name_says_nothing_of_the_others() {
    let upstream = || {
        Upstream::start(|c| {
            while let Some(request) = c.request() {
                let answer = match request.json()["model"] == "good" {
                    true => json_response("200 OK", "", WHOLE),
                    false => json_response(
                        "404 Not Found",
                        "",
                        r#"{"error":{"message":"no such model","code":"model_not_found"}}"#,
                    ),
                };
                c.send(&answer);
            }
        })
    };
    let (one, two) = (upstream(), upstream());
    let server = server(
        &[one.base_url(), two.base_url()],
        "[[models]]\nname = \"*\"\ntargets = [{ provider = \"one\" }, { provider = \"two\" }]",
    );
    let ask = |model: &str| {
        server
            .chat(json!({ "stream": false, "model": model }))
            .status()
    };
    assert_eq!((ask("good"), ask("nope"), ask("good")), (200, 404, 200));
}

#[test]
fn the_turns_of_a_conversation_reach_one_target_and_each_has_its_share() {
    let upstreams = [good(), good(), good()];
    let urls = [0, 1, 2].map(|number: usize| upstreams[number].base_url());
    let server = server(&urls, "affinity = \"conversation\"");
    let mut targets = vec![Vec::new(); 20];
    for turn in 0..8 {
        for (conversation, reached) in targets.iter_mut().enumerate() {
            let mut messages =
                vec![json!({ "role": "user", "content": format!("Topic {conversation}") })];
            for said in 0..turn {
                messages.push(json!({ "role": "assistant", "content": format!("Answer {said}") }));
                messages.push(json!({ "role": "user", "content": format!("Question {said}") }));
            }
            let mut client = server.chat(json!({ "stream": false, "messages": messages }));
            reached.push(client.header("x-tokenrill-target").unwrap());
        }
    }
    let stayed = |reached: &Vec<String>| {
        reached
            .iter()
            .skip(1)
            .filter(|it| **it == reached[0])
            .count()
    };
    assert!(
        targets.iter().map(stayed).sum::<usize>() >= 133,
        "{targets:?}"
    );
    for upstream in &upstreams {
        // A quarter more than a third of all.
        assert!(upstream.requests().len() <= 66, "{targets:?}");
    }
}
