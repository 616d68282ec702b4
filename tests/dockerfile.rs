//! The Dockerfile, as far as it can be tested without a container engine: cargo accepts exactly
//! what is copied, and the binary accepts the words that it is started with.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const BINARY: &str = env!("CARGO_BIN_EXE_tokenrill");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn lines(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The paths that `COPY` takes from the checkout.
fn copied() -> BTreeSet<String> {
    lines("Dockerfile")
        .iter()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|rest| !rest.starts_with("--from"))
        .flat_map(|rest| {
            let mut words: Vec<_> = rest.split_whitespace().map(str::to_owned).collect();
            words.pop();
            words
        })
        .collect()
}

/// The arguments of an instruction in its JSON form, which no shell reads.
fn exec_form(instruction: &str) -> Vec<String> {
    let found = lines("Dockerfile").into_iter().find_map(|line| {
        let rest = line.strip_prefix(instruction)?;
        Some(rest[rest.find('[')?..].to_owned())
    });
    serde_json::from_str(&found.unwrap_or_else(|| panic!("no {instruction}"))).unwrap()
}

fn copy_tree(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy_tree(&from.join(&name), &to.join(&name));
        }
    } else {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_builder_gets_what_is_copied_and_nothing_else() {
    let rules = lines(".dockerignore");
    let mut rules = rules.iter().filter(|line| !line.starts_with('#'));
    assert_eq!(rules.next().map(String::as_str), Some("*"));
    let sent: BTreeSet<String> = rules
        .map(|rule| rule.strip_prefix('!').unwrap().to_owned())
        .collect();
    assert_eq!(sent, copied(), ".dockerignore and the COPY lines");
}

#[test]
fn cargo_accepts_what_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    for path in copied() {
        copy_tree(&root().join(&path), &folder.path().join(&path));
    }
    // Reads every manifest of the workspace and the lock file.
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--workspace",
            "--depth",
            "0",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the build lacks something: {says}");
    let mut sources = Vec::new();
    rust_files(&folder.path().join("src"), &mut sources);
    rust_files(&folder.path().join("crates"), &mut sources);
    for source in sources {
        let text = std::fs::read_to_string(&source).unwrap();
        let texts = text.split("include_str!(\"").skip(1);
        for included in texts.chain(text.split("include_bytes!(\"").skip(1)) {
            let name = included.split('"').next().unwrap();
            let path = source.parent().unwrap().join(name);
            assert!(path.exists(), "{} includes {name}", source.display());
        }
    }
}

#[test]
fn the_binary_accepts_the_words_that_it_is_started_with() {
    let entry = exec_form("ENTRYPOINT ");
    let health = exec_form("HEALTHCHECK ");
    assert_eq!(health[0], entry[0]);
    assert!(
        lines("Dockerfile").contains(&format!(
            "COPY --from=build /src/target/dist/tokenrill {}",
            entry[0]
        )),
        "the entry point is not the binary that was built"
    );
    let command = exec_form("CMD ");
    let port = command
        .last()
        .and_then(|address| address.rsplit_once(':'))
        .unwrap()
        .1;
    assert!(lines("Dockerfile").contains(&format!("EXPOSE {port}")));
    for words in [&entry[1..], &health[1..], &command] {
        let output = Command::new(BINARY)
            .args(words)
            .arg("--help")
            .output()
            .unwrap();
        let says = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {says}");
    }
}

#[test]
fn the_container_does_not_run_as_root() {
    let lines = lines("Dockerfile");
    let user = lines
        .iter()
        .find_map(|line| line.strip_prefix("USER "))
        .unwrap();
    let number: u32 = user.parse().expect("a number, for runAsNonRoot");
    assert_ne!(number, 0);
    assert!(
        lines
            .iter()
            .any(|line| line.contains("useradd") && line.contains(&format!("--uid {user} "))),
        "nothing makes the user {user}"
    );
}
