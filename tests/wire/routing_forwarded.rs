//! Requests that are passed on, such as embeddings, go to the targets that are well.

use crate::routing::{WHOLE, answers, good, json_response, refusing, server, whole};
use crate::support::*;

#[test]
fn what_is_passed_on_heeds_the_health_of_targets() {
    let (one, two) = (
        refusing(
            "429 Slow",
            "retry-after: 60\r\n",
            r#"{"error":{"message":"slow"}}"#,
        ),
        good(),
    );
    let server = server(&[one.base_url(), two.base_url()], "");
    let ask = || server.post("/v1/embeddings", "", r#"{"model":"m"}"#);
    let mut client = ask();
    assert_eq!(client.status(), 200);
    let target = client.header("x-tokenrill-target");
    assert_eq!(target.as_deref(), Some("two/real"));
    assert_eq!(client.header("x-tokenrill-attempts").as_deref(), Some("2"));
    client.body();
    for _ in 0..3 {
        assert_eq!(ask().body(), WHOLE);
    }
    answers(&server);
    assert_eq!(one.requests().len(), 1);
}

#[test]
fn what_is_passed_on_is_not_sent_again_if_it_may_have_been_done() {
    let (one, two) = (
        refusing("500 Oops", "", r#"{"error":{"message":"no"}}"#),
        good(),
    );
    let server = server(&[one.base_url(), two.base_url()], "");
    let mut client = server.post("/v1/embeddings", "", r#"{"model":"m"}"#);
    assert_eq!(client.status(), 500);
    let target = client.header("x-tokenrill-target");
    assert_eq!(target.as_deref(), Some("one/real"));
    assert_eq!(two.requests().len(), 0);
    // Without a model it is one provider's matter alone.
    let mut client = server.post("/v1/embeddings", "", "{}");
    assert_eq!(client.status(), 500);
    assert_eq!(two.requests().len(), 0);
}

#[test]
fn a_key_that_may_not_do_one_thing_may_still_do_another() {
    let one = Upstream::start(|c| {
        while let Some(request) = c.request() {
            match request.head.contains("embeddings") {
                true => c.send(&json_response(
                    "403 No",
                    "",
                    r#"{"error":{"message":"no"}}"#,
                )),
                false => c.send(&json_response("200 OK", "", WHOLE)),
            };
        }
    });
    let two = good();
    let server = server(&[one.base_url(), two.base_url()], "");
    let mut client = server.post("/v1/embeddings", "", r#"{"model":"m"}"#);
    assert_eq!(client.status(), 200);
    assert_eq!(whole(&server).status(), 200);
    assert_eq!((one.requests().len(), two.requests().len()), (2, 1));
}
