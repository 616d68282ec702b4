//! Circles of imports among the files of a room.
//!
//! An item counts as its defining file's: a re-export is followed to it. A file that has child
//! modules assembles them, so what it names of its own descendants is no import here; what they name
//! of it is one, as it is of any other file.

use std::collections::{BTreeMap, BTreeSet};

use crate::paths::{NamedPath, Paths};
use crate::source::{SourceFile, Tree};

/// The most re-exports that are followed for one path.
const MAX_REEXPORTS: usize = 8;

/// Files that import one another, each of them reachable from each other one.
#[derive(Debug)]
pub struct Circle {
    /// The room that all files are in.
    pub room: String,
    /// Sorted paths.
    pub files: Vec<String>,
    /// Every file that names another, and the first path that does.
    pub edges: Vec<Edge>,
}

/// One file's use of another one.
#[derive(Debug, Clone)]
pub struct Edge {
    /// The file that imports.
    pub from: String,
    /// The line of its first import.
    pub line: usize,
    /// The file that is imported.
    pub to: String,
    /// The path as it is written.
    pub path: String,
}

/// Finds the circles of two files and more, the largest first.
#[must_use]
pub fn find(tree: &Tree) -> Vec<Circle> {
    let resolver = Resolver::new(tree);
    let mut rooms: BTreeMap<&str, Vec<Edge>> = BTreeMap::new();
    for (file, paths) in &resolver.files {
        for path in &paths.all {
            let Some(target) = resolver.target(file, path) else {
                continue;
            };
            let is_own = target.path == file.path || is_descendant(file, target);
            if is_own || target.room() != file.room() {
                continue;
            }
            let edges = rooms.entry(file.room()).or_default();
            if edges
                .iter()
                .any(|edge| edge.from == file.path && edge.to == target.path)
            {
                continue;
            }
            edges.push(Edge {
                from: file.path.clone(),
                line: path.line,
                to: target.path.clone(),
                path: path.names.join("::"),
            });
        }
    }
    let mut circles: Vec<Circle> = rooms
        .into_iter()
        .flat_map(|(room, edges)| circles_of(room, &edges))
        .collect();
    circles.sort_by_key(|circle| std::cmp::Reverse(circle.files.len()));
    circles
}

fn is_descendant(parent: &SourceFile, child: &SourceFile) -> bool {
    parent.package == child.package
        && child.module.len() > parent.module.len()
        && child.module.starts_with(&parent.module)
}

fn circles_of(room: &str, edges: &[Edge]) -> Vec<Circle> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for edge in edges {
        next.entry(&edge.from).or_default().push(&edge.to);
    }
    let reach: BTreeMap<&str, BTreeSet<&str>> = next
        .keys()
        .map(|from| (*from, reachable(from, &next)))
        .collect();
    let mut done = BTreeSet::new();
    let mut circles = Vec::new();
    for (from, reached) in &reach {
        if !reached.contains(from) || done.contains(from) {
            continue;
        }
        let files: BTreeSet<&str> = reached
            .iter()
            .copied()
            .filter(|other| reach.get(other).is_some_and(|back| back.contains(from)))
            .collect();
        done.extend(files.iter().copied());
        circles.push(Circle {
            room: room.to_owned(),
            edges: edges
                .iter()
                .filter(|e| files.contains(e.from.as_str()) && files.contains(e.to.as_str()))
                .cloned()
                .collect(),
            files: files.into_iter().map(str::to_owned).collect(),
        });
    }
    circles
}

fn reachable<'a>(from: &str, next: &BTreeMap<&'a str, Vec<&'a str>>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = vec![from];
    while let Some(file) = open.pop() {
        for to in next.get(file).into_iter().flatten() {
            if found.insert(*to) {
                open.push(to);
            }
        }
    }
    found
}

/// Finds the file in which a path's item is defined.
struct Resolver<'a> {
    files: Vec<(&'a SourceFile, Paths)>,
    modules: BTreeMap<(String, Vec<String>), usize>,
}

impl<'a> Resolver<'a> {
    fn new(tree: &'a Tree) -> Self {
        let mut modules = BTreeMap::new();
        let mut files = Vec::new();
        for file in tree.shipped() {
            if !file.path.ends_with("src/main.rs") {
                modules.insert((file.package.clone(), file.module.clone()), files.len());
            }
            files.push((file, Paths::of(file)));
        }
        Self { files, modules }
    }

    fn module(&self, package: &str, module: &[String]) -> Option<usize> {
        self.modules
            .get(&(package.to_owned(), module.to_vec()))
            .copied()
    }

    fn target(&self, file: &SourceFile, path: &NamedPath) -> Option<&'a SourceFile> {
        let full = self.absolute(file, &path.module, path)?;
        // A module that is only brought into scope counts by what is named through it.
        if path.is_import && self.module(&file.package, &full).is_some() {
            return None;
        }
        let index = self.definition(&file.package, &full, 0)?;
        self.files.get(index).map(|(file, _)| *file)
    }

    /// The path from the root of the package, or `None` if it leads out of it.
    fn absolute(
        &self,
        file: &SourceFile,
        scope: &[String],
        path: &NamedPath,
    ) -> Option<Vec<String>> {
        if path.is_global {
            return None;
        }
        let mut module = scope.to_vec();
        let mut names = path.names.as_slice();
        let mut is_relative = false;
        loop {
            match names.first().map(String::as_str) {
                Some("crate") => module.clear(),
                Some("self") => {}
                Some("super") => {
                    module.pop()?;
                }
                _ => break,
            }
            is_relative = true;
            names = &names[1..];
        }
        if is_relative {
            module.extend_from_slice(names);
            return Some(module);
        }
        let first = names.first()?;
        let index = self.module(&file.package, &file.module)?;
        let imported = self.files.get(index)?.1.imports.get(first);
        if let Some(imported) = imported.filter(|to| !path.is_import && to.first() != Some(first)) {
            let outer = NamedPath {
                names: imported.clone(),
                is_import: true,
                ..path.clone()
            };
            let mut full = self.absolute(file, scope, &outer)?;
            full.extend_from_slice(&names[1..]);
            return Some(full);
        }
        module.extend_from_slice(names);
        let child = &module[..=scope.len()];
        self.module(&file.package, child)
            .is_some()
            .then_some(module)
    }

    /// The file that defines what a path from the root leads to.
    fn definition(&self, package: &str, full: &[String], followed: usize) -> Option<usize> {
        let length = (0..=full.len())
            .rev()
            .find(|end| self.module(package, &full[..*end]).is_some())?;
        let index = self.module(package, &full[..length])?;
        let Some(name) = full.get(length).filter(|_| followed < MAX_REEXPORTS) else {
            return Some(index);
        };
        let (file, paths) = self.files.get(index)?;
        if paths.definitions.contains(name) {
            return Some(index);
        }
        let imported = paths.imports.get(name).cloned();
        let globs = paths
            .all
            .iter()
            .filter(|path| path.is_import && path.names.last().is_some_and(|last| last == "*"));
        let candidates = imported.into_iter().chain(globs.map(|glob| {
            let mut names = glob.names.clone();
            names.pop();
            names.push(name.clone());
            names
        }));
        for names in candidates {
            let path = NamedPath {
                names,
                line: 0,
                module: file.module.clone(),
                is_import: true,
                is_global: false,
            };
            let Some(mut to) = self.absolute(file, &file.module, &path) else {
                continue;
            };
            to.extend_from_slice(&full[length + 1..]);
            let found = self.definition(package, &to, followed + 1);
            if found.is_some_and(|found| found != index) {
                return found;
            }
        }
        Some(index)
    }
}
