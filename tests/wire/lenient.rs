//! Requests that are only passed on are not judged.

use crate::log_content::{answer, config};
use crate::support::*;

#[test]
fn an_odd_request_reaches_an_upstream_of_its_dialect_as_it_is() {
    let whole = r#"{"id":"c","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"hi"}}]}"#;
    let reply = answer(200, "application/json", whole);
    let upstream =
        Upstream::start(move |c| while c.request().is_some() && c.send(reply.as_bytes()) {});
    let config = format!(
        "default_model = \"m\"\n{}",
        config("openai-chat", &upstream)
    );
    let server = Server::with(&config, &[("UP_KEY", UP_KEY)]);
    let bodies = [
        r#"{"model":"m","messages":[{"role":"user","content":"cut here: \ud83d"}]}"#,
        r#"{"model":"m","max_tokens":-1,"temperature":2.5,"n":0,"messages":[{"role":"user","content":"x"}]}"#,
        r#"{"model":"m","messages":[{"role":"odd","content":{"own":1}}],"max_tokens":"many","own":null}"#,
    ];
    for body in bodies {
        let mut client = server.post("/v1/chat/completions", "", body);
        assert_eq!((client.status(), client.body()), (200, whole.to_owned()));
    }
    let mut unnamed = server.post(
        "/v1/chat/completions",
        "",
        r#"{"model":null,"messages":[7]}"#,
    );
    assert_eq!(unnamed.status(), 200);
    let seen: Vec<String> = upstream
        .requests()
        .into_iter()
        .map(|seen| String::from_utf8(seen.body).unwrap())
        .collect();
    assert_eq!(seen[..3], bodies);
    assert_eq!(seen[3], r#"{"model":"m","messages":[7]}"#);
}
