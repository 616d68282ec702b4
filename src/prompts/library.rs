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
    /// The version in the set: another one if its name had been given away.
    served: Option<Arc<Template>>,
    /// Set once its conflict of names has been logged.
    told: bool,
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

impl Set {
    /// Adds a template unless its name is taken.
    fn add(&mut self, template: Option<&Arc<Template>>) -> bool {
        let Some(template) = template.filter(|template| self.get(template.name()).is_none()) else {
            return false;
        };
        self.templates
            .insert(template.name().to_owned(), template.clone());
        true
    }
}

impl Library {
    /// Reads a folder. One that is missing is an empty library, unless `explicit`: then someone
    /// meant that very folder.
    ///
    /// # Errors
    ///
    /// The first file that is broken, with its line.
    pub fn open(folder: &Path, explicit: bool) -> Result<Self, PromptError> {
        let library = Self {
            folder: folder.to_owned(),
            state: Mutex::default(),
        };
        let files = match scan(folder) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !explicit => {
                return Ok(library);
            }
            Err(error) => {
                let problem = format!("can't read the folder of prompt templates: {error}");
                return Err(PromptError::new(
                    &folder.display().to_string(),
                    None,
                    problem,
                ));
            }
        };
        let mut state = State::default();
        for (path, stamp) in files {
            let template = Some(Arc::new(read_template(&path)?));
            state.files.insert(
                path,
                File {
                    stamp,
                    template,
                    served: None,
                    told: false,
                },
            );
        }
        let (set, clashes) = collect(&mut state.files);
        if let Some(clash) = clashes.into_iter().next() {
            return Err(clash);
        }
        state.set = Arc::new(set);
        *library.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(library)
    }

    /// The templates as they are now: what was edited since the last call is read anew. What is
    /// broken by an edit is reported once, and stays as it was. Looks at the disk, so an async
    /// caller does this aside.
    #[must_use]
    pub fn current(&self) -> Arc<Set> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A folder that can't be read for a moment, while it is being replaced, changes nothing.
        let Ok(found) = scan(&self.folder) else {
            return state.set.clone();
        };
        let unchanged = found.len() == state.files.len()
            && found.iter().all(|(path, stamp)| {
                state
                    .files
                    .get(path)
                    .is_some_and(|file| file.stamp == *stamp)
            });
        if unchanged {
            return state.set.clone();
        }
        state.files.retain(|path, _| found.contains_key(path));
        for (path, stamp) in found {
            let old = state.files.remove(&path);
            let file = match old {
                Some(old) if old.stamp == stamp => old,
                old => {
                    let (last_good, served) =
                        old.map_or((None, None), |old| (old.template, old.served));
                    let template = match read_template(&path) {
                        Ok(template) => Some(Arc::new(template)),
                        Err(error) => {
                            tracing::error!(%error, "a prompt template is broken; its last good version stays");
                            last_good
                        }
                    };
                    File {
                        stamp,
                        template,
                        served,
                        told: false,
                    }
                }
            };
            state.files.insert(path, file);
        }
        let (set, clashes) = collect(&mut state.files);
        for error in clashes {
            tracing::error!(%error, "a prompt template has another's name; its last good version stays");
        }
        state.set = Arc::new(set);
        state.set.clone()
    }
}

/// The folder's templates and their stamps.
fn scan(folder: &Path) -> io::Result<BTreeMap<PathBuf, Stamp>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // Names with a dot before them are other programs' notes: `._a.md`, `.#a.md`.
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        // Follows links: a mounted configuration is made of them. A file that has just gone is
        // simply not there.
        let Ok(metadata) = std::fs::metadata(&path) else {
            continue;
        };
        if metadata.is_file() {
            files.insert(path, (metadata.modified()?, metadata.len()));
        }
    }
    Ok(files)
}

fn read_template(path: &Path) -> Result<Template, PromptError> {
    let file = path.display().to_string();
    let fail = |error: io::Error| PromptError::new(&file, None, format!("can't read it: {error}"));
    if std::fs::metadata(path).map_err(fail)?.len() > LARGEST {
        return Err(PromptError::new(
            &file,
            None,
            format!("is larger than {LARGEST} bytes"),
        ));
    }
    let text = std::fs::read_to_string(path).map_err(fail)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Template::parse(&file, &stem, &text)
}

/// One template per name. Who has a name keeps it; who claims it too stays as it was, and is told
/// of once.
fn collect(files: &mut BTreeMap<PathBuf, File>) -> (Set, Vec<PromptError>) {
    let mut set = Set::default();
    let mut clashes = Vec::new();
    let keeps = |file: &File| {
        let names = (
            file.template.as_deref().map(Template::name),
            file.served.as_deref().map(Template::name),
        );
        names.0.is_some() && names.0 == names.1
    };
    for file in files.values_mut().filter(|file| keeps(file)) {
        file.served.clone_from(&file.template);
        set.add(file.served.as_ref());
    }
    for (path, file) in files.iter_mut().filter(|(_, file)| !keeps(file)) {
        if set.add(file.template.as_ref()) {
            file.served.clone_from(&file.template);
            continue;
        }
        if let Some(template) = file.template.as_ref().filter(|_| !file.told) {
            let problem = format!("there is a template `{}` already", template.name());
            clashes.push(PromptError::new(&path.display().to_string(), None, problem));
            file.told = true;
        }
        if !set.add(file.served.as_ref()) {
            file.served = None;
        }
    }
    (set, clashes)
}
