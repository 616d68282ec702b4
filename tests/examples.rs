//! The examples work as they are: configurations pass `tokenrill check`, the program runs.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

#[path = "../examples/embed.rs"]
mod embed;

fn check(name: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_tokenrill"))
        .args(["check", "--config", &format!("examples/{name}")])
        .env("OPENAI_API_KEY", "a key")
        .env("ANTHROPIC_API_KEY", "another key")
        .env("REDIS_PASSWORD", "a password")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {says}");
}

#[test]
fn every_configuration_is_fine() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".toml") {
            check(&name);
            checked += 1;
        }
    }
    assert_eq!(checked, 4);
}

#[tokio::test]
async fn a_program_can_embed_the_server() {
    let (tokens, about) = embed::run().await.unwrap();
    assert!(tokens.starts_with("data: You\n\n"), "{tokens}");
    assert!(tokens.ends_with("data: [DONE]\n\n"), "{tokens}");
    assert_eq!(about, "a program that embeds tokenrill");
}
