//! The parameters that reach an upstream: by the model's family, and as the configuration changes
//! them.

use serde_json::{Value, json};

use crate::support::*;

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}"#;

/// The body that an upstream of Chat Completions gets for `m`, whose name there is `model`.
fn upstream_sees(path: &str, model: &str, more: &str, body: &Value) -> Value {
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{ANSWER}",
        ANSWER.len()
    );
    let upstream = Upstream::start(move |c| {
        while c.request().is_some() {
            c.send(answer.as_bytes());
        }
    });
    let address = upstream.address;
    let config = format!(
        "[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"http://{address}\"\napi_key_env = \"UP_KEY\"\n\
         [[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\", model = \"{model}\" }}]\n{more}"
    );
    let server = Server::with(&config, &[("UP_KEY", UP_KEY)]);
    let mut client = server.post(path, "", &body.to_string());
    assert_eq!(client.status(), 200);
    let seen = upstream.requests().remove(0);
    serde_json::from_slice(&seen.body).unwrap()
}

fn messages_request() -> Value {
    json!({ "model": "m", "max_tokens": 9, "temperature": 0.7, "top_p": 0.5,
        "messages": [{ "role": "user", "content": "hi" }] })
}

#[test]
fn a_familys_parameters_are_the_tables_and_the_configurations_after_it() {
    let got = upstream_sees("/v1/messages", "gpt-5-mini", "", &messages_request());
    assert_eq!(got["max_completion_tokens"], 9);
    assert!(
        got.get("temperature").is_none() && got.get("top_p").is_none(),
        "{got}"
    );

    let own = "[[families]]\nmodels = [\"gpt-5-mini*\"]\ndrop = [\"top_p\"]\nrename = {}\n";
    let got = upstream_sees("/v1/messages", "gpt-5-mini", own, &messages_request());
    assert_eq!(got["max_tokens"], 9);
    assert_eq!(got["temperature"], 0.7);
    assert!(got.get("top_p").is_none(), "{got}");
}

#[test]
fn a_models_own_changes_hold_for_every_dialect() {
    let more = "drop = [\"top_p\"]\nrename = { max_tokens = \"limit\" }\n\
        set = { temperature = 1, chat_template_kwargs = { enable_thinking = false } }\n";
    let chat = json!({ "model": "m", "max_tokens": 9, "temperature": 0.7, "top_p": 0.5, "own": [1],
        "messages": [{ "role": "user", "content": "hi" }] });
    for (path, body) in [
        ("/v1/messages", messages_request()),
        ("/v1/chat/completions", chat),
    ] {
        let got = upstream_sees(path, "x", more, &body);
        assert!(
            got.get("top_p").is_none() && got.get("max_tokens").is_none(),
            "{got}"
        );
        assert_eq!(got["limit"], 9);
        assert_eq!(got["temperature"], 1);
        assert_eq!(
            got["chat_template_kwargs"],
            json!({ "enable_thinking": false })
        );
        assert_eq!(got["model"], "x");
        let own = (path == "/v1/chat/completions").then_some(json!([1]));
        assert_eq!(got.get("own").cloned(), own);
    }
}
