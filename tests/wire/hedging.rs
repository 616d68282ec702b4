//! A second target beside one that is slow to begin, over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::routing::{good, server};
use crate::support::*;

/// The requests after which it is known how quick a model is.
const KNOWN: usize = 20;

/// The beginning of a stream that has not said anything yet, and reports usage.
const PREAMBLE: &str = "data: {\"id\":\"lost\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"real\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":77,\"completion_tokens\":7,\"total_tokens\":84}}\n\n";

/// The end of an answer, with its usage.
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":3,\"total_tokens\":8}}\n\n";

const HEDGE: &str = "hedge = \"p95\"\nretry_budget = \"100% + 10/s\"";

/// A moment that one side of a test waits for and another one brings about.
#[derive(Clone, Default)]
struct Moment(Arc<AtomicBool>);

impl Moment {
    fn come(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn wait(&self) {
        until("the moment has come", || {
            self.0.load(Ordering::SeqCst).then_some(())
        });
    }
}

fn answer(c: &mut Connection, text: &str) {
    c.chunk(format!("{}{USAGE}{STOP}{DONE}", says(text)).as_bytes());
    c.end();
}

/// An upstream that answers at once until it is known how quick it is, and then does as it is told.
fn quick_then(then: impl Fn(&mut Connection) + Send + Sync + 'static) -> Upstream {
    let asked = AtomicUsize::new(0);
    Upstream::start(move |c| {
        while c.request().is_some() {
            if asked.fetch_add(1, Ordering::SeqCst) >= KNOWN {
                return then(c);
            }
            c.stream_head();
            answer(c, "quick");
        }
    })
}

/// An upstream that does as it is told from its first request on.
fn then(then: impl Fn(&mut Connection) + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |c| {
        if c.request().is_some() {
            then(c);
        }
    })
}

/// An upstream that says something only after that moment.
fn says_after(moment: &Moment, text: &'static str) -> impl Fn(&mut Connection) + use<> {
    let moment = moment.clone();
    move |c| {
        c.stream_head();
        moment.wait();
        answer(c, text);
    }
}

/// A server whose model is known to be quick.
fn warm(one: &Upstream, two: &Upstream, rules: &str) -> Server {
    let server = server(&[one.base_url(), two.base_url()], rules);
    for _ in 0..KNOWN {
        assert!(server.chat(json!({})).body().contains("quick"));
    }
    assert_eq!(two.requests().len(), 0);
    server
}

/// Returns the line of the generation after those that made the model known.
fn line(server: &Server) -> Value {
    server.logged("generation", KNOWN + 1)
}

#[test]
fn the_slow_target_is_closed_as_soon_as_the_second_one_says_something() {
    let is_closed = Moment::default();
    let one = quick_then(|c| {
        c.stream_head();
        c.chunk(PREAMBLE.as_bytes());
        c.wait_closed();
    });
    let closed = is_closed.clone();
    let two = then(move |c| {
        c.stream_head();
        c.say("sec");
        closed.wait();
        answer(c, "ond");
    });
    let server = warm(&one, &two, HEDGE);
    let mut client = server.chat(json!({}));
    let target = client.header("x-tokenrill-target");
    assert_eq!(target.as_deref(), Some("two/real"));
    assert_eq!(client.header("x-tokenrill-attempts").as_deref(), Some("2"));
    client.wait_for("sec");
    one.wait_closed(1);
    is_closed.come();
    let whole = format!("{}{}{USAGE}{STOP}{DONE}", says("sec"), says("ond"));
    assert_eq!(client.body(), whole);
    let line = line(&server);
    assert_eq!(
        (&line["hedged"], &line["provider"], &line["tokens"]),
        (&json!("won"), &json!("two"), &json!(3))
    );
    for (message, provider) in [("attempt hedged", "two"), ("attempt dropped", "one")] {
        let line = server.logged(message, 1);
        assert_eq!(line["provider"], provider);
    }
    assert!(!server.log().contains("attempt failed"));
}

#[test]
fn the_second_target_is_closed_as_soon_as_the_first_one_says_something() {
    let is_hedged = Moment::default();
    let hedged = is_hedged.clone();
    let is_closed = Moment::default();
    let closed = is_closed.clone();
    let one = quick_then(move |c| {
        c.stream_head();
        hedged.wait();
        c.say("fir");
        closed.wait();
        answer(c, "st");
    });
    let two = then(move |c| {
        c.stream_head();
        c.chunk(PREAMBLE.as_bytes());
        is_hedged.come();
        c.wait_closed();
    });
    let server = warm(&one, &two, HEDGE);
    let mut client = server.chat(json!({}));
    client.wait_for("fir");
    two.wait_closed(1);
    is_closed.come();
    let target = client.header("x-tokenrill-target");
    assert_eq!(target.as_deref(), Some("one/real"));
    assert_eq!(client.header("x-tokenrill-attempts").as_deref(), Some("2"));
    let whole = format!("{}{}{USAGE}{STOP}{DONE}", says("fir"), says("st"));
    assert_eq!(client.body(), whole);
    let line = line(&server);
    assert_eq!(
        (&line["hedged"], &line["provider"], &line["tokens"]),
        (&json!("lost"), &json!("one"), &json!(3))
    );
    assert_eq!(server.logged("attempt dropped", 1)["provider"], "two");
}

#[test]
fn a_client_that_leaves_closes_both() {
    let silent = |c: &mut Connection| c.wait_closed();
    let (one, two) = (quick_then(silent), then(silent));
    let server = warm(&one, &two, HEDGE);
    let client = server.chat(json!({}));
    two.wait_requests(1);
    client.reset();
    one.wait_closed(1);
    two.wait_closed(1);
    let line = line(&server);
    assert_eq!(
        (&line["ended"], &line["hedged"]),
        (&json!("client_left"), &json!("lost"))
    );
    assert!(!server.log().contains("attempt failed"));
}

#[test]
fn a_failure_of_one_of_the_two_is_not_seen() {
    let is_hedged = Moment::default();
    let (hedged, failed) = (is_hedged.clone(), Moment::default());
    let has_failed = failed.clone();
    let one = quick_then(move |c| {
        hedged.wait();
        c.reset();
        has_failed.come();
    });
    let answers = says_after(&failed, "second");
    let two = then(move |c| {
        is_hedged.come();
        answers(c);
    });
    let server = warm(&one, &two, HEDGE);
    let body = server.chat(json!({})).body();
    assert_eq!(body, format!("{}{USAGE}{STOP}{DONE}", says("second")));
    assert_eq!(line(&server)["hedged"], "won");
    let failed = server.logged("attempt failed", 1);
    assert_eq!(
        (&failed["provider"], &failed["verdict"]),
        (&json!("one"), &json!("hard"))
    );
    // And the other way round.
    let failed = Moment::default();
    let has_failed = failed.clone();
    let one = quick_then(says_after(&failed, "first"));
    let two = then(move |c| {
        c.send(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n");
        has_failed.come();
    });
    let server = warm(&one, &two, HEDGE);
    let body = server.chat(json!({})).body();
    assert_eq!(body, format!("{}{USAGE}{STOP}{DONE}", says("first")));
    assert_eq!(line(&server)["hedged"], "lost");
}

#[test]
fn where_both_fail_the_client_is_told_as_of_one() {
    let is_hedged = Moment::default();
    let hedged = is_hedged.clone();
    let oops = b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n";
    let one = quick_then(move |c| {
        hedged.wait();
        c.send(oops);
    });
    let two = then(move |c| {
        is_hedged.come();
        c.send(oops);
    });
    let server = warm(&one, &two, &format!("{HEDGE}\nattempts = 2"));
    let mut client = server.chat(json!({}));
    assert_eq!(client.status(), 500);
    assert_eq!(client.header("x-tokenrill-attempts").as_deref(), Some("2"));
    assert!(!client.body().contains("data:"));
    server.logged("attempt failed", 2);
}

#[test]
fn a_client_of_another_dialect_sees_one_answer_and_no_comment_of_the_other() {
    let is_hedged = Moment::default();
    let hedged = is_hedged.clone();
    let commented = Moment::default();
    let has_commented = commented.clone();
    let one = quick_then(move |c| {
        c.stream_head();
        c.chunk(PREAMBLE.as_bytes());
        hedged.wait();
        // Without a pause, for as long as anybody reads them.
        while c.chunk(b": lost\n\n") {
            has_commented.come();
        }
    });
    let two = then(move |c| {
        is_hedged.come();
        commented.wait();
        c.stream_head();
        answer(c, "second");
    });
    let server = warm(&one, &two, HEDGE);
    let body = r#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"canary-prompt"}]}"#;
    let body = server.post("/v1/messages", "", body).body();
    assert_eq!(body.matches("message_start\"").count(), 1, "{body}");
    assert_eq!(body.matches("second").count(), 1, "{body}");
    assert!(
        body.contains("message_stop") && !body.contains("lost"),
        "{body}"
    );
    assert_eq!(line(&server)["hedged"], "won");
}

#[test]
fn comments_of_two_targets_at_a_time_are_not_passed_on() {
    let is_hedged = Moment::default();
    let hedged = is_hedged.clone();
    let commented = Moment::default();
    let has_commented = commented.clone();
    let one = quick_then(move |c| {
        c.stream_head();
        hedged.wait();
        c.chunk(b": late\n\n");
        has_commented.come();
        c.wait_closed();
    });
    let two = then(move |c| {
        is_hedged.come();
        c.stream_head();
        commented.wait();
        answer(c, "second");
    });
    // The head has gone out by then.
    let rules = format!("{HEDGE}\n[sse]\ncommit_after = \"10ms\"");
    let server = warm(&one, &two, &rules);
    let body = server.chat(json!({})).body();
    assert_eq!(body, format!("{}{USAGE}{STOP}{DONE}", says("second")));
}

#[test]
fn a_stream_that_lingers_is_hedged_and_read_again() {
    let one = quick_then(|c| c.wait_closed());
    let two = good();
    let server = warm(&one, &two, HEDGE);
    let body = chat_body(json!({})).to_string();
    let mut client = server.post("/v1/chat/completions", "x-linger: 30s\r\n", &body);
    let id = client.header("x-stream-id").unwrap();
    let first = client.body();
    assert!(first.contains("good") && first.ends_with(DONE), "{first}");
    one.wait_closed(1);
    let again = server.get(&format!("/v1/stream/{id}")).body();
    assert!(again.contains("good"), "{again}");
}

#[test]
fn without_the_key_or_with_the_budget_used_up_a_slow_target_is_asked_alone() {
    let empty = "hedge = \"p95\"\nretry_budget = \"0% + 0/s\"";
    for rules in ["", empty] {
        let one = quick_then(|c| {
            c.stream_head();
            // Much longer than it takes to be known as slow.
            std::thread::sleep(std::time::Duration::from_millis(500));
            answer(c, "first");
        });
        let two = good();
        let server = warm(&one, &two, rules);
        let mut client = server.chat(json!({}));
        assert_eq!(client.header("x-tokenrill-attempts").as_deref(), Some("1"));
        assert_eq!(
            client.body(),
            format!("{}{USAGE}{STOP}{DONE}", says("first"))
        );
        assert_eq!(line(&server)["hedged"], Value::Null);
        assert_eq!(two.requests().len(), 0);
    }
}

#[test]
fn an_answer_that_won_is_continued_when_it_breaks() {
    let asked = AtomicUsize::new(0);
    let one = quick_then(move |c| {
        c.stream_head();
        if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            c.chunk(PREAMBLE.as_bytes());
            return c.wait_closed();
        }
        answer(c, " four");
    });
    let two = then(|c| {
        c.stream_head();
        c.say("One two three");
        c.reset();
    });
    let server = warm(&one, &two, &format!("{HEDGE}\ncontinue = \"text\""));
    let body = server.chat(json!({})).body();
    let texts: Vec<String> = events(&body)
        .iter()
        .filter_map(|(_, data)| serde_json::from_str::<Value>(data).ok())
        .filter_map(|payload| {
            let text = payload["choices"][0]["delta"]["content"].as_str();
            text.map(str::to_owned)
        })
        .collect();
    assert_eq!(texts.concat(), "One two three four", "{body}");
    let mark = ": tokenrill continued from=two to=one reason=upstream_reset at=13\n\n";
    assert!(body.contains(mark), "{body}");
    assert!(body.ends_with(DONE), "{body}");
}
