//! The rules, and the map of rooms and floors that they hold.
//!
//! Not here: who may start a task, and channels without a bound. Both need types, so clippy holds
//! them (`disallowed-methods` in `clippy.toml`); an owner says its reason beside the call.

use crate::Finding;
use crate::circles;
use crate::figures::Figures;
use crate::paths::{NamedPath, Paths};
use crate::source::{SourceFile, Tree};

/// The rooms of `src`, from the top floor down. A room uses only rooms below it.
pub const FLOORS: &[&[&str]] = &[
    &["main", "lib", "cli", "app"],
    &["server"],
    &["http"],
    &["service"],
    &["generation"],
    &["routing"],
    &["access", "provider", "usage"],
    &["config", "prompts", "telemetry"],
    &["compute", "disconnect", "memory", "outcome", "shutdown"],
];

/// Floors whose rooms know each other; on any other floor they don't.
const COMPOSITION: usize = 0;

/// Foreign crates, or modules of them, and the only rooms that may use them.
pub const CRATES: &[(&str, &[&str])] = &[
    ("axum", &["http", "app", "server"]),
    ("reqwest", &["app", "cli"]),
    ("hyper_util::client", &["provider"]),
    ("redis", &["store", "stream"]),
];

/// Crates that do no I/O, and what they therefore must not use.
pub const PURE_CRATES: &[&str] = &["base", "dialect"];
const IO_CRATES: &[&str] = &[
    "tokio",
    "tokio_util",
    "axum",
    "reqwest",
    "hyper",
    "hyper_util",
];

/// The greatest length of a file, test code included.
pub const MAX_FILE_LINES: usize = 500;
/// The greatest length of a function.
pub const MAX_FUNCTION_LINES: usize = 100;
/// The most files that may import one another.
pub const MAX_CIRCLE: usize = 2;

/// Returns every line that breaks a rule, and the rule.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in &tree.files {
        check_file(file, &mut found);
    }
    for file in tree.shipped() {
        for path in &Paths::of(file).all {
            check_floor(file, path, &mut found);
            check_crate(file, path, &mut found);
        }
    }
    let figures = Figures::of(tree);
    for mut finding in figures.functions_over(MAX_FUNCTION_LINES) {
        finding.text += &format!("; a function has {MAX_FUNCTION_LINES} at most");
        found.push(finding);
    }
    found.extend(figures.wide_comments.into_iter().map(|finding| Finding {
        text: "a comment is no wider than 100 columns".to_owned(),
        ..finding
    }));
    for circle in circles::find(tree) {
        if circle.files.len() > MAX_CIRCLE {
            let files = circle.files.join(", ");
            found.extend(circle.edges.first().map(|edge| Finding {
                file: edge.from.clone(),
                line: edge.line,
                text: format!("these files import one another: {files}"),
            }));
        }
    }
    found
}

fn check_file(file: &SourceFile, found: &mut Vec<Finding>) {
    let first = file.text.lines().find(|line| !line.trim().is_empty());
    if !first.is_some_and(|line| line.starts_with("//! ")) {
        found.push(file.finding(
            1,
            "a file begins with a `//!` head that says what it is for",
        ));
    }
    let lines = file.text.lines().count();
    if lines > MAX_FILE_LINES {
        let rule =
            format!("{lines} lines; a file has {MAX_FILE_LINES} at most: split it by subject");
        found.push(file.finding(MAX_FILE_LINES + 1, rule));
    }
    if file.module.last().is_some_and(|name| name == "mod") {
        found.push(file.finding(
            1,
            "a module with children is called NAME.rs, not NAME/mod.rs",
        ));
    }
    if file.path.starts_with("src/") && floor(file.room()).is_none() {
        let rule = format!(
            "`{}` stands on no floor: give it one in tests/tidy/src/rules.rs",
            file.room()
        );
        found.push(file.finding(1, rule));
    }
}

/// The floor of a room, counted from the top.
fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The module at the root of `tokenrill` that a path leads to, `*` for all of them.
fn room_named(path: &NamedPath) -> Option<String> {
    let mut module = path.module.as_slice();
    let mut names = path.names.as_slice();
    if let "crate" | "tokenrill" = names.first()?.as_str() {
        return names.get(1).cloned();
    }
    let mut is_relative = false;
    while let Some(first @ ("self" | "super")) = names.first().map(String::as_str) {
        if first == "super" {
            module = module.split_last()?.1;
        }
        is_relative = true;
        names = &names[1..];
    }
    if !is_relative {
        return None;
    }
    module.first().or(names.first()).cloned()
}

fn check_floor(file: &SourceFile, path: &NamedPath, found: &mut Vec<Finding>) {
    if !file.path.starts_with("src/") {
        return;
    }
    let Some(here) = floor(file.room()) else {
        return;
    };
    let Some(room) = room_named(path) else {
        return;
    };
    if room == file.room() || here == COMPOSITION {
        return;
    }
    let rule = match floor(&room) {
        None if room == "*" => "imports everything: name what is needed".to_owned(),
        None => format!("`{room}` stands on no floor: give it one in tests/tidy/src/rules.rs"),
        Some(there) if there > here => return,
        Some(there) if there == here => {
            format!(
                "`{}` uses `{room}`: rooms on one floor don't know each other",
                file.room()
            )
        }
        Some(_) => format!("`{}` uses `{room}`, which stands above it", file.room()),
    };
    found.push(file.finding(path.line, rule));
}

fn check_crate(file: &SourceFile, path: &NamedPath, found: &mut Vec<Finding>) {
    let full = path.names.join("::");
    let leads_to = |name: &str| full == name || full.starts_with(&format!("{name}::"));
    if PURE_CRATES.contains(&file.package.as_str())
        && let Some(name) = IO_CRATES.iter().find(|name| leads_to(name))
    {
        let rule = format!("`{name}` in `{}`, which does no I/O", file.package);
        found.push(file.finding(path.line, rule));
        return;
    }
    for (name, rooms) in CRATES {
        if leads_to(name) && !rooms.contains(&file.room()) {
            let rule = format!(
                "`{name}` in `{}`: only {} may use it",
                file.room(),
                rooms.join(", ")
            );
            found.push(file.finding(path.line, rule));
        }
    }
}
