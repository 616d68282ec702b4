//! Requests that go on from a stored response reach the provider that made it, and no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::routing::json_response;
use crate::support::*;
use crate::websocket_responses::{create, hear_end, open};
use crate::ws_client::Ws;

/// A Responses upstream whose responses are all named so, streamed or whole. It fails while it is
/// told to.
fn storing(id: &'static str, fails: &Arc<AtomicBool>) -> Upstream {
    let fails = fails.clone();
    Upstream::start(move |c| {
        while let Some(request) = c.request() {
            if fails.load(Ordering::SeqCst) {
                c.send(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n");
                continue;
            }
            if request.body.is_empty() {
                c.send(&json_response(
                    "200 OK",
                    "",
                    &json!({ "of": id }).to_string(),
                ));
                continue;
            }
            let text = json!([{ "type": "output_text", "text": "good", "annotations": [] }]);
            let item = json!({ "id": "msg_1", "type": "message", "role": "assistant",
                "status": "completed", "content": text });
            let response = json!({ "id": id, "object": "response", "status": "completed",
                "model": "real", "store": true, "output": [item] });
            if request.json()["stream"] == true {
                c.stream_head();
                for kind in ["response.created", "response.completed"] {
                    let event = json!({ "type": kind, "response": response });
                    c.chunk(format!("event: {kind}\ndata: {event}\n\n").as_bytes());
                }
                c.end();
            } else {
                c.send(&json_response("200 OK", "", &response.to_string()));
            }
        }
    })
}

/// Two upstreams, and a server whose model `m` asks the first one first; `one` and `two` are models
/// of each alone.
struct Pair {
    fails: [Arc<AtomicBool>; 2],
    upstreams: [Upstream; 2],
    server: Server,
}

impl Pair {
    fn start() -> Self {
        let fails = [
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        ];
        let upstreams = [storing("resp_1", &fails[0]), storing("resp_2", &fails[1])];
        let mut config =
            "pass_through = [\"/v1/responses/compact\", \"/v1/responses/*\"]\n".to_owned();
        for (name, upstream) in ["one", "two"].iter().zip(&upstreams) {
            config += &format!(
                "[providers.{name}]\ndialect = \"openai-responses\"\nbase_url = \"{}\"\n\
                 [[models]]\nname = \"{name}\"\ntargets = [{{ provider = \"{name}\" }}]\n",
                upstream.base_url()
            );
        }
        config += "[[models]]\nname = \"m\"\ntargets = [{ provider = \"one\" }, { provider = \"two\" }]\n";
        let server = Server::with(&config, &[]);
        Self {
            fails,
            upstreams,
            server,
        }
    }

    /// Returns the numbers of the requests that each upstream has seen.
    fn asked(&self) -> [usize; 2] {
        [0, 1].map(|number: usize| self.upstreams[number].requests().len())
    }

    fn ask(&self, model: &str, streams: bool, previous: Option<&str>) -> Client {
        let mut body = json!({ "model": model, "stream": streams, "input": "x" });
        if let Some(id) = previous {
            body["previous_response_id"] = id.into();
        }
        let mut client =
            self.server
                .post("/v1/responses", "connection: close\r\n", &body.to_string());
        client.wait_end();
        client
    }

    /// Lets the second upstream make a response.
    fn second_makes(&self, streams: bool) {
        self.fails[0].store(true, Ordering::SeqCst);
        assert!(self.ask("m", streams, None).body().contains("resp_2"));
        self.fails[0].store(false, Ordering::SeqCst);
    }
}

fn code(ended: &Value) -> &str {
    ended["error"]["code"].as_str().unwrap_or_default()
}

#[test]
fn a_request_that_goes_on_from_a_response_reaches_its_maker_and_nobody_else() {
    for made_streamed in [true, false] {
        let pair = Pair::start();
        pair.second_makes(made_streamed);
        let [first, second] = pair.asked();
        for streams in [true, false] {
            let mut client = pair.ask("m", streams, Some("resp_2"));
            assert!(client.body().contains("resp_2"), "{}", client.text());
            assert_eq!(
                client.header("x-tokenrill-target").as_deref(),
                Some("two/m")
            );
        }
        // Others go where they went.
        assert!(pair.ask("m", true, None).body().contains("resp_1"));
        assert!(
            pair.ask("m", true, Some("resp_1"))
                .body()
                .contains("resp_1")
        );
        assert_eq!(pair.asked(), [first + 2, second + 2]);
        // Its maker failing is told as it is.
        pair.fails[1].store(true, Ordering::SeqCst);
        let [first, _] = pair.asked();
        let mut client = pair.ask("m", made_streamed, Some("resp_2"));
        assert!(client.status() >= 500, "{}", client.text());
        assert_eq!(pair.asked()[0], first);
    }
}

#[test]
fn a_socket_goes_on_from_what_was_made_elsewhere() {
    let pair = Pair::start();
    pair.second_makes(true);
    let [first, second] = pair.asked();
    let mut ws: Ws = open(&pair.server);
    let stored = json!({ "previous_response_id": "resp_2", "store": true });
    create(&mut ws, json!("x"), stored.clone());
    assert_eq!(hear_end(&mut ws)["response"]["id"], "resp_2");
    assert_eq!(pair.asked(), [first, second + 1]);
    pair.fails[1].store(true, Ordering::SeqCst);
    let mut other: Ws = open(&pair.server);
    create(&mut other, json!("x"), stored);
    assert_eq!(hear_end(&mut other)["type"], "error");
    assert_eq!(pair.asked()[0], first);
}

#[test]
fn a_model_without_the_maker_says_so_and_asks_nobody() {
    let pair = Pair::start();
    pair.second_makes(true);
    let before = pair.asked();
    let mut client = pair.ask("one", true, Some("resp_2"));
    assert_eq!(client.status(), 400);
    assert_eq!(code(&client.json()), "previous_response_not_found");
    assert_eq!(pair.asked(), before);
    // The model of its maker alone knows it.
    assert!(
        pair.ask("two", true, Some("resp_2"))
            .body()
            .contains("resp_2")
    );
}

#[test]
fn a_reference_that_is_not_known_is_sent_to_one_provider_and_no_other() {
    let pair = Pair::start();
    assert!(
        pair.ask("m", true, Some("resp_0"))
            .body()
            .contains("resp_1")
    );
    pair.fails[0].store(true, Ordering::SeqCst);
    for reference in [
        json!({ "previous_response_id": "resp_0" }),
        json!({ "conversation": "conv_0" }),
        json!({ "conversation": { "id": "conv_0" } }),
    ] {
        let mut body = json!({ "model": "m", "input": "x" });
        let fields = reference.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        let mut client = pair.server.post("/v1/responses", "", &body.to_string());
        assert!(client.status() >= 500, "{reference} {}", client.text());
    }
    assert_eq!(pair.asked()[1], 0);
}

#[test]
fn what_is_passed_on_and_names_a_response_reaches_its_maker() {
    let pair = Pair::start();
    pair.second_makes(true);
    let mut items = pair.server.get("/v1/responses/resp_2/input_items");
    assert_eq!(items.json()["of"], "resp_2");
    let asked = |body: Value| {
        let mut client = pair
            .server
            .post("/v1/responses/compact", "", &body.to_string());
        client.body()
    };
    let compact = json!({ "model": "m", "previous_response_id": "resp_2" });
    assert!(asked(compact.clone()).contains("resp_2"));
    assert!(asked(json!({ "model": "m", "input": "x" })).contains("resp_1"));
    // Nobody else is asked for it.
    pair.fails[1].store(true, Ordering::SeqCst);
    let [first, _] = pair.asked();
    assert!(!asked(compact).contains("resp_1"));
    assert_eq!(pair.asked()[0], first);
}
