//! Holds the rules, and tries each of them on code that breaks it, so that none passes by being blind.

use std::error::Error;
use std::path::Path;

use tidy::figures::Figures;
use tidy::rules::{FLOORS, check};
use tidy::source::Tree;

type TestResult = Result<(), Box<dyn Error>>;

#[test]
fn the_sources_keep_the_rules() -> TestResult {
    let tree = Tree::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))?;
    assert!(tree.files.len() > 100, "the sources were not found");
    let found = check(&tree);
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(
        found.is_empty(),
        "{} rules are broken:\n{}",
        found.len(),
        lines.join("\n")
    );
    Ok(())
}

#[test]
fn every_room_of_the_map_exists() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src");
    for room in FLOORS.iter().copied().flatten() {
        assert!(
            src.join(format!("{room}.rs")).exists(),
            "src/{room}.rs is gone: take it off the map"
        );
    }
}

/// Checks files given as name and code; each gets a head, which is its line 1.
fn broken(files: &[(&str, &str)]) -> Result<Vec<String>, Box<dyn Error>> {
    let sources = files
        .iter()
        .map(|(name, code)| ((*name).to_owned(), format!("//! Head.\n{code}")))
        .collect();
    let found = check(&Tree::parse(sources)?);
    Ok(found.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn assert_caught(name: &str, code: &str, line: usize, says: &str) {
    let found = broken(&[(name, code)]).unwrap_or_else(|error| vec![error.to_string()]);
    assert_eq!(found.len(), 1, "{name}: {code:?} gives {found:?}");
    assert!(
        found[0].starts_with(&format!("{name}:{line}: ")),
        "{found:?}"
    );
    assert!(found[0].contains(says), "{found:?} doesn't say {says:?}");
}

#[track_caller]
fn assert_fine(name: &str, code: &str) {
    let found = broken(&[(name, code)]).unwrap_or_else(|error| vec![error.to_string()]);
    assert_eq!(found, Vec::<String>::new(), "{name}: {code:?}");
}

#[test]
fn imports_upward_are_caught() {
    let above = "which stands above it";
    assert_caught(
        "src/routing.rs",
        "use crate::generation::Generation;",
        2,
        above,
    );
    assert_caught(
        "src/provider.rs",
        "\nuse crate::http;",
        3,
        "`provider` uses `http`",
    );
    assert_caught(
        "src/generation/deadline.rs",
        "fn f() { crate::http::error::map() }",
        2,
        above,
    );
    assert_caught(
        "src/provider/mock.rs",
        "use crate::{config::A, app::App};",
        2,
        "uses `app`",
    );
    assert_caught(
        "src/provider/mock.rs",
        "use crate::{\n  config::{self, Config},\n  http,\n};",
        4,
        "uses `http`",
    );
    assert_caught(
        "src/service/start.rs",
        "use super::super::server::Server;",
        2,
        above,
    );
    assert_caught("src/service.rs", "use super::http;", 2, above);
    assert_caught(
        "src/config.rs",
        "mod inner { use super::super::app::App; }",
        2,
        above,
    );
    assert_caught(
        "src/config.rs",
        "type T = Vec<crate::http::Body>;",
        2,
        above,
    );
    assert_caught("src/config.rs", "use tokenrill::app;", 2, above);
    assert_caught(
        "src/config.rs",
        "use crate::weather::X;",
        2,
        "stands on no floor",
    );
    assert_caught("src/config.rs", "use crate::*;", 2, "everything");
    assert_caught(
        "src/config.rs",
        "fn f() { matches!(x, crate::app::X) }",
        2,
        above,
    );
}

#[test]
fn imports_between_rooms_of_a_floor_are_caught() {
    let says = "rooms on one floor";
    assert_caught("src/prompts.rs", "use crate::config::Config;", 2, says);
    assert_caught("src/config/a.rs", "use crate::telemetry::init;", 2, says);
}

#[test]
fn imports_downward_and_within_a_room_are_fine() {
    assert_fine(
        "src/http/a.rs",
        "use crate::service::S; use crate::{provider, config::Cors};",
    );
    assert_fine(
        "src/provider/mock/text.rs",
        "use super::super::Provider; use super::Mock;",
    );
    assert_fine("src/provider.rs", "mod inner { use super::Provider; }");
    assert_fine(
        "src/app.rs",
        "use crate::{http, provider, server}; use axum::Router;",
    );
    assert_fine("src/main.rs", "use tokenrill::app;");
    assert_fine(
        "src/config.rs",
        "pub(crate) struct S; pub(in crate::config) fn f() {}",
    );
}

#[test]
fn comments_texts_and_tests_are_left_out() {
    assert_fine(
        "src/config.rs",
        "/// As [`crate::http`] does.\nconst A: &str = \"use crate::app;\";",
    );
    assert_fine(
        "src/config.rs",
        "#[cfg(test)]\nmod tests { use crate::app::App; }",
    );
    assert_fine(
        "src/config.rs",
        "#[cfg(all(test, unix))]\nuse crate::app::App;",
    );
    assert_caught(
        "src/config.rs",
        "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::app::App;",
        4,
        "`app`",
    );
    assert_caught(
        "src/config.rs",
        "#[cfg(not(test))]\nuse crate::app::App;",
        3,
        "`app`",
    );
}

#[test]
fn a_file_of_tests_is_one_when_its_parent_says_so() -> TestResult {
    let tests = ("src/config/tests.rs", "use crate::app::App;");
    assert!(broken(&[("src/config.rs", "#[cfg(test)]\nmod tests;"), tests])?.is_empty());
    assert_eq!(broken(&[("src/config.rs", "mod tests;"), tests])?.len(), 1);
    Ok(())
}

#[test]
fn foreign_crates_stay_where_they_belong() {
    assert_caught("src/generation.rs", "use axum::body::Body;", 2, "`axum`");
    assert_caught(
        "src/generation.rs",
        "fn f() -> ::axum::body::Body {}",
        2,
        "`axum`",
    );
    assert_caught("src/telemetry.rs", "use reqwest;", 2, "`reqwest`");
    assert_caught(
        "src/http/a.rs",
        "use hyper_util::{rt::TokioIo, client::legacy::Client};",
        2,
        "`hyper_util::client`",
    );
    assert_caught(
        "crates/dialect/src/sse.rs",
        "use tokio::time::Instant;",
        2,
        "does no I/O",
    );
    assert_caught(
        "crates/dialect/src/lib.rs",
        "fn f(e: hyper::Error) {}",
        2,
        "does no I/O",
    );
    assert_fine("src/http/a.rs", "use axum::Router;");
    assert_fine(
        "src/server.rs",
        "use axum::Router; use hyper_util::server::conn::auto;",
    );
    assert_fine("src/provider/remote.rs", "use hyper_util::client::legacy;");
    assert_fine(
        "src/generation.rs",
        "fn f() { self.axum::<u8>(); x.reqwest.y() }",
    );
}

#[test]
fn a_file_has_a_head_and_an_end() -> TestResult {
    let check_text = |name: &str, text: &str| -> Result<Vec<String>, Box<dyn Error>> {
        let tree = Tree::parse(vec![(name.to_owned(), text.to_owned())])?;
        Ok(check(&tree).iter().map(ToString::to_string).collect())
    };
    assert!(check_text("src/config.rs", "// Not a head.\nfn f() {}")?[0].contains("head"));
    assert!(check_text("src/config.rs", "")?[0].contains("head"));
    assert!(check_text("src/config.rs", "\n//! Head.\n")?.is_empty());
    let long = |lines| format!("//! Head.\n{}", "// x\n".repeat(lines));
    assert!(check_text("src/config.rs", &long(499))?.is_empty());
    assert!(check_text("src/config.rs", &long(500))?[0].contains("501 lines"));
    assert!(check_text("src/config/mod.rs", "//! Head.")?[0].contains("NAME.rs"));
    assert!(check_text("src/weather.rs", "//! Head.")?[0].contains("stands on no floor"));
    let wide = format!("//! Head.\n// {}", "x".repeat(98));
    assert!(check_text("src/config.rs", &wide)?[0].starts_with("src/config.rs:2: "));
    Ok(())
}

#[test]
fn a_function_has_an_end() {
    let long = |lines| format!("fn long() {{\n{}}}", "    f();\n".repeat(lines));
    assert_caught("src/config.rs", &long(99), 2, "long 101 lines");
    assert_fine("src/config.rs", &long(98));
}

#[test]
fn circles_of_three_files_are_caught() -> TestResult {
    let first = ("src/config/a.rs", "use super::b::B;\npub struct A;");
    let second = ("src/config/b.rs", "use crate::config::c::C;\npub struct B;");
    let back = ("src/config/c.rs", "use super::A;\npub struct C;");
    let parent = ("src/config.rs", "mod a;\nmod b;\nmod c;\npub use a::A;");
    let found = broken(&[parent, first, second, back])?;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("src/config/a.rs, src/config/b.rs, src/config/c.rs"),
        "{found:?}"
    );
    // Two files may; and a parent that assembles its children is no part of a circle.
    let pair = ("src/config/b.rs", "use super::a::A;\npub struct B;");
    assert!(broken(&[parent, first, pair])?.is_empty());
    let parent = (
        "src/config.rs",
        "mod a;\nmod b;\npub struct P;\nfn f() { a::f(); b::f() }",
    );
    let child = ("src/config/a.rs", "use super::P;\nuse super::b::B;");
    let sibling = ("src/config/b.rs", "use super::P;\npub struct B;");
    assert!(broken(&[parent, child, sibling])?.is_empty());
    Ok(())
}

#[test]
fn figures_count_what_they_say() -> TestResult {
    let code = "//! What a head.\n\n/// Who asks.\npub struct Asker;\n/// A noun.\n///\n/// What \
                follows is no summary.\n/// ```\n/// f();\n/// ```\n/// ```text\n/// ```\npub fn read() {}\n\
                impl std::io::Read for Asker {\n    fn read(&mut self) {}\n}\n#[cfg(test)]\nmod tests {\n    \
                /// How.\n    fn read() {}\n}\n";
    let figures = Figures::of(&Tree::parse(vec![
        ("src/config.rs".to_owned(), code.to_owned()),
        (
            "src/http.rs".to_owned(),
            "//! Head.\nenum Asker {}".to_owned(),
        ),
    ])?);
    assert_eq!((figures.riddles.len(), figures.summaries), (2, 4));
    assert_eq!((figures.shared_types.len(), figures.types), (2, 2));
    assert_eq!(figures.functions_called("read").len(), 1);
    assert_eq!(figures.fences.len(), 1);
    assert_eq!(figures.lines, 18);
    Ok(())
}
