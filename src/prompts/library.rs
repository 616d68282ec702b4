//! A folder of templates, as it is on disk now.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::{PromptError, Template};

/// A template's file is never this large.
const LARGEST: u64 = 1 << 20;

/// By what an edit is noticed.
type Stamp = (SystemTime, u64);

/// All templates of a folder.
#[derive(Debug)]
pub struct Library {
    folder: PathBuf,
    // A plain mutex: held for a moment, never across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, File>,
    set: Arc<Set>,
}

#[derive(Debug)]
struct File {
    stamp: Stamp,
    /// The last good version; none if the file was broken from the start.
    template: Option<Arc<Template>>,
}

/// The templates of one moment.
#[derive(Debug, Default)]
pub struct Set {
    templates: BTreeMap<String, Arc<Template>>,
}

impl Set {
    /// All templates, by name.
    pub fn list(&self) -> impl Iterator<Item = &Template> {
        self.templates.values().map(AsRef::as_ref)
    }

    /// The template of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Template> {
        self.templates.get(name).map(AsRef::as_ref)
    }
}

impl Library {
    /// Reads a folder. One that is missing is an empty library, unless `explicit`: then someone meant that very folder.
    ///
    /// # Errors
    ///
    /// The first file that is broken, with its line.
    pub fn open(folder: &Path, explicit: bool) -> Result<Self, PromptError> {
        let library = Self { folder: folder.to_owned(), state: Mutex::default() };
        let files = match scan(folder) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !explicit => return Ok(library),
            Err(error) => {
                let problem = format!("can't read the folder of prompt templates: {error}");
                return Err(PromptError::new(&folder.display().to_string(), None, problem));
            }
        };
        let mut state = State::default();
        for (path, stamp) in files {
            let template = Some(Arc::new(read(&path)?));
            state.files.insert(path, File { stamp, template });
        }
        state.set = Arc::new(collect(&state.files)?);
        *library.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(library)
    }

    /// The templates as they are now: what was edited since the last call is read anew. What is broken by an edit is
    /// reported once, and stays as it was. Looks at the disk, so an async caller does this aside.
    #[must_use]
    pub fn current(&self) -> Arc<Set> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A folder that can't be read for a moment, while it is being replaced, changes nothing.
        let Ok(found) = scan(&self.folder) else { return state.set.clone() };
        let unchanged = found.len() == state.files.len()
            && found.iter().all(|(path, stamp)| state.files.get(path).is_some_and(|file| file.stamp == *stamp));
        if unchanged {
            return state.set.clone();
        }
        state.files.retain(|path, _| found.contains_key(path));
        for (path, stamp) in found {
            let old = state.files.remove(&path);
            let file = match old {
                Some(old) if old.stamp == stamp => old,
                old => {
                    let template = match read(&path) {
                        Ok(template) => Some(Arc::new(template)),
                        Err(error) => {
                            tracing::error!(%error, "a prompt template is broken; its last good version stays");
                            old.and_then(|old| old.template)
                        }
                    };
                    File { stamp, template }
                }
            };
            state.files.insert(path, file);
        }
        match collect(&state.files) {
            Ok(set) => state.set = Arc::new(set),
            Err(error) => tracing::error!(%error, "the prompt templates stay as they were"),
        }
        state.set.clone()
    }
}

/// The folder's templates and their stamps.
fn scan(folder: &Path) -> io::Result<BTreeMap<PathBuf, Stamp>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        // Follows links: a mounted configuration is made of them. A file that has just gone is simply not there.
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        if metadata.is_file() {
            files.insert(path, (metadata.modified()?, metadata.len()));
        }
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Template, PromptError> {
    let file = path.display().to_string();
    let fail = |error: io::Error| PromptError::new(&file, None, format!("can't read it: {error}"));
    if std::fs::metadata(path).map_err(fail)?.len() > LARGEST {
        return Err(PromptError::new(&file, None, format!("is larger than {LARGEST} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(fail)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Template::parse(&file, &stem, &text)
}

fn collect(files: &BTreeMap<PathBuf, File>) -> Result<Set, PromptError> {
    let mut set = Set::default();
    for (path, file) in files {
        let Some(template) = &file.template else { continue };
        if set.templates.insert(template.name().to_owned(), template.clone()).is_some() {
            let problem = format!("there is a template `{}` already", template.name());
            return Err(PromptError::new(&path.display().to_string(), None, problem));
        }
    }
    Ok(set)
}
