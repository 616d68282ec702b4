//! Responses that are asked for again by their id: in the background, polled, streamed from any
//! event on, cancelled, deleted; from the mock, and in front of every kind of upstream.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::dialects::{apis, chain};
use crate::resume::{Go, get, paced};
use crate::support::*;

fn create(server: &Server, headers: &str, fields: Value) -> Client {
    let mut body = json!({ "model": "m", "input": "hi canary-prompt", "background": true });
    for (name, value) in fields.as_object().expect("fields") {
        body[name] = value.clone();
    }
    server.post("/v1/responses", headers, &body.to_string())
}

fn retrieve(server: &Server, id: &str) -> Value {
    get(server, &format!("/v1/responses/{id}"), "").json()
}

fn delete(address: SocketAddr, id: &str, headers: &str) -> Client {
    Client::send(
        address,
        format!("DELETE /v1/responses/{id} HTTP/1.1\r\nhost: t\r\n{headers}\r\n").as_bytes(),
    )
}

/// Polls, as OpenAI's clients do, until the response has ended.
fn poll(server: &Server, id: &str) -> Value {
    until("the response has ended", || {
        let response = retrieve(server, id);
        assert_eq!(response["id"], id);
        (!matches!(response["status"].as_str(), Some("queued" | "in_progress"))).then_some(response)
    })
}

fn id(response: &Value) -> String {
    response["id"].as_str().expect("an id").to_owned()
}

/// All text of a response.
fn text(response: &Value) -> String {
    let items = response["output"].as_array().expect("output").iter();
    let parts = items.flat_map(|item| item["content"].as_array().into_iter().flatten());
    parts.filter_map(|part| part["text"].as_str()).collect()
}

/// The events of a stream, each with its number.
fn numbered(body: &str) -> Vec<(u64, Value)> {
    let events = events(body).into_iter().map(|(name, data)| {
        let event: Value = serde_json::from_str(&data).expect("JSON");
        assert_eq!(event["type"], name);
        (event["sequence_number"].as_u64().expect("a number"), event)
    });
    events.collect()
}

/// A Responses upstream that says these events, the nth when it was told to n times.
fn responses_upstream(events: Vec<Value>) -> (Upstream, Server, Go) {
    let go = Go::default();
    let told = go.clone();
    let upstream = Upstream::start(move |c| {
        while c.request().is_some() {
            c.stream_head();
            for event in &events {
                if !told.wait(c) {
                    return c.wait_closed();
                }
                c.chunk(
                    format!(
                        "event: {}\ndata: {event}\n\n",
                        event["type"].as_str().expect("a type")
                    )
                    .as_bytes(),
                );
            }
            c.end();
        }
    });
    let config = format!(
        "[providers.up]\ndialect = \"openai-responses\"\nbase_url = \"{}\"\n\
         [[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\", model = \"real\" }}]\n",
        upstream.base_url()
    );
    let server = Server::with(&config, &[]);
    (upstream, server, go)
}

#[test]
fn a_background_response_is_there_at_once_and_whole_when_it_is_asked_for() {
    let go = Go::default();
    let told = go.clone();
    let upstream = Upstream::start(move |c| {
        c.request();
        // Neither a token nor the upstream's head is waited for.
        for step in 0..3 {
            if !told.wait(c) {
                return c.wait_closed();
            }
            match step {
                0 => c.stream_head(),
                1 => drop(c.say("Hello")),
                _ => drop(c.chunk(format!("{}{STOP}{DONE}", says(" there")).as_bytes())),
            }
        }
        c.end();
        c.wait_closed();
    });
    let server = Server::before(&upstream);
    let mut client = create(&server, "", json!({ "instructions": "Be brief." }));
    assert_eq!(
        (client.status(), client.header("x-stream-id").is_some()),
        (200, true)
    );
    let created = client.json();
    assert_eq!(
        (&created["object"], &created["status"]),
        (&"response".into(), &"queued".into())
    );
    assert_eq!(
        (&created["background"], &created["output"]),
        (&true.into(), &json!([]))
    );
    let id = id(&created);
    let queued = retrieve(&server, &id);
    assert_eq!(
        (&queued["status"], &queued["model"], &queued["background"]),
        (&"queued".into(), &"m".into(), &true.into())
    );
    upstream.wait_requests(1);
    let sent = upstream.requests()[0].json();
    assert_eq!(
        (&sent["stream"], &sent["background"], &sent["model"]),
        (&true.into(), &Value::Null, &"real".into())
    );
    go.on();
    go.on();
    until("it is in progress", || {
        (retrieve(&server, &id)["status"] == "in_progress").then_some(())
    });
    go.on();
    let whole = poll(&server, &id);
    assert_eq!(
        (&whole["status"], text(&whole).as_str()),
        (&"completed".into(), "Hello there")
    );
    assert_eq!(
        (&whole["background"], &whole["error"], &whole["object"]),
        (&true.into(), &Value::Null, &"response".into())
    );
    assert_eq!(retrieve(&server, &id), whole, "and stays so");
    assert_eq!(server.ended(), "complete");
}

#[test]
fn it_works_before_every_upstream_and_says_what_the_foreground_says() {
    let (front, mock) = chain();
    let servers = apis()
        .map(|api| (&front, format!("{}/", api.name)))
        .chain([(&mock, String::new())]);
    for (server, prefix) in servers {
        for model in ["mock-fast", "mock-tool", "mock-think", "mock-length"] {
            let model = format!("{prefix}{model}");
            let tools = json!([{ "type": "function", "name": "weather", "parameters": { "type": "object" } }]);
            let fields = json!({ "model": model, "tools": tools, "max_output_tokens": 400 });
            let created = create(server, "", fields.clone()).json();
            let background = poll(server, &id(&created));
            let mut foreground = fields;
            foreground["background"] = false.into();
            let foreground = create(server, "", foreground).json();
            assert_eq!(background["status"], foreground["status"], "{model}");
            assert_eq!(background["usage"], foreground["usage"], "{model}");
            assert_eq!(
                background["incomplete_details"], foreground["incomplete_details"],
                "{model}"
            );
            let said = |response: &Value| {
                let items = response["output"].as_array().expect("output").clone();
                let calls = items
                    .iter()
                    .map(|item| item["arguments"].clone())
                    .filter(|call| !call.is_null());
                (text(response), calls.collect::<Vec<_>>())
            };
            assert_eq!(said(&background), said(&foreground), "{model}");
        }
        let broken = create(
            server,
            "",
            json!({ "model": format!("{prefix}mock-break") }),
        )
        .json();
        let broken = poll(server, &id(&broken));
        assert_eq!(
            (&broken["status"], broken["error"]["code"].is_string()),
            (&"failed".into(), true),
            "{broken}"
        );
        let refused = create(
            server,
            "",
            json!({ "model": format!("{prefix}mock-ratelimit") }),
        )
        .json();
        let refused = poll(server, &id(&refused));
        assert_eq!(
            (&refused["status"], &refused["error"]["code"]),
            (&"failed".into(), &"rate_limit_exceeded".into())
        );
    }
}

#[test]
fn events_after_any_number_follow_exactly() {
    let (front, mock) = chain();
    let models = apis()
        .map(|api| (&front, format!("{}/mock-fast", api.name)))
        .chain([(&mock, "mock-fast".to_owned())]);
    for (server, model) in models {
        let mut client = create(server, "", json!({ "model": model, "stream": true }));
        let whole = client.body();
        let all = numbered(&whole);
        assert!(
            all.len() > 10 && all.last().expect("a last one").1["type"] == "response.completed",
            "{whole}"
        );
        let id = id(&all[0].1["response"]);
        let path = format!("/v1/responses/{id}?stream=true");
        assert_eq!(
            get(server, &path, "").body(),
            whole,
            "{model}: from its start"
        );
        for (at, (number, _)) in all.iter().enumerate() {
            let rest = get(server, &format!("{path}&starting_after={number}"), "").body();
            assert_eq!(numbered(&rest), all[at + 1..], "{model}: after {number}");
            assert!(whole.ends_with(&rest));
        }
        let third = whole
            .lines()
            .filter_map(|line| line.strip_prefix("id: "))
            .nth(2)
            .expect("an id");
        let rest = get(server, &path, &format!("last-event-id: {third}\r\n")).body();
        assert_eq!(
            numbered(&rest),
            all[3..],
            "whoever names its last event means that"
        );
        for wrong in ["-1", "x", "", "100000", "99999999999999999999"] {
            let mut refused = get(server, &format!("{path}&starting_after={wrong}"), "");
            assert_eq!(refused.status(), 400, "{wrong}");
            assert_eq!(refused.json()["error"]["param"], "starting_after");
        }
        let last = retrieve(server, &id);
        assert_eq!(
            last["output"],
            all.last().expect("a last one").1["response"]["output"]
        );
    }
}

#[test]
fn a_background_stream_survives_its_client() {
    let (upstream, server, go) = paced(30, "");
    let mut client = create(&server, "", json!({ "stream": true }));
    go.on();
    client.wait_for("\"t0\"");
    let id =
        id(&numbered(&client.text()[client.head().len()..].replace("\r\n", "\n"))[0].1["response"]);
    client.reset();
    for _ in 0..20 {
        go.on();
    }
    // One comes back in the middle of it, and follows it live to its end.
    let mut again = get(
        &server,
        &format!("/v1/responses/{id}?stream=true&starting_after=4"),
        "",
    );
    again.wait_for("\"t20\"");
    for _ in 0..9 {
        go.on();
    }
    let heard = numbered(&again.body());
    let want: String = (0..30).map(|n| format!("t{n}")).collect();
    let deltas = heard
        .iter()
        .filter_map(|(_, event)| event["delta"].as_str());
    assert_eq!(format!("t0{}", deltas.collect::<String>()), want);
    assert_eq!(text(&poll(&server, &id)), want);
    assert_eq!(
        (upstream.requests().len(), server.ended().as_str()),
        (1, "complete")
    );
}

#[test]
fn a_cancelled_response_says_so_and_its_upstream_is_left_at_once() {
    let (upstream, server, go) = paced(5, "");
    let created = create(&server, "", json!({})).json();
    let id = id(&created);
    let mut reader = get(&server, &format!("/v1/responses/{id}?stream=true"), "");
    go.on();
    reader.wait_for("\"t0\"");
    let path = format!("/v1/responses/{id}/cancel");
    let mut client = server.post(&path, "", "");
    assert_eq!(client.status(), 200);
    let cancelled = client.json();
    assert_eq!(
        (&cancelled["id"], &cancelled["status"], &cancelled["error"]),
        (&created["id"], &"cancelled".into(), &Value::Null)
    );
    upstream.wait_closed(1);
    assert_eq!(
        server.post(&path, "", "").json(),
        cancelled,
        "once more is the same"
    );
    assert_eq!(retrieve(&server, &id), cancelled);
    let heard = numbered(&reader.body());
    assert!(
        heard
            .iter()
            .any(|(_, event)| event["type"] == "error" && event["code"] == "cancelled"),
        "{heard:?}"
    );
    assert!(
        heard
            .iter()
            .all(|(_, event)| event["type"] != "response.completed")
    );
    assert_eq!(server.ended(), "cancelled");
}

#[test]
fn only_what_is_in_the_background_is_cancelled_and_what_has_ended_stays_as_it_is() {
    let server = Server::with("[mock]\ntokens_per_second = 0\n", &[]);
    let created = create(&server, "", json!({ "model": "mock-fast" })).json();
    let whole = poll(&server, &id(&created));
    assert_eq!(
        server
            .post(&format!("/v1/responses/{}/cancel", id(&created)), "", "")
            .json(),
        whole
    );
    let fields = json!({ "model": "mock-fast", "stream": true, "background": false });
    let lingering = create(&server, "x-linger: 1m\r\n", fields).body();
    let id = id(&numbered(&lingering)[0].1["response"]);
    let mut refused = server.post(&format!("/v1/responses/{id}/cancel"), "", "");
    assert_eq!(refused.status(), 400);
    assert!(
        refused.json()["error"]["message"]
            .as_str()
            .expect("a message")
            .contains("background")
    );
    let response = retrieve(&server, &id);
    assert_eq!(
        (&response["status"], &response["background"]),
        (&"completed".into(), &false.into()),
        "it has a log"
    );
}

#[test]
fn a_deleted_response_is_gone_and_ends() {
    let (upstream, server, go) = paced(5, "");
    let id = id(&create(&server, "", json!({})).json());
    go.on();
    until("it has begun", || {
        (retrieve(&server, &id)["status"] == "in_progress").then_some(())
    });
    let mut deleted = delete(server.address, &id, "");
    assert_eq!(
        (deleted.status(), deleted.json()),
        (
            200,
            json!({ "id": id, "object": "response.deleted", "deleted": true })
        )
    );
    upstream.wait_closed(1);
    let mut unknown = get(&server, &format!("/v1/responses/{id}"), "");
    assert_eq!(
        (unknown.status(), unknown.json()["error"]["code"].clone()),
        (404, "response_not_found".into())
    );
    assert_eq!(delete(server.address, &id, "").status(), 404);
}

#[test]
fn a_response_that_is_not_there_is_unknown_and_so_is_another_callers() {
    let server = Server::with("[mock]\ntokens_per_second = 0\n", &[]);
    let own = "authorization: Bearer a\r\n";
    let id = id(&create(&server, own, json!({ "model": "mock-fast" })).json());
    let foreground = create(
        &server,
        own,
        json!({ "model": "mock-fast", "background": false }),
    )
    .json();
    let unknown = |id: &str, key: &str| {
        let path = format!("/v1/responses/{id}");
        let asked = [
            get(&server, &path, key),
            get(
                &server,
                &format!("{path}?stream=true&starting_after=0"),
                key,
            ),
            server.post(&format!("{path}/cancel"), key, ""),
            delete(server.address, id, key),
        ];
        for mut client in asked {
            assert_eq!(client.status(), 404, "{id} {key}");
            let error = client.json()["error"].clone();
            assert_eq!(
                (&error["code"], &error["type"]),
                (
                    &"response_not_found".into(),
                    &"invalid_request_error".into()
                )
            );
            assert!(
                error["message"]
                    .as_str()
                    .expect("a message")
                    .contains("`background`"),
                "it says why: {error}"
            );
        }
    };
    for key in ["authorization: Bearer b\r\n", ""] {
        unknown(&id, key);
    }
    for id in [
        "resp_AAAAAAAAAAAAAAAAAAAAAA",
        "resp_",
        "stm_x",
        "..",
        "resp_%00",
        foreground["id"].as_str().expect("an id"),
    ] {
        unknown(id, own);
    }
    assert_eq!(
        get(&server, &format!("/v1/responses/{id}"), own).status(),
        200
    );
    // What is no response is none, whatever its stream is called.
    let mut chat = server.post(
        "/v1/chat/completions",
        "x-linger: 1m\r\n",
        &chat_body(json!({ "model": "mock-fast" })).to_string(),
    );
    let stream = chat.header("x-stream-id").expect("an id");
    unknown(&stream.replace("stm_", "resp_"), "");
}

#[test]
fn what_can_not_be_done_in_the_background_is_refused_before_it_begins() {
    let server = Server::mock();
    let refused = |fields: Value| {
        let mut client = create(&server, "", fields);
        (
            client.status(),
            client.json()["error"]["param"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    assert_eq!(
        refused(json!({ "store": false })),
        (400, "store".to_owned())
    );
    assert_eq!(
        refused(json!({ "background": "yes" })),
        (400, "background".to_owned())
    );
    assert_eq!(
        refused(json!({ "model": "nobody" })),
        (404, "model".to_owned())
    );
    assert_eq!(
        refused(json!({ "input": 7, "model": "mock" })),
        (400, "input".to_owned())
    );
}

#[test]
fn an_upstream_that_refuses_makes_a_failed_response() {
    let upstream = Upstream::raw(
        "HTTP/1.1 429 Slow down\r\ncontent-type: application/json\r\ncontent-length: 31\r\n\r\n{\"error\":{\"message\":\"too many\"}}",
    );
    let server = Server::before(&upstream);
    let failed = poll(&server, &id(&create(&server, "", json!({})).json()));
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&"failed".into(), &"rate_limit_exceeded".into())
    );
    assert!(
        failed["error"]["message"]
            .as_str()
            .expect("a message")
            .contains("429"),
        "{failed}"
    );
    assert_eq!(upstream.requests().len(), 1);
    assert_eq!(server.ended(), "upstream_refused");
}

#[test]
fn a_response_that_nobody_reads_fails_when_its_stream_is_full() {
    let frame = says(&"x".repeat(4000));
    let upstream = Upstream::start(move |c| {
        c.request();
        c.stream_head();
        while c.chunk(frame.as_bytes()) {}
        c.wait_closed();
    });
    let server = Server::before_with(&upstream, "streams.max_bytes = \"64KiB\"\n", "");
    let failed = poll(&server, &id(&create(&server, "", json!({})).json()));
    assert_eq!(failed["status"], "failed");
    assert!(
        failed["error"]["message"]
            .as_str()
            .expect("a message")
            .contains("streams.max_bytes"),
        "{failed}"
    );
    upstream.wait_closed(1);
    assert_eq!(server.ended(), "unread");
}

#[test]
fn an_upstreams_own_response_keeps_its_bytes_its_numbers_and_its_id() {
    let response = |status: &str, output: Value| json!({ "id": "resp_theirs", "object": "response", "status": status, "output": output, "new": 1 });
    let item = json!({ "type": "message", "id": "i", "role": "assistant", "content": [{ "type": "output_text", "text": "ab" }] });
    // Numbers with gaps, as a gateway that leaves events out has them.
    let said = vec![
        json!({ "type": "response.created", "sequence_number": 2, "response": response("in_progress", json!([])) }),
        json!({ "type": "response.output_text.delta", "sequence_number": 5, "output_index": 0, "delta": "a", "odd": true }),
        json!({ "type": "response.output_text.delta", "sequence_number": 6, "output_index": 0, "delta": "b" }),
        json!({ "type": "response.output_item.done", "sequence_number": 9, "output_index": 0, "item": item }),
        json!({ "type": "response.completed", "sequence_number": 11, "response": response("completed", json!([])) }),
    ];
    let (upstream, server, go) = responses_upstream(said.clone());
    let body = r#"{"model":"m","background":true,"input":"hi canary-prompt","unheard_of":{"b":[1,2.50]},"stream":false}"#;
    let ours = id(&server.post("/v1/responses", "", body).json());
    upstream.wait_requests(1);
    let sent = String::from_utf8(upstream.requests()[0].body.clone()).expect("UTF-8");
    assert_eq!(
        sent,
        r#"{"model":"real","input":"hi canary-prompt","unheard_of":{"b":[1,2.50]},"stream":true}"#
    );
    for _ in 0..4 {
        go.on();
    }
    let so_far = until("it has said an item", || {
        let response = retrieve(&server, &ours);
        (text(&response) == "ab").then_some(response)
    });
    assert_eq!(
        (&so_far["status"], &so_far["new"]),
        (&"in_progress".into(), &1.into())
    );
    go.on();
    let whole = poll(&server, &ours);
    assert_eq!(
        (&whole["status"], &whole["new"], text(&whole).as_str()),
        (&"completed".into(), &1.into(), "ab")
    );
    assert_eq!(
        (&whole["id"], &whole["background"]),
        (&ours.as_str().into(), &true.into())
    );
    let theirs = retrieve(&server, "resp_theirs");
    assert_eq!(
        (&theirs["id"], &theirs["output"]),
        (&"resp_theirs".into(), &whole["output"])
    );
    for after in 0..=11 {
        let want: Vec<&Value> = said
            .iter()
            .filter(|event| event["sequence_number"].as_u64() > Some(after))
            .collect();
        for id in [ours.as_str(), "resp_theirs"] {
            let rest = get(
                &server,
                &format!("/v1/responses/{id}?stream=true&starting_after={after}"),
                "",
            )
            .body();
            let heard: Vec<Value> = numbered(&rest)
                .into_iter()
                .map(|(_, event)| event)
                .collect();
            assert_eq!(heard.iter().collect::<Vec<_>>(), want, "after {after}");
        }
    }
    // Who goes on from it names the one that the upstream knows.
    for (id, named) in [
        (ours.as_str(), "resp_theirs"),
        ("resp_theirs", "resp_theirs"),
        ("resp_x", "resp_x"),
    ] {
        let sent = upstream.requests().len();
        let client = create(
            &server,
            "",
            json!({ "previous_response_id": id, "stream": true }),
        );
        upstream.wait_requests(sent + 1);
        assert_eq!(
            upstream.requests()[sent].json()["previous_response_id"],
            named
        );
        drop(client);
    }
    assert_eq!(delete(server.address, &ours, "").status(), 200);
    assert_eq!(
        get(&server, "/v1/responses/resp_theirs", "").status(),
        404,
        "it is the same one"
    );
}

#[test]
fn an_upstreams_own_id_is_known_when_all_of_its_response_comes_at_once() {
    let response =
        json!({ "id": "resp_theirs", "object": "response", "status": "completed", "output": [] });
    let upstream = Upstream::start(move |c| {
        if c.request().is_some() {
            c.stream_head();
            let frame = |kind: &str| {
                let event = json!({ "type": kind, "response": response });
                format!("event: {kind}\ndata: {event}\n\n")
            };
            let all = [frame("response.created"), frame("response.completed")];
            c.chunk(all.concat().as_bytes());
            c.end();
        }
    });
    let config = format!(
        "[providers.up]\ndialect = \"openai-responses\"\nbase_url = \"{}\"\n\
         [[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\", model = \"real\" }}]\n",
        upstream.base_url()
    );
    let server = Server::with(&config, &[]);
    let ours = id(&create(&server, "", json!({})).json());
    poll(&server, &ours);
    assert_eq!(retrieve(&server, "resp_theirs")["id"], "resp_theirs");
}

#[test]
fn events_without_numbers_are_not_guessed_at() {
    let response = json!({ "id": "r", "object": "response", "status": "completed", "output": [] });
    let (_upstream, server, go) = responses_upstream(vec![
        json!({ "type": "response.created", "response": response }),
        json!({ "type": "response.completed", "response": response }),
    ]);
    let id = id(&create(&server, "", json!({})).json());
    go.on();
    go.on();
    poll(&server, &id);
    let mut refused = get(
        &server,
        &format!("/v1/responses/{id}?stream=true&starting_after=0"),
        "",
    );
    assert_eq!(refused.status(), 400);
    assert!(
        refused.json()["error"]["message"]
            .as_str()
            .expect("a message")
            .contains("Last-Event-ID")
    );
}

#[test]
fn one_idempotency_key_makes_one_response() {
    let (upstream, server, go) = paced(1, "");
    let first = id(&create(&server, "idempotency-key: k\r\n", json!({})).json());
    let again = create(&server, "idempotency-key: k\r\n", json!({})).json();
    assert_eq!(id(&again), first);
    assert_eq!(
        create(
            &server,
            "idempotency-key: k\r\n",
            json!({ "input": "other" })
        )
        .status(),
        409
    );
    go.on();
    poll(&server, &first);
    let ended = create(&server, "idempotency-key: k\r\n", json!({})).json();
    assert_eq!((id(&ended), &ended["status"]), (first, &"completed".into()));
    assert_eq!(upstream.requests().len(), 1);
}
