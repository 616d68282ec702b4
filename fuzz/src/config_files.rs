//! Configurations, right and wrong: reading one never panics, and each problem is one line that
//! begins with its place.

use std::path::PathBuf;
use std::sync::LazyLock;

use crate::config::Config;

/// The file of this process, in memory where the system has a place for that.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    folder.join(format!("tokenrill-fuzz-{}.toml", std::process::id()))
});

/// Lines that begin so are variables of the environment; all others are the file's.
const VARIABLE: &str = "TOKENRILL_";

/// Reads a configuration.
pub fn check(text: &str) {
    let (variables, lines): (Vec<&str>, Vec<&str>) = text
        .split('\n')
        .partition(|line| line.starts_with(VARIABLE) && line.contains('='));
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .filter_map(|line| line.split_once('='))
        .collect();
    std::fs::write(&*FILE, lines.join("\n")).expect("written");
    let load = || {
        let variables = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        Config::load(Some(&*FILE), variables, &["openai-chat", "anthropic"])
    };
    match (load(), load()) {
        (Ok(one), Ok(other)) => assert_eq!(format!("{one:?}"), format!("{other:?}")),
        (Err(one), Err(other)) => {
            assert_eq!(one, other);
            assert!(!one.lines().is_empty());
            for line in one.lines() {
                let begins_with = |place: &str| line.strip_prefix(place);
                let file = FILE.display().to_string();
                let has_place = begins_with(&file).is_some_and(|rest| rest.starts_with(':'))
                    || variables.iter().any(|(name, _)| {
                        // A variable's name may have what no line shows.
                        let is_blank = |c: char| c.is_control() || c.is_whitespace();
                        let mut words = name.split(is_blank).filter(|word| !word.is_empty());
                        begins_with(words.next().unwrap_or_default()).is_some()
                    });
                assert!(has_place, "{line}");
                assert!(!line.contains(char::is_control), "{line:?}");
            }
        }
        (one, other) => panic!("{one:?} is not {other:?}"),
    }
}
