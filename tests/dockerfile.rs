//! The Dockerfile, as far as it can be held true without a container engine: what it copies exists and is not ignored,
//! what it builds is what it runs, and the binary knows every word that it is started with.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

type Outcome = Result<(), Box<dyn Error>>;

const BINARY: &str = env!("CARGO_BIN_EXE_tokenrill");

/// An instruction, such as `COPY`, and the rest of its line.
struct Instruction {
    name: String,
    rest: String,
}

impl Instruction {
    fn words(&self) -> Vec<&str> {
        self.rest
            .split_whitespace()
            .filter(|word| !word.starts_with("--"))
            .collect()
    }

    fn flag(&self, name: &str) -> Option<&str> {
        let prefix = format!("--{name}=");
        self.rest
            .split_whitespace()
            .find_map(|word| word.strip_prefix(prefix.as_str()))
    }

    /// The arguments of the JSON form, which no shell reads.
    fn exec(&self) -> Result<Vec<String>, Box<dyn Error>> {
        let from = self
            .rest
            .find('[')
            .ok_or_else(|| format!("{} {} needs a shell", self.name, self.rest))?;
        Ok(serde_json::from_str(&self.rest[from..])?)
    }
}

/// From one `FROM` to the next.
struct Stage {
    name: Option<String>,
    instructions: Vec<Instruction>,
}

impl Stage {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &Instruction> {
        self.instructions
            .iter()
            .filter(move |instruction| instruction.name == name)
    }

    fn only(&self, name: &'static str) -> Result<&Instruction, String> {
        let found: Vec<_> = self.all(name).collect();
        match found[..] {
            [one] => Ok(one),
            _ => Err(format!(
                "the stage has {} {name} instead of one",
                found.len()
            )),
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> Result<String, Box<dyn Error>> {
    Ok(std::fs::read_to_string(root().join(name)).map_err(|error| format!("{name}: {error}"))?)
}

fn stages() -> Result<Vec<Stage>, Box<dyn Error>> {
    let text = read("Dockerfile")?;
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let mut stages = Vec::new();
    for line in lines
        .join("\n")
        .replace("\\\n", " ")
        .lines()
        .filter(|line| !line.trim().is_empty())
    {
        let (name, rest) = line
            .trim()
            .split_once(' ')
            .ok_or_else(|| format!("`{line}` says nothing"))?;
        if name == "FROM" {
            let name = rest
                .split_once(" AS ")
                .map(|(_, name)| name.trim().to_owned());
            stages.push(Stage {
                name,
                instructions: Vec::new(),
            });
        } else {
            let stage = stages
                .last_mut()
                .ok_or_else(|| format!("`{line}` before the first FROM"))?;
            stage.instructions.push(Instruction {
                name: name.to_owned(),
                rest: rest.trim().to_owned(),
            });
        }
    }
    Ok(stages)
}

fn last_stage() -> Result<Stage, Box<dyn Error>> {
    Ok(stages()?.pop().ok_or("no stage")?)
}

/// Whether a path is kept from the builder: the last rule that matches it, or a folder above it, decides.
fn ignored(path: &str, rules: &str) -> bool {
    let mut ignored = false;
    for rule in rules
        .lines()
        .map(str::trim)
        .filter(|rule| !rule.is_empty() && !rule.starts_with('#'))
    {
        let (pattern, ignores) = rule
            .strip_prefix('!')
            .map_or((rule, true), |pattern| (pattern, false));
        let pattern: Vec<&str> = pattern.trim_matches('/').split('/').collect();
        let path: Vec<&str> = path.trim_matches('/').split('/').collect();
        if (1..=path.len()).any(|length| matches(&pattern, &path[..length])) {
            ignored = ignores;
        }
    }
    ignored
}

fn matches(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=path.len()).any(|skipped| matches(rest, &path[skipped..])),
        ([first, rest @ ..], [name, names @ ..]) => {
            matches_name(first.as_bytes(), name.as_bytes()) && matches(rest, names)
        }
        _ => false,
    }
}

fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            (0..=name.len()).any(|skipped| matches_name(rest, &name[skipped..]))
        }
        ([b'?', rest @ ..], [_, name @ ..]) => matches_name(rest, name),
        ([first, rest @ ..], [letter, name @ ..]) => first == letter && matches_name(rest, name),
        _ => false,
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Outcome {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?
        } else {
            found.push(path)
        }
    }
    Ok(())
}

#[test]
fn ignore_rules_are_read_as_docker_reads_them() {
    let rules = "# a comment\n*\n!src\n!prompts/*.md\nsrc/**/secret\n";
    for (path, expected) in [
        ("target", true),
        ("target/release/tokenrill", true),
        ("src", false),
        ("src/http/plain.rs", false),
        ("src/a/b/secret", true),
        ("prompts/translate.md", false),
        ("prompts/draft.txt", true),
    ] {
        assert_eq!(ignored(path, rules), expected, "{path}");
    }
}

#[test]
fn everything_that_is_copied_exists_and_reaches_the_builder() -> Outcome {
    let rules = read(".dockerignore")?;
    let mut copied = 0;
    for stage in &stages()? {
        for copy in stage.all("COPY").filter(|copy| copy.flag("from").is_none()) {
            let words = copy.words();
            let (_, sources) = words.split_last().ok_or("COPY of nothing")?;
            for source in sources {
                let path = root().join(source);
                assert!(path.exists(), "COPY {source}: no such path");
                let mut found = Vec::new();
                if path.is_dir() {
                    files(&path, &mut found)?
                } else {
                    found.push(path)
                }
                assert!(!found.is_empty(), "COPY {source}: an empty folder");
                for file in found {
                    let file = file.strip_prefix(root())?.to_string_lossy().into_owned();
                    assert!(
                        !ignored(&file, &rules),
                        "COPY {source}: .dockerignore keeps {file} from the builder"
                    );
                }
                copied += 1;
            }
        }
    }
    assert!(copied > 0, "the Dockerfile copies nothing");
    for kept in [
        "target/release/tokenrill",
        ".git/config",
        "tokenrill.toml",
        ".env",
    ] {
        assert!(
            ignored(kept, &rules),
            "{kept} has no business in the builder"
        );
    }
    Ok(())
}

#[test]
fn the_build_has_all_that_the_sources_include() -> Outcome {
    let stages = stages()?;
    let build = stages.first().ok_or("no stage")?;
    let copied: Vec<&str> = build
        .all("COPY")
        .flat_map(|copy| copy.words().into_iter().rev().skip(1).collect::<Vec<_>>())
        .collect();
    for needed in ["Cargo.toml", "Cargo.lock", "src"] {
        assert!(
            copied.contains(&needed),
            "the build stage doesn't copy {needed}"
        );
    }
    let mut sources = Vec::new();
    files(&root().join("src"), &mut sources)?;
    for source in sources {
        let text = std::fs::read_to_string(&source)?;
        for included in text
            .split("include_str!(\"")
            .skip(1)
            .chain(text.split("include_bytes!(\"").skip(1))
        {
            let name = included.split('"').next().unwrap_or_default();
            let path = source
                .parent()
                .ok_or("no folder")?
                .join(name)
                .canonicalize()?;
            let path = path.strip_prefix(root().canonicalize()?)?.to_path_buf();
            let top = path
                .components()
                .next()
                .ok_or("an empty path")?
                .as_os_str()
                .to_string_lossy()
                .into_owned();
            assert!(
                copied.contains(&top.as_str()),
                "{} includes {name}, which is not copied",
                source.display()
            );
        }
    }
    Ok(())
}

/// Cargo refuses a manifest that names a file which isn't there, even one that this build has no use for.
#[test]
fn the_build_has_all_that_the_manifest_names() -> Outcome {
    let stages = stages()?;
    let build = stages.first().ok_or("no stage")?;
    let copied: Vec<&str> = build.all("COPY").flat_map(Instruction::words).collect();
    let manifest: toml::Table = read("Cargo.toml")?.parse()?;
    for (kind, folder) in [
        ("bench", "benches"),
        ("test", "tests"),
        ("example", "examples"),
    ] {
        for target in manifest
            .get(kind)
            .and_then(toml::Value::as_array)
            .into_iter()
            .flatten()
        {
            let path = target
                .get("path")
                .and_then(toml::Value::as_str)
                .unwrap_or(folder);
            let top = path.split('/').next().unwrap_or(path);
            assert!(
                copied.contains(&top),
                "[[{kind}]] needs {top}, which the build stage doesn't copy"
            );
        }
    }
    let script = root().join("build.rs").exists();
    assert!(
        !script || copied.contains(&"build.rs"),
        "build.rs is not copied"
    );
    Ok(())
}

#[test]
fn what_is_built_is_what_is_run() -> Outcome {
    let stages = stages()?;
    let (last, others) = stages.split_last().ok_or("no stage")?;
    let binary = Path::new(BINARY)
        .file_stem()
        .ok_or("no name")?
        .to_string_lossy();
    let copy = last
        .all("COPY")
        .find(|copy| copy.flag("from").is_some())
        .ok_or("the last stage copies no binary")?;
    let from = copy.flag("from");
    let build = others
        .iter()
        .find(|stage| stage.name.as_deref() == from)
        .ok_or("it copies from no known stage")?;
    let run = build
        .all("RUN")
        .find(|run| run.rest.contains("cargo build"))
        .ok_or("nothing is built")?;
    for word in ["--release", "--locked"] {
        assert!(run.rest.contains(word), "the build is not {word}");
    }
    let workdir = &build.only("WORKDIR")?.rest;
    let [source, target] = copy.words()[..] else {
        return Err("COPY --from has no one source".into());
    };
    assert_eq!(source, format!("{workdir}/target/release/{binary}"));
    for command in [last.only("ENTRYPOINT")?, last.only("HEALTHCHECK")?] {
        assert_eq!(
            command.exec()?.first().map(String::as_str),
            Some(target),
            "{} {}",
            command.name,
            command.rest
        );
    }
    Ok(())
}

#[test]
fn the_templates_lie_where_the_server_looks() -> Outcome {
    let last = last_stage()?;
    let copy = last
        .all("COPY")
        .find(|copy| copy.words().first() == Some(&"prompts"))
        .ok_or("no prompts")?;
    assert_eq!(
        copy.words().last(),
        Some(&"./prompts"),
        "the default is `prompts` in the working directory"
    );
    let place = |name: &str| {
        last.instructions
            .iter()
            .position(|instruction| instruction.name == name)
    };
    assert!(
        place("WORKDIR")
            < last
                .instructions
                .iter()
                .position(|i| i.name == "COPY" && i.flag("from").is_none())
    );
    Ok(())
}

#[test]
fn it_runs_as_nobody_special_and_can_be_reached() -> Outcome {
    let last = last_stage()?;
    let user = &last.only("USER")?.rest;
    assert!(
        !["root", "0", "0:0", "root:root"].contains(&user.as_str()),
        "it runs as root"
    );
    let made = last
        .all("RUN")
        .any(|run| run.rest.contains("useradd") && run.rest.ends_with(user.as_str()));
    assert!(made, "nothing makes the user {user}");
    let command = last.only("CMD")?.exec()?;
    let at = command
        .iter()
        .position(|word| word == "--listen")
        .ok_or("it listens on the default address")?;
    let address = command.get(at + 1).ok_or("--listen without an address")?;
    assert_eq!(
        address,
        &format!("0.0.0.0:{}", last.only("EXPOSE")?.rest),
        "not the port that it exposes"
    );
    Ok(())
}

fn help(arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let output = Command::new(BINARY)
        .args(arguments)
        .arg("--help")
        .output()?;
    assert!(
        output.status.success(),
        "{arguments:?} --help fails: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn the_binary_knows_every_word_that_it_is_started_with() -> Outcome {
    let last = last_stage()?;
    let known = help(&[])?;
    let knows = |word: &str| {
        known
            .split(|c: char| c.is_whitespace() || c == ',')
            .any(|one| one == word)
    };
    let mut commands = vec![last.only("CMD")?.exec()?];
    for name in ["ENTRYPOINT", "HEALTHCHECK"] {
        commands.push(last.only(name)?.exec()?.split_off(1));
    }
    let words: Vec<String> = commands
        .concat()
        .into_iter()
        .filter(|word| !word.contains(':'))
        .collect();
    assert!(words.len() >= 2, "{words:?}");
    for word in words {
        assert!(knows(&word), "`{word}` is not in --help:\n{known}");
    }
    Ok(())
}

/// Ends the server whatever becomes of the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is fine, too.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_health_check_tells_a_server_that_is_there_from_one_that_is_not() -> Outcome {
    let words = last_stage()?.only("HEALTHCHECK")?.exec()?.split_off(1);
    let folder = tempfile::tempdir()?;
    let mut server = Command::new(BINARY);
    server
        .args(["--listen", "127.0.0.1:0"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut server = Server(server.spawn()?);
    let stdout = server.0.stdout.take().ok_or("no stdout")?;
    let first = BufReader::new(stdout)
        .lines()
        .next()
        .ok_or("it says nothing")??;
    let address = first
        .split_whitespace()
        .last()
        .ok_or("no address")?
        .to_owned();
    let check = |url: &str| {
        Command::new(BINARY)
            .args(&words)
            .arg(url)
            .current_dir(folder.path())
            .output()
    };

    let there = check(&format!("{address}/healthz"))?;
    assert!(
        there.status.success(),
        "{address} is well: {}",
        String::from_utf8_lossy(&there.stderr)
    );
    let elsewhere = check(&format!("{address}/nowhere"))?;
    assert!(!elsewhere.status.success(), "a 404 is no sign of health");
    drop(server);
    let gone = check(&format!("{address}/healthz"))?;
    assert!(!gone.status.success(), "nobody listens there any more");
    Ok(())
}
