//! The order in which targets are asked, and the text that is left if nobody goes on.

use super::*;

#[tokio::test(start_paused = true)]
async fn who_refuses_a_prefill_is_asked_again_before_the_one_that_broke() {
    let case = Case {
        by: ContinueBy::Prefill,
        upstream: ("openai-chat", "mistral"),
        ..CASE
    };
    let first = move |body: &Value| match messages(body).len() {
        1 => Ok(case.first()),
        _ => Err(refused_by(500, "down")),
    };
    let second = |body: &Value| match messages(body).len() {
        2 => Err(refused_by(400, "This model does not support prefill")),
        _ => good(),
    };
    let body = body_of(case.client);
    let run = run(&case, &body, HeaderMap::new(), first, second).await;
    assert_eq!(whole(&run), (TOKENS.concat(), 3));
    // The first one was asked once.
    let lengths: Vec<usize> = run.seen.iter().map(|body| messages(body).len()).collect();
    assert_eq!(lengths, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn text_that_may_be_a_repetition_is_shown_before_the_error_if_nobody_goes_on() {
    const SAID: &str = "The cat sat. ";
    let breaks = |text| Ok((frames_of(CASE.upstream, &[text], None), ScriptedEnd::Reset));
    for (last, shown) in [("The c", "The c"), ("", "The")] {
        let first = move |body: &Value| match (messages(body).len(), last) {
            (1, _) => breaks(SAID),
            (_, "") => Err(refused_by(500, "down")),
            _ => breaks(last),
        };
        let second = move |_: &Value| breaks("The");
        let body = body_of(CASE.client);
        let run = run(&CASE, &body, HeaderMap::new(), first, second).await;
        let wire = &run.wire;
        assert_eq!(run.outcome.attempts, 3, "{wire}");
        let shown = format!("\"content\":{}", json!(shown));
        let (text, error) = (wire.find(&shown), wire.find("\"error\":"));
        assert!(text.is_some() && text < error, "{wire}");
        assert_eq!(wire.matches("\"The").count(), 2, "{wire}");
        assert_eq!(wire.matches("\"error\":").count(), 1, "{wire}");
        assert!(!run.wire.contains("[DONE]"), "{}", run.wire);
    }
}
