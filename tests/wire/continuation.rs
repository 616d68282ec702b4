//! An answer that breaks in its text goes on from another target, over real sockets.

use serde_json::{Value, json};

use crate::support::*;
use crate::websocket_responses::{create, hear_response, open};
use crate::ws_client::*;

/// An upstream that says the first part, and breaks by `end`; asked to go on it says the second.
fn breaking(end: impl Fn(&mut Connection) + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |c| {
        while let Some(request) = c.request() {
            c.stream_head();
            let asked = request.json()["messages"].as_array().map_or(0, Vec::len);
            if asked > 1 {
                c.chunk(format!("{}{STOP}{DONE}", says(" three four")).as_bytes());
                c.end();
            } else {
                c.say("One");
                c.say(" two");
                return end(c);
            }
        }
    })
}

/// A server whose model has these targets.
fn server(targets: &[&Upstream], rules: &str) -> Server {
    let mut config = "workers = 1\n[timeouts]\nbetween_tokens = \"300ms\"\n".to_owned();
    let mut list = Vec::new();
    for (number, upstream) in targets.iter().enumerate() {
        let url = upstream.base_url();
        config +=
            &format!("[providers.p{number}]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\n");
        list.push(format!("{{ provider = \"p{number}\", model = \"real\" }}"));
    }
    let list = list.join(", ");
    config += &format!("[[models]]\nname = \"m\"\ntargets = [{list}]\n{rules}\n");
    Server::with(&config, &[])
}

/// Returns the text of a stream of Chat Completions.
fn text_of(body: &str) -> String {
    let events = events(body);
    let payloads = events
        .iter()
        .filter_map(|(_, data)| serde_json::from_str(data).ok());
    let texts = payloads.filter_map(|payload: serde_json::Value| {
        let text = payload["choices"][0]["delta"]["content"].as_str();
        text.map(str::to_owned)
    });
    texts.collect()
}

const TEXT: &str = "continue = \"text\"";

#[test]
fn a_broken_answer_goes_on_from_the_next_target_or_the_same() {
    type End = fn(&mut Connection);
    let ends: [(&str, End); 4] = [
        ("upstream_reset", |c| c.reset()),
        ("upstream_truncated", |c| c.end()),
        ("between_tokens_timeout", |c| c.wait_closed()),
        ("upstream_bad_payload", |c| {
            c.chunk(b"data: {\"choices\":[\n\n");
            c.wait_closed();
        }),
    ];
    for (reason, end) in ends {
        let (one, two) = (breaking(end), breaking(end));
        let server = server(&[&one, &two], TEXT);
        let mut client = server.chat(json!({}));
        let may = client.header("x-tokenrill-may-continue");
        assert_eq!(may.as_deref(), Some("text"));
        let body = client.body();
        assert_eq!(text_of(&body), "One two three four", "{body}");
        let mark = format!(": tokenrill continued from=p0 to=p1 reason={reason} at=7\n\n");
        assert!(
            body.contains(&mark) && body.ends_with(DONE),
            "{reason} {body}"
        );
        assert_eq!(body.matches(DONE).count(), 1);
        let line = server.logged("generation", 1);
        assert_eq!(
            (
                &line["ended"],
                &line["continued"],
                &line["seam"],
                &line["provider"]
            ),
            (&json!("complete"), &json!("turn"), &json!(7), &json!("p1"))
        );
        // One target alone is asked again.
        let alone = breaking(end);
        let server = self::server(&[&alone], TEXT);
        assert_eq!(
            text_of(&server.chat(json!({})).body()),
            "One two three four"
        );
        let asked = alone.requests()[1].json();
        let messages = asked["messages"].as_array().unwrap();
        assert_eq!(
            messages[1],
            json!({ "role": "assistant", "content": "One two" })
        );
        let turn = messages[2]["content"].as_str().unwrap();
        assert!(turn.contains("\"One two\""), "{turn}");
    }
}

#[test]
fn a_target_may_be_given_the_beginning_or_be_left_out_and_the_turn_has_any_words() {
    let (one, two) = (breaking(|c| c.reset()), breaking(|c| c.reset()));
    let rules = format!("{TEXT}\ncontinue_turn = \"Weiter nach {{last_words}}\"");
    let server = server(&[&one, &two], &rules);
    assert_eq!(
        text_of(&server.chat(json!({})).body()),
        "One two three four"
    );
    let asked = two.requests()[0].json();
    assert_eq!(asked["messages"][2]["content"], "Weiter nach \"One two\"");
    for (by, count) in [("prefill", 2), ("turn", 3)] {
        let (one, two) = (breaking(|c| c.reset()), breaking(|c| c.reset()));
        let config = format!(
            "[providers.one]\ndialect = \"openai-chat\"\nbase_url = \"{}\"\n\
             [providers.two]\ndialect = \"openai-chat\"\nbase_url = \"{}\"\n\
             [[models]]\nname = \"m\"\n{TEXT}\ntargets = [{{ provider = \"one\", continue = \"never\" }}, \
             {{ provider = \"two\", continue = \"{by}\" }}]\n",
            one.base_url(),
            two.base_url()
        );
        let server = Server::with(&config, &[]);
        assert_eq!(
            text_of(&server.chat(json!({})).body()),
            "One two three four"
        );
        let asked = two.requests()[0].json();
        assert_eq!(asked["messages"].as_array().unwrap().len(), count, "{by}");
    }
}

#[test]
fn without_the_key_or_against_the_clients_will_a_broken_answer_ends_with_its_error() {
    let upstream = || breaking(|c| c.reset());
    for (rules, headers) in [("", ""), (TEXT, "x-tokenrill-continue: never\r\n")] {
        let (one, two) = (upstream(), upstream());
        let server = server(&[&one, &two], rules);
        let body = chat_body(json!({})).to_string();
        let mut client = server.post("/v1/chat/completions", headers, &body);
        assert_eq!(client.header("x-tokenrill-may-continue"), None);
        let body = client.body();
        assert!(ends_with_error(&body), "{body}");
        assert_eq!(two.requests().len(), 0);
    }
}

#[test]
fn a_client_that_leaves_between_two_targets_leaves_nothing_open() {
    let one = breaking(|c| c.reset());
    let two = Upstream::start(|c| {
        while c.request().is_some() {
            c.wait_closed();
        }
    });
    let server = server(&[&one, &two], TEXT);
    let mut client = server.chat(json!({}));
    client.wait_for("two");
    two.wait_requests(1);
    drop(client);
    two.wait_closed(1);
    assert_eq!(server.ended(), "client_left");
}

#[test]
fn a_stream_that_lingers_is_continued_for_who_comes_back() {
    let (one, two) = (breaking(|c| c.reset()), breaking(|c| c.reset()));
    let server = server(&[&one, &two], TEXT);
    let body = chat_body(json!({})).to_string();
    let mut client = server.post("/v1/chat/completions", "x-linger: 30s\r\n", &body);
    let id = client.header("x-stream-id").unwrap();
    assert_eq!(text_of(&client.body()), "One two three four");
    let mut again = server.get(&format!("/v1/stream/{id}"));
    let body = again.body();
    assert_eq!(text_of(&body), "One two three four", "{body}");
}

#[test]
fn a_socket_hears_one_answer() {
    let (one, two) = (breaking(|c| c.reset()), breaking(|c| c.reset()));
    let server = server(&[&one, &two], TEXT);
    let mut ws = Ws::open(&server);
    ws.say(start("a", "m", "Count"));
    let heard = ws.hear_all("a");
    assert_eq!(data(&heard).concat(), "One two three four[DONE]");
    assert_eq!(status(&heard), "completed");
    assert_eq!(one.requests().len() + two.requests().len(), 2);
    // Nothing of the first lies before the next.
    ws.say(start("b", "none", "Count"));
    assert_eq!(ws.hear()["id"], "b");
}

#[test]
fn a_response_over_a_socket_is_one_with_one_end() {
    let (one, two) = (breaking(|c| c.reset()), breaking(|c| c.reset()));
    let server = server(&[&one, &two], TEXT);
    let mut ws = open(&server);
    create(&mut ws, json!("Count"), json!({}));
    let heard = hear_response(&mut ws);
    let deltas = heard
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta");
    let text: String = deltas.filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(text, "One two three four");
    let numbers: Vec<u64> = heard
        .iter()
        .filter_map(|event| event["sequence_number"].as_u64())
        .collect();
    let count = u64::try_from(heard.len()).unwrap();
    assert_eq!(numbers, (0..count).collect::<Vec<u64>>());
    let (first, last) = (&heard[0], &heard[heard.len() - 1]);
    assert_eq!(
        (&first["type"], &last["type"]),
        (&json!("response.created"), &json!("response.completed"))
    );
    assert_eq!(first["response"]["id"], last["response"]["id"]);
    let whole = &last["response"]["output"][0]["content"][0]["text"];
    assert_eq!(whole, "One two three four");
    // The next turn goes on from all of it.
    let id = last["response"]["id"].clone();
    create(
        &mut ws,
        json!("More"),
        json!({ "previous_response_id": id }),
    );
    hear_response(&mut ws);
    let asked = [&one, &two].map(Upstream::requests).concat();
    let asked = asked
        .iter()
        .map(|request| request.json()["messages"].to_string());
    assert!(
        asked
            .into_iter()
            .any(|messages| messages.contains("One two three four"))
    );
}

#[test]
fn the_page_of_the_mock_shows_an_answer_that_goes_on() {
    let page = std::fs::read_to_string("docs/mock.md").unwrap();
    let (before, after) = page.split_once("    [[models]]").unwrap();
    let is_prose = |line: &&str| !line.is_empty() && !line.starts_with("    ");
    let config: Vec<&str> = after.lines().take_while(|line| !is_prose(line)).collect();
    let server = Server::with(&format!("[[models]]{}", config.join("\n")), &[]);
    let mock = Server::mock();
    let requests = |text: &str| -> Vec<Value> {
        let asks = text
            .lines()
            .filter_map(|line| line.strip_prefix("    ask '"));
        let bodies = asks.map(|line| line.split('\'').next().unwrap());
        bodies
            .map(|body| serde_json::from_str(body).unwrap())
            .collect()
    };
    for request in requests(before).into_iter().chain(requests(after)) {
        let model = request["model"].as_str().unwrap().to_owned();
        let ask = |server: &Server, model: &str| {
            let mut request = request.clone();
            request["model"] = model.into();
            server.post("/v1/chat/completions", "", &request.to_string())
        };
        match &*model {
            "mock-break-3" => assert!(ends_with_error(&ask(&mock, &model).body())),
            "mock-refuse-50" => assert!([200, 503].contains(&ask(&mock, &model).status())),
            "mock-slow-3000" => assert_eq!(ask(&mock, "mock-slow-3").status(), 200),
            "clever" => assert_eq!(ask(&server, &model).status(), 200),
            "unbroken" => {
                let (body, whole) = (ask(&server, &model).body(), ask(&mock, "mock-fast").body());
                assert_eq!(text_of(&body), text_of(&whole), "{body}");
                assert_eq!(body.matches(": tokenrill continued").count(), 1, "{body}");
                assert_eq!(body.matches(DONE).count(), 1, "{body}");
            }
            other => panic!("{other} is shown and not tried"),
        }
    }
}

#[test]
fn the_turn_may_be_in_the_clients_language_and_the_last_chunk_says_that_it_was_needed() {
    let turn = "continue_turn = { default = \"Go on\", de = \"Weiter\", zh = \"继续\" }";
    let rules = format!("{TEXT}\n{turn}");
    for (accepted, wanted) in [("de-CH, en;q=0.5", "Weiter"), ("zh", "Go on")] {
        let (one, two) = (breaking(|c| c.reset()), breaking(|c| c.reset()));
        let server = server(&[&one, &two], &rules);
        let headers = format!("accept-language: {accepted}\r\n");
        let body = chat_body(json!({})).to_string();
        let body = server.post("/v1/chat/completions", &headers, &body).body();
        assert_eq!(text_of(&body), "One two three four");
        let asked = two.requests()[0].json();
        assert_eq!(asked["messages"][2]["content"], wanted);
        let events = events(&body);
        let [.., (_, last), (_, done)] = &events[..] else {
            panic!("{body}")
        };
        assert_eq!(done, "[DONE]");
        let last: Value = serde_json::from_str(last).unwrap();
        assert_eq!(
            last["tokenrill"],
            json!({ "continued": { "breaks": 1, "by": "turn", "usage_estimated": true } })
        );
        assert_eq!(body.matches("\"tokenrill\":").count(), 1);
    }
}
