//! The tables of `docs/errors.md` are what the code does: they are made anew here and must stand
//! there as they are. `UPDATE_DOCS=1 cargo test -p tokenrill-dialect --test dialects` writes them.

use std::fmt::Write as _;

use dialect::failure::{Blame, CLASSES, Failure, FailureClass, FailureKind, Retry};
use dialect::{Dialect, anthropic, gemini, openai_chat};
use serde_json::Value;

use crate::table::check_table;

fn class_row(class: &FailureClass) -> String {
    let follows = class.code == "upstream_refused";
    let status = if follows {
        "the upstream's".to_owned()
    } else {
        class.status.to_string()
    };
    let blame = match class.blame {
        Blame::Client => "client",
        Blame::Upstream => "upstream",
        Blame::Us => "server",
    };
    let retry = match class.retry {
        Retry::Never => "never",
        Retry::BeforeSend => "was never sent",
        Retry::BeforeFirstToken => "before the first token",
    };
    let message = match class.message {
        "{message}" => "*depends*",
        message => message,
    };
    let (code, kind) = (class.code, kind_name(class.kind));
    format!("| `{code}` | {status} | {kind} | {blame} | {retry} | {message} |\n")
}

fn class_table() -> String {
    let mut table = String::from(
        "| code | status | kind | at fault | another attempt | message |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    table.extend(CLASSES.iter().map(|class| class_row(class)));
    table
}

const KINDS: &[FailureKind] = &[
    FailureKind::InvalidRequest,
    FailureKind::Authentication,
    FailureKind::Billing,
    FailureKind::Permission,
    FailureKind::NotFound,
    FailureKind::TooLarge,
    FailureKind::RateLimit,
    FailureKind::Overloaded,
    FailureKind::Timeout,
    FailureKind::Server,
];

fn kind_name(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::InvalidRequest => "invalid request",
        FailureKind::Authentication => "authentication",
        FailureKind::Billing => "billing",
        FailureKind::Permission => "permission",
        FailureKind::NotFound => "not found",
        FailureKind::TooLarge => "too large",
        FailureKind::RateLimit => "rate limit",
        FailureKind::Overloaded => "overloaded",
        FailureKind::Timeout => "timeout",
        FailureKind::Server => "server",
    }
}

/// Returns the word of a dialect for a kind.
fn kind_word(dialect: &Dialect, field: &str, kind: FailureKind) -> String {
    let failure = Failure::upstream_error("…").with_kind(kind);
    let body = dialect.client.error_body(&failure, 400, "req_1");
    let body: Value = serde_json::from_slice(&body).unwrap();
    body["error"][field].as_str().unwrap().to_owned()
}

fn kind_table() -> String {
    let mut table = String::from(
        "| kind | OpenAI's `type` | Anthropic's `type` | Gemini's `status` |\n\
         | --- | --- | --- | --- |\n",
    );
    for &kind in KINDS {
        writeln!(
            table,
            "| {} | `{}` | `{}` | `{}` |",
            kind_name(kind),
            kind_word(&openai_chat::DIALECT, "type", kind),
            kind_word(&anthropic::DIALECT, "type", kind),
            kind_word(&gemini::DIALECT, "status", kind),
        )
        .unwrap();
    }
    table
}

#[test]
fn the_tables_of_errors_in_the_docs_are_what_the_code_does() {
    check_table("errors.md", "codes", &class_table());
    check_table("errors.md", "kinds", &kind_table());
}

#[test]
fn a_request_that_is_too_long_is_told_in_the_words_that_clients_know() {
    let told = |message: &str| {
        let report = dialect::ErrorReport {
            message: message.to_owned(),
            kind: None,
            code: Some("context_length_exceeded".to_owned()),
        };
        Failure::upstream_report(report)
    };
    let failure = told("too much");
    let error = |name: &str| {
        let client = Dialect::named(name).unwrap().client;
        let body = client.error_body(&failure, 400, "req_1");
        let body: Value = serde_json::from_slice(&body).unwrap();
        let mut frames = Vec::new();
        let mut writer = client.event_writer(dialect::ResponseMeta::for_error());
        writer.write_error(&failure, "req_1", &mut |_, data| {
            let frame: Value = serde_json::from_slice(data).unwrap();
            frames.extend(Some(frame).filter(|frame| {
                !frame["error"].is_null() || !frame["response"]["error"].is_null()
            }));
        });
        assert_eq!(frames[0]["error"], body["error"], "{name}");
        (body["error"].clone(), frames)
    };
    let (chat, _) = error("openai-chat");
    assert_eq!(chat["code"], "context_length_exceeded");
    assert_eq!(chat["type"], "invalid_request_error");
    let (responses, frames) = error("openai-responses");
    assert_eq!(responses, chat);
    let failed = &frames.last().unwrap()["response"]["error"];
    assert_eq!(failed["code"], "context_length_exceeded");
    let (anthropic, _) = error("anthropic");
    assert_eq!(anthropic["type"], "invalid_request_error");
    assert_eq!(anthropic["message"], "prompt is too long: too much");
    let (gemini, _) = error("gemini");
    assert_eq!(gemini["status"], "INVALID_ARGUMENT");
    for message in [
        "prompt is too long: 208310 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000",
    ] {
        let body = anthropic::DIALECT
            .client
            .error_body(&told(message), 400, "req_1");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["message"], message);
    }
}
