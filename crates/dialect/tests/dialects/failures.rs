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
