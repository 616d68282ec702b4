//! Every path that a file names, with its line: imports, types, expressions, patterns, macro input.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Item, UseTree};

use crate::source::SourceFile;

/// A path as it is written.
#[derive(Debug, Clone)]
pub struct NamedPath {
    /// Its segments; an imported glob ends with `*`.
    pub names: Vec<String>,
    /// Counted from 1.
    pub line: usize,
    /// The module in which it stands, from the root of the package.
    pub module: Vec<String>,
    /// True for a path that an import names.
    pub is_import: bool,
    /// True for a path that begins with `::`.
    pub is_global: bool,
}

/// The paths of a file, and its imports by the name that they are given.
#[derive(Debug, Default)]
pub struct Paths {
    /// In the order of the file.
    pub all: Vec<NamedPath>,
    /// The name in scope → the path that it stands for.
    pub imports: BTreeMap<String, Vec<String>>,
    /// Items that the file defines.
    pub definitions: Vec<String>,
    module: Vec<String>,
}

impl Paths {
    /// Collects what a file names; test code is left out.
    #[must_use]
    pub fn of(file: &SourceFile) -> Self {
        let mut paths = Self {
            module: file.module.clone(),
            ..Self::default()
        };
        for item in &file.items {
            paths.visit_item(item);
        }
        paths
    }

    fn push(&mut self, names: Vec<String>, line: usize, is_import: bool, is_global: bool) {
        let module = self.module.clone();
        self.all.push(NamedPath {
            names,
            line,
            module,
            is_import,
            is_global,
        });
    }

    fn use_tree(&mut self, tree: &UseTree, mut before: Vec<String>, is_global: bool) {
        let line = tree.span().start().line;
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.use_tree(&path.tree, before, is_global);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.use_tree(tree, before.clone(), is_global);
                }
            }
            UseTree::Glob(_) => {
                before.push("*".to_owned());
                self.push(before, line, true, is_global);
            }
            UseTree::Name(name) => {
                if name.ident != "self" {
                    before.push(name.ident.to_string());
                }
                if let Some(last) = before.last() {
                    self.imports.insert(last.clone(), before.clone());
                }
                self.push(before, line, true, is_global);
            }
            UseTree::Rename(rename) => {
                if rename.ident != "self" {
                    before.push(rename.ident.to_string());
                }
                self.imports
                    .insert(rename.rename.to_string(), before.clone());
                self.push(before, line, true, is_global);
            }
        }
    }

    /// Finds `a::b` in the unparsed input of a macro.
    fn tokens(&mut self, stream: TokenStream) {
        let mut names: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in stream {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 || names.is_empty() {
                        self.flush(&mut names, line);
                        line = ident.span().start().line;
                    }
                    names.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.flush(&mut names, line);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.flush(&mut names, line);
    }

    fn flush(&mut self, names: &mut Vec<String>, line: usize) {
        let names = std::mem::take(names);
        if names.len() > 1 {
            self.push(names, line, false, false);
        }
    }
}

impl<'a> Visit<'a> for Paths {
    fn visit_item(&mut self, item: &'a Item) {
        if let Some(name) = defined_name(item) {
            self.definitions.push(name);
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.use_tree(&item.tree, Vec::new(), item.leading_colon.is_some());
    }

    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}

    fn visit_attribute(&mut self, _: &'a syn::Attribute) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        let names = path.segments.iter().map(|s| s.ident.to_string()).collect();
        let line = path.span().start().line;
        self.push(names, line, false, path.leading_colon.is_some());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'a syn::Macro) {
        self.tokens(called.tokens.clone());
        visit::visit_macro(self, called);
    }
}

fn defined_name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
