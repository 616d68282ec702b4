//! Changes to the file of keys, as `tokenrill keys` makes them: its comments stay, and a reader
//! meets the file as it was before or as it is after, never a part of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use toml_edit::{DocumentMut, Item, TableLike};

use super::key::ApiKey;
use crate::config::{ConfigError, KeyRole, ModelPatterns, Team, load_keys};

/// The mode of a new file: it holds no secret, but it is nobody's business.
const NEW_MODE: u32 = 0o600;

/// An error of changing the file of keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file can't be read, or another put in its place.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The reason.
        source: io::Error,
    },
    /// Another change is under way.
    #[error("{path} is there: another change is under way; if there is none, remove it")]
    Busy {
        /// The new file.
        path: String,
    },
    /// Somebody has changed it since it was read.
    #[error("{path} has changed just now; try again")]
    Changed {
        /// The file.
        path: String,
    },
    /// It is wrong, or would be after the change.
    #[error(transparent)]
    Wrong(#[from] ConfigError),
    /// It can't be edited.
    #[error("{path}: {source}")]
    Toml {
        /// The file.
        path: String,
        /// The reason.
        source: toml_edit::TomlError,
    },
    /// There is no key of that id.
    #[error("there is no key `{id}` in {path}; `tokenrill keys list` lists them")]
    Unknown {
        /// The id.
        id: String,
        /// The file.
        path: String,
    },
    /// The key has been revoked.
    #[error("the key `{id}` is revoked; `tokenrill keys new` makes another")]
    Revoked {
        /// The id.
        id: String,
    },
    /// The system has no randomness.
    #[error("no key can be made: {0}")]
    Random(getrandom::Error),
}

impl From<getrandom::Error> for KeyFileError {
    fn from(error: getrandom::Error) -> Self {
        Self::Random(error)
    }
}

/// The properties of a new key.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// The name, for people.
    pub name: String,
    /// The team.
    pub team: Option<String>,
    /// The models that it may use.
    pub models: ModelPatterns,
    /// The role of its holder.
    pub role: KeyRole,
    /// The time until which it is good.
    pub expires: Option<SystemTime>,
}

/// The file of keys, as it was read.
#[derive(Debug)]
pub struct KeyFile<'a> {
    path: PathBuf,
    text: String,
    /// Those of the configuration.
    teams: &'a [Team],
}

impl<'a> KeyFile<'a> {
    /// Reads the file; one that is not there is empty.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn open(path: &Path, teams: &'a [Team]) -> Result<Self, KeyFileError> {
        // A link stays one: what it leads to is replaced.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let text = read(&path).map_err(|source| failed(&path, source))?;
        Ok(Self { path, text, teams })
    }

    /// Adds a key, and returns it.
    ///
    /// # Errors
    ///
    /// When the file can't be changed, or would be wrong.
    pub fn append(self, new: &NewKey) -> Result<ApiKey, KeyFileError> {
        let key = ApiKey::generate()?;
        let mut text = self.text.clone();
        if !text.is_empty() {
            text += if text.ends_with('\n') { "\n" } else { "\n\n" };
        }
        text += &entry(&key, new);
        self.replace(&text)?;
        Ok(key)
    }

    /// Gives a key's id another key, and returns that; the one before is good for `overlap` more.
    ///
    /// # Errors
    ///
    /// When there is no such key, or the file can't be changed.
    pub fn rotate(self, id: &str, overlap: Duration) -> Result<ApiKey, KeyFileError> {
        let key = ApiKey::with_id(id)?;
        let digest = key.digest().to_string();
        self.edit(id, |entry| {
            if entry.get("disabled").and_then(Item::as_bool) == Some(true) {
                return Err(KeyFileError::Revoked { id: id.to_owned() });
            }
            let old = entry.insert("digest", toml_edit::value(digest));
            match old.filter(|_| !overlap.is_zero()) {
                Some(old) => {
                    let until = time(SystemTime::now() + overlap);
                    entry.insert("old_digest", old);
                    // It is one: it was just written so.
                    if let Ok(until) = until.parse::<toml_edit::Datetime>() {
                        entry.insert("old_until", toml_edit::value(until));
                    }
                }
                None => {
                    entry.remove("old_digest");
                    entry.remove("old_until");
                }
            }
            Ok(())
        })?;
        Ok(key)
    }

    /// Revokes a key. Its entry stays, so that its name is known.
    ///
    /// # Errors
    ///
    /// When there is no such key, or the file can't be changed.
    pub fn revoke(self, id: &str) -> Result<(), KeyFileError> {
        self.edit(id, |entry| {
            entry.insert("disabled", toml_edit::value(true));
            Ok(())
        })
    }

    /// Changes the entry of a key.
    fn edit(
        self,
        id: &str,
        change: impl FnOnce(&mut dyn TableLike) -> Result<(), KeyFileError>,
    ) -> Result<(), KeyFileError> {
        let mut document: DocumentMut = self.text.parse().map_err(|source| KeyFileError::Toml {
            path: self.path.display().to_string(),
            source,
        })?;
        let entry = entry_of(&mut document, id).ok_or_else(|| KeyFileError::Unknown {
            id: id.to_owned(),
            path: self.path.display().to_string(),
        })?;
        change(entry)?;
        self.replace(&document.to_string())
    }

    /// Puts another file in the place of this one, once it is known to be good.
    fn replace(self, text: &str) -> Result<(), KeyFileError> {
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let new = NewFile::create(PathBuf::from(new))?;
        new.write(text, &self.path)
            .map_err(|source| failed(&new.path, source))?;
        load_keys(&new.path, self.teams)?;
        let now = read(&self.path).map_err(|source| failed(&self.path, source))?;
        if now != self.text {
            return Err(KeyFileError::Changed {
                path: self.path.display().to_string(),
            });
        }
        new.rename(&self.path)
            .map_err(|source| failed(&self.path, source))
    }
}

/// The file that will be the next; removed unless it is. As long as it is there nobody else begins
/// one.
struct NewFile {
    path: PathBuf,
}

impl NewFile {
    fn create(path: PathBuf) -> Result<Self, KeyFileError> {
        let mut options = OpenOptions::new();
        let created = options
            .write(true)
            .create_new(true)
            .mode(NEW_MODE)
            .open(&path);
        match created {
            Ok(_file) => Ok(Self { path }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(KeyFileError::Busy {
                path: path.display().to_string(),
            }),
            Err(source) => Err(failed(&path, source)),
        }
    }

    /// Writes the text; whoever may read the file of now may read the next one too.
    fn write(&self, text: &str, old: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(&self.path)?;
        if let Ok(old) = std::fs::metadata(old) {
            let mine = file.metadata()?;
            if (mine.uid(), mine.gid()) != (old.uid(), old.gid()) {
                chown(&self.path, Some(old.uid()), Some(old.gid()))?;
            }
            file.set_permissions(std::fs::Permissions::from_mode(old.mode()))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    fn rename(self, to: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, to)?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After the rename there is nothing to remove; before it, a rest is named by the next try.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn failed(path: &Path, source: io::Error) -> KeyFileError {
    KeyFileError::Io {
        path: path.display().to_string(),
        source,
    }
}

fn read(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// Returns the entry of a key, as it should stand in the file.
fn entry(key: &ApiKey, new: &NewKey) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let mut lines = vec![
        "[[keys]]".to_owned(),
        format!("id = {}", quoted(key.id())),
        format!("digest = {}", quoted(&key.digest().to_string())),
        format!("name = {}", quoted(&new.name)),
    ];
    lines.extend(
        new.team
            .iter()
            .map(|team| format!("team = {}", quoted(team))),
    );
    if !new.models.allow_all() {
        let models: Vec<String> = new.models.as_slice().iter().map(|it| quoted(it)).collect();
        lines.push(format!("models = [{}]", models.join(", ")));
    }
    if new.role != KeyRole::User {
        lines.push(format!("role = {}", quoted(new.role.as_str())));
    }
    lines.extend(
        new.expires
            .map(|expires| format!("expires = {}", time(expires))),
    );
    lines.join("\n") + "\n"
}

fn entry_of<'a>(document: &'a mut DocumentMut, id: &str) -> Option<&'a mut dyn TableLike> {
    let is_it = |entry: &dyn TableLike| entry.get("id").and_then(Item::as_str) == Some(id);
    match document.get_mut("keys")? {
        Item::ArrayOfTables(entries) => {
            let mut entries = entries.iter_mut();
            let found = entries.find(|entry| is_it(*entry))?;
            Some(found)
        }
        Item::Value(toml_edit::Value::Array(entries)) => {
            let tables = entries
                .iter_mut()
                .filter_map(|entry| entry.as_inline_table_mut());
            let mut tables = tables.into_iter();
            let found = tables.find(|entry| is_it(*entry))?;
            Some(found)
        }
        _ => None,
    }
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
