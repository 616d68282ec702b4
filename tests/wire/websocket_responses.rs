//! Responses over a WebSocket, as OpenAI's clients speak it.

use serde_json::{Value, json};

use crate::log_content::config;
use crate::support::*;
use crate::ws_client::*;

pub(crate) fn open(server: &Server) -> Ws {
    Ws::open_at(
        server,
        "/v1/responses",
        &[("openai-beta", "responses_websockets=2026-02-06, other=v1")],
    )
}

/// Asks for a response to that input, with more fields.
pub(crate) fn create(ws: &mut Ws, input: Value, fields: Value) {
    let mut message =
        json!({ "type": "response.create", "model": "m", "store": false, "input": input });
    for (name, value) in fields.as_object().expect("fields") {
        message[name] = value.clone();
    }
    ws.say(message);
}

/// The messages up to the last of a response, or of an error.
pub(crate) fn hear_response(ws: &mut Ws) -> Vec<Value> {
    let mut heard = Vec::new();
    loop {
        let message = ws.hear();
        let kind = message["type"].as_str().expect("a type").to_owned();
        heard.push(message);
        let is_end = [
            "response.completed",
            "response.incomplete",
            "response.failed",
            "error",
        ];
        if is_end.contains(&&*kind) {
            return heard;
        }
    }
}

/// The last message of the next response.
pub(crate) fn hear_end(ws: &mut Ws) -> Value {
    hear_response(ws).pop().expect("a message")
}

fn kinds(messages: &[Value]) -> Vec<&str> {
    let kinds = messages.iter().map(|it| it["type"].as_str().unwrap());
    kinds.collect()
}

pub(crate) fn code(message: &Value) -> (&Value, &str) {
    assert_eq!(message["type"], "error", "{message}");
    (
        &message["status"],
        message["error"]["code"].as_str().unwrap_or_default(),
    )
}

/// Says its answers one after the other, each on a request of its own; the last for good.
fn answering(answers: &[String]) -> Upstream {
    let answers = answers.to_vec();
    let count = std::sync::atomic::AtomicUsize::new(0);
    Upstream::start(move |c| {
        while c.request().is_some() {
            let at = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            c.stream_head();
            c.chunk(answers[at.min(answers.len() - 1)].as_bytes());
            c.end();
        }
    })
}

pub(crate) fn chat(text: &str) -> String {
    format!("{}{STOP}{DONE}", says(text))
}

const CALL: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"Look.\",\"tool_calls\":[\
     {\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"read\",\
     \"arguments\":\"{\\\"path\\\":\\\"a\\\"}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";

/// A Responses upstream's answer of these events.
fn frames(events: &[Value]) -> String {
    let frame = |event: &Value| {
        format!(
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().unwrap()
        )
    };
    events.iter().map(frame).collect()
}

fn completed(id: &str, store: bool, output: Value) -> String {
    let response = |status, output: &Value| {
        json!({ "id": id, "object": "response", "status": status,
        "model": "real", "store": store, "output": output })
    };
    frames(&[
        json!({ "type": "response.created", "sequence_number": 0, "response": response("in_progress", &json!([])) }),
        json!({ "type": "response.completed", "sequence_number": 1, "response": response("completed", &output) }),
    ])
}

#[test]
fn the_events_are_those_of_a_stream_over_http() {
    let upstream = answering(&[chat("Hello")]);
    let server = Server::before(&upstream);
    let body = json!({ "model": "m", "stream": true, "input": "hi", "instructions": "Be brief." });
    let mut http = server.post("/v1/responses", "connection: close\r\n", &body.to_string());
    http.wait_end();
    let mut ws = open(&server);
    let fields = json!({ "instructions": "Be brief.", "stream": false, "background": true, "client_metadata": { "a": "b" } });
    create(&mut ws, json!("hi"), fields);
    let told = hear_response(&mut ws);
    let over_http: Vec<Value> = events(&http.body())
        .iter()
        .map(|(_, data)| serde_json::from_str(data).unwrap())
        .collect();
    let without_ids = |messages: &[Value]| {
        let id = messages[0]["response"]["id"]
            .as_str()
            .unwrap()
            .replace("resp_", "");
        let text = serde_json::to_string(messages).unwrap().replace(&id, "ID");
        let created = messages[0]["response"]["created_at"].to_string();
        text.replace(&created, "0")
    };
    assert_eq!(without_ids(&told), without_ids(&over_http));
    let seen = upstream.requests();
    assert_eq!(seen[0].json(), seen[1].json());
    assert_eq!(seen[1].header("openai-beta"), None);
    assert_eq!(server.logged("generation", 2)["route"], "GET /v1/responses");
}

#[test]
fn a_turn_goes_on_from_the_last_before_an_upstream_that_keeps_nothing() {
    let upstream = answering(&[CALL.to_owned(), chat("Done."), chat("Bye.")]);
    let server = Server::before(&upstream);
    let mut ws = open(&server);
    create(&mut ws, json!("Read a."), json!({}));
    let first = hear_end(&mut ws);
    let id = &first["response"]["id"];
    let output = first["response"]["output"].as_array().unwrap();
    assert_eq!(output.last().unwrap()["call_id"], "call_1");
    let result = json!([{ "type": "function_call_output", "call_id": "call_1", "output": "text" }]);
    create(
        &mut ws,
        result,
        json!({ "previous_response_id": id, "instructions": "Be brief." }),
    );
    let second = hear_end(&mut ws);
    assert_eq!(second["type"], "response.completed");
    create(
        &mut ws,
        json!("Thanks"),
        json!({ "previous_response_id": second["response"]["id"] }),
    );
    hear_end(&mut ws);
    let seen = upstream.requests();
    let roles = |at: usize| -> Vec<String> {
        let messages = seen[at].json()["messages"].clone();
        let roles = messages.as_array().unwrap().iter();
        roles
            .map(|it| it["role"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(roles(1), ["system", "user", "assistant", "tool"]);
    let messages = &seen[1].json()["messages"];
    assert_eq!(messages[2]["tool_calls"][0]["id"], "call_1");
    assert_eq!(messages[3]["content"], "text");
    // Instructions are not carried on.
    assert_eq!(roles(2), ["user", "assistant", "tool", "assistant", "user"]);
    let messages = &seen[2].json()["messages"];
    assert_eq!(
        (&messages[3]["content"], &messages[4]["content"]),
        (&json!("Done."), &json!("Thanks"))
    );
}

#[test]
fn a_warm_up_asks_no_upstream_and_its_input_is_kept() {
    let upstream = answering(&[chat("Hello")]);
    let server = Server::with(&config("openai-chat", &upstream), &[("UP_KEY", UP_KEY)]);
    let mut ws = open(&server);
    let message = json!([{ "type": "message", "role": "user", "content": "hi" }]);
    create(&mut ws, message, json!({ "generate": false }));
    let warm = hear_response(&mut ws);
    assert_eq!(
        kinds(&warm),
        [
            "response.created",
            "response.in_progress",
            "response.completed"
        ]
    );
    let response = &warm[2]["response"];
    assert_eq!(
        (&response["output"], &response["status"]),
        (&json!([]), &json!("completed"))
    );
    assert_eq!(upstream.requests().len(), 0);
    create(
        &mut ws,
        json!([]),
        json!({ "previous_response_id": response["id"] }),
    );
    assert_eq!(hear_end(&mut ws)["type"], "response.completed");
    let seen = upstream.requests();
    assert_eq!(
        seen[0].json()["messages"],
        json!([{ "role": "user", "content": "hi" }])
    );
    // It is checked like any other.
    create(
        &mut ws,
        json!("x"),
        json!({ "generate": false, "model": "none" }),
    );
    assert_eq!(code(&hear_end(&mut ws)), (&json!(404), "model_not_found"));
}

#[test]
fn what_is_not_known_is_asked_for_again_and_the_socket_goes_on() {
    let upstream = answering(&[chat("Hello")]);
    let server = Server::before(&upstream);
    let mut ws = open(&server);
    for store in [true, false] {
        create(
            &mut ws,
            json!("x"),
            json!({ "previous_response_id": "resp_0", "store": store }),
        );
        let told = hear_end(&mut ws);
        assert_eq!(code(&told), (&json!(400), "previous_response_not_found"));
        assert_eq!(
            (
                &told["error"]["message"],
                &told["error"]["param"],
                &told["error"]["type"]
            ),
            (
                &json!("Previous response with id 'resp_0' not found."),
                &json!("previous_response_id"),
                &json!("invalid_request_error")
            )
        );
    }
    create(&mut ws, json!("x"), json!({ "previous_response_id": null }));
    let first = hear_end(&mut ws);
    // What belongs to another socket is not known, either.
    let mut other = open(&server);
    create(
        &mut other,
        json!("x"),
        json!({ "previous_response_id": first["response"]["id"] }),
    );
    assert_eq!(code(&hear_end(&mut other)).1, "previous_response_not_found");
    for wrong in [
        json!([]),
        json!({ "type": "response.steer" }),
        json!({ "model": "m" }),
    ] {
        ws.say(wrong);
        assert_eq!(code(&hear_end(&mut ws)), (&json!(400), "invalid_request"));
    }
    ws.say(json!({ "type": "response.processed", "response_id": "resp_0" }));
    create(&mut ws, json!({}), json!({}));
    assert_eq!(hear_end(&mut ws)["error"]["param"], "input");
    create(&mut ws, json!("x"), json!({}));
    assert_eq!(hear_end(&mut ws)["type"], "response.completed");
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn an_upstreams_refusal_bears_its_status_and_its_words() {
    let error = json!({ "error": { "message": "slow down", "type": "tokens", "code": "rate_limit_exceeded", "param": null } });
    let reply = error.to_string();
    let length = reply.len();
    for dialect in ["openai-responses", "openai-chat"] {
        let upstream = Upstream::raw(format!(
            "HTTP/1.1 429 X\r\ncontent-type: application/json\r\nretry-after: 7\r\n\
             content-length: {length}\r\n\r\n{reply}"
        ));
        let server = Server::with(&config(dialect, &upstream), &[("UP_KEY", UP_KEY)]);
        let mut ws = open(&server);
        create(&mut ws, json!("x"), json!({}));
        let told = hear_end(&mut ws);
        assert_eq!(told["status"], 429, "{told}");
        assert_eq!(told["headers"]["retry-after"], "7");
        assert!(told["headers"]["x-request-id"].is_string());
        if dialect == "openai-responses" {
            assert_eq!(told["error"], error["error"]);
        } else {
            assert!(
                told["error"]["message"]
                    .as_str()
                    .unwrap()
                    .contains("slow down")
            );
        }
    }
}

#[test]
fn a_refusals_code_that_is_a_number_is_told_as_a_string() {
    let reply = json!({ "error": { "message": "too long", "code": 400 } }).to_string();
    let length = reply.len();
    let upstream = Upstream::raw(format!(
        "HTTP/1.1 400 X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{reply}"
    ));
    let config = config("openai-responses", &upstream);
    let server = Server::with(&config, &[("UP_KEY", UP_KEY)]);
    let mut ws = open(&server);
    create(&mut ws, json!("x"), json!({}));
    let told = hear_end(&mut ws);
    assert_eq!(
        told["error"],
        json!({ "message": "too long", "code": "400" })
    );
}

#[test]
fn a_response_that_breaks_has_one_end() {
    let created =
        json!({ "type": "response.created", "sequence_number": 0, "response": { "id": "resp_1" } });
    let error =
        json!({ "type": "error", "sequence_number": 1, "code": "server_error", "message": "oh" });
    for (dialect, body) in [
        ("openai-chat", says("Hel")),
        ("openai-responses", frames(std::slice::from_ref(&created))),
        ("openai-responses", frames(&[created, error])),
    ] {
        let upstream = answering(&[body]);
        let server = Server::with(&config(dialect, &upstream), &[("UP_KEY", UP_KEY)]);
        let mut ws = open(&server);
        create(&mut ws, json!("x"), json!({}));
        let told = hear_response(&mut ws);
        let end = told.last().unwrap();
        let is_error = end["type"] == "error" && end["status"] == 500 && end["error"].is_object();
        assert!(is_error || end["type"] == "response.failed", "{end}");
        // No second end of the first lies before the next.
        create(&mut ws, json!("x"), json!({ "model": "none" }));
        assert_eq!(code(&ws.hear()).1, "model_not_found");
    }
}

#[test]
fn an_upstream_of_the_same_dialect_is_sent_again_what_it_has_not_kept() {
    let lost = json!({ "type": "reasoning", "id": "rs_1", "summary": [] });
    let kept =
        json!({ "type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "x" });
    let said = json!({ "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{ "type": "output_text", "text": "Hi", "annotations": [] }] });
    let output = json!([lost, kept, said]);
    let answers = [
        completed("resp_1", false, output.clone()),
        completed("resp_2", false, json!([])),
    ];
    let upstream = answering(&answers);
    let server = Server::with(
        &config("openai-responses", &upstream),
        &[("UP_KEY", UP_KEY)],
    );
    let mut ws = open(&server);
    let message = json!({ "type": "message", "role": "user", "content": "hi" });
    create(&mut ws, json!([message]), json!({}));
    let told = hear_response(&mut ws);
    assert_eq!(told[1]["response"]["output"], output);
    create(
        &mut ws,
        json!("more"),
        json!({ "previous_response_id": "resp_1" }),
    );
    assert_eq!(hear_end(&mut ws)["response"]["id"], "resp_2");
    let seen = upstream.requests();
    assert_eq!(
        seen[0].json(),
        json!({ "model": "m", "store": false, "stream": true, "input": [message] })
    );
    let more = json!({ "type": "message", "role": "user", "content": "more" });
    assert_eq!(
        seen[1].json(),
        json!({ "model": "m", "store": false, "stream": true, "input": [message, kept, said, more] })
    );
    assert_eq!(seen[1].header("openai-beta").as_deref(), Some("other=v1"));
}

#[test]
fn an_upstream_of_the_same_dialect_is_asked_to_go_on_from_what_it_has_kept() {
    let upstream = answering(&[
        completed("resp_1", true, json!([])),
        completed("resp_2", true, json!([])),
    ]);
    let mut config = config("openai-responses", &upstream);
    config += "[[models]]\nname = \"other\"\ntargets = [{ provider = \"up\" }]\n";
    let server = Server::with(&config, &[("UP_KEY", UP_KEY)]);
    let mut ws = open(&server);
    // From another socket, perhaps.
    for (id, model) in [("resp_0", "m"), ("resp_1", "m"), ("resp_2", "other")] {
        create(
            &mut ws,
            json!("x"),
            json!({ "previous_response_id": id, "store": true, "model": model }),
        );
        assert_eq!(hear_end(&mut ws)["type"], "response.completed");
    }
    for seen in upstream.requests() {
        let body = seen.json();
        assert_eq!(body["input"], "x");
        assert!(body["previous_response_id"].is_string());
    }
    create(
        &mut ws,
        json!("x"),
        json!({ "previous_response_id": "resp_0", "store": false }),
    );
    assert_eq!(code(&hear_end(&mut ws)).1, "previous_response_not_found");
}
