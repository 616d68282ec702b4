//! Source files: found, parsed and freed of test code.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use syn::spanned::Spanned;
use syn::{Attribute, ImplItem, Item};

use crate::Finding;

/// All Rust sources below `src` and `crates/*/src`.
#[derive(Debug)]
pub struct Tree {
    /// Sorted by path. Files that consist of test code are among them.
    pub files: Vec<SourceFile>,
    /// Pages that the documentation includes (`#[doc = include_str!(…)]`), as path and text.
    pub pages: Vec<(String, String)>,
}

/// One parsed file.
#[derive(Debug)]
pub struct SourceFile {
    /// The path from the root of the workspace, with `/`.
    pub path: String,
    /// The package: `tokenrill` for `src`, else the folder's name below `crates`.
    pub package: String,
    /// The modules that lead to this file from the root of its package; none for `lib.rs` and `main.rs`.
    pub module: Vec<String>,
    /// True for a module that only exists under `#[cfg(test)]`.
    pub is_test: bool,
    /// The file as it is.
    pub text: String,
    /// The items that are not test code.
    pub items: Vec<Item>,
    /// The first and the last line of each item of test code.
    pub test_spans: Vec<(usize, usize)>,
}

impl Tree {
    /// Reads and parses the workspace below `root`.
    ///
    /// # Errors
    /// A folder or file that cannot be read, or a file that is not Rust.
    pub fn load(root: &Path) -> io::Result<Self> {
        let mut sources = Vec::new();
        collect(&root.join("src"), "src", &mut sources)?;
        if root.join("crates").is_dir() {
            for entry in std::fs::read_dir(root.join("crates"))? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let folder = format!("crates/{name}/src");
                if root.join(&folder).is_dir() {
                    collect(&root.join(&folder), &folder, &mut sources)?;
                }
            }
        }
        let mut tree = Self::parse(sources)?;
        for file in &tree.files {
            let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
            for name in file.text.split("[doc = include_str!(\"").skip(1) {
                let name = name.split('"').next().unwrap_or_default();
                let path = folder.join(name);
                let text = std::fs::read_to_string(root.join(&path))?;
                tree.pages.push((path.to_string_lossy().into_owned(), text));
            }
        }
        Ok(tree)
    }

    /// Parses sources given as path and text.
    ///
    /// # Errors
    /// A text that is not Rust.
    pub fn parse(mut sources: Vec<(String, String)>) -> io::Result<Self> {
        sources.sort();
        let mut files = Vec::new();
        let mut test_modules = BTreeSet::new();
        for (path, text) in sources {
            let file = SourceFile::parse(path, text, &mut test_modules)?;
            files.push(file);
        }
        for file in &mut files {
            file.is_test = (1..=file.module.len()).any(|end| {
                test_modules.contains(&(file.package.clone(), file.module[..end].to_vec()))
            });
        }
        Ok(Self {
            files,
            pages: Vec::new(),
        })
    }

    /// Iterates over the files that are not test code.
    pub fn shipped(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| !file.is_test)
    }
}

impl SourceFile {
    fn parse(
        path: String,
        text: String,
        test_modules: &mut BTreeSet<(String, Vec<String>)>,
    ) -> io::Result<Self> {
        let parsed = syn::parse_file(&text)
            .map_err(|error| io::Error::other(format!("{path} is not Rust: {error}")))?;
        let (package, inner) = package_of(&path);
        let mut module: Vec<String> = inner
            .trim_end_matches(".rs")
            .split('/')
            .map(str::to_owned)
            .collect();
        if let [one] = module.as_slice()
            && (one == "lib" || one == "main")
        {
            module.clear();
        }
        let mut items = parsed.items;
        let mut strip = Strip {
            package: &package,
            test_modules,
            test_spans: Vec::new(),
        };
        strip.items(&mut items, &module);
        let test_spans = strip.test_spans;
        Ok(Self {
            path,
            package,
            module,
            is_test: false,
            text,
            items,
            test_spans,
        })
    }

    /// The room: the package for crates, the first module for `src`.
    #[must_use]
    pub fn room(&self) -> &str {
        if self.path.starts_with("crates/") {
            return &self.package;
        }
        match self.module.first() {
            Some(first) => first,
            None if self.path.ends_with("main.rs") => "main",
            None => "lib",
        }
    }

    /// Tells whether a line belongs to test code.
    #[must_use]
    pub fn is_test_line(&self, line: usize) -> bool {
        self.is_test
            || self
                .test_spans
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&line))
    }

    /// The lines without test code; blank lines and comments count.
    #[must_use]
    pub fn shipped_lines(&self) -> usize {
        if self.is_test {
            return 0;
        }
        (1..=self.text.lines().count())
            .filter(|line| !self.is_test_line(*line))
            .count()
    }

    /// The lines of [`SourceFile::shipped_lines`] that are neither blank nor comments.
    #[must_use]
    pub fn code_lines(&self) -> usize {
        let is_code = |(index, line): &(usize, &str)| {
            let line = line.trim_start();
            !line.is_empty() && !line.starts_with("//") && !self.is_test_line(index + 1)
        };
        self.text.lines().enumerate().filter(is_code).count()
    }

    /// A remark on one of this file's lines.
    #[must_use]
    pub fn finding(&self, line: usize, text: impl Into<String>) -> Finding {
        Finding {
            file: self.path.clone(),
            line,
            text: text.into(),
        }
    }
}

fn package_of(path: &str) -> (String, &str) {
    match path.strip_prefix("crates/").and_then(|p| p.split_once('/')) {
        Some((name, rest)) => (name.to_owned(), rest.strip_prefix("src/").unwrap_or(rest)),
        None => (
            "tokenrill".to_owned(),
            path.strip_prefix("src/").unwrap_or(path),
        ),
    }
}

fn collect(folder: &Path, name: &str, found: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if path.is_dir() {
            collect(&path, &name, found)?;
        } else if name.ends_with(".rs") {
            found.push((name, std::fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

/// Takes test code out of parsed items.
struct Strip<'a> {
    package: &'a str,
    test_modules: &'a mut BTreeSet<(String, Vec<String>)>,
    test_spans: Vec<(usize, usize)>,
}

impl Strip<'_> {
    fn items(&mut self, items: &mut Vec<Item>, module: &[String]) {
        items.retain(|item| {
            let is_test = is_test_code(item_attributes(item));
            if is_test {
                let span = item.span();
                self.test_spans.push((span.start().line, span.end().line));
                if let Item::Mod(declared) = item {
                    let mut path = module.to_vec();
                    path.push(declared.ident.to_string());
                    self.test_modules.insert((self.package.to_owned(), path));
                }
            }
            !is_test
        });
        for item in items {
            match item {
                Item::Mod(inner) => {
                    let mut path = module.to_vec();
                    path.push(inner.ident.to_string());
                    if let Some((_, content)) = &mut inner.content {
                        self.items(content, &path);
                    }
                }
                Item::Impl(block) => block.items.retain(|item| {
                    let attributes = match item {
                        ImplItem::Fn(function) => &function.attrs,
                        ImplItem::Const(constant) => &constant.attrs,
                        _ => return true,
                    };
                    let is_test = is_test_code(attributes);
                    if is_test {
                        let span = item.span();
                        self.test_spans.push((span.start().line, span.end().line));
                    }
                    !is_test
                }),
                _ => {}
            }
        }
    }
}

fn is_test_code(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let last = attribute.path().segments.last();
        if last.is_some_and(|segment| segment.ident == "test") {
            return true;
        }
        if !attribute.path().is_ident("cfg") {
            return false;
        }
        let mut found = false;
        let parsed = attribute.parse_nested_meta(|meta| {
            found |= meta.path.is_ident("test");
            if meta.path.is_ident("all") {
                return meta.parse_nested_meta(|inner| {
                    found |= inner.path.is_ident("test");
                    skip_value(&inner)
                });
            }
            skip_value(&meta)
        });
        parsed.is_ok() && found
    })
}

/// Reads over what follows a name within `cfg(…)`.
fn skip_value(meta: &syn::meta::ParseNestedMeta<'_>) -> syn::Result<()> {
    if meta.input.peek(syn::Token![=]) {
        let _: syn::Lit = meta.value()?.parse()?;
    } else if meta.input.peek(syn::token::Paren) {
        let content;
        syn::parenthesized!(content in meta.input);
        let _: proc_macro2::TokenStream = content.parse()?;
    }
    Ok(())
}

fn item_attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
