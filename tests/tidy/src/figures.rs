//! The figures of the house: how its names, summaries, functions, files and imports stand.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use crate::Finding;
use crate::circles::{self, Circle};
use crate::source::{SourceFile, Tree};

/// Words with which a riddle begins, and a summary does not.
pub const RIDDLE_WORDS: &[&str] = &[
    "What", "Whether", "How", "Who", "Whose", "Whom", "Which", "Where", "When", "Why", "That",
];

/// The width of a line.
const MAX_COLUMNS: usize = 100;

/// Everything that is measured. Test code is left out, but for the width of comments.
#[derive(Debug)]
pub struct Figures {
    /// Doc comments.
    pub summaries: usize,
    /// Doc comments that begin with one of [`RIDDLE_WORDS`].
    pub riddles: Vec<Finding>,
    /// Structs, enums, traits and aliases.
    pub types: usize,
    /// Types whose name another type has too.
    pub shared_types: Vec<Finding>,
    /// Functions by name, without the implementations of traits.
    pub functions: BTreeMap<String, Vec<Finding>>,
    /// Every function's name and length in lines.
    pub lengths: Vec<(Finding, usize)>,
    /// Files of a room that import one another.
    pub circles: Vec<Circle>,
    /// Every file's length in lines.
    pub files: Vec<(Finding, usize)>,
    /// Code fences in doc comments that a doc test runs.
    pub fences: Vec<Finding>,
    /// Lines of `src` and `crates/*/src` without test code.
    pub lines: usize,
    /// Of these the lines that are neither blank nor comments.
    pub code_lines: usize,
    /// Lines of comment that are longer than 100 columns.
    pub wide_comments: Vec<Finding>,
}

impl Figures {
    /// Measures a tree.
    #[must_use]
    pub fn of(tree: &Tree) -> Self {
        let mut figures = Self {
            summaries: 0,
            riddles: Vec::new(),
            types: 0,
            shared_types: Vec::new(),
            functions: BTreeMap::new(),
            lengths: Vec::new(),
            circles: circles::find(tree),
            files: Vec::new(),
            fences: Vec::new(),
            lines: 0,
            code_lines: 0,
            wide_comments: Vec::new(),
        };
        let mut types: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
        for file in &tree.files {
            figures.measure_comments(file);
        }
        for (path, text) in &tree.pages {
            figures.measure_page(path, text);
        }
        for file in tree.shipped() {
            figures.lines += file.shipped_lines();
            figures.code_lines += file.code_lines();
            figures
                .files
                .push((file.finding(1, ""), file.text.lines().count()));
            let mut names = Names::new(file);
            for item in &file.items {
                names.visit_item(item);
            }
            for (name, finding) in names.types {
                types.entry(name).or_default().push(finding);
            }
            for (name, finding) in names.functions {
                figures.functions.entry(name).or_default().push(finding);
            }
            figures.lengths.extend(names.lengths);
        }
        figures.types = types.values().map(Vec::len).sum();
        figures.shared_types = types
            .into_values()
            .filter(|found| found.len() > 1)
            .flatten()
            .collect();
        figures
    }

    fn measure_comments(&mut self, file: &SourceFile) {
        let mut block_before = None;
        let mut in_fence = false;
        for (index, line) in file.text.lines().enumerate() {
            let number = index + 1;
            let trimmed = line.trim_start();
            if trimmed.starts_with("//") && line.chars().count() > MAX_COLUMNS {
                self.wide_comments.push(file.finding(number, trimmed));
            }
            let kind = ["//! ", "/// ", "//!", "///"]
                .into_iter()
                .find(|start| trimmed.starts_with(start) && !trimmed.starts_with("////"));
            let Some(start) = kind.filter(|_| !file.is_test_line(number)) else {
                block_before = None;
                in_fence = false;
                continue;
            };
            let text = &trimmed[start.len()..];
            if block_before != Some(&start[..3]) {
                self.measure_summary(file, number, text);
            }
            block_before = Some(&start[..3]);
            if let Some(info) = text.trim_start().strip_prefix("```") {
                if !in_fence && is_run(info) {
                    self.fences.push(file.finding(number, text));
                }
                in_fence = !in_fence;
            }
        }
    }

    fn measure_page(&mut self, path: &str, text: &str) {
        let mut in_fence = false;
        for (index, line) in text.lines().enumerate() {
            let Some(info) = line.trim_start().strip_prefix("```") else {
                continue;
            };
            if !in_fence && is_run(info) {
                self.fences.push(Finding {
                    file: path.to_owned(),
                    line: index + 1,
                    text: line.to_owned(),
                });
            }
            in_fence = !in_fence;
        }
    }

    fn measure_summary(&mut self, file: &SourceFile, line: usize, text: &str) {
        self.summaries += 1;
        let word: String = text
            .chars()
            .skip_while(|c| !c.is_alphanumeric())
            .take_while(|c| c.is_alphanumeric())
            .collect();
        if RIDDLE_WORDS.contains(&word.as_str()) {
            self.riddles.push(file.finding(line, text));
        }
    }

    /// Functions longer than `lines`, the longest first.
    #[must_use]
    pub fn functions_over(&self, lines: usize) -> Vec<Finding> {
        over(&self.lengths, lines)
    }

    /// Files longer than `lines`, the longest first.
    #[must_use]
    pub fn files_over(&self, lines: usize) -> Vec<Finding> {
        over(&self.files, lines)
    }

    /// Functions of exactly this name.
    #[must_use]
    pub fn functions_called(&self, name: &str) -> &[Finding] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }

    /// Names of functions and how often each occurs, the most frequent first.
    #[must_use]
    pub fn common_functions(&self, count: usize) -> Vec<(&str, usize)> {
        let mut names: Vec<(&str, usize)> = self
            .functions
            .iter()
            .map(|(name, found)| (name.as_str(), found.len()))
            .collect();
        names.sort_by_key(|(name, found)| (std::cmp::Reverse(*found), *name));
        names.truncate(count);
        names
    }

    /// Circles of more than two files.
    pub fn wide_circles(&self) -> impl Iterator<Item = &Circle> {
        self.circles.iter().filter(|circle| circle.files.len() > 2)
    }
}

fn over(measured: &[(Finding, usize)], lines: usize) -> Vec<Finding> {
    let mut found: Vec<&(Finding, usize)> = measured
        .iter()
        .filter(|(_, length)| *length > lines)
        .collect();
    found.sort_by_key(|(finding, length)| (std::cmp::Reverse(*length), finding.clone()));
    found
        .into_iter()
        .map(|(finding, length)| Finding {
            text: format!("{} {length} lines", finding.text).trim().to_owned(),
            ..finding.clone()
        })
        .collect()
}

/// Tells by a code fence's info string whether `cargo test --doc` runs it.
fn is_run(info: &str) -> bool {
    info.split([',', ' ']).all(|word| {
        let word = word.trim();
        word.is_empty() || word == "rust" || word == "should_panic" || word.starts_with("edition")
    })
}

/// The types and functions of one file.
struct Names<'a> {
    file: &'a SourceFile,
    types: Vec<(String, Finding)>,
    functions: Vec<(String, Finding)>,
    lengths: Vec<(Finding, usize)>,
    in_trait_impl: bool,
}

impl<'a> Names<'a> {
    fn new(file: &'a SourceFile) -> Self {
        Self {
            file,
            types: Vec::new(),
            functions: Vec::new(),
            lengths: Vec::new(),
            in_trait_impl: false,
        }
    }

    fn add_type(&mut self, ident: &proc_macro2::Ident) {
        let name = ident.to_string();
        let finding = self.file.finding(ident.span().start().line, &name);
        self.types.push((name, finding));
    }

    fn add_function(&mut self, signature: &syn::Signature, block: Option<&syn::Block>) {
        let name = signature.ident.to_string();
        let first = signature.fn_token.span.start().line;
        let finding = self.file.finding(first, &name);
        if let Some(block) = block {
            let last = block.brace_token.span.close().end().line;
            self.lengths.push((finding.clone(), last - first + 1));
        }
        if !self.in_trait_impl {
            self.functions.push((name, finding));
        }
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.add_type(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.add_type(&item.ident);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.add_type(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.add_type(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let before = std::mem::replace(&mut self.in_trait_impl, item.trait_.is_some());
        visit::visit_item_impl(self, item);
        self.in_trait_impl = before;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let before = std::mem::replace(&mut self.in_trait_impl, false);
        self.add_function(&item.sig, Some(&item.block));
        visit::visit_item_fn(self, item);
        self.in_trait_impl = before;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add_function(&item.sig, Some(&item.block));
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.add_function(&item.sig, item.default.as_ref());
        visit::visit_trait_item_fn(self, item);
    }
}
