//! Holds the map of `src/lib.rs`: who may know whom, and the house rules that no compiler checks.
//!
//! Every source is read as tokens (`tidy/tokens.rs`), so that comments and texts count for nothing; code under
//! `#[cfg(test)]` may know everyone. Each rule is tried on code that breaks it, so that none passes by being blind.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/tokens.rs"]
mod tokens;

use std::error::Error;
use std::path::{Path, PathBuf};

use rules::{Source, check};

type Outcome = Result<(), Box<dyn Error>>;

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Outcome {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[test]
fn the_sources_keep_to_their_floors() -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths)?;
    paths.sort();
    let mut sources = Vec::new();
    for path in paths {
        let name = path
            .strip_prefix(&root)?
            .to_string_lossy()
            .replace('\\', "/");
        sources.push(Source::new(&name, &std::fs::read_to_string(&path)?));
    }
    assert!(sources.len() > 10, "the sources were not found");
    let wrong = check(&sources);
    assert!(
        wrong.is_empty(),
        "{} of the house rules' lines are crossed:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// What is wrong with one file of that name, as a line; the rules on files are kept by a head.
fn wrong(name: &str, code: &str) -> Vec<String> {
    check(&[Source::new(name, &format!("//! Head.\n{code}"))])
}

/// The rule must speak of that file's given line (the head is line 1), and say that.
fn assert_caught(name: &str, code: &str, line: usize, says: &str) {
    let wrong = wrong(name, code);
    assert_eq!(wrong.len(), 1, "{name}: {code:?} gives {wrong:?}");
    assert!(
        wrong[0].starts_with(&format!("src/{name}:{line}: ")),
        "{wrong:?}"
    );
    assert!(wrong[0].contains(says), "{wrong:?} doesn't say {says:?}");
}

fn assert_fine(name: &str, code: &str) {
    assert_eq!(wrong(name, code), Vec::<String>::new(), "{name}: {code:?}");
}

#[test]
fn imports_upward_are_caught() {
    assert_caught(
        "sse.rs",
        "use crate::generation::Generation;",
        2,
        "`sse` (floor 1) knows `generation` (floor 3)",
    );
    assert_caught("event.rs", "\nuse crate::sse;", 3, "knows `sse`");
    assert_caught(
        "generation/clock.rs",
        "fn f() { crate::http::error::map() }",
        2,
        "knows `http`",
    );
    assert_caught(
        "provider/mock.rs",
        "use crate::{event::Event, app::App};",
        2,
        "knows `app`",
    );
    assert_caught(
        "provider/mock.rs",
        "use crate::{\n  event::{self, Event},\n  http,\n};",
        4,
        "knows `http`",
    );
    assert_caught(
        "transport/sse.rs",
        "use super::super::server::Server;",
        2,
        "knows `server`",
    );
    assert_caught("sse.rs", "use super::generation;", 2, "knows `generation`");
    assert_caught(
        "sse.rs",
        "mod inner { use super::super::app::App; }",
        2,
        "knows `app`",
    );
    assert_caught(
        "sse.rs",
        "type T = Vec<crate::transport::Body>;",
        2,
        "knows `transport`",
    );
    assert_caught("config.rs", "use ::tokenrill::app;", 2, "knows `app`");
    assert_caught(
        "id.rs",
        "pub use crate::lib_of_nobody::X;",
        2,
        "stands on no floor",
    );
    assert_caught("id.rs", "use crate::*;", 2, "everything");
}

#[test]
fn imports_between_siblings_are_caught() {
    assert_caught(
        "sse/reader.rs",
        "use crate::dialect::Dialect;",
        2,
        "siblings on floor 1",
    );
    assert_caught(
        "prompts.rs",
        "use crate::config::Config;",
        2,
        "siblings on floor 1",
    );
    assert_caught(
        "provider.rs",
        "use crate::stream::Log;",
        2,
        "siblings on floor 2",
    );
}

#[test]
fn imports_downward_and_within_a_family_are_fine() {
    assert_fine(
        "http/plain.rs",
        "use crate::transport::sse; use crate::generation::G; use crate::failure::Failure;",
    );
    assert_fine("generation.rs", "use crate::{provider, sse, event::Event};");
    assert_fine(
        "provider/mock/text.rs",
        "use crate::provider::remote; use super::super::Provider; use super::Mock;",
    );
    assert_fine("provider.rs", "mod inner { use super::Provider; }");
    assert_fine("failure.rs", "use crate::id::RequestId;");
    assert_fine(
        "app.rs",
        "use crate::{http, provider, server, transport}; use axum::Router; use reqwest::Client;",
    );
    assert_fine("main.rs", "use tokenrill::app;");
    assert_fine(
        "sse.rs",
        "pub(crate) struct S; pub(in crate::sse) fn f() {}",
    );
}

#[test]
fn comments_texts_and_tests_count_for_nothing() {
    assert_fine(
        "sse.rs",
        "/// As [`crate::http`] does it. use crate::app;\n// tokio::spawn(x)\nfn f() {}",
    );
    assert_fine(
        "sse.rs",
        "/* /* use crate::app; */ use crate::http; */ const A: &str = \"use crate::app;\";",
    );
    assert_fine(
        "sse.rs",
        "const A: &str = r#\"\" use crate::app; \"#; const B: &[u8] = b\"\\\" use crate::app;\";",
    );
    assert_fine(
        "sse.rs",
        "fn f<'a>(x: &'a str) -> char { '\"' } // use crate::app;",
    );
    assert_fine(
        "sse.rs",
        "#[cfg(test)]\nmod tests { use crate::app::App; fn f() { tokio::spawn(async {}); } }",
    );
    assert_fine(
        "sse.rs",
        "#[cfg(test)]\n#[path = \"x.rs\"]\nuse crate::app::App;",
    );
    assert_caught(
        "sse.rs",
        "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::app::App;",
        4,
        "knows `app`",
    );
    assert_caught(
        "sse.rs",
        "#[cfg(not(test))]\nuse crate::app::App;",
        3,
        "knows `app`",
    );
    assert_caught(
        "sse.rs",
        "const A: char = '\\''; use crate::app; const B: char = '\\'';",
        2,
        "knows `app`",
    );
}

#[test]
fn a_file_of_tests_is_one_when_its_parent_says_so() {
    let tests = Source::new("sse/tests.rs", "//! Head.\nuse crate::app::App;");
    let parent = Source::new("sse.rs", "//! Head.\n#[cfg(test)]\nmod tests;");
    assert_eq!(check(&[parent, tests.clone()]), Vec::<String>::new());
    let parent = Source::new("sse.rs", "//! Head.\nmod tests;");
    assert_eq!(check(&[parent, tests]).len(), 1);
}

#[test]
fn crates_stay_where_they_belong() {
    assert_caught("generation.rs", "use axum::body::Body;", 2, "`axum`");
    assert_caught(
        "dialect/plain.rs",
        "fn f() -> ::axum::body::Body {}",
        2,
        "`axum`",
    );
    assert_caught("telemetry.rs", "use reqwest;", 2, "`reqwest`");
    assert_caught(
        "http/plain.rs",
        "use hyper_util::{rt::TokioIo, client::legacy::Client};",
        2,
        "`hyper_util::client`",
    );
    assert_caught("id.rs", "use tokio::time::Instant;", 2, "`tokio`");
    assert_caught("failure.rs", "fn f(e: hyper::Error) {}", 2, "`hyper`");
    assert_fine("http/plain.rs", "use axum::Router;");
    assert_fine(
        "server.rs",
        "use axum::Router; use hyper_util::server::conn::auto;",
    );
    assert_fine(
        "provider/remote.rs",
        "use reqwest::Client; use hyper_util::client::legacy;",
    );
    assert_fine(
        "generation.rs",
        "use tokio::time::Instant; fn f() { self.axum::<u8>(); x.reqwest.y() }",
    );
}

#[test]
fn a_file_has_a_head_and_an_end() {
    let check_one = |name, code: &str| check(&[Source::new(name, code)]);
    assert!(check_one("sse.rs", "use std::fmt;\n//! Late.")[0].starts_with("src/sse.rs:1: "));
    assert!(check_one("sse.rs", "// Not a head.\nfn f() {}")[0].contains("head"));
    assert!(check_one("sse.rs", "")[0].contains("head"));
    assert_eq!(check_one("sse.rs", "\n//! Head.\n"), Vec::<String>::new());
    assert_eq!(
        check_one("sse.rs", &format!("//! Head.\n{}", "// x\n".repeat(499))),
        Vec::<String>::new()
    );
    assert!(
        check_one("sse.rs", &format!("//! Head.\n{}", "// x\n".repeat(500)))[0]
            .contains("501 lines")
    );
    assert!(check_one("sse/mod.rs", "//! Head.")[0].contains("src/sse.rs"));
    assert!(check_one("weather.rs", "//! Head.")[0].contains("stands on no floor"));
}

#[test]
fn tasks_have_an_owner_and_channels_an_end() {
    assert_caught(
        "generation.rs",
        "fn f() { tokio::spawn(async {}); }",
        2,
        "spawn",
    );
    assert_caught("generation.rs", "use tokio::task::spawn_local;", 2, "spawn");
    assert_caught(
        "provider/remote.rs",
        "fn f() { set.spawn(async {}); }",
        2,
        "spawn",
    );
    assert_caught(
        "http/plain.rs",
        "use tokio::{time, task::{spawn}};",
        2,
        "spawn",
    );
    assert_caught(
        "telemetry.rs",
        "fn f() { std::thread::spawn(|| ()); }",
        2,
        "spawn",
    );
    assert_fine(
        "server/connection.rs",
        "fn f() { tracker.spawn(async {}); }",
    );
    assert_fine("generation.rs", "fn spawn() {} fn f() { respawn(); }");
    assert_caught(
        "server.rs",
        "use tokio::sync::mpsc::unbounded_channel;",
        2,
        "unbounded",
    );
    assert_caught(
        "server.rs",
        "#[cfg(test)]\nmod t { fn f() { mpsc::unbounded(); } }",
        3,
        "unbounded",
    );
    assert_caught(
        "server.rs",
        "fn f() { std::sync::mpsc::channel(); }",
        2,
        "unbounded",
    );
}
