//! The tables of `docs/configuration.md` are made of the keys' own descriptions and must stand
//! there as they are. `UPDATE_DOCS=1 cargo test --lib config` writes them.

use std::fmt::Write as _;

use super::super::client_keys::KEY_FILE;
use super::super::key::{Default, Key, Kind, Spelling};
use super::super::values::KEYS;

fn kind(key: &Key) -> String {
    match key.kind {
        Kind::Text => "text".to_owned(),
        Kind::Address => "address".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::DurationOrZero => "duration, or `\"0s\"`".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Number(least, most) => format!("number from {least} to {most}"),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Word(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
            words.join(" or ")
        }
        Kind::List => "list".to_owned(),
        Kind::Tables => "list of tables".to_owned(),
        Kind::Table => "table".to_owned(),
        Kind::Texts => "table of texts".to_owned(),
        Kind::Time => "time".to_owned(),
        Kind::TextOrTexts => "text, or table of texts".to_owned(),
    }
}

fn default(key: &Key) -> String {
    match key.default {
        Default::Value(value) if key.kind.spelling() == Spelling::Text => {
            format!("`\"{value}\"`")
        }
        Default::Value(value) => format!("`{value}`"),
        Default::Said(words) => words.to_owned(),
        Default::Required => "must be given".to_owned(),
    }
}

fn table<'a>(keys: impl Iterator<Item = &'a Key>) -> String {
    let mut table = String::from("| key | type | default | purpose |\n| --- | --- | --- | --- |\n");
    for key in keys {
        let (kind, default) = (kind(key), default(key));
        writeln!(
            table,
            "| `{}` | {kind} | {default} | {} |",
            key.path, key.doc
        )
        .unwrap();
    }
    table
}

/// Returns the page with a table between the marks that bear its name.
pub(super) fn with_table(page: &str, name: &str, table: &str) -> String {
    let (begin, end) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let (before, rest) = page.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{begin}{table}{end}{after}")
}

#[test]
fn the_page_has_every_key_with_its_type_and_default() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let mut wanted = page.clone();
    for (name, table) in [
        ("keys", table(KEYS.general())),
        ("keys of a provider", table(KEYS.provider.iter())),
        ("keys of a model", table(KEYS.model.iter())),
        ("keys of a target", table(KEYS.target.iter())),
        ("keys of a family", table(KEYS.family.iter())),
        ("keys of a team", table(KEYS.team.iter())),
        ("keys of a client", table(KEY_FILE.client_key.iter())),
        ("limits", table(KEYS.limits.iter().chain(KEYS.budget))),
    ] {
        wanted = with_table(&wanted, name, &table);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, wanted).unwrap();
    } else {
        assert!(
            page == wanted,
            "docs/configuration.md is out of date: UPDATE_DOCS=1 cargo test --lib config"
        );
    }
}
