//! `tests/figures [--list] [--root FOLDER]`: prints the figures of a workspace's sources.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use tidy::Finding;
use tidy::figures::Figures;
use tidy::rules;
use tidy::source::Tree;

const USAGE: &str = "usage: tests/figures [--list] [--root FOLDER]
  --list         names every offender as file:line below its figure, and every broken rule at the end
  --root FOLDER  measures another checkout than this one";

fn main() -> ExitCode {
    let mut list = false;
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.size_hint()) {
            ("--list", _) => list = true,
            ("--root", _) => match arguments.next() {
                Some(folder) => root = folder.into(),
                None => return fail(USAGE),
            },
            _ => return fail(USAGE),
        }
    }
    let tree = match Tree::load(&root) {
        Ok(tree) => tree,
        Err(error) => return fail(&error.to_string()),
    };
    match print(&tree, list) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough, such as `head`.
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::from(2)
}

fn print(tree: &Tree, list: bool) -> std::io::Result<()> {
    let figures = &Figures::of(tree);
    let mut out = std::io::stdout().lock();
    let mut row = |name: &str, value: String, offenders: &[Finding]| {
        writeln!(out, "{name:<56} {value:>10}")?;
        if list {
            for finding in offenders {
                writeln!(out, "    {finding}")?;
            }
        }
        Ok::<(), std::io::Error>(())
    };
    row(
        "summaries that begin with What, Whether, How, Who, …",
        share(figures.riddles.len(), figures.summaries),
        &figures.riddles,
    )?;
    row(
        "types that share a name",
        share(figures.shared_types.len(), figures.types),
        &figures.shared_types,
    )?;
    let read = figures.functions_called("read");
    row("functions called `read`", read.len().to_string(), read)?;
    let circles: Vec<_> = figures.wide_circles().collect();
    let pairs = figures.circles.len() - circles.len();
    row(
        "import circles of more than 2 files",
        circles.len().to_string(),
        &[],
    )?;
    row("  of 2 files", pairs.to_string(), &[])?;
    row(
        "  files in the largest circle",
        figures
            .circles
            .first()
            .map_or(0, |c| c.files.len())
            .to_string(),
        &[],
    )?;
    for limit in [60, 100] {
        let found = figures.functions_over(limit);
        row(
            &format!("functions over {limit} lines"),
            found.len().to_string(),
            &found,
        )?;
    }
    for limit in [400, 500] {
        let found = figures.files_over(limit);
        row(
            &format!("files over {limit} lines"),
            found.len().to_string(),
            &found,
        )?;
    }
    row(
        "doc fences that run",
        figures.fences.len().to_string(),
        &figures.fences,
    )?;
    row("lines without test code", figures.lines.to_string(), &[])?;
    row(
        "  of them neither blank nor comments",
        figures.code_lines.to_string(),
        &[],
    )?;
    row(
        "comment lines over 100 columns",
        figures.wide_comments.len().to_string(),
        &figures.wide_comments,
    )?;
    let common: Vec<String> = figures
        .common_functions(10)
        .into_iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    writeln!(out, "most common function names: {}", common.join(", "))?;
    for circle in figures.circles.iter().filter(|c| list || c.files.len() > 2) {
        writeln!(
            out,
            "\ncircle of {} files in {}",
            circle.files.len(),
            circle.room
        )?;
        for edge in &circle.edges {
            writeln!(
                out,
                "    {}:{} → {} ({})",
                edge.from, edge.line, edge.to, edge.path
            )?;
        }
    }
    let broken = rules::check(tree);
    writeln!(out, "\nbroken rules: {}", broken.len())?;
    for finding in broken.iter().filter(|_| list) {
        writeln!(out, "    {finding}")?;
    }
    Ok(())
}

fn share(part: usize, whole: usize) -> String {
    let tenths = (part * 1000 + whole / 2).checked_div(whole).unwrap_or(0);
    format!("{part} = {}.{} %", tenths / 10, tenths % 10)
}
