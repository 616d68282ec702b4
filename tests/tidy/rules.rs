//! The house rules, and the map that they hold.

use crate::tokens::{self, Path, Token};

/// The floors, top to bottom: who stands on each. Composition knows everyone and is known to no one.
const COMPOSITION: &[&str] = &["main", "lib", "app", "server", "cli"];
const FLOORS: &[(u8, &[&str])] = &[
    (4, &["http", "transport"]),
    (3, &["generation"]),
    (2, &["provider"]),
    (1, &["prompts", "config", "telemetry"]),
];

/// On these floors siblings don't know each other.
const STRANGERS: &[u8] = &[1, 2];

/// A crate, or a part of one, and the families that may know it.
const CRATES: &[(&str, &[&str])] = &[
    ("axum", &["http", "transport", "app", "server"]),
    ("reqwest", &["provider", "app", "cli"]),
    ("hyper_util::client", &["provider", "app", "cli"]),
];

/// What the vocabulary does without: I/O, and anyone's wire format.
const NOT_ON_FLOOR_0: &[&str] = &[
    "tokio",
    "tokio_util",
    "axum",
    "reqwest",
    "hyper",
    "hyper_util",
    "tower",
];

/// Files outside of `server` that start tasks, and why they may.
const SPAWNS: &[(&str, &str)] = &[
    (
        "http/begin.rs",
        "on the server's tracker: a generation that outlives its readers, ended by its linger",
    ),
    (
        "http/prompts.rs",
        "looks at the folder aside, where it may block; its request waits for it",
    ),
    (
        "http/ws.rs",
        "on the server's tracker: an upgraded connection is its handler's, and ends with its socket",
    ),
    (
        "provider/upstream/read_ahead.rs",
        "on the server's tracker, and aborted with the stream that it reads ahead",
    ),
    (
        "provider/upstream/frames.rs",
        "on the server's tracker, for a moment: waits for an upstream's end after its `[DONE]`",
    ),
];

const LONGEST: usize = 500;

/// A file of `src`.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// From `src` on, with `/`.
    name: String,
    text: String,
    tokens: Vec<Token>,
    /// Without what is only there for tests.
    shipped: Vec<Token>,
    /// Modules of tests in files of their own.
    tests: Vec<String>,
}

impl Source {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let tokens = tokens::cut(text);
        let (shipped, tests) = tokens::without_tests(&tokens);
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            tokens,
            shipped,
            tests,
        }
    }

    /// The modules that lead to this file: `sse/reader.rs` is `sse`, `reader`.
    fn modules(&self) -> Vec<&str> {
        self.name.trim_end_matches(".rs").split('/').collect()
    }

    fn family(&self) -> &str {
        self.modules().first().copied().unwrap_or_default()
    }

    fn says(&self, line: usize, what: &str) -> String {
        format!("src/{}:{line}: {what}", self.name)
    }
}

/// Every line that crosses a rule, with the rule.
pub(crate) fn check(sources: &[Source]) -> Vec<String> {
    let test_files: Vec<String> = sources
        .iter()
        .flat_map(|source| {
            source
                .tests
                .iter()
                .map(|name| format!("{}/{name}", source.name.trim_end_matches(".rs")))
        })
        .collect();
    let mut wrong = Vec::new();
    for source in sources {
        check_file(source, &mut wrong);
        check_channels(source, &mut wrong);
        let name = source.name.trim_end_matches(".rs");
        if test_files
            .iter()
            .any(|test| name == test || name.starts_with(&format!("{test}/")))
        {
            continue;
        }
        let paths = tokens::paths(&source.shipped);
        for path in &paths {
            check_family(source, path, &mut wrong);
            check_crate(source, path, &mut wrong);
        }
        check_spawns(source, &paths, &mut wrong);
    }
    // A whole tree has a `lib.rs`; a test's few files don't.
    let whole = sources.iter().any(|source| source.name == "lib.rs");
    for (file, _) in SPAWNS
        .iter()
        .filter(|(file, _)| whole && !sources.iter().any(|s| s.name == *file))
    {
        wrong.push(format!(
            "src/{file}:1: is allowed to start tasks, but isn't there"
        ));
    }
    wrong
}

fn floor(family: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(_, families)| families.contains(&family))
        .map(|(floor, _)| *floor)
}

fn check_file(source: &Source, wrong: &mut Vec<String>) {
    if !source
        .text
        .lines()
        .find(|line| !line.trim().is_empty())
        .is_some_and(|line| line.starts_with("//! "))
    {
        wrong.push(source.says(1, "a file begins with a `//!` head that says what it is"));
    }
    let lines = source.text.lines().count();
    if lines > LONGEST {
        wrong.push(source.says(
            LONGEST + 1,
            &format!("{lines} lines; a file has {LONGEST} at most: split it by subject"),
        ));
    }
    if let Some(folder) = source.name.strip_suffix("/mod.rs") {
        wrong.push(source.says(1, &format!("is called src/{folder}.rs here, never mod.rs")));
    }
    let family = source.family();
    if floor(family).is_none() && !COMPOSITION.contains(&family) {
        wrong.push(source.says(
            1,
            &format!("`{family}` stands on no floor: give it one in tests/tidy/rules.rs"),
        ));
    }
}

/// The module at the root of the crate that a path leads to, if it leads there.
fn target<'a>(source: &Source, path: &'a Path) -> Option<&'a str> {
    let name = |at: usize| path.names.get(at).map(String::as_str);
    match name(0)? {
        "crate" | "tokenrill" => name(1),
        "super" => {
            let up = path
                .names
                .iter()
                .take_while(|name| *name == "super")
                .count();
            let depth = if source.family() == "lib" {
                0
            } else {
                source.modules().len()
            };
            (up >= depth + path.depth).then(|| name(up)).flatten()
        }
        _ => None,
    }
}

fn check_family(source: &Source, path: &Path, wrong: &mut Vec<String>) {
    let own = source.family();
    let Some(other) = target(source, path) else {
        return;
    };
    if own == other || COMPOSITION.contains(&own) {
        return;
    }
    let Some(here) = floor(own) else { return };
    if other == "*" {
        wrong.push(source.says(path.line, "knows everything: name what is needed"));
        return;
    }
    if COMPOSITION.contains(&other) {
        let rule = format!(
            "`{own}` (floor {here}) knows `{other}` (composition): a floor knows only those below it"
        );
        wrong.push(source.says(path.line, &rule));
        return;
    }
    let Some(there) = floor(other) else {
        // A macro or an item at the crate's root would land here, too: there are none, and none should be.
        wrong.push(source.says(
            path.line,
            &format!("`{other}` stands on no floor: give it one in tests/tidy/rules.rs"),
        ));
        return;
    };
    if there > here {
        let rule = format!(
            "`{own}` (floor {here}) knows `{other}` (floor {there}): a floor knows only those below it"
        );
        wrong.push(source.says(path.line, &rule));
    } else if there == here && STRANGERS.contains(&here) {
        let rule =
            format!("`{own}` knows `{other}`: siblings on floor {here} don't know each other");
        wrong.push(source.says(path.line, &rule));
    }
}

fn check_crate(source: &Source, path: &Path, wrong: &mut Vec<String>) {
    let own = source.family();
    let full = path.names.join("::");
    let leads_to = |part: &str| full == part || full.starts_with(&format!("{part}::"));
    if floor(own) == Some(0)
        && let Some(name) = NOT_ON_FLOOR_0.iter().find(|name| leads_to(name))
    {
        wrong.push(source.says(
            path.line,
            &format!("`{name}` on floor 0: the vocabulary does no I/O and knows no wire"),
        ));
        return;
    }
    for (name, families) in CRATES {
        if leads_to(name) && !families.contains(&own) {
            let rule = format!(
                "`{name}` in `{own}`: only {} may know it",
                families.join(", ")
            );
            wrong.push(source.says(path.line, &rule));
        }
    }
}

fn check_spawns(source: &Source, paths: &[Path], wrong: &mut Vec<String>) {
    let starts = |name: &str| {
        [
            "spawn",
            "spawn_local",
            "spawn_blocking",
            "spawn_on",
            "spawn_pinned",
        ]
        .contains(&name)
    };
    let mut lines: Vec<usize> = paths
        .iter()
        .filter(|path| path.names.last().is_some_and(|name| starts(name)))
        .map(|path| path.line)
        .collect();
    for three in source.shipped.windows(3) {
        if three[0].text == "."
            && starts(&three[1].text)
            && ["(", "::"].contains(&three[2].text.as_str())
        {
            lines.push(three[1].line);
        }
    }
    let allowed = SPAWNS.iter().any(|(file, _)| *file == source.name);
    if allowed && lines.is_empty() {
        wrong.push(
            source.says(1, "is allowed to start tasks, but starts none: take it off the list in tests/tidy/rules.rs"),
        );
    }
    if source.family() == "server" || allowed {
        return;
    }
    let rule = "spawn: a task needs an owner; only `server`, which tracks them all, starts one";
    wrong.extend(lines.into_iter().map(|line| source.says(line, rule)));
}

fn check_channels(source: &Source, wrong: &mut Vec<String>) {
    let rule = "unbounded: a channel has a cap, or a slow reader fills the memory";
    let names = source
        .tokens
        .iter()
        .filter(|t| ["unbounded_channel", "unbounded"].contains(&t.text.as_str()));
    wrong.extend(names.map(|token| source.says(token.line, rule)));
    let std_channels = tokens::paths(&source.tokens).into_iter().filter(|path| {
        path.names
            .join("::")
            .starts_with("std::sync::mpsc::channel")
    });
    wrong.extend(std_channels.map(|path| source.says(path.line, rule)));
}
