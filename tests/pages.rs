//! The pages for readers: links lead somewhere, and source files that they name exist.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in [
        "",
        "docs",
        "examples",
        "examples/order-events",
        "clients/js",
    ] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    assert!(pages.len() > 15, "{pages:?}");
    pages
}

#[test]
fn links_lead_somewhere() {
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1) {
            let link = link.split([')', '#']).next().unwrap();
            if link.is_empty() || link.contains("://") {
                continue;
            }
            let target = page.parent().unwrap().join(link);
            assert!(target.exists(), "{} links to {link}", page.display());
        }
    }
}

#[test]
fn source_files_that_pages_name_exist() {
    let is_part_of_a_path = |c: char| c.is_alphanumeric() || "_/-.".contains(c);
    for name in [
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/decisions.md",
        "docs/dialects.md",
    ] {
        let text = std::fs::read_to_string(root().join(name)).unwrap();
        for word in text.split(|c| !is_part_of_a_path(c)) {
            if word.ends_with(".rs") && word.contains('/') {
                let exists = [root().join(word), root().join("src").join(word)]
                    .iter()
                    .any(|path| path.exists());
                assert!(exists, "{name} names {word}");
            }
        }
    }
}
