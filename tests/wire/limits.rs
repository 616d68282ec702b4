//! Limits of keys and teams: requests, tokens, and requests at a time.

use serde_json::{Value, json};
use tokenrill::access::ApiKey;

use crate::log_content::requests;
use crate::support::*;
use crate::ws_client::{Ws, start};

/// A server with one key, and a client that has it.
pub(crate) struct Limited {
    pub(crate) server: Server,
    key: String,
}

impl Limited {
    /// A server before an upstream, whose key has these limits; `top` are more keys of the
    /// configuration, and `sections` more sections.
    pub(crate) fn before(upstream: &Upstream, limits: &str, top: &str, sections: &str) -> Self {
        let url = upstream.base_url();
        let config = format!(
            "{top}\n[auth]\nkeys_file = \"keys.toml\"\n{sections}\n[providers.up]\ndialect = \"openai-chat\"\n\
             base_url = \"{url}\"\napi_key_env = \"UP_KEY\"\n\
             [[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\", model = \"real\" }}]\n"
        );
        Self::with(&config, limits, "")
    }

    /// A server with this configuration.
    pub(crate) fn with(config: &str, limits: &str, prices: &str) -> Self {
        let key = ApiKey::generate().expect("randomness");
        let (id, digest) = (key.id(), key.digest());
        let keys =
            format!("[[keys]]\nid = \"{id}\"\ndigest = \"{digest}\"\nname = \"ci\"\n{limits}\n");
        let folder = tempfile::tempdir().expect("a folder");
        for (file, text) in [
            ("c.toml", config),
            ("keys.toml", &keys),
            ("prices.toml", prices),
        ] {
            std::fs::write(folder.path().join(file), text).expect("a file");
        }
        let server = Server::in_folder(folder, &[("UP_KEY", UP_KEY)]);
        let key = key.expose().to_owned();
        Self { server, key }
    }

    /// Sends a request with the key.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Client {
        let key = format!("x-api-key: {}\r\n", self.key);
        self.server.post(path, &key, &body.to_string())
    }

    /// A Chat Completions request for model `m` with more fields.
    pub(crate) fn chat(&self, fields: Value) -> Client {
        self.post("/v1/chat/completions", &chat_body(fields))
    }

    /// Asks for a path with the key.
    pub(crate) fn get(&self, path: &str) -> Client {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: t\r\nx-api-key: {}\r\n\r\n",
            self.key
        );
        Client::send(self.server.address, request.as_bytes())
    }

    /// The answer of `/v1/key`.
    pub(crate) fn report(&self) -> Value {
        let mut client = self.get("/v1/key");
        assert_eq!(client.status(), 200, "{}", client.text());
        client.json()
    }

    /// Waits until nothing runs, and returns what `/v1/key` says then.
    pub(crate) fn settled(&self) -> Value {
        until("all is settled", || {
            let report = self.report();
            (report["remaining"]["running"] == 0).then_some(report)
        })
    }
}

/// A whole answer of that usage.
pub(crate) fn whole(input: u64, output: u64) -> String {
    let body = json!({
        "id": "x", "object": "chat.completion", "created": 1, "model": "real",
        "choices": [{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": "hi" } }],
        "usage": { "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output },
    })
    .to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         x-ratelimit-remaining-requests: 77\r\nanthropic-ratelimit-tokens-remaining: 77\r\n\r\n{body}"
    )
}

/// Answers every request with a whole answer of that usage.
pub(crate) fn counting(input: u64, output: u64) -> Upstream {
    let answer = whole(input, output);
    Upstream::start(move |c| {
        while c.request().is_some() {
            c.send(answer.as_bytes());
        }
    })
}

#[test]
fn the_next_request_is_refused_in_the_words_of_every_dialect() {
    let upstream = counting(3, 2);
    let limits = "limits = { requests_per_minute = 1, tokens_per_minute = 100000 }";
    let limited = Limited::before(&upstream, limits, "", "");
    let mut first = limited.chat(json!({ "stream": false }));
    assert_eq!(first.status(), 200);
    assert_eq!(
        first.header("x-ratelimit-limit-requests").as_deref(),
        Some("1")
    );
    assert_eq!(
        first.header("x-ratelimit-remaining-requests").as_deref(),
        Some("0")
    );
    assert_eq!(
        first.header("x-ratelimit-limit-tokens").as_deref(),
        Some("100000")
    );
    assert_eq!(first.header("anthropic-ratelimit-tokens-remaining"), None);
    let words = "key `ci` has reached its limit of 1 requests per minute";
    let mut all = requests(false);
    all.push((
        "plain",
        "/stream".to_owned(),
        json!({ "prompt": "hi", "model": "m" }),
    ));
    for (dialect, path, body) in all {
        let mut refused = limited.post(&path, &body);
        assert_eq!(refused.status(), 429, "{dialect}");
        let after = refused.header("retry-after").expect("retry-after");
        assert!(
            (1..=60).contains(&after.parse::<u64>().expect("seconds")),
            "{dialect}"
        );
        let error = refused.json()["error"].clone();
        assert_eq!(error["message"], words, "{dialect}");
        let header = |refused: &mut Client, name: &str| refused.header(name).unwrap_or_default();
        match dialect {
            "openai-chat" | "openai-responses" => {
                assert_eq!(error["type"], "rate_limit_exceeded");
                assert_eq!(error["code"], "rate_limit_exceeded");
                assert_eq!(header(&mut refused, "x-ratelimit-remaining-requests"), "0");
                let reset = header(&mut refused, "x-ratelimit-reset-requests");
                assert!(reset.ends_with('s') && reset != "0s", "{reset}");
            }
            "anthropic" => {
                assert_eq!(error["type"], "rate_limit_error");
                assert_eq!(
                    header(&mut refused, "anthropic-ratelimit-requests-limit"),
                    "1"
                );
                assert_eq!(
                    header(&mut refused, "anthropic-ratelimit-requests-remaining"),
                    "0"
                );
                let reset = header(&mut refused, "anthropic-ratelimit-requests-reset");
                assert!(reset.ends_with('Z') && reset.starts_with("20"), "{reset}");
            }
            "gemini" => {
                assert_eq!(error["status"], "RESOURCE_EXHAUSTED");
                let details = &error["details"][0];
                assert_eq!(details["@type"], "type.googleapis.com/google.rpc.RetryInfo");
                assert_eq!(details["retryDelay"], format!("{after}s"));
            }
            _ => {
                assert_eq!(error["code"], "rate_limit_exceeded");
                let policy = header(&mut refused, "ratelimit-policy");
                assert_eq!(
                    policy,
                    "\"key\";q=1;w=60, \"key-tokens\";q=100000;qu=\"tokens\";w=60"
                );
                let state = header(&mut refused, "ratelimit");
                assert!(state.starts_with("\"key\";r=0;t="), "{state}");
            }
        }
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_socket_is_refused_as_well_and_stays_open() {
    let config = "[auth]\nkeys_file = \"keys.toml\"\n[mock]\ntokens_per_second = 0\n";
    let limited = Limited::with(config, "limits = { requests_per_minute = 1 }", "");
    let key = limited.key.clone();
    let mut socket = Ws::open_with(&limited.server, &[("x-api-key", &key)]);
    socket.say(start("a", "mock-fast", "hi"));
    let first = socket.hear_all("a");
    assert!(
        first.iter().all(|message| message["type"] != "error"),
        "{first:?}"
    );
    socket.say(start("b", "mock-fast", "hi"));
    let second = socket.hear_all("b");
    let text = json!(second).to_string();
    assert!(text.contains("rate_limit_exceeded"), "{text}");
}

#[test]
fn what_was_reserved_and_not_used_comes_back_at_once() {
    let upstream = counting(3, 2);
    let limits = "limits = { tokens_per_minute = 200 }";
    let limited = Limited::before(&upstream, limits, "", "[limits]\noutput_reserve = 150");
    // Each reserves more than half of all, and uses 5.
    for _ in 0..5 {
        assert_eq!(limited.chat(json!({ "stream": false })).status(), 200);
        limited.settled();
    }
}

#[test]
fn what_was_used_beyond_the_reservation_is_owed() {
    let upstream = counting(90_000, 2);
    let limits = "limits = { tokens_per_minute = 1000 }";
    let limited = Limited::before(&upstream, limits, "", "[limits]\noutput_reserve = 10");
    assert_eq!(limited.chat(json!({ "stream": false })).status(), 200);
    let report = limited.settled();
    assert_eq!(report["remaining"]["tokens"]["remaining"], 0);
    assert_eq!(report["used"]["day"]["input_tokens"], 90_000);
    let mut refused = limited.chat(json!({ "stream": false }));
    assert_eq!(refused.status(), 429);
    let after: u64 = refused
        .header("retry-after")
        .expect("it")
        .parse()
        .expect("seconds");
    assert!((5000..=5401).contains(&after), "{after}");
}

#[test]
fn a_request_that_never_fits_is_told_not_to_come_again() {
    let upstream = counting(3, 2);
    let limited = Limited::before(&upstream, "limits = { tokens_per_minute = 500 }", "", "");
    let mut refused = limited.chat(json!({ "max_tokens": 501 }));
    assert_eq!(refused.status(), 429);
    assert_eq!(
        refused.json()["error"]["code"],
        "request_too_large_for_limit"
    );
    assert_eq!(refused.header("x-should-retry").as_deref(), Some("false"));
    assert_eq!(refused.header("retry-after"), None);
    assert_eq!(
        limited
            .chat(json!({ "max_tokens": 300, "stream": false }))
            .status(),
        200
    );
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_place_is_free_as_soon_as_its_client_has_left() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        c.say("one");
        c.wait_closed();
    });
    let limited = Limited::before(&upstream, "limits = { concurrent = 1 }", "", "");
    for turn in 1..=3 {
        let mut first = until("there is a place", || {
            let mut client = limited.chat(json!({}));
            (client.status() == 200).then_some(client)
        });
        first.wait_for("one");
        for _ in 0..20 {
            let mut second = limited.chat(json!({}));
            assert_eq!(second.status(), 429);
            assert_eq!(
                second.json()["error"]["message"],
                "key `ci` has 1 requests running, its limit"
            );
        }
        first.reset();
        upstream.wait_closed(turn);
    }
    let report = limited.settled();
    assert_eq!(upstream.requests().len(), 3);
    assert_eq!(report["used"]["day"]["requests"], 3);
}

#[test]
fn keys_of_a_team_share_its_limits() {
    let upstream = counting(3, 2);
    let team = "[[teams]]\nname = \"search\"\nlimits = { requests_per_minute = 2 }";
    let limits = "team = \"search\"\nlimits = { requests_per_minute = 5 }";
    let limited = Limited::before(&upstream, limits, "", team);
    for _ in 0..2 {
        assert_eq!(limited.chat(json!({ "stream": false })).status(), 200);
    }
    let mut refused = limited.chat(json!({ "stream": false }));
    assert_eq!(refused.status(), 429);
    let message = refused.json()["error"]["message"].to_string();
    assert!(message.contains("team `search`"), "{message}");
    let report = limited.settled();
    // A refused request takes nothing of its key either.
    assert_eq!(report["remaining"]["requests"]["remaining"], 3);
    assert_eq!(report["team"]["remaining"]["requests"]["remaining"], 0);
    assert_eq!(report["team"]["name"], "search");
}

#[test]
fn a_refused_request_leaves_no_stream_that_a_repetition_would_join() {
    let upstream = counting(3, 2);
    let limited = Limited::before(&upstream, "limits = { requests_per_minute = 1 }", "", "");
    assert_eq!(limited.chat(json!({ "stream": false })).status(), 200);
    let headers = format!(
        "x-api-key: {}\r\nidempotency-key: again\r\nx-linger: 30s\r\n",
        limited.key
    );
    for _ in 0..2 {
        let body = chat_body(json!({})).to_string();
        let mut refused = limited.server.post("/v1/chat/completions", &headers, &body);
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.json()["error"]["code"], "rate_limit_exceeded");
    }
}

#[test]
fn what_is_passed_on_counts_as_well() {
    let upstream = counting(3, 2);
    let limited = Limited::before(&upstream, "limits = { requests_per_minute = 1 }", "", "");
    let body = json!({ "model": "m", "input": "hi" });
    assert_eq!(limited.post("/v1/embeddings", &body).status(), 200);
    let mut refused = limited.post("/v1/embeddings", &body);
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.json()["error"]["code"], "rate_limit_exceeded");
    assert_eq!(upstream.requests().len(), 1);
}
